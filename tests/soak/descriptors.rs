//! C-13: a thousand clients where there are descriptors for a few. Those who are in are served, the
//! others wait, nothing spins, operators are let in, and all of it is over when they go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::client::{Client, get, run};
use crate::gateway::{Start, open};
use crate::origin::Origin;
use crate::process::until;
use crate::report::Limit::{AtLeast, AtMost, Exactly};
use crate::report::{Report, Scale};

/// What the crowd saw.
#[derive(Default)]
struct Crowd {
    served: AtomicUsize,
    refused: AtomicUsize,
    stop: AtomicBool,
}

async fn stay(address: SocketAddr, crowd: Arc<Crowd>) {
    let Ok(mut client) = Client::connect(address).await else { return };
    let ask = async {
        while let Ok(answer) = client.ask(&get("/tag/crowd")).await {
            let count = if answer.status == 200 { &crowd.served } else { &crowd.refused };
            count.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_secs(1)).await;
        }
    };
    let stop = async {
        while !crowd.stop.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = ask => {}
        () = stop => {}
    }
}

pub fn scarce(scale: Scale, report: &mut Report) {
    let origin = Origin::start();
    let config = open(&origin.servers(), "[server]\nlisten = [\"127.0.0.1:0\"]\nthreads = 2\n");
    let gateway = Start::new(&config).after("ulimit -n 256").start();
    let address = gateway.address();
    let before = gateway.usage();
    let crowd = Arc::new(Crowd::default());
    let kept = run(async {
        let mut client = Client::connect(address).await.expect("it listens");
        assert_eq!(client.ask(&get("/tag/kept")).await.expect("an answer").status, 200);
        let shared = Arc::clone(&crowd);
        let others = thread::spawn(move || {
            run(async move {
                let all: Vec<_> =
                    (0..1_000).map(|_| tokio::spawn(stay(address, Arc::clone(&shared)))).collect();
                for one in all {
                    let _ = one.await;
                }
            });
        });
        gateway.wait_for("connections cannot be accepted");
        let begin = (gateway.usage().busy, Instant::now());
        let mut failed = Vec::new();
        let rounds = scale.pick(30, 150);
        for _ in 0..rounds {
            match client.ask(&get("/tag/kept")).await {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => failed.push(format!("{} {}", answer.status, answer.rule())),
                Err(error) => failed.push(error.to_string()),
            }
            sleep(Duration::from_millis(100)).await;
        }
        let busy = (gateway.usage().busy - begin.0).as_secs_f64() / begin.1.elapsed().as_secs_f64();
        gateway.write_config(&format!("{config}\n[[rbac.deny]]\nid = \"new\"\npath = \"/new/{{*rest}}\"\n"));
        let (reloaded, _) = gateway.reload();
        let (status, _) = gateway.ask_admin("/api/status");
        report.none("C-13", "requests failed on a connection that was there before", &failed, rounds);
        report.line("C-13", "processor time meanwhile", busy * 100.0, "% of a core", AtMost(20.0));
        report.line("C-13", "status of a reload meanwhile", f64::from(reloaded), "", Exactly(200.0));
        report.line("C-13", "status of the admin interface", f64::from(status), "", Exactly(200.0));
        crowd.stop.store(true, Ordering::SeqCst);
        let begin = Instant::now();
        let answer = Client::get(address, "/tag/new").await.expect("an answer");
        let what = format!("a new client served with {} when they go", answer.status);
        let most = scale.pick(3_000.0, 1_000.0);
        report.line("C-13", what, begin.elapsed().as_secs_f64() * 1000.0, "ms", AtMost(most));
        others.join().expect("no panic");
        client
    });
    drop(kept);
    let (served, refused) = (crowd.served.load(Ordering::SeqCst), crowd.refused.load(Ordering::SeqCst));
    report.line("C-13", "answers to the crowd", served as f64, "", AtLeast(50.0));
    report.line("C-13", "of the crowd, taken and not served", refused as f64, "", Exactly(0.0));
    let back =
        until(Duration::from_secs(10), || (gateway.usage().descriptors <= before.descriptors).then_some(()));
    report.holds("C-13", "descriptors as before", back.is_some());
}
