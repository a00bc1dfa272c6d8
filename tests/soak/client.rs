//! An HTTP/1.1 client on a connection that is kept, over clear text or TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection.
pub struct Client<S = TcpStream> {
    pub stream: S,
    /// Bytes that came and are not read yet.
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the body is as long as the head says.
    pub whole: bool,
}

/// Nobody waits longer for a piece of an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a future on a runtime of its own.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// GET of a path.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n").into_bytes()
}

impl Answer {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The generation of the policy that judged.
    pub fn generation(&self) -> Option<u64> {
        self.field("x-portcullis-policy")?.split('-').next()?.parse().ok()
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        self.field("x-portcullis-rule").unwrap_or("-")
    }

    /// Whether no further request may follow on its connection.
    pub fn closes(&self) -> bool {
        self.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Client {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client::over(stream))
    }

    /// GET of a path on a connection of its own.
    pub async fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
        Client::connect(address).await?.ask(&get(path)).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Over an open stream.
    pub fn over(stream: S) -> Client<S> {
        Client { stream, buffer: Vec::new() }
    }

    /// Sends a request; its answer.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.answer().await
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads an answer.
    pub async fn answer(&mut self) -> io::Result<Answer> {
        let head = self.head().await?;
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut answer = Answer { status, head, body: Vec::new(), whole: true };
        if matches!(status, 100..200 | 204 | 304) {
            return Ok(answer);
        }
        let length = answer.field("content-length").and_then(|text| text.parse::<usize>().ok());
        if let Some(length) = length {
            answer.whole = self.take(length, &mut answer.body).await.is_ok();
        } else if answer.field("transfer-encoding").is_some() {
            answer.whole = self.chunks(&mut answer.body).await.is_ok();
        } else {
            while self.fill().await? > 0 {}
            answer.body.append(&mut self.buffer);
        }
        Ok(answer)
    }

    /// What came and is not read yet.
    pub fn rest(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads the head of an answer.
    pub async fn head(&mut self) -> io::Result<String> {
        let mut seen = 0;
        loop {
            let from = usize::saturating_sub(seen, 3);
            if let Some(at) = memchr::memmem::find(&self.buffer[from..], b"\r\n\r\n") {
                let rest = self.buffer.split_off(from + at + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            seen = self.buffer.len();
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let size = self.line().await?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            self.take(size, body).await?;
            self.line().await?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    async fn take(&mut self, mut length: usize, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let count = length.min(self.buffer.len());
            body.extend(self.buffer.drain(..count));
            length -= count;
            if length == 0 {
                return Ok(());
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await?
    }
}
