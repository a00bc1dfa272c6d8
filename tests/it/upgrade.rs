//! Connections that change to WebSocket: judged first, passed only where the route lists it.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::command::about_folder;
use crate::support::{Gateway, Upstream, read_response, request};

fn config(upstream: &Upstream) -> String {
    format!(
        r#"{}
[[route]]
id = "ws"
path = "/ws/{{*rest}}"
upstream = "origin"
upgrade = ["websocket"]

[[route]]
id = "plain"
path = "/plain/{{*rest}}"
upstream = "origin"

[[rbac.grant]]
id = "all"
roles = ["anyone"]
paths = ["/ws/open", "/plain/{{*rest}}"]
"#,
        upstream.table("origin")
    )
}

fn switching() -> Upstream {
    Upstream::answering(|request| {
        if request.all("upgrade").is_empty() {
            return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
        }
        // The upstream's first bytes may come together with its answer.
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello"
            .to_vec()
    })
}

fn ask(gateway: &Gateway, path: &str, behind: &str) -> (TcpStream, crate::support::Response) {
    let mut stream = TcpStream::connect(gateway.address).expect("listens");
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n{behind}"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let response = read_response(&mut stream, false).expect("an answer");
    (stream, response)
}

#[test]
fn bytes_flow_both_ways_after_the_upstream_agreed() {
    let upstream = switching();
    let gateway = Gateway::start(&config(&upstream));
    let (mut stream, response) = ask(&gateway, "/ws/open", "");
    assert_eq!((response.status, response.header("upgrade")), (101, Some("websocket")));
    assert_eq!(response.rule(), "rbac/all");
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).expect("the upstream's first bytes");
    assert_eq!(&hello, b"hello");
    // The upstream of this test reads HTTP: a line and its end come back as an answer.
    stream.write_all(b"GET /echo HTTP/1.1\r\n\r\n").expect("sent through");
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).expect("answered through");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    drop(stream);
    let records = gateway.records(2);
    assert_eq!(records[0]["status"], 101);
    assert_eq!(records[1]["status"], 101);
    assert_eq!(records[1]["bytes"]["in"], 22);
}

/// What was carried is recorded also where the gateway cuts it, since it ends itself.
#[test]
fn a_connection_that_is_cut_has_its_bytes_recorded() {
    let timeouts = "[timeouts]\ndrain_delay = \"0s\"\ndrain = \"0s\"\n";
    let upstream = switching();
    let mut gateway = Gateway::start(&format!("{}{timeouts}", config(&upstream)));
    let (mut stream, _) = ask(&gateway, "/ws/open", "");
    stream.write_all(b"GET /echo HTTP/1.1\r\n\r\n").expect("sent through");
    let mut answer = [0; 20];
    stream.read_exact(&mut answer).expect("answered through");
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    let bytes = &gateway.records(2)[1]["bytes"];
    assert_eq!(bytes["in"], 22);
    assert!(bytes["out"].as_u64().is_some_and(|out| out >= 20), "{bytes}");
}

#[test]
fn a_refused_upgrade_never_reaches_the_upstream() {
    let upstream = switching();
    let gateway = Gateway::start(&config(&upstream));
    let (mut stream, response) =
        ask(&gateway, "/ws/closed", "GET /ws/open HTTP/1.1\r\nHost: app.test\r\n\r\n");
    assert_eq!((response.status, response.rule()), (403, "rbac/default-deny"));
    // What was sent behind it is not looked at: whoever asks to change the protocol and is refused
    // has no connection any more.
    assert_eq!(response.header("connection"), Some("close"));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty());
    assert_eq!(gateway.records(1).len(), 1);
    assert!(upstream.received().is_empty());
}

#[test]
fn where_the_route_does_not_list_it_the_request_is_a_plain_one() {
    let upstream = switching();
    let gateway = Gateway::start(&config(&upstream));
    let (_, response) = ask(&gateway, "/plain/x", "");
    assert_eq!(response.status, 200);
    let received = upstream.received().remove(0);
    assert!(received.all("upgrade").is_empty() && received.all("connection").is_empty());
}

/// RFC 9113 section 8.6: there is no Upgrade in HTTP/2.
#[test]
fn an_upstream_of_http2_alone_is_never_asked_for_another_protocol() {
    let upstream = switching();
    let text = config(&upstream).replace("http://", "h2c://");
    let gateway = Gateway::start(&text);
    let (_, response) = ask(&gateway, "/ws/open", "");
    assert_eq!((response.status, response.rule()), (502, "fault/upstream-protocol"));
    let status = response.header("proxy-status").expect("set");
    assert!(status.contains("error=http_protocol_error"), "{status}");
    assert!(upstream.received().is_empty());
}

/// What is no upgrade as RFC 6455 has it is a request with a body, for the server and for `explain`.
#[test]
fn a_field_alone_keeps_no_body_from_the_waf() {
    let upstream = switching();
    let more = "[[waf.rule]]\nid = \"evil\"\naction = \"deny\"\ntargets = [\"body\"]\nmatch = { contains = \"evil\" }\n";
    let gateway = Gateway::start(&format!("{}{more}", config(&upstream)));
    let fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Content-Type", "text/plain")];
    let answer = request(gateway.address, "POST", "/ws/open", &fields, b"evil");
    assert_eq!((answer.status, answer.rule()), (403, "waf/evil"));
    std::fs::write(gateway.folder().join("body"), "evil").expect("written");
    let body = gateway.folder().join("body");
    let body = body.to_str().expect("a path");
    let asked = ["explain", "/ws/open", "--method", "POST", "--header", "upgrade: websocket", "--header"];
    let more = ["connection: upgrade", "--content-type", "text/plain", "--body", body, "--format", "json"];
    let told = about_folder(gateway.folder(), &[&asked[..], &more[..]].concat()).json();
    assert_eq!((&told["decision"], &told["rule"]["name"]), (&"deny".into(), &"waf/evil".into()), "{told}");
}
