//! What is too much or too slow: connections, silence, bodies that do not come.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::support::{Gateway, Response, Upstream, get, get_local, read_response, wait_until};

fn config(upstream: &Upstream, more: &str) -> String {
    format!(
        "{}\n[[route]]\nid = \"all\"\npath = \"/{{*rest}}\"\nupstream = \"origin\"\n[[rbac.grant]]\nid = \"all\"\n\
         roles = [\"anyone\"]\n{more}",
        upstream.table("origin")
    )
}

const ECHO: &str = "[upstream.demo]\nservers = [\"builtin:echo\"]\n[[route]]\nid = \"all\"\n\
                    path = \"/{*rest}\"\nupstream = \"demo\"\n[[rbac.grant]]\nid = \"all\"\n\
                    roles = [\"anyone\"]\n";

fn ask(stream: &mut TcpStream) -> Option<Response> {
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: app.test\r\n\r\n").expect("sent");
    read_response(stream, false)
}

/// Whether the gateway closes a connection on which it was sent this much.
fn closes(gateway: &Gateway, sent: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address).expect("listens");
    stream.write_all(sent.as_bytes()).expect("sent");
    let mut rest = String::new();
    let _ = stream.read_to_string(&mut rest);
    rest
}

fn metric(gateway: &Gateway, name: &str) -> Option<f64> {
    let text = get_local(gateway.admin.expect("an admin listener"), "/metrics").text();
    let line = text.lines().find(|line| line.starts_with(name))?.to_owned();
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_connection_too_many_is_told_so_and_recorded() {
    let upstream = Upstream::start();
    for limit in ["connections = 1", "connections_per_address = 1"] {
        let gateway = Gateway::start(&config(&upstream, &format!("[limits]\n{limit}\n")));
        let mut first = TcpStream::connect(gateway.address).expect("listens");
        assert_eq!(ask(&mut first).expect("an answer").status, 200, "{limit}");
        let refused = get(gateway.address, "/x");
        assert_eq!((refused.status, refused.rule()), (503, "fault/overload"), "{limit}");
        assert_eq!(refused.header("x-portcullis-decision"), Some("error"));
        assert_eq!(refused.header("retry-after"), Some("5"));
        assert_eq!(refused.json()["reason"], "overloaded");
        let record = gateway.records(2).into_iter().find(|record| record["rule"] == "fault/overload");
        assert_eq!(record.expect("a record")["status"], 503);
        assert_eq!(
            metric(&gateway, "portcullis_decisions_total{stage=\"fault\",rule=\"fault/overload\""),
            Some(1.0)
        );
        drop(first);
        wait_until(|| (get(gateway.address, "/x").status == 200).then_some(()));
    }
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(
        &upstream,
        "[timeouts]\ndrain_delay = \"0s\"\nfirst_byte = \"100ms\"\nhead = \"100ms\"\nidle = \"100ms\"\n",
    ));
    assert_eq!(closes(&gateway, ""), "");
    assert_eq!(closes(&gateway, "GET /x HT"), "");
    let record = gateway.records(1).remove(0);
    assert_eq!(
        (record["rule"].as_str(), record["decision"].as_str()),
        (Some("intake/malformed"), Some("deny"))
    );
    let kept = closes(&gateway, "GET /x HTTP/1.1\r\nHost: app.test\r\n\r\n");
    assert!(kept.starts_with("HTTP/1.1 200 "), "{kept}");
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn a_connection_of_http2_is_not_kept_for_a_first_request_that_does_not_come() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(
        &upstream,
        "[timeouts]\ndrain_delay = \"0s\"\nhead = \"100ms\"\nidle = \"1h\"\n",
    ));
    let settings = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    closes(&gateway, settings);
    // Part of a HEADERS frame.
    closes(&gateway, &format!("{settings}\0\x01\0\x01\x05\0\0\0\x01ab"));
}

#[test]
fn without_descriptors_connections_wait_and_operators_are_let_in() {
    let folder = tempfile::tempdir().expect("a folder");
    // Enough to start with two threads, and for a few clients.
    let config = format!("{ECHO}[server]\nlisten = [\"127.0.0.1:0\"]\nthreads = 2\n");
    let mut gateway = Gateway::start_after("ulimit -n 64", folder, &config);
    gateway.wait_for("may need more descriptors");
    let connect = || TcpStream::connect(gateway.address).expect("the system takes connections");
    let waiting: Vec<TcpStream> = (0..100).map(|_| connect()).collect();
    let admin = gateway.admin.expect("an admin listener");
    gateway.wait_for("connections cannot be accepted");
    for _ in 0..20 {
        assert_eq!(get_local(admin, "/livez").status, 200);
        assert_eq!(get_local(admin, "/api/status").status, 200);
    }
    assert!(metric(&gateway, "portcullis_connections").is_some_and(|open| open < 64.0));
    // A reload that finds no descriptor for its files is made good as soon as there are some.
    gateway.write_config(&config.replace("roles = [\"anyone\"]", "roles = [\"authenticated\"]"));
    drop(waiting);
    wait_until(|| (get(gateway.address, "/x").status == 403).then_some(()));
}

#[test]
fn with_few_descriptors_whoever_is_taken_is_served() {
    let upstream = Upstream::start();
    let threads = "[server]\nlisten = [\"127.0.0.1:0\"]\nthreads = 2\n";
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::start_after("ulimit -n 100", folder, &config(&upstream, threads));
    let open = |number: usize| {
        let mut stream = TcpStream::connect(gateway.address).expect("the system takes connections");
        let head = format!("GET /{number} HTTP/1.1\r\nHost: app.test\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        stream
    };
    let waiting: Vec<TcpStream> = (0..100).map(open).collect();
    gateway.wait_for("connections cannot be accepted");
    // As many as can have an upstream each; the others wait, and are no errors.
    let first = gateway.records(8);
    drop(waiting);
    wait_until(|| (get(gateway.address, "/x").status == 200).then_some(()));
    for record in first.into_iter().chain(gateway.records(9)) {
        assert_eq!(record["decision"], "allow", "{record}");
    }
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let upstream = Upstream::start();
    let gateway =
        Gateway::start(&config(&upstream, "[timeouts]\ndrain_delay = \"0s\"\nbody_idle = \"100ms\"\n"));
    let answer = closes(
        &gateway,
        "POST /x HTTP/1.1\r\nHost: app.test\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nabc",
    );
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(upstream.received().is_empty());
    let record = gateway.records(1).remove(0);
    assert_eq!(record["decision"], "deny");
}

#[test]
fn a_body_cut_short_is_refused_and_recorded() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream, ""));
    let mut stream = TcpStream::connect(gateway.address).expect("listens");
    stream
        .write_all(b"POST /x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
        .expect("sent");
    drop(stream);
    let record = gateway.records(1).remove(0);
    assert_eq!(
        (record["rule"].as_str(), record["status"].as_u64()),
        (Some("intake/malformed"), Some(400)),
        "{record}"
    );
    assert_eq!(get(gateway.address, "/y").status, 200);
    assert!(upstream.received().iter().all(|request| request.line.contains("/y")));
}

#[test]
fn a_client_that_does_not_wait_for_its_answer_is_recorded() {
    let (arrived, seen) = channel::<()>();
    let (release, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::answering(move |_| {
        arrived.send(()).expect("the test waits");
        let _ = wait.lock().expect("not poisoned").recv();
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    let gateway = Gateway::start(&config(&upstream, ""));
    let mut stream = TcpStream::connect(gateway.address).expect("listens");
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: app.test\r\n\r\n").expect("sent");
    seen.recv().expect("the request arrived upstream");
    drop(stream);
    let record = gateway.records(1).remove(0);
    assert_eq!((record["status"].as_u64(), record["path"].as_str()), (Some(499), Some("/x")), "{record}");
    release.send(()).expect("the upstream waits");
    assert_eq!(metric(&gateway, "portcullis_panics_total"), Some(0.0));
}

#[test]
fn a_mebibyte_of_header_is_refused_by_name() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream, ""));
    let big = format!("GET /x HTTP/1.1\r\nHost: app.test\r\nX-Big: {}\r\n\r\n", "a".repeat(1 << 20));
    let mut stream = TcpStream::connect(gateway.address).expect("listens");
    let _ = stream.write_all(big.as_bytes());
    let _ = read_response(&mut stream, false);
    let record = gateway.records(1).remove(0);
    assert_eq!(
        (record["rule"].as_str(), record["reason"].as_str()),
        (Some("intake/head-too-large"), Some("head_too_large"))
    );
    let many: String = (0..2000).map(|number| format!("X-{number}: y\r\n")).collect();
    let response = crate::support::send(
        gateway.address,
        format!("GET /x HTTP/1.1\r\nHost: app.test\r\n{many}\r\n").as_bytes(),
    );
    assert_eq!(response.status, 431);
    assert_eq!(gateway.records(2)[1]["rule"], "intake/too-many-fields");
    assert!(upstream.received().is_empty());
    assert_eq!(get(gateway.address, "/x").status, 200);
}

#[test]
fn a_connection_that_was_refused_is_not_kept_for_ever_either() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream, "[timeouts]\ndrain_delay = \"0s\"\nidle = \"100ms\"\n"));
    let kept = closes(&gateway, "GET /%00 HTTP/1.1\r\nHost: app.test\r\n\r\n");
    assert!(kept.starts_with("HTTP/1.1 400 "), "{kept}");
}
