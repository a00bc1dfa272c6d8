//! An upstream for many connections, which does what the path asks for.
//!
//! | path | answer |
//! |---|---|
//! | `/wait/MS/…` | as below, after so many milliseconds |
//! | `/drip/COUNT/MS/…` | so many chunks of one byte, with such pauses |
//! | `/big/BYTES/…` | so many bytes |
//! | `/fault/KIND/…` | what goes wrong by that name, see [`Fault`] |
//! | any other | the path, so that an answer of another's can be told |
//!
//! A request with a body is answered with the number of its bytes; one that asks for an upgrade gets it,
//! and its bytes come back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::client::run;
use crate::process::until;

/// The upstream. Its thread ends with the process.
#[derive(Clone)]
pub struct Origin {
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
    /// Connections that are open.
    open: Arc<AtomicUsize>,
}

impl Origin {
    pub fn start() -> Origin {
        Origin::on(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// At an address, which it may have to wait for.
    fn on(address: SocketAddr) -> Origin {
        let bind = || std::net::TcpListener::bind(address).ok();
        let listener = until(Duration::from_secs(5), bind).expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("bound");
        let origin = Origin { address, requests: Arc::default(), open: Arc::default() };
        let shared = origin.clone();
        thread::spawn(move || {
            run(async move {
                let listener = TcpListener::from_std(listener).expect("a socket");
                loop {
                    let Ok((stream, _)) = listener.accept().await else { continue };
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        shared.open.fetch_add(1, Ordering::SeqCst);
                        let _ = serve(stream, &shared.requests).await;
                        shared.open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            });
        });
        origin
    }

    /// An upstream that is a process of its own, until somebody kills it: this program, started with this
    /// argument and an address.
    pub const ALONE: &str = "--origin";

    /// Is that process.
    pub fn alone(address: &str) -> ! {
        let origin = Origin::on(address.parse().expect("an address"));
        println!("{}", origin.address);
        loop {
            thread::park();
        }
    }

    /// What stands in `[upstream.NAME]`.
    pub fn servers(&self) -> String {
        format!("servers = [\"http://{}\"]", self.address)
    }

    /// How many requests arrived.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// What goes wrong after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed, or reset, without an answer.
    Close,
    Reset,
    /// In the head of the answer.
    HalfHead,
    /// In a body of known length.
    HalfBody,
    HalfBodyReset,
    /// In a chunked body: between two chunks, or within one.
    NoLastChunk,
    HalfChunk,
    /// In a body that would end with the connection.
    OpenBodyReset,
    /// What comes is not HTTP.
    Garbage,
    /// A whole answer, and the connection is closed or reset at once.
    ThenClose,
    ThenReset,
    /// A whole answer, and the connection is closed in one direction only.
    ThenHalfClose,
}

impl Fault {
    pub const ALL: [Fault; 12] = [
        Fault::Close,
        Fault::Reset,
        Fault::HalfHead,
        Fault::HalfBody,
        Fault::HalfBodyReset,
        Fault::NoLastChunk,
        Fault::HalfChunk,
        Fault::OpenBodyReset,
        Fault::Garbage,
        Fault::ThenClose,
        Fault::ThenReset,
        Fault::ThenHalfClose,
    ];

    /// Whether the client gets a whole answer all the same.
    pub fn is_harmless(self) -> bool {
        matches!(self, Fault::ThenClose | Fault::ThenReset | Fault::ThenHalfClose)
    }

    fn of(path: &str) -> Option<Fault> {
        let name = path.strip_prefix("/fault/")?.split('/').next()?;
        Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name)
    }

    fn sends(self, path: &str) -> Vec<u8> {
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
        let half = &path[..path.len() / 2];
        let text = match self {
            Fault::Close | Fault::Reset => String::new(),
            Fault::HalfHead => "HTTP/1.1 200 OK\r\nContent-Le".to_owned(),
            Fault::HalfBody | Fault::HalfBodyReset => whole[..whole.len() - half.len()].to_owned(),
            Fault::NoLastChunk => {
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{path}\r\n", path.len())
            }
            Fault::HalfChunk => {
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{half}", path.len())
            }
            Fault::OpenBodyReset => format!("HTTP/1.1 200 OK\r\n\r\n{half}"),
            Fault::Garbage => "\u{1}\u{2}nothing like HTTP\r\n\r\n".to_owned(),
            Fault::ThenClose | Fault::ThenReset | Fault::ThenHalfClose => whole,
        };
        text.into_bytes()
    }

    fn resets(self) -> bool {
        matches!(self, Fault::Reset | Fault::HalfBodyReset | Fault::OpenBodyReset | Fault::ThenReset)
    }
}

/// What a request asks for.
#[derive(Default)]
struct Asked {
    path: String,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    expects: bool,
}

async fn serve(stream: TcpStream, requests: &AtomicUsize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(64 * 1024, stream);
    while let Some(asked) = read_head(&mut stream).await? {
        requests.fetch_add(1, Ordering::SeqCst);
        if asked.upgrade {
            return echo(stream).await;
        }
        if asked.path.starts_with("/fault/Upload") {
            // Of a body that is announced, some comes and the rest is not wanted; or nothing is.
            if asked.path.contains("/UploadSome/") {
                let _ = stream.fill_buf().await?;
            }
            return Ok(());
        }
        let read = read_body(&mut stream, &asked).await?;
        if let Some(fault) = Fault::of(&asked.path) {
            stream.write_all(&fault.sends(&asked.path)).await?;
            if fault.resets() {
                // What was sent has arrived by then, on this machine.
                sleep(Duration::from_millis(2)).await;
                stream.into_inner().set_zero_linger()?;
            } else if fault == Fault::ThenHalfClose {
                stream.shutdown().await?;
                while !stream.fill_buf().await?.is_empty() {
                    let count = stream.buffer().len();
                    stream.consume(count);
                }
            }
            return Ok(());
        }
        answer(&mut stream, &asked.path, read).await?;
    }
    Ok(())
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Asked>> {
    let mut asked = Asked::default();
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    asked.path = line.split(' ').nth(1).unwrap_or("/").to_owned();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.split_once(':') else { return Ok(Some(asked)) };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => asked.length = value.trim().parse().ok(),
            "transfer-encoding" => asked.chunked = true,
            "upgrade" => asked.upgrade = true,
            "expect" => asked.expects = true,
            _ => {}
        }
    }
}

/// Reads a body; its length, if there is one.
async fn read_body(stream: &mut BufReader<TcpStream>, asked: &Asked) -> io::Result<Option<u64>> {
    if asked.expects {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    if let Some(length) = asked.length.filter(|length| *length > 0) {
        skip(stream, length).await?;
        return Ok(Some(length));
    }
    if !asked.chunked {
        return Ok(None);
    }
    let (mut total, mut line) = (0, String::new());
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        skip(stream, size).await?;
        line.clear();
        stream.read_line(&mut line).await?;
        if size == 0 {
            return Ok(Some(total));
        }
        total += size;
    }
}

async fn skip(stream: &mut BufReader<TcpStream>, mut length: u64) -> io::Result<()> {
    while length > 0 {
        let count = stream.fill_buf().await?.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.consume(count);
        length -= count as u64;
    }
    Ok(())
}

async fn answer(stream: &mut BufReader<TcpStream>, path: &str, read: Option<u64>) -> io::Result<()> {
    let mut parts = path.trim_start_matches('/').split('/');
    let mut kind = parts.next().unwrap_or("");
    let mut number = || parts.next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    if kind == "wait" {
        sleep(Duration::from_millis(number())).await;
        kind = "";
    }
    match kind {
        "drip" => {
            let (count, pause) = (number(), Duration::from_millis(number()));
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
            for _ in 0..count {
                stream.write_all(b"1\r\n.\r\n").await?;
                sleep(pause).await;
            }
            stream.write_all(b"0\r\n\r\n").await
        }
        "big" => {
            let mut left = number();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            let piece = vec![b'.'; 64 * 1024];
            while left > 0 {
                let count = left.min(piece.len() as u64);
                stream.write_all(&piece[..usize::try_from(count).unwrap_or(0)]).await?;
                left -= count;
            }
            Ok(())
        }
        _ => {
            let body = read.map_or_else(|| path.to_owned(), |read| read.to_string());
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(head.as_bytes()).await
        }
    }
}

async fn echo(mut stream: BufReader<TcpStream>) -> io::Result<()> {
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(switch).await?;
    let mut bytes = [0; 4096];
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&bytes[..count]).await?;
    }
}
