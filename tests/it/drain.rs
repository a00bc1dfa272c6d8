//! The end of the process: clients are asked to leave, what is in flight may end, then it is cut.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use crate::support::http2::stay_until_asked_to_leave;
use crate::support::{Gateway, Upstream, get, read_response};

fn config(upstream: &Upstream, timeouts: &str) -> String {
    format!(
        "{}\n[[route]]\nid = \"all\"\npath = \"/{{*rest}}\"\nupstream = \"origin\"\n[[rbac.grant]]\nid = \"all\"\n\
         roles = [\"anyone\"]\n[timeouts]\n{timeouts}\n",
        upstream.table("origin")
    )
}

#[test]
fn a_request_in_flight_ends_well_and_the_process_exits_with_0() {
    let (release, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let (arrived, seen) = channel::<()>();
    let upstream = Upstream::answering(move |_| {
        arrived.send(()).expect("the test waits");
        let _ = wait.lock().expect("not poisoned").recv_timeout(Duration::from_secs(20));
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    let mut gateway = Gateway::start(&config(&upstream, "drain_delay = \"0s\"\ndrain = \"20s\""));
    let mut stream = TcpStream::connect(gateway.address).expect("listens");
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: app.test\r\n\r\n").expect("sent");
    seen.recv().expect("the request arrived upstream");
    gateway.signal("TERM");
    gateway.wait_for("clients are asked to leave");
    release.send(()).expect("the upstream waits");
    let response = read_response(&mut stream, false).expect("an answer");
    assert_eq!(response.status, 200);
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn while_leaving_requests_are_served_and_health_says_no() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(&config(&upstream, "drain_delay = \"20s\"\ndrain = \"1s\""));
    let admin = gateway.admin.expect("an admin listener");
    assert_eq!(get(admin, "/readyz").status, 200);
    gateway.signal("TERM");
    gateway.wait_for("clients are asked to leave");
    assert_eq!((get(admin, "/readyz").status, get(admin, "/livez").status), (503, 200));
    let mut stream = TcpStream::connect(gateway.address).expect("still listens");
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: app.test\r\n\r\n").expect("sent");
    let response = crate::support::wait_until(|| read_response(&mut stream, false));
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    gateway.signal("INT");
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn what_does_not_end_in_time_is_cut() {
    let (arrived, seen) = channel::<()>();
    let upstream = Upstream::answering(move |_| {
        arrived.send(()).expect("the test waits");
        loop {
            std::thread::park();
        }
    });
    let mut gateway = Gateway::start(&config(&upstream, "drain_delay = \"0s\"\ndrain = \"0s\""));
    let mut stream = TcpStream::connect(gateway.address).expect("listens");
    stream.write_all(b"GET /hangs HTTP/1.1\r\nHost: app.test\r\n\r\n").expect("sent");
    seen.recv().expect("the request arrived upstream");
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty());
    let record = gateway.records(1).remove(0);
    assert_eq!((record["decision"].as_str(), record["status"].as_u64()), (Some("allow"), Some(499)));
}

#[test]
fn an_idle_connection_does_not_hold_the_process() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(&config(&upstream, "drain_delay = \"0s\"\ndrain = \"20s\""));
    let mut idle = TcpStream::connect(gateway.address).expect("listens");
    idle.write_all(b"GET /x HTTP/1.1\r\nHost: app.test\r\n\r\n").expect("sent");
    assert!(read_response(&mut idle, false).is_some());
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(idle.read(&mut [0; 10]).unwrap_or(0), 0);
}

#[test]
fn a_request_that_has_begun_to_come_is_served() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(&config(&upstream, "drain_delay = \"0s\"\ndrain = \"20s\""));
    let mut kept = TcpStream::connect(gateway.address).expect("listens");
    kept.write_all(b"GET /x HTTP/1.1\r\nHost: app.test\r\n\r\n").expect("sent");
    assert!(read_response(&mut kept, false).is_some());
    kept.write_all(b"GET /half ").expect("sent");
    gateway.signal("TERM");
    gateway.wait_for("clients are asked to leave");
    kept.write_all(b"HTTP/1.1\r\nHost: app.test\r\n\r\n").expect("sent");
    let response = read_response(&mut kept, false).expect("an answer");
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn connections_that_wait_to_be_accepted_are_served() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(&config(&upstream, "drain_delay = \"0s\"\ndrain = \"20s\""));
    let open = |number: usize| {
        let mut stream = TcpStream::connect(gateway.address).expect("listens");
        let head = format!("GET /{number} HTTP/1.1\r\nHost: app.test\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        stream
    };
    // Without a turn to accept them: the process is stopped while they come.
    gateway.signal("STOP");
    let waiting: Vec<TcpStream> = (0..300).map(open).collect();
    gateway.signal("TERM");
    gateway.signal("CONT");
    for mut stream in waiting {
        assert_eq!(read_response(&mut stream, false).expect("an answer").status, 200);
    }
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn clients_of_http2_are_asked_to_leave_at_once() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(&config(&upstream, "drain_delay = \"1h\"\ndrain = \"1s\""));
    let request = Request::get("http://app.test/x").body(Bytes::new()).expect("a request");
    stay_until_asked_to_leave(gateway.address, request, || gateway.signal("TERM"));
    // Who comes later is served all the same, once.
    let request = Request::get("http://app.test/x").body(Bytes::new()).expect("a request");
    stay_until_asked_to_leave(gateway.address, request, || ());
    gateway.signal("INT");
    assert_eq!(gateway.wait(), Some(0));
}
