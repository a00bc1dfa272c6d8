//! C-17: the end of the process under load. What began before the end of `drain_delay` is answered,
//! however it is sent. (What a process leaves that is killed: `killed.rs`.)

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until, timeout};

use crate::client::{Client, get, run};
use crate::gateway::{Gateway, open};
use crate::killed::Log;
use crate::origin::Origin;
use crate::report::Limit::{AtMost, Exactly};
use crate::report::{Report, Scale};

const DELAY: Duration = Duration::from_secs(2);

/// What the clients share.
struct Shared {
    address: SocketAddr,
    /// When the process was told to end.
    term: Instant,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    /// Requests that were answered, and so recorded.
    answered: usize,
    /// Tunnels that were opened, and so recorded twice.
    tunnels: usize,
    /// Requests whose first byte came in time, and that failed.
    failed: Vec<String>,
    /// Requests that were sent while the process was ending.
    late: usize,
    uploads: usize,
    goaways: usize,
}

impl Shared {
    /// Whether clients go on: a while longer than the listeners.
    fn goes_on(&self) -> bool {
        Instant::now() < self.term + DELAY + Duration::from_millis(500)
    }

    /// Notes what became of a request that was wholly handed to the system at this time.
    fn note(&self, sent: Instant, what: &str, outcome: Result<(), String>) {
        let mut tally = self.tally.lock().expect("not poisoned");
        match outcome {
            Ok(()) => {
                tally.answered += 1;
                tally.late += usize::from(sent > self.term);
            }
            Err(error) if sent < self.term + DELAY => {
                let at = sent.saturating_duration_since(self.term);
                tally.failed.push(format!("{what}, {} ms after SIGTERM: {error}", at.as_millis()));
            }
            Err(_) => {}
        }
    }
}

pub fn under_load(scale: Scale, report: &mut Report) {
    let rounds = scale.pick(1, 10);
    let mut sum = Tally::default();
    let (mut exits, mut slowest, mut torn, mut records, mut expected) = (Vec::new(), 0.0_f64, 0, 0, 0);
    for _ in 0..rounds {
        let origin = Origin::start();
        let more =
            "[timeouts]\ndrain_delay = \"2s\"\ndrain = \"20s\"\n[log]\nsink = { file = \"log.jsonl\" }\n";
        let mut gateway = Gateway::start(&open(&origin.servers(), more));
        let (id, address) = (gateway.id(), gateway.address());
        let term = Instant::now() + Duration::from_millis(800);
        let shared = Arc::new(Shared { address, term, tally: Mutex::default() });
        let clients = Arc::clone(&shared);
        let clients = thread::spawn(move || run(clients_of(clients)));
        thread::sleep(term.saturating_duration_since(Instant::now()));
        gateway.signal("TERM");
        assert_eq!(id, gateway.id());
        let exit = gateway.wait();
        let took = term.elapsed();
        clients.join().expect("no panic");
        slowest = slowest.max(took.as_secs_f64());
        exits.push(exit.and_then(|exit| exit.code()).unwrap_or(-1));
        let tally = std::mem::take(&mut *shared.tally.lock().expect("not poisoned"));
        let log = Log::read(gateway.path());
        (records, torn) = (records + log.whole, torn + log.torn);
        expected += tally.answered + 2 * tally.tunnels;
        sum.add(tally);
    }
    let answered = sum.answered;
    report.none("C-17", "requests failed that began before the end of drain_delay", &sum.failed, answered);
    report.line("C-17", "of them sent after SIGTERM", sum.late as f64, "", crate::report::Limit::Shown);
    report.line(
        "C-17",
        "uploads that ended well",
        sum.uploads as f64,
        "",
        Exactly((UPLOADS * rounds) as f64),
    );
    report.line("C-17", "tunnels that went on", sum.tunnels as f64, "", Exactly((TUNNELS * rounds) as f64));
    report.line("C-17", "GOAWAYs within drain_delay", sum.goaways as f64, "", Exactly(rounds as f64));
    report.holds("C-17", format!("exit codes {exits:?} are 0"), exits.iter().all(|code| *code == 0));
    report.line("C-17", "from SIGTERM to the end", slowest, "s", AtMost(12.0));
    report.line("C-17", "torn records", torn as f64, "", Exactly(0.0));
    report.line("C-17", format!("records of {expected}"), records as f64, "", Exactly(expected as f64));
}

impl Tally {
    fn add(&mut self, mut other: Tally) {
        self.answered += other.answered;
        self.tunnels += other.tunnels;
        self.failed.append(&mut other.failed);
        self.late += other.late;
        self.uploads += other.uploads;
        self.goaways += other.goaways;
    }
}

const UPLOADS: usize = 8;
const TUNNELS: usize = 6;

async fn clients_of(shared: Arc<Shared>) {
    let mut tasks = Vec::new();
    for number in 0..12 {
        tasks.push(tokio::spawn(keeping(Arc::clone(&shared), number)));
    }
    for number in 0..4 {
        tasks.push(tokio::spawn(connecting(Arc::clone(&shared), number)));
        tasks.push(tokio::spawn(multiplexing(Arc::clone(&shared), number)));
    }
    for number in 0..UPLOADS {
        tasks.push(tokio::spawn(uploading(Arc::clone(&shared), number)));
    }
    for number in 0..8 {
        tasks.push(tokio::spawn(hesitating(Arc::clone(&shared), number)));
    }
    for number in 0..TUNNELS {
        tasks.push(tokio::spawn(tunnelling(Arc::clone(&shared), number)));
    }
    tasks.push(tokio::spawn(waiting_for_goaway(Arc::clone(&shared))));
    for task in tasks {
        task.await.expect("no panic");
    }
}

/// Asks again and again on one connection, until it is told to leave it.
async fn keeping(shared: Arc<Shared>, number: usize) {
    let mut kept: Option<Client> = None;
    for round in 0.. {
        if !shared.goes_on() {
            return;
        }
        let path = match (number % 3, round % 8) {
            (0, 0) => format!("/drip/20/50/{number}/{round}"),
            (1, _) => format!("/wait/20/{number}/{round}"),
            _ => format!("/tag/{number}/{round}"),
        };
        let mut client = match kept.take() {
            Some(client) => client,
            None => match connect(&shared).await {
                Some(client) => client,
                None => continue,
            },
        };
        let asked = ask(&mut client, &get(&path), &shared, &path).await;
        kept = asked.then_some(client);
    }
}

/// Begins a request on a connection that is kept just before the end, and completes it after.
async fn hesitating(shared: Arc<Shared>, number: u64) {
    let Some(mut client) = connect(&shared).await else { return };
    // While clients are asked to leave the answer would close the connection.
    if !ask(&mut client, &get("/tag/first"), &shared, "a first request").await {
        return;
    }
    let before = Duration::from_millis(20 + 20 * number);
    sleep_until((shared.term + DELAY - before).into()).await;
    let sent = Instant::now();
    let rest = async {
        client.stream.write_all(b"GET /tag/half").await?;
        sleep(before + Duration::from_millis(300)).await;
        client.ask(b"-way HTTP/1.1\r\nHost: app.test\r\n\r\n").await
    };
    let outcome = match rest.await {
        Ok(answer) if answer.body == b"/tag/half-way" => Ok(()),
        Ok(answer) => Err(answer.head),
        Err(error) => Err(error.to_string()),
    };
    shared.note(sent, "a request in two halves", outcome);
}

/// Makes a connection for every request.
async fn connecting(shared: Arc<Shared>, number: usize) {
    for round in 0.. {
        if !shared.goes_on() {
            return;
        }
        let path = format!("/tag/new/{number}/{round}");
        if let Some(mut client) = connect(&shared).await {
            ask(&mut client, &get(&path), &shared, &path).await;
        }
        sleep(Duration::from_millis(2)).await;
    }
}

/// Connects while there is something to connect to. That there is not is no failed request.
async fn connect(shared: &Shared) -> Option<Client> {
    let begin = Instant::now();
    match Client::connect(shared.address).await {
        Ok(client) => Some(client),
        Err(error) => {
            if begin + Duration::from_millis(100) < shared.term + DELAY {
                shared.note(begin, "a connection", Err(error.to_string()));
            }
            sleep(Duration::from_millis(10)).await;
            None
        }
    }
}

/// Whether another request may follow.
async fn ask(client: &mut Client, request: &[u8], shared: &Shared, what: &str) -> bool {
    let written = client.stream.write_all(request).await;
    let sent = Instant::now();
    let answer = match written {
        Ok(()) => client.answer().await,
        Err(error) => Err(error),
    };
    let kept = answer.as_ref().is_ok_and(|answer| answer.whole && !answer.closes());
    let outcome = match answer {
        Ok(answer) if answer.status == 200 && answer.whole => Ok(()),
        Ok(answer) => Err(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))),
        Err(error) => Err(error.to_string()),
    };
    shared.note(sent, what, outcome);
    kept
}

/// Sends streams on an HTTP/2 connection, and makes a new one when it is told to leave.
async fn multiplexing(shared: Arc<Shared>, number: usize) {
    let mut round = 0;
    while shared.goes_on() {
        let Ok(stream) = TcpStream::connect(shared.address).await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let made = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let Ok((mut sender, connection)) = made else { continue };
        let driver = tokio::spawn(connection);
        while shared.goes_on() && sender.ready().await.is_ok() {
            round += 1;
            let path = format!("/wait/10/h2/{number}/{round}");
            let request = Request::get(format!("http://app.test{path}")).body(Full::<Bytes>::default());
            let answering = sender.send_request(request.expect("a request"));
            let sent = Instant::now();
            let outcome = async {
                let answer = answering.await.map_err(|error| format!("{error:?}"))?;
                let status = answer.status();
                let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
                if status == 200 { Ok(()) } else { Err(format!("{status} {:?}", body.to_bytes())) }
            };
            let outcome = outcome.await;
            shared.note(sent, &path, outcome);
        }
        drop(sender);
        let _ = timeout(Duration::from_secs(5), driver).await;
    }
}

/// Sends a body that begins before the end and is complete long after it.
async fn uploading(shared: Arc<Shared>, number: usize) {
    // The last ones begin just before the listeners close.
    let begin = shared.term + DELAY.mul_f64(number as f64 / UPLOADS as f64) - Duration::from_millis(100);
    sleep_until(begin.into()).await;
    let Some(mut client) = connect(&shared).await else { return };
    let sent = Instant::now();
    let upload = async {
        let head = b"POST /upload HTTP/1.1\r\nHost: app.test\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.stream.write_all(head).await?;
        for _ in 0..30 {
            client.stream.write_all(b"5\r\nhello\r\n").await?;
            sleep(Duration::from_millis(100)).await;
        }
        client.ask(b"0\r\n\r\n").await
    };
    let outcome = match upload.await {
        Ok(answer) if answer.status == 200 && answer.body == b"150" => Ok(()),
        Ok(answer) => Err(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))),
        Err(error) => Err(error.to_string()),
    };
    shared.tally.lock().expect("not poisoned").uploads += usize::from(outcome.is_ok());
    shared.note(sent, "an upload", outcome);
}

/// Opens a tunnel, before the end or while it comes, and uses it until well after.
async fn tunnelling(shared: Arc<Shared>, number: usize) {
    let begin = shared.term + DELAY.mul_f64(number as f64 / TUNNELS as f64) - Duration::from_millis(100);
    sleep_until(begin.into()).await;
    let Some(mut client) = connect(&shared).await else { return };
    let ask = b"GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let sent = Instant::now();
    let tunnel = async {
        let answer = client.ask(ask).await?;
        let upgraded = answer.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade"));
        if answer.status != 101 || !upgraded {
            return Err(io::Error::other(answer.head));
        }
        while Instant::now() < shared.term + DELAY + Duration::from_secs(1) {
            client.stream.write_all(b"ping").await?;
            let mut back = [0; 4];
            client.stream.read_exact(&mut back).await?;
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    match tunnel.await {
        Ok(()) => shared.tally.lock().expect("not poisoned").tunnels += 1,
        Err(error) => shared.note(sent, "a tunnel", Err(error.to_string())),
    }
}

/// A connection of HTTP/2 that asks once and then only listens.
async fn waiting_for_goaway(shared: Arc<Shared>) {
    let Some(mut client) = connect(&shared).await else { return };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // HEADERS with GET, http, `/` and an authority, all of them from HPACK's static table.
    let mut block = vec![0x82, 0x86, 0x84, 0x01, 8];
    block.extend_from_slice(b"app.test");
    bytes.extend_from_slice(&[0, 0, block.len() as u8, 1, 0x05, 0, 0, 0, 1]);
    bytes.extend_from_slice(&block);
    let sent = Instant::now();
    let listen = async {
        client.stream.write_all(&bytes).await?;
        loop {
            let mut head = [0; 9];
            client.stream.read_exact(&mut head).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut frame = vec![0; length];
            client.stream.read_exact(&mut frame).await?;
            match head[3] {
                7 => return io::Result::Ok(Instant::now()),
                // SETTINGS that are not an acknowledgement are acknowledged.
                4 if head[4] & 1 == 0 => client.stream.write_all(&[0, 0, 0, 4, 1, 0, 0, 0, 0]).await?,
                _ => {}
            }
        }
    };
    let told = listen.await;
    let in_time = told.as_ref().is_ok_and(|at| *at < shared.term + DELAY);
    shared.tally.lock().expect("not poisoned").goaways += usize::from(in_time);
    shared.note(sent, "a connection that listens", told.map(drop).map_err(|error| error.to_string()));
}
