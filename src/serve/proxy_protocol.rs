//! The PROXY protocol in front of a connection: who the client of a proxy is.
//!
//! Only a listed proxy is asked, and it must say it. Exactly the header is taken from the socket, so that
//! what follows, TLS or HTTP, is found where it begins. What it may say is told in [`crate::facts`].

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::facts::proxied::{MAX_LINE, Said, Wanted, said, wanted};

/// Why there is no header to go by.
#[derive(Debug)]
pub(super) enum Unsaid {
    /// Nothing came at all, and nothing more will.
    Silence,
    /// The connection broke off in the header.
    Broken(io::Error),
    /// It cannot be accepted, and why.
    Refused(&'static str),
}

/// Reads the header, and not one byte more.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Said, Unsaid> {
    let mut head = Vec::with_capacity(128);
    loop {
        let count = match wanted(&head).map_err(Unsaid::Refused)? {
            Wanted::Nothing => return said(&head).map_err(Unsaid::Refused),
            Wanted::Bytes(count) => count,
            Wanted::Line => {
                let mut ahead = [0; MAX_LINE];
                let room = MAX_LINE.saturating_sub(head.len());
                let seen = stream.peek(&mut ahead[..room]).await.map_err(Unsaid::Broken)?;
                memchr::memchr(b'\n', &ahead[..seen]).map_or(seen, |end| end + 1).max(1)
            }
        };
        let before = head.len();
        head.resize(before + count, 0);
        let mut filled = before;
        while filled < head.len() {
            match stream.read(&mut head[filled..]).await.map_err(Unsaid::Broken)? {
                0 if filled == 0 => return Err(Unsaid::Silence),
                0 => return Err(Unsaid::Broken(io::ErrorKind::UnexpectedEof.into())),
                read => filled += read,
            }
        }
    }
}
