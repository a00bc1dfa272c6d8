//! The admin listener under clients that want to keep others out: whatever they do, probes, operators and
//! the socket get in.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;

use socket2::{Domain, Socket, Type};

use crate::support::{Gateway, Response, get_local, read_response, request, wait_until};

const CONFIG: &str = r#"
[upstream.demo]
servers = ["builtin:echo"]

[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"

[[rbac.grant]]
id = "home"
roles = ["anyone"]
path = "/"

[admin]
listen = "127.0.0.1:0"
token_file = "admin.token"
socket = "admin.sock"
"#;

/// Many more than there are seats.
const MANY: usize = 200;

fn bearer(gateway: &Gateway) -> String {
    let token = std::fs::read_to_string(gateway.folder().join("admin.token")).expect("made at the start");
    format!("Bearer {}", token.trim())
}

/// Everybody who must get in gets in.
fn check_that_nobody_is_shut_out(gateway: &Gateway) {
    let admin = gateway.admin.expect("an admin listener");
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(get_local(admin, path).status, 200, "{path}");
    }
    let fields = [("Host", "localhost"), ("Authorization", &*bearer(gateway))];
    assert_eq!(request(admin, "GET", "/api/status", &fields, b"").status, 200);
    let mut socket = UnixStream::connect(gateway.folder().join("admin.sock")).expect("a socket");
    socket.write_all(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    assert_eq!(read_response(&mut socket, false).expect("an answer").status, 200);
}

#[test]
fn who_sends_nothing_shuts_nobody_out() {
    let gateway = Gateway::start(CONFIG);
    let admin = gateway.admin.expect("an admin listener");
    let connect = |text: &[u8]| {
        let mut stream = TcpStream::connect(admin).expect("it listens");
        stream.write_all(text).expect("sent");
        stream
    };
    // Nothing at all, and the beginning of a head.
    let mut silent: Vec<TcpStream> =
        (0..MANY).map(|number| connect([&b""[..], b"GET / HTTP/1.1\r\nHost: lo"][number % 2])).collect();
    check_that_nobody_is_shut_out(&gateway);
    assert_eq!(get_local(admin, "/api/decisions").status, 200);
    // The first of them had to leave for it.
    assert!(matches!(silent[0].read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn who_reads_nothing_shuts_nobody_out() {
    let gateway = Gateway::start(CONFIG);
    let admin = gateway.admin.expect("an admin listener");
    let asked = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50);
    let _deaf: Vec<Socket> = (0..MANY / 2)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            // So little that the answers stay with the gateway.
            socket.set_recv_buffer_size(4096).expect("set");
            socket.connect(&admin.into()).expect("it listens");
            (&socket).write_all(&asked).expect("sent");
            socket
        })
        .collect();
    check_that_nobody_is_shut_out(&gateway);
}

#[test]
fn who_has_his_answer_is_no_longer_worked_for() {
    let gateway = Gateway::start(CONFIG);
    let admin = gateway.admin.expect("an admin listener");
    // More than are worked for at once, each of which stays.
    let stay: Vec<(u16, TcpStream)> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(admin).expect("it listens");
            stream.write_all(b"GET /api/decisions HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
            (read_response(&mut stream, false).expect("an answer").status, stream)
        })
        .collect();
    assert!(stay.iter().all(|(status, _)| *status == 200));
}

#[test]
fn who_asks_for_too_much_at_once_is_told_so_and_shuts_nobody_out() {
    let gateway = Gateway::start(CONFIG);
    let admin = gateway.admin.expect("an admin listener");
    let mut asking = Vec::new();
    let refused = wait_until(|| {
        for _ in 0..8 {
            // Worked for, until its document comes.
            let mut stream = TcpStream::connect(admin).expect("it listens");
            let head = "POST /api/explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n";
            stream.write_all(head.as_bytes()).expect("sent");
            asking.push(stream);
        }
        Some(get_local(admin, "/api/status")).filter(|answer| answer.status == 503)
    });
    assert_eq!(refused.json()["type"], "urn:portcullis:admin:too-many-requests");
    assert_eq!(refused.header("retry-after"), Some("5"));
    check_that_nobody_is_shut_out(&gateway);
}

#[test]
fn streams_of_events_have_a_number_of_their_own() {
    let gateway = Gateway::start(CONFIG);
    let admin = gateway.admin.expect("an admin listener");
    let bearer = bearer(&gateway);
    let mut open: Vec<TcpStream> = (0..8)
        .map(|_| {
            let (head, stream) = follow(admin, "");
            assert!(head.is_none());
            stream
        })
        .collect();
    let (refused, _) = follow(admin, "");
    let refused = refused.expect("a refusal");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let told = refused.json();
    assert_eq!(told["type"], "urn:portcullis:admin:too-many-streams");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("show the token")), "{told}");
    // Nobody else is concerned, and who has the token is counted apart.
    check_that_nobody_is_shut_out(&gateway);
    assert_eq!(get_local(admin, "/api/decisions").status, 200);
    let (head, _operator) = follow(admin, &format!("Authorization: {bearer}\r\n"));
    assert!(head.is_none());
    let mut top = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["top", "--lines", "0", "--admin", &admin.to_string(), "-c"])
        .arg(gateway.folder().join("portcullis.toml"))
        .spawn()
        .expect("it runs");
    assert!(top.wait().expect("an end").success());
    // One that ends makes room.
    open.pop();
    wait_until(|| follow(admin, "").0.is_none().then_some(()));
}

/// Asks for events: the stream of them, or the refusal.
fn follow(admin: SocketAddr, fields: &str) -> (Option<Response>, TcpStream) {
    let mut stream = TcpStream::connect(admin).expect("it listens");
    let head = format!(
        "GET /api/decisions HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{fields}\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("a status");
    match &status {
        b"HTTP/1.1 200" => (None, stream),
        _ => (read_response(&mut status.chain(&stream), false), stream),
    }
}
