//! Clients that ask again and again, at a pace, and check every answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::client::{Answer, Client, get, run};

/// What the clients do.
#[derive(Clone, Copy)]
pub struct Plan {
    pub connections: usize,
    /// How long each rests between two requests.
    pub rest: Duration,
}

/// Clients at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: JoinHandle<Outcome>,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    /// Requests that were sent.
    pub sent: usize,
    /// Those that were allowed.
    pub allowed: usize,
    /// How often each status came.
    pub statuses: BTreeMap<u16, usize>,
    /// What was wrong with answers, or why there were none.
    pub wrong: Vec<String>,
    pub times: Vec<Duration>,
}

/// What a client asks for, by the number of the request, and what is wrong with the answer.
pub trait Script: Send + Sync + 'static {
    fn path(&self, number: usize) -> String;
    fn request(&self, path: &str) -> Vec<u8> {
        get(path)
    }
    fn check(&self, path: &str, answer: &Answer) -> Result<(), String>;
}

impl Load {
    /// Begins.
    pub fn start(address: SocketAddr, plan: Plan, script: impl Script) -> Load {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&sent));
        let script = Arc::new(script);
        let thread = thread::spawn(move || {
            run(async move {
                let clients = (0..plan.connections).map(|_| {
                    let (stopped, counted) = (Arc::clone(&stopped), Arc::clone(&counted));
                    tokio::spawn(client(address, plan.rest, stopped, counted, Arc::clone(&script)))
                });
                let mut all = Outcome::default();
                for client in clients.collect::<Vec<_>>() {
                    all.add(client.await.expect("no panic"));
                }
                all
            })
        });
        Load { stop, sent, thread }
    }

    /// How many requests were sent so far.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    /// Ends, with every request answered.
    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("no panic")
    }
}

async fn client(
    address: SocketAddr,
    rest: Duration,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    script: Arc<impl Script>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut kept: Option<Client> = None;
    while !stop.load(Ordering::SeqCst) {
        let mut client = match kept.take() {
            Some(client) => client,
            None => match Client::connect(address).await {
                Ok(client) => client,
                Err(error) => {
                    outcome.wrong.push(format!("no connection: {error}"));
                    sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        let path = script.path(sent.fetch_add(1, Ordering::SeqCst));
        let begin = Instant::now();
        outcome.sent += 1;
        match client.ask(&script.request(&path)).await {
            Ok(answer) => {
                outcome.times.push(begin.elapsed());
                *outcome.statuses.entry(answer.status).or_default() += 1;
                if answer.field("x-portcullis-decision") == Some("allow") {
                    outcome.allowed += 1;
                }
                if let Err(what) = script.check(&path, &answer) {
                    outcome.wrong.push(what);
                }
                if answer.whole && !answer.closes() {
                    kept = Some(client);
                }
            }
            Err(error) => outcome.wrong.push(format!("{path}: {error}")),
        }
        if !rest.is_zero() {
            sleep(rest).await;
        }
    }
    outcome
}

impl Outcome {
    fn add(&mut self, mut other: Outcome) {
        self.sent += other.sent;
        self.allowed += other.allowed;
        self.wrong.append(&mut other.wrong);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.times.append(&mut other.times);
    }
}

/// The value below which this share of the times lies, in milliseconds.
pub fn quantile(times: &mut [Duration], share: f64) -> f64 {
    if times.is_empty() {
        return f64::NAN;
    }
    times.sort_unstable();
    let at = ((times.len() - 1) as f64 * share).round() as usize;
    times[at].as_secs_f64() * 1000.0
}

/// Requests until whatever is bounded and fills with them is full, so that it is not taken for growth:
/// each thread keeps its last records, 2 MiB of them. Connections come one after the other, so that none
/// leaves room behind in which later ones would hide. How many requests that were.
pub fn fill(address: SocketAddr) -> usize {
    // The system spreads connections over threads by chance, and no thread may be left out.
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (connections, requests) = (16 * threads, 400);
    run(async move {
        for _ in 0..connections {
            let mut client = Client::connect(address).await.expect("it listens");
            for _ in 0..requests {
                client.ask(&get("/tag/fill")).await.expect("an answer");
            }
        }
    });
    connections * requests
}

/// Asks for tagged bodies, and finds in each answer the tag that was asked for.
pub struct Tags;

impl Script for Tags {
    fn path(&self, number: usize) -> String {
        format!("/tag/{number}")
    }

    fn check(&self, path: &str, answer: &Answer) -> Result<(), String> {
        if answer.status == 200 && answer.whole && answer.body == path.as_bytes() {
            Ok(())
        } else {
            let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]);
            Err(format!("{path}: {} {body}", answer.status))
        }
    }
}
