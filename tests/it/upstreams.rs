//! Several servers behind one name: who gets a request, who is left alone, what is sent again, and what
//! the client is told when nothing can serve.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::stand_in::nobody;
use crate::support::{Gateway, Response, Upstream, get, get_local, read_response, request, send, wait_until};

const REST: &str = "[[route]]\nid = \"all\"\npath = \"/{*rest}\"\nupstream = \"origin\"\n\
                    [[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\n\
                    [server]\nlisten = [\"127.0.0.1:0\"]\nthreads = 1\n";

fn config(servers: &[String], more: &str) -> String {
    format!("[upstream.origin]\nservers = [{}]\n{more}\n{REST}", servers.join(", "))
}

fn plain(address: SocketAddr) -> String {
    format!("\"http://{address}\"")
}

/// An upstream that says who it is.
fn named(name: &'static str) -> Upstream {
    Upstream::answering(move |_| {
        format!("HTTP/1.1 200 OK\r\nX-Name: {name}\r\nContent-Length: 2\r\n\r\nok").into_bytes()
    })
}

fn name(response: &Response) -> &str {
    response.header("x-name").unwrap_or("-")
}

fn reason(response: &Response) -> &str {
    response.header("x-portcullis-reason").unwrap_or("-")
}

/// How the servers are, as the admin interface tells it.
fn states(gateway: &Gateway) -> Vec<String> {
    let status = get_local(gateway.admin.expect("an admin listener"), "/api/status").json();
    let servers = status["upstreams"][0]["servers"].as_array().expect("servers").clone();
    servers.iter().map(|server| server["state"].as_str().expect("a state").to_owned()).collect()
}

#[test]
fn turns_follow_the_weights() {
    let (a, b) = (named("a"), named("b"));
    let heavy = format!("{{ url = \"http://{}\", weight = 3 }}", b.address);
    let gateway = Gateway::start(&config(&[plain(a.address), heavy], ""));
    for _ in 0..8 {
        assert_eq!(get(gateway.address, "/x").status, 200);
    }
    assert_eq!((a.received().len(), b.received().len()), (2, 6));
}

#[test]
fn a_hash_keeps_a_session_on_its_server() {
    let (a, b) = (named("a"), named("b"));
    for on in ["header:x-session", "cookie:session", "path"] {
        let more = format!("balance = \"hash\"\nhash_on = \"{on}\"");
        let gateway = Gateway::start(&config(&[plain(a.address), plain(b.address)], &more));
        let ask = |session: usize| {
            let (id, cookie) = (session.to_string(), format!("x=1; session={session}"));
            let fields = [("x-session", id.as_str()), ("Cookie", cookie.as_str())];
            let response = request(gateway.address, "GET", &format!("/{session}"), &fields, b"");
            name(&response).to_owned()
        };
        let first: Vec<String> = (0..16).map(ask).collect();
        assert_eq!(first, (0..16).map(ask).collect::<Vec<_>>(), "{on}");
        assert!(first.contains(&"a".to_owned()) && first.contains(&"b".to_owned()), "{on}");
    }
}

#[test]
fn the_less_busy_server_is_asked() {
    let (busy, release) = holding();
    let free = named("free");
    let servers = [plain(busy.address), plain(free.address)];
    let gateway = Gateway::start(&config(&servers, "balance = \"least-request\""));
    // Ask until one request hangs at the busy server.
    let mut held = Vec::new();
    while busy.received().is_empty() && held.len() < 64 {
        held.push(open(gateway.address, "/x"));
        wait_until(|| (busy.received().len() + free.received().len() == held.len()).then_some(()));
    }
    for _ in 0..8 {
        assert_eq!(name(&get(gateway.address, "/x")), "free");
    }
    release.send(()).expect("it waits");
}

#[test]
fn a_dead_server_costs_no_request_and_is_left_alone() {
    let alive = named("alive");
    let servers = [plain(nobody()), plain(alive.address)];
    let gateway =
        Gateway::start(&config(&servers, "outlier = { failures = 2, eject = \"1h\", max_eject = \"1h\" }"));
    for _ in 0..4 {
        // Nothing was sent, so a body does not matter.
        let response = request(gateway.address, "POST", "/x", &[], b"body");
        assert_eq!((response.status, name(&response)), (200, "alive"));
    }
    assert_eq!(states(&gateway), ["ejected", "up"]);
    let metrics = get_local(gateway.admin.expect("an admin listener"), "/metrics").text();
    assert!(
        metrics.contains("portcullis_upstream_servers{upstream=\"origin\",state=\"ejected\"} 1"),
        "{metrics}"
    );
    // What is known of a server survives a reload that keeps it.
    let changed = config(&servers, "outlier = { failures = 3, eject = \"1h\", max_eject = \"1h\" }");
    gateway.write_config(&changed);
    gateway.signal("HUP");
    let version = |text: String| text.contains("\"generation\":2");
    let admin = gateway.admin.expect("an admin listener");
    wait_until(|| version(get_local(admin, "/api/status").text()).then_some(()));
    assert_eq!(name(&get(gateway.address, "/x")), "alive");
    assert_eq!(states(&gateway), ["ejected", "up"]);
}

#[test]
fn the_only_server_is_never_left_alone() {
    let gateway = Gateway::start(&config(&[plain(nobody())], "outlier = { failures = 1 }"));
    for _ in 0..3 {
        let response = get(gateway.address, "/x");
        assert_eq!((response.status, response.rule()), (502, "fault/upstream-connect"));
        assert_eq!(reason(&response), "upstream_refused");
    }
    assert_eq!(states(&gateway), ["up"]);
}

#[test]
fn checks_take_a_sick_server_out_and_bring_it_back() {
    let well = Arc::new(AtomicBool::new(true));
    let sick = Arc::clone(&well);
    let upstream = Upstream::answering(move |request| {
        let good = !request.line.contains("/healthz") || sick.load(Ordering::SeqCst);
        let status = if good { "204 No Content" } else { "500 Internal Server Error" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    });
    let health = "health = { path = \"/healthz\", interval = \"5ms\", healthy = 2, unhealthy = 2 }";
    let gateway = Gateway::start(&config(&[plain(upstream.address)], health));
    assert_eq!(get(gateway.address, "/x").status, 204);
    well.store(false, Ordering::SeqCst);
    wait_until(|| (states(&gateway) == ["unhealthy"]).then_some(()));
    let response = get(gateway.address, "/x");
    assert_eq!((response.status, response.rule()), (503, "fault/upstream-connect"));
    assert_eq!(reason(&response), "upstream_unavailable");
    assert!(response.header("retry-after").is_some());
    assert!(response.header("proxy-status").expect("set").contains("error=destination_unavailable"));
    well.store(true, Ordering::SeqCst);
    wait_until(|| (states(&gateway) == ["up"]).then_some(()));
    assert_eq!(get(gateway.address, "/x").status, 204);
}

#[test]
fn only_what_is_safe_to_repeat_is_repeated() {
    for (more, method, status) in [
        // Something was sent and nothing is known of it.
        ("", "GET", 502),
        ("retry = { attempts = 2 }", "POST", 502),
        ("retry = { attempts = 2 }", "GET", 200),
        ("retry = { attempts = 2 }", "DELETE", 200),
        ("retry = { attempts = 2, budget = 0.0 }", "GET", 502),
        ("retry = { attempts = 1 }", "GET", 502),
    ] {
        let (cutting, good) = (Upstream::answering(|_| Vec::new()), named("good"));
        let gateway = Gateway::start(&config(&[plain(cutting.address), plain(good.address)], more));
        let response = request(gateway.address, method, "/x", &[], b"");
        assert_eq!(response.status, status, "{method} with {more:?}");
        if status == 502 {
            assert_eq!(response.rule(), "fault/upstream-reset");
            assert!(response.header("proxy-status").expect("set").contains("error=connection_terminated"));
        }
        assert_eq!(cutting.received().len(), 1, "{method} with {more:?}");
    }
}

#[test]
fn a_rested_connection_that_dies_under_a_request_costs_none_that_does_no_harm() {
    for (method, status) in [("GET", 200), ("POST", 502)] {
        let count = AtomicUsize::new(0);
        // Every second request finds its connection closed, however shortly it rested.
        let upstream = Upstream::answering(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            1 => Vec::new(),
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
        });
        // Without a budget: this is no retry of what a server failed.
        let gateway =
            Gateway::start(&config(&[plain(upstream.address)], "retry = { attempts = 1, budget = 0.0 }"));
        assert_eq!(request(gateway.address, method, "/x", &[], b"").status, 200);
        assert_eq!(request(gateway.address, method, "/x", &[], b"").status, status, "{method}");
        assert_eq!(upstream.received().len(), if status == 200 { 3 } else { 2 });
    }
}

#[test]
fn a_streamed_body_is_never_sent_twice() {
    let (cutting, good) = (Upstream::answering(|_| Vec::new()), named("good"));
    let servers = [plain(cutting.address), plain(good.address)];
    let gateway = Gateway::start(&config(&servers, "retry = { attempts = 3 }"));
    let response = request(gateway.address, "PUT", "/x", &[], b"body");
    assert_eq!((response.status, response.rule()), (502, "fault/upstream-reset"));
    assert!(good.received().is_empty());
}

#[test]
fn statuses_that_are_listed_are_asked_again_elsewhere() {
    let full = Upstream::answering(|_| b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n".to_vec());
    let good = named("good");
    let retry = "retry = { status = [503] }";
    let gateway = Gateway::start(&config(&[plain(full.address), plain(good.address)], retry));
    assert_eq!(name(&get(gateway.address, "/x")), "good");
    // Where nobody else can be asked, the answer is passed on as it came.
    let gateway = Gateway::start(&config(&[plain(full.address)], retry));
    let response = get(gateway.address, "/x");
    assert_eq!((response.status, response.header("x-portcullis-decision")), (503, Some("allow")));
}

/// An upstream that holds its first request until it is told to go on.
fn holding() -> (Upstream, Sender<()>) {
    let (release, wait) = channel::<()>();
    let wait: Mutex<Option<Receiver<()>>> = Mutex::new(Some(wait));
    let upstream = Upstream::holding(move |_| {
        let first = wait.lock().expect("not poisoned").take();
        if let Some(first) = first {
            let _ = first.recv();
        }
        b"HTTP/1.1 200 OK\r\nX-Name: held\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    (upstream, release)
}

fn open(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    let head = format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    stream
}

#[test]
fn an_upstream_without_room_refuses_and_says_when_to_come_back() {
    for limit in ["max_requests = 1\nmax_pending = 0", "max_connections = 1\nmax_pending = 0"] {
        let (upstream, release) = holding();
        let gateway = Gateway::start(&config(&[plain(upstream.address)], limit));
        let mut held = open(gateway.address, "/held");
        wait_until(|| (!upstream.received().is_empty()).then_some(()));
        let response = get(gateway.address, "/x");
        assert_eq!((response.status, response.rule()), (503, "fault/overload"), "{limit}");
        assert_eq!(reason(&response), "upstream_overloaded");
        assert!(response.header("retry-after").is_some());
        assert!(response.header("proxy-status").expect("set").contains("error=connection_limit_reached"));
        // It is not the client's connection that is one too many.
        let mut kept = TcpStream::connect(gateway.address).expect("the gateway listens");
        kept.write_all(b"GET /x HTTP/1.1\r\nHost: app.test\r\n\r\n").expect("sent");
        let response = read_response(&mut kept, false).expect("an answer");
        assert_eq!((response.status, response.header("connection")), (503, None), "{limit}");
        release.send(()).expect("it waits");
        assert_eq!(read_response(&mut held, false).expect("an answer").status, 200);
        assert_eq!(get(gateway.address, "/x").status, 200, "{limit}");
    }
}

#[test]
fn a_limit_of_connections_is_each_servers_own() {
    let (a, b) = (named("a"), named("b"));
    let more = "max_connections = 1\nmax_pending = 0\nidle = \"1h\"";
    let gateway = Gateway::start(&config(&[plain(a.address), plain(b.address)], more));
    for wanted in ["a", "b", "a", "b"] {
        assert_eq!(name(&get(gateway.address, "/x")), wanted);
    }
}

#[test]
fn who_waits_for_room_is_served_when_there_is_some() {
    for limit in ["max_requests = 1", "max_connections = 1"] {
        let (upstream, release) = holding();
        let more = format!("{limit}\npending_timeout = \"60s\"");
        let gateway = Gateway::start(&config(&[plain(upstream.address)], &more));
        let mut held = open(gateway.address, "/held");
        wait_until(|| (!upstream.received().is_empty()).then_some(()));
        let mut waiting = open(gateway.address, "/waiting");
        release.send(()).expect("it waits");
        for stream in [&mut held, &mut waiting] {
            assert_eq!(read_response(stream, false).expect("an answer").status, 200, "{limit}");
        }
    }
}

#[test]
fn an_answer_that_takes_too_long_in_all_is_cut_and_recorded() {
    let upstream = Upstream::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec());
    let gateway = Gateway::start(&config(&[plain(upstream.address)], "timeouts = { total = \"100ms\" }"));
    let response = get(gateway.address, "/x");
    assert!(response.status == 200 && response.body.len() < 100);
    let record = gateway.records(1).remove(0);
    assert_eq!((record["decision"].as_str(), record["status"].as_u64()), (Some("error"), Some(200)));
    assert_eq!(record["rule"], "fault/upstream-timeout");
}

#[test]
fn an_answer_that_the_upstream_cuts_is_recorded_as_an_error_with_the_status_that_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            read_head(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
        }
    });
    let gateway = Gateway::start(&config(&[plain(address)], ""));
    let response = get(gateway.address, "/x");
    assert!(response.status == 200 && response.body.len() < 100);
    let record = gateway.records(1).remove(0);
    assert_eq!((record["decision"].as_str(), record["status"].as_u64()), (Some("error"), Some(200)));
    assert_eq!(
        (record["rule"].as_str(), record["stage"].as_str()),
        (Some("fault/upstream-reset"), Some("fault"))
    );
    assert_eq!(record["decided_by"], "upstream");
}

#[test]
fn an_upstream_has_timeouts_of_its_own() {
    let (upstream, _release) = holding();
    let gateway = Gateway::start(&config(&[plain(upstream.address)], "timeouts = { first_byte = \"50ms\" }"));
    let response = get(gateway.address, "/x");
    assert_eq!((response.status, response.rule()), (504, "fault/upstream-timeout"));
    assert!(response.header("proxy-status").expect("set").contains("error=http_response_timeout"));
}

#[test]
fn names_are_resolved_and_every_address_is_tried() {
    let upstream = named("local");
    // It has addresses of both families on many machines, and nobody listens on ::1.
    let server = format!("\"http://localhost:{}\"", upstream.address.port());
    let gateway = Gateway::start(&config(&[server], ""));
    assert_eq!(name(&get(gateway.address, "/x")), "local");
    let gateway = Gateway::start(&config(&["\"http://nobody.invalid\"".to_owned()], ""));
    let response = get(gateway.address, "/x");
    assert_eq!((response.status, response.rule()), (502, "fault/upstream-connect"));
    assert_eq!(reason(&response), "upstream_dns");
    assert!(response.header("proxy-status").expect("set").contains("error=dns_error"));
}

#[test]
fn a_unix_socket_is_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            read_head(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-Name: unix\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let gateway = Gateway::start(&config(&[format!("\"unix:{}\"", path.display())], ""));
    assert_eq!(name(&get(gateway.address, "/x")), "unix");
    let gateway = Gateway::start(&config(&[format!("\"unix:{}.gone\"", path.display())], ""));
    assert_eq!(reason(&get(gateway.address, "/x")), "upstream_refused");
}

/// Reads up to the empty line; what it read.
fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// An upstream that reads heads and no bodies, and answers with the number of the connection.
fn numbering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let count = AtomicUsize::new(0);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let number = count.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                while read_head(&mut stream).is_some() {
                    let text = answer.replace("NUMBER", &number.to_string());
                    if stream.write_all(text.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

const NUMBERED: &str = "HTTP/1.1 200 OK\r\nX-Name: NUMBER\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_connection_is_used_again_but_never_behind_an_undrained_body() {
    let gateway = Gateway::start(&config(&[plain(numbering(NUMBERED))], "idle = \"1h\""));
    assert_eq!(name(&get(gateway.address, "/a")), "0");
    assert_eq!(name(&get(gateway.address, "/b")), "0");
    // The answer is there before the body is; what else comes of it would be taken for a request.
    let part = b"POST /c HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100\r\n\r\nGET /evil HTTP/1.1\r\n";
    assert_eq!(send(gateway.address, part).status, 200);
    assert_eq!(name(&get(gateway.address, "/d")), "1");
}

#[test]
fn connections_survive_a_reload_that_keeps_their_server() {
    let server = plain(numbering(NUMBERED));
    let gateway = Gateway::start(&config(std::slice::from_ref(&server), "idle = \"1h\""));
    let admin = gateway.admin.expect("an admin listener");
    assert_eq!(name(&get(gateway.address, "/a")), "0");
    let changes = [
        ("idle = \"1h\"\nretry = { attempts = 3 }", "\"generation\":2", "0"),
        ("idle = \"2h\"", "\"generation\":3", "1"),
    ];
    for (more, generation, number) in changes {
        gateway.write_config(&config(std::slice::from_ref(&server), more));
        wait_until(|| get_local(admin, "/api/status").text().contains(generation).then_some(()));
        assert_eq!(name(&get(gateway.address, "/b")), number, "{more}");
    }
}

#[test]
fn what_an_upstream_sends_behind_its_answer_is_nobodys_answer() {
    let two = "HTTP/1.1 200 OK\r\nX-Name: NUMBER\r\nContent-Length: 2\r\n\r\nok\
               HTTP/1.1 200 OK\r\nX-Name: evil\r\nContent-Length: 4\r\n\r\nevil";
    let gateway = Gateway::start(&config(&[plain(numbering(two))], ""));
    for number in ["0", "1", "2"] {
        assert_eq!(name(&get(gateway.address, "/x")), number);
    }
}

#[test]
fn a_cut_answer_leaves_nothing_to_use_again() {
    let cut = "HTTP/1.1 200 OK\r\nX-Name: NUMBER\r\nContent-Length: 5\r\n\r\nok";
    let timeouts = "timeouts = { body_idle = \"50ms\" }";
    let gateway = Gateway::start(&config(&[plain(numbering(cut))], timeouts));
    for number in ["0", "1"] {
        let response = get(gateway.address, "/x");
        assert_eq!((name(&response), response.body.len()), (number, 2));
    }
}

#[test]
fn the_client_is_announced_and_each_has_its_own_connection() {
    for (version, begin) in [
        ("v1", &b"PROXY TCP4 127.0.0.1 127.0.0.1 "[..]),
        ("v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (heard, seen) = channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut first = vec![0; begin.len()];
                stream.read_exact(&mut first).expect("the announcement");
                let rest = match version {
                    "v1" => read_line(&mut stream),
                    _ => {
                        stream.read_exact(&mut [0; 8]).expect("the rest of it");
                        String::new()
                    }
                };
                heard.send((first, rest)).expect("the test waits");
                read_head(&mut stream);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        let more = format!("proxy_protocol = \"{version}\"");
        let gateway = Gateway::start(&config(&[plain(address)], &more));
        for _ in 0..2 {
            assert_eq!(get(gateway.address, "/x").status, 200, "{version}");
            let (first, rest) = seen.recv().expect("a connection of its own");
            assert_eq!(first, begin);
            assert!(
                version == "v2"
                    || rest.ends_with(&format!(" {}\r\n", rest.trim().split(' ').nth(1).expect("a port")))
            );
        }
    }
}

fn read_line(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).expect("a line");
        bytes.push(byte[0]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
