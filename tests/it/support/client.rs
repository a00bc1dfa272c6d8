//! A client that sends exactly the bytes it is given.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer, taken apart.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

impl Response {
    /// The value of a header field, if it stands exactly once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| &**value);
        let first = values.next();
        assert!(values.next().is_none(), "{name} stands twice: {:?}", self.headers);
        first
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The rule that decided, as the header names it.
    pub fn rule(&self) -> &str {
        self.header("x-portcullis-rule").unwrap_or("-")
    }
}

/// GET of a path with `Host: app.test`.
pub fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, &[], b"")
}

/// GET of a path of the admin listener, which takes only local hosts.
pub fn get_local(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, &[("Host", "localhost")], b"")
}

/// A request with `Host: app.test` unless the fields name another.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Response {
    send(address, &head(method, path, fields, body))
}

fn head(method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text.push_str("Host: app.test\r\n");
    }
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("Connection: close\r\n\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Sends bytes on a connection of their own; the first answer.
pub fn send(address: SocketAddr, bytes: &[u8]) -> Response {
    exchange(address, bytes).unwrap_or_else(|| panic!("no answer to {:?}", String::from_utf8_lossy(bytes)))
}

/// Sends bytes on a connection of their own; the first answer, if one comes.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Option<Response> {
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // The gateway may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    read_response(&mut stream, bytes.starts_with(b"HEAD "))
}

/// Reads one answer from a connection.
pub fn read_response(stream: &mut impl Read, head_only: bool) -> Option<Response> {
    // Byte by byte, so that what stands behind the head stays where it is.
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        // A read with a timeout is interrupted when the process is stopped and goes on; `read_exact`
        // and `read_to_end` try again then.
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let end = bytes.len() - 4;
    let mut body = Vec::new();
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let find = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    if head_only || matches!(status, 100..200 | 204 | 304) {
        body.clear();
    } else if let Some(length) = find("content-length") {
        let _ = stream.take(length.parse().ok()?).read_to_end(&mut body);
    } else {
        let _ = stream.read_to_end(&mut body);
        if find("transfer-encoding").is_some() {
            body = unchunk(&body);
        }
    }
    Some(Response { status, headers, body })
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { break };
        let Some(chunk) = bytes.get(end + 2..end + 2 + size).filter(|_| size > 0) else { break };
        body.extend_from_slice(chunk);
        bytes = bytes.get(end + 4 + size..).unwrap_or_default();
    }
    body
}
