//! Bodies: a gibibyte each way with memory flat, and clients that read or send slowly (C-6).

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Client, get, run};
use crate::gateway::{Gateway, open};
use crate::origin::Origin;
use crate::process::{until, usage};
use crate::report::Limit::{AtMost, Exactly};
use crate::report::{Report, Scale};

/// The most memory that a process has while something goes on.
struct Peak {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<f64>,
}

impl Peak {
    fn of(id: u32) -> Peak {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut most = 0.0_f64;
            while !stopped.load(Ordering::SeqCst) {
                most = most.max(usage(id).kib);
                thread::sleep(Duration::from_millis(20));
            }
            most
        });
        Peak { stop, thread }
    }

    fn kib(self) -> f64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("no panic")
    }
}

/// So many bytes.
struct Dots {
    left: u64,
    piece: Bytes,
}

impl Body for Dots {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let count = self.left.min(self.piece.len() as u64);
        self.left -= count;
        let piece = self.piece.slice(..usize::try_from(count).unwrap_or(0));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

fn dots(length: u64) -> Dots {
    Dots { left: length, piece: Bytes::from(vec![b'.'; 64 * 1024]) }
}

/// A body each way, in each version, while memory is watched.
pub fn gibibyte(scale: Scale, report: &mut Report) {
    let length: u64 = scale.pick(128 << 20, 1 << 30);
    let origin = Origin::start();
    let gateway = Gateway::start(&open(&origin.servers(), ""));
    run(Client::get(gateway.address(), "/tag/warm")).expect("an answer");
    type Way = fn(SocketAddr, u64) -> u64;
    let ways: [(&str, Way); 4] = [
        ("down over HTTP/1.1", |address, length| run(down(address, length))),
        ("up over HTTP/1.1", |address, length| run(up(address, length))),
        ("down over HTTP/2", |address, length| run(down_http2(address, length))),
        ("up over HTTP/2", |address, length| run(up_http2(address, length))),
    ];
    for (way, stream) in ways {
        let before = gateway.usage();
        let peak = Peak::of(gateway.id());
        let begin = Instant::now();
        let arrived = stream(gateway.address(), length);
        let took = begin.elapsed().as_secs_f64();
        let more = (peak.kib() - before.kib) / 1024.0;
        let mib = length >> 20;
        report.line(
            "bodies",
            format!("{way}: bytes that arrived"),
            arrived as f64,
            "",
            Exactly(length as f64),
        );
        let what = format!("{way}: resident memory more at its peak, {mib} MiB in {took:.1} s");
        report.line("bodies", what, more, "MiB", AtMost(8.0));
    }
}

async fn down(address: SocketAddr, length: u64) -> u64 {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(&get(&format!("/big/{length}"))).await.expect("sent");
    let mut client = Client::over(stream);
    let head = client.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut arrived = client.rest().len() as u64;
    let mut bytes = vec![0; 256 * 1024];
    while arrived < length {
        match client.stream.read(&mut bytes).await {
            Ok(count) if count > 0 => arrived += count as u64,
            _ => break,
        }
    }
    arrived
}

async fn up(address: SocketAddr, length: u64) -> u64 {
    let mut client = Client::connect(address).await.expect("it listens");
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: app.test\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    );
    client.stream.write_all(head.as_bytes()).await.expect("sent");
    let piece = vec![b'.'; 256 * 1024];
    let mut left = length;
    while left > 0 {
        let count = left.min(piece.len() as u64);
        client.stream.write_all(&piece[..usize::try_from(count).unwrap_or(0)]).await.expect("sent");
        left -= count;
    }
    let answer = client.answer().await.expect("an answer");
    String::from_utf8_lossy(&answer.body).parse().unwrap_or(0)
}

async fn connect_http2(address: SocketAddr) -> http2::SendRequest<Dots> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    // Else the last piece of each window waits for an acknowledgement that waits for company.
    stream.set_nodelay(true).expect("a socket");
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(1 << 20).initial_connection_window_size(1 << 20);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    sender
}

async fn down_http2(address: SocketAddr, length: u64) -> u64 {
    let mut sender = connect_http2(address).await;
    let request = Request::get(format!("http://app.test/big/{length}")).body(dots(0)).expect("a request");
    let mut body = sender.send_request(request).await.expect("an answer").into_body();
    let mut arrived = 0;
    while let Some(Ok(frame)) = body.frame().await {
        arrived += frame.data_ref().map_or(0, Bytes::len) as u64;
    }
    arrived
}

async fn up_http2(address: SocketAddr, length: u64) -> u64 {
    let mut sender = connect_http2(address).await;
    let request = Request::post("http://app.test/upload").header("content-type", "text/plain");
    let answer =
        sender.send_request(request.body(dots(length)).expect("a request")).await.expect("an answer");
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8_lossy(&body).parse().unwrap_or(0)
}

/// Clients that read a byte a second of ten megabytes, that send a byte a second, or nothing.
pub fn slow(scale: Scale, report: &mut Report) {
    let count = scale.pick(200, 1_000);
    let patience = scale.pick(3, 30);
    let origin = Origin::start();
    let more = format!(
        "[timeouts]\nbody_idle = \"{patience}s\"\n[[route]]\nid = \"bounded\"\npath = \"/bounded/{{*rest}}\"\n\
         upstream = \"origin\"\ntimeouts = {{ total = \"{patience}s\" }}\n"
    );
    let gateway = Gateway::start(&open(&origin.servers(), &more));
    let readers: (&str, SlowClient) = ("reading a byte a second", |address| Box::pin(read_slowly(address)));
    let silent: (&str, SlowClient) = ("sending half a body", |address| Box::pin(send_slowly(address, false)));
    let senders: (&str, SlowClient) =
        ("sending a byte a second, on a route with a total", |address| Box::pin(send_slowly(address, true)));
    for (what, client) in [readers, silent, senders] {
        let before = gateway.usage();
        let address = gateway.address();
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let begin = Instant::now();
        let clients = thread::spawn(move || run(all(address, count, client, stopped)));
        let open = || gateway.metric("portcullis_connections").unwrap_or(f64::NAN);
        let there = until(Duration::from_secs(patience), || (open() >= count as f64).then_some(()));
        thread::sleep(Duration::from_millis(500));
        let each = (gateway.usage().kib - before.kib) / count as f64;
        report.holds("C-6", format!("{what}: {count} at once"), there.is_some());
        let label = format!("{what}: resident memory of each");
        report.line("C-6", label, each, "KiB", scale.if_optimised(AtMost(128.0)));
        let _ = until(Duration::from_secs(patience + 30), || (open() == 0.0).then_some(()));
        let last = begin.elapsed().as_secs_f64();
        // Connections to upstreams are looked after once a second, and what waits in sockets takes its time.
        report.line(
            "C-6",
            format!("{what}: the last one cut"),
            last,
            "s",
            AtMost(patience as f64 * 2.0 + 5.0),
        );
        let free = until(Duration::from_secs(1), || (origin.open() == 0).then_some(()));
        report.holds("C-6", format!("{what}: the upstream is held no longer"), free.is_some());
        stop.store(true, Ordering::SeqCst);
        clients.join().expect("no panic");
    }
    let served = run(Client::get(gateway.address(), "/tag/after")).expect("an answer");
    report.line("C-6", "status of a request after that", f64::from(served.status), "", Exactly(200.0));
}

type SlowClient = fn(SocketAddr) -> Pin<Box<dyn Future<Output = ()> + Send>>;

async fn all(address: SocketAddr, count: usize, client: SlowClient, stop: Arc<AtomicBool>) {
    let mut clients = JoinSet::new();
    for _ in 0..count {
        clients.spawn(client(address));
    }
    while !stop.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(50)).await;
    }
}

async fn read_slowly(address: SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    // Else the system takes much of the answer for the client.
    let _ = socket.set_recv_buffer_size(4096);
    let Ok(mut stream) = socket.connect(address).await else { return };
    let _ = stream.write_all(&get("/big/10000000")).await;
    let mut byte = [0];
    loop {
        // Whether the gateway still has the connection is not seen from here while bytes wait.
        match stream.read(&mut byte).await {
            Ok(count) if count > 0 => sleep(Duration::from_secs(1)).await,
            _ => return,
        }
    }
}

async fn send_slowly(address: SocketAddr, drip: bool) {
    let Ok(stream) = TcpStream::connect(address).await else { return };
    let (mut reading, mut writing) = stream.into_split();
    let path = if drip { "/bounded/upload" } else { "/upload" };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: app.test\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nhalf"
    );
    let _ = writing.write_all(head.as_bytes()).await;
    let drops = async {
        loop {
            sleep(Duration::from_secs(1)).await;
            if drip && writing.write_all(b".").await.is_err() {
                return;
            }
        }
    };
    let mut bytes = [0; 1024];
    let end = async { while reading.read(&mut bytes).await.is_ok_and(|count| count > 0) {} };
    tokio::select! {
        () = drops => {}
        () = end => {}
    }
}
