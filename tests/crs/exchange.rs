//! One request and its answer, over a connection of its own, as bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::PATIENCE;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Head and body.
    pub(crate) text: Vec<u8>,
}

/// Sends bytes and reads an answer.
pub(crate) fn exchange(address: SocketAddr, request: &[u8]) -> Result<Answer, String> {
    let broken = |error: std::io::Error| format!("the connection broke: {error}");
    let mut stream = TcpStream::connect(address).map_err(broken)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    // A gateway may answer before it has read everything.
    let _ = stream.write_all(request);
    let mut text = Vec::new();
    loop {
        while find(&text, b"\r\n\r\n").is_none() {
            if !more(&mut stream, &mut text)? {
                return Err(format!("closed after {} bytes, without an answer", text.len()));
            }
        }
        let end = find(&text, b"\r\n\r\n").unwrap_or(0) + 4;
        let status = text.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let status: u16 = status.filter(|_| text.starts_with(b"HTTP/")).ok_or("this is no answer")?;
        if status < 200 && status != 101 {
            text.drain(..end);
            continue;
        }
        let head = String::from_utf8_lossy(&text[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let chunked =
            head.lines().any(|line| line.starts_with("transfer-encoding:") && line.contains("chunked"));
        let bodiless = matches!(status, 101 | 204 | 304) || request.starts_with(b"HEAD ");
        let done = |text: &[u8]| match (bodiless, chunked, length) {
            (true, ..) => true,
            (_, true, _) => text.ends_with(b"0\r\n\r\n"),
            (_, false, Some(length)) => text.len() - end >= length,
            (_, false, None) => false,
        };
        while !done(&text) && more(&mut stream, &mut text).unwrap_or(false) {}
        return Ok(Answer { status, text });
    }
}

fn more(stream: &mut TcpStream, text: &mut Vec<u8>) -> Result<bool, String> {
    let mut piece = [0; 16 << 10];
    let count = stream.read(&mut piece).map_err(|error| format!("the connection broke: {error}"))?;
    text.extend_from_slice(&piece[..count]);
    Ok(count > 0)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
