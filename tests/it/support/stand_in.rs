//! A gateway's admin listener, played by a thread: it answers one request and keeps what it got.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

/// The listener.
pub struct StandIn {
    pub address: SocketAddr,
    thread: JoinHandle<String>,
}

impl StandIn {
    /// Answers the first request with this status line and body.
    pub fn answering(status: &str, body: &str) -> StandIn {
        let answer =
            format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("a request") == 1 {
                head.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).expect("a client that reads");
            String::from_utf8(head).expect("a head in ASCII")
        });
        StandIn { address, thread }
    }

    /// The head of the request that came.
    pub fn request(self) -> String {
        self.thread.join().expect("the thread ends")
    }
}

/// An address at which nothing listens.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}
