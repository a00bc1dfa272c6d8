//! C-12: upstreams that fall silent. Each is given up at its deadline, and the others do not notice.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::client::{Client, run};
use crate::gateway::Gateway;
use crate::load::{Load, Plan, Tags, quantile};
use crate::origin::Origin;
use crate::report::Limit::{AtMost, Exactly};
use crate::report::{Report, Scale};

/// How an upstream falls silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stall {
    /// It does not take connections: its queue is full.
    Unreachable,
    /// It takes them and reads nothing.
    Deaf,
    /// It reads the request and does not answer.
    Mute,
    /// The head of its answer does not end.
    EndlessHead,
    /// The body of its answer stops.
    HalfBody,
}

const ALL: [Stall; 5] = [Stall::Unreachable, Stall::Deaf, Stall::Mute, Stall::EndlessHead, Stall::HalfBody];

/// The deadline that each of them meets.
const DEADLINE: Duration = Duration::from_secs(1);

impl Stall {
    /// An upstream of this kind; what holds it open comes with it.
    fn start(self) -> (SocketAddr, Vec<Socket>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        socket.listen(if self == Stall::Unreachable { 0 } else { 128 }).expect("listens");
        let address = socket.local_addr().expect("bound").as_socket().expect("an address");
        match self {
            Stall::Unreachable => {
                // Connections that nobody accepts fill the queue; the system drops what comes then.
                let fill = |_| {
                    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
                    let _ = socket.connect_timeout(&address.into(), Duration::from_millis(50));
                    socket
                };
                let mut held: Vec<Socket> = (0..8).map(fill).collect();
                held.push(socket);
                (address, held)
            }
            Stall::Deaf => (address, vec![socket]),
            Stall::Mute | Stall::EndlessHead | Stall::HalfBody => {
                socket.set_nonblocking(true).expect("a socket");
                std::thread::spawn(move || run(self.serve(socket)));
                (address, Vec::new())
            }
        }
    }

    async fn serve(self, socket: Socket) {
        let listener = TcpListener::from_std(socket.into()).expect("a socket");
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.stall(stream));
        }
    }

    async fn stall(self, mut stream: TcpStream) {
        let mut bytes = [0; 4096];
        let _ = stream.read(&mut bytes).await;
        let begin: &[u8] = match self {
            Stall::EndlessHead => b"HTTP/1.1 200 OK\r\n",
            Stall::HalfBody => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
            Stall::Unreachable | Stall::Deaf | Stall::Mute => b"",
        };
        let _ = stream.write_all(begin).await;
        let mut number = 0;
        loop {
            sleep(Duration::from_millis(100)).await;
            number += 1;
            if self == Stall::EndlessHead
                && stream.write_all(format!("X-{number}: y\r\n").as_bytes()).await.is_err()
            {
                return;
            }
        }
    }
}

pub fn stalls(scale: Scale, report: &mut Report) {
    let origin = Origin::start();
    let mut config = format!("[upstream.well]\n{}\n", origin.servers());
    let mut held = Vec::new();
    let patience = "timeouts = { connect = \"1s\", first_byte = \"1s\", body_idle = \"1s\" }";
    for stall in ALL {
        let (address, sockets) = stall.start();
        held.push(sockets);
        config.push_str(&format!(
            "[upstream.{stall:?}]\nservers = [\"http://{address}\"]\n{patience}\noutlier = {{ failures = 0 }}\n\
             [[route]]\nid = \"{stall:?}\"\npath = \"/{stall:?}/{{*rest}}\"\nupstream = \"{stall:?}\"\n"
        ));
    }
    // Names are in small letters.
    for stall in ALL {
        let name = format!("{stall:?}");
        config = config.replace(&name, &name.to_lowercase());
    }
    config.push_str(
        "[[route]]\nid = \"well\"\npath = \"/{*rest}\"\nupstream = \"well\"\n\
         [[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\n",
    );
    let gateway = Gateway::start(&config);
    let before = gateway.usage();
    let plan = Plan { connections: 4, rest: Duration::from_millis(2) };
    let well = || Load::start(gateway.address(), plan, Tags);
    let load = well();
    std::thread::sleep(Duration::from_secs(2));
    let mut calm = load.stop();
    let load = well();
    let count = scale.pick(20, 200);
    let mut asked = 0;
    for stall in ALL {
        let (times, wrong) = run(ask(gateway.address(), stall, count));
        asked += count;
        report.none("C-12", format!("{stall:?}: answers that do not say so"), &wrong, count);
        let (mut first, last) = (times[0], times[times.len() - 1]);
        first = first.min(DEADLINE);
        let early = (DEADLINE.as_secs_f64() - first.as_secs_f64()) * 1000.0;
        let late = (last.as_secs_f64() - DEADLINE.as_secs_f64()) * 1000.0;
        report.line("C-12", format!("{stall:?}: the first before its deadline"), early, "ms", AtMost(100.0));
        // A tenth of the deadline, where nothing else keeps the machine busy.
        let most = scale.pick(1_000.0, 100.0);
        report.line("C-12", format!("{stall:?}: the last after it"), late, "ms", AtMost(most));
    }
    let mut beside = load.stop();
    report.none("C-12", "requests to another upstream failed", &beside.wrong, beside.sent);
    let (calm_p99, p99) = (quantile(&mut calm.times, 0.99), quantile(&mut beside.times, 0.99));
    let what = format!("their 99th percentile, {calm_p99:.2} ms without");
    report.line("C-12", what, p99, "ms", scale.if_long(AtMost(calm_p99 * 1.5 + 5.0)));
    let sent = calm.sent + beside.sent + asked;
    report.line("C-12", format!("records of {sent}"), gateway.records(sent) as f64, "", Exactly(sent as f64));
    drop(held);
    let more = crate::process::until(Duration::from_secs(10), || {
        (gateway.usage().descriptors <= before.descriptors).then_some(())
    });
    report.holds("C-12", "descriptors as before", more.is_some());
}

/// Asks so many times at once; how long each took, sorted, and what was wrong.
async fn ask(address: SocketAddr, stall: Stall, count: usize) -> (Vec<Duration>, Vec<String>) {
    let path = format!("/{}/x", format!("{stall:?}").to_lowercase());
    let mut tasks = Vec::new();
    for _ in 0..count {
        let path = path.clone();
        tasks.push(tokio::spawn(async move {
            let begin = Instant::now();
            (Client::get(address, &path).await, begin.elapsed())
        }));
    }
    let (mut times, mut wrong) = (Vec::new(), Vec::new());
    for task in tasks {
        let (answer, time) = task.await.expect("no panic");
        times.push(time);
        let right = |status, rule: &str, whole| match stall {
            Stall::HalfBody => (status, whole) == (200, false),
            Stall::Unreachable | Stall::Deaf | Stall::Mute | Stall::EndlessHead => {
                (status, rule) == (504, "fault/upstream-timeout")
            }
        };
        match answer {
            Ok(answer) if right(answer.status, answer.rule(), answer.whole) => {}
            Ok(answer) => wrong.push(format!("{} {}", answer.status, answer.rule())),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    times.sort_unstable();
    (times, wrong)
}
