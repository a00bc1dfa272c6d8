//! What is unintelligible or ambiguous is refused by name, before anything is forwarded.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Gateway, Upstream, exchange, read_response, send};

fn config(upstream: &Upstream) -> String {
    format!(
        r#"{}
[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "origin"

[[route]]
id = "lenient"
path = "/lenient/{{*rest}}"
upstream = "origin"
accept = ["encoded-slash", "backslash", "path-parameters", "double-slash", "underscore-headers"]

[[rbac.grant]]
id = "all"
roles = ["anyone"]
"#,
        upstream.table("origin")
    )
}

/// Heads that no upstream may see, and the rule that refuses each.
const REFUSED: &[(&str, u16, &str)] = &[
    ("GET /a%2fb HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "intake/encoded-slash"),
    ("GET /a\\b HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "intake/backslash"),
    ("GET /a%5Cb HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "intake/backslash"),
    ("GET /a%00b HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "intake/nul"),
    ("GET /a;b HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "intake/path-parameters"),
    ("GET /a/..;/b HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "intake/path-parameters"),
    ("GET /lenient/..;/b HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "intake/path-parameters"),
    ("GET /lenient/..%2fb HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "intake/encoded-slash"),
    ("GET /a%zz HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "intake/bad-percent"),
    ("GET /%c0%ae HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "intake/bad-utf8"),
    ("GET /a%0ab HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "intake/bad-target"),
    ("GET /a#b HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "intake/fragment"),
    ("OPTIONS * HTTP/1.1\r\nHost: app.test\r\n\r\n", 400, "intake/bad-target"),
    ("GET / HTTP/1.1\r\n\r\n", 400, "intake/authority-missing"),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "intake/authority-missing"),
    ("GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", 400, "intake/authority-conflict"),
    ("GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", 400, "intake/authority-conflict"),
    ("GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", 400, "intake/authority-conflict"),
    ("GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "intake/authority-conflict"),
    ("GET http://u@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "intake/authority-conflict"),
    ("TRACE / HTTP/1.1\r\nHost: app.test\r\n\r\n", 405, "intake/method-refused"),
    ("CONNECT app.test:443 HTTP/1.1\r\nHost: app.test:443\r\n\r\n", 405, "intake/method-refused"),
    ("CONNECT b.test:25 HTTP/1.1\r\nHost: app.test\r\n\r\n", 405, "intake/method-refused"),
    ("get / HTTP/1.1\r\nHost: app.test\r\n\r\n", 405, "intake/method-refused"),
    ("FROB / HTTP/1.1\r\nHost: app.test\r\n\r\n", 405, "intake/method-refused"),
    ("GET / HTTP/1.1\r\nHost: app.test\r\nX_A: b\r\n\r\n", 400, "intake/header-name"),
    ("GET / HTTP/1.1\r\nHost: app.test\r\nX.Portcullis.Roles: b\r\n\r\n", 400, "intake/header-name"),
    ("GET /lenient/ HTTP/1.1\r\nHost: app.test\r\nX_Request_Id: b\r\n\r\n", 400, "intake/header-name"),
    (
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n",
        400,
        "intake/header-duplicate",
    ),
    ("GET / HTTP/1.1\r\nHost: app.test\r\nExpect: x\r\n\r\n", 417, "intake/expect"),
    (
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "intake/framing-conflict",
    ),
    (
        "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
        "intake/framing-conflict",
    ),
    (
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        400,
        "intake/framing-conflict",
    ),
];

#[test]
fn what_is_ambiguous_is_refused_by_name_and_never_forwarded() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream));
    for (head, status, rule) in REFUSED {
        let response = send(gateway.address, head.as_bytes());
        assert_eq!((response.status, response.rule()), (*status, *rule), "{head}");
    }
    assert!(upstream.received().is_empty());
    let rules: Vec<String> = gateway
        .records(REFUSED.len())
        .iter()
        .map(|record| record["rule"].as_str().unwrap_or("").to_owned())
        .collect();
    let wanted: Vec<&str> = REFUSED.iter().map(|(_, _, rule)| *rule).collect();
    assert_eq!(rules, wanted);
}

#[test]
fn what_hyper_answers_itself_is_recorded_all_the_same() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream));
    let heads: &[(&[u8], u16, &str)] = &[
        (b"GET / HTTP/1.1\r\nHost : app.test\r\n\r\n", 400, "intake/malformed"),
        (b"GET / HTTP/2.0\r\nHost: app.test\r\n\r\n", 400, "intake/malformed"),
        (b"GET / HTTP/1.1\r\nX: a\x01b\r\n\r\n", 400, "intake/malformed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "intake/malformed"),
    ];
    for (index, (head, status, rule)) in heads.iter().enumerate() {
        if let Some(response) = exchange(gateway.address, head) {
            assert_eq!(response.status, *status, "{head:?}");
        }
        let record = gateway.records(index + 1).remove(index);
        assert_eq!(record["rule"], *rule, "{head:?}");
        assert_eq!(record["decision"], "deny");
    }
    let large = format!("GET / HTTP/1.1\r\nHost: app.test\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    if let Some(response) = exchange(gateway.address, large.as_bytes()) {
        assert_eq!(response.status, 431);
    }
    assert_eq!(gateway.records(heads.len() + 1)[heads.len()]["rule"], "intake/head-too-large");
    assert!(upstream.received().is_empty());
}

#[test]
fn sizes_beyond_the_limits_are_refused_by_name() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream));
    let target = format!("GET /{} HTTP/1.1\r\nHost: app.test\r\n\r\n", "a".repeat(9000));
    let fields = format!("GET / HTTP/1.1\r\nHost: app.test\r\n{}\r\n", "X-A: b\r\n".repeat(128));
    for (head, status, rule) in
        [(target, 414, "intake/target-too-long"), (fields, 431, "intake/too-many-fields")]
    {
        let response = send(gateway.address, head.as_bytes());
        assert_eq!((response.status, response.rule()), (status, rule));
    }
    let just_fits = format!("GET / HTTP/1.1\r\nHost: app.test\r\n{}\r\n", "X-A: b\r\n".repeat(127));
    assert_eq!(send(gateway.address, just_fits.as_bytes()).status, 200);
}

#[test]
fn the_canonical_target_is_what_the_upstream_gets() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream));
    let targets = [
        ("/a/../b", "/b"),
        ("/a/%2e%2e/b?x=/../%2e", "/b?x=/../%2e"),
        ("//a///b/", "/a/b/"),
        ("/%61%7e%3f%c3%a9", "/a~%3F%C3%A9"),
        ("/a-b_c.d~e/(1),x=y&z!*'+$:@", "/a-b_c.d~e/(1),x=y&z!*'+$:@"),
        ("/lenient/a%2fb;c//d\\e", "/lenient/a%2Fb;c//d\\e"),
        ("http://app.test/x", "/x"),
        ("http://app.test", "/"),
    ];
    for (index, (sent, want)) in targets.iter().enumerate() {
        let head = format!("GET {sent} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n");
        assert_eq!(send(gateway.address, head.as_bytes()).status, 200, "{sent}");
        assert_eq!(upstream.received()[index].line, format!("GET {want} HTTP/1.1"));
    }
}

#[test]
fn pipelined_requests_are_each_judged() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream));
    let two = "POST /a HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
               GET /b#c HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    assert_eq!(send(gateway.address, two.as_bytes()).status, 200);
    let records = gateway.records(2);
    let rules: Vec<&str> = records.iter().filter_map(|record| record["rule"].as_str()).collect();
    assert!(rules.contains(&"rbac/all") && rules.contains(&"intake/bad-target"), "{rules:?}");
    assert_eq!(upstream.received().len(), 1);
}

/// Sends a head, waits until the gateway wants the body, and sends that: so it comes in a later read.
fn upload(stream: &mut TcpStream, framing: &str, body: &[u8]) -> u16 {
    let head = format!("POST /up HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\n{framing}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body).expect("sent");
    read_response(stream, false).expect("an answer").status
}

#[test]
fn a_body_that_is_announced_is_asked_for_only_once_it_may_come() {
    let upstream = Upstream::start();
    let closed = "[[ip.rule]]\nid = \"closed\"\npath = \"/closed\"\nallow = [\"192.0.2.1\"]\n[waf]\npacks = []\n\
                  [[waf.rule]]\nid = \"head\"\naction = \"deny\"\ntargets = [\"query\"]\n\
                  match = { contains = \"evil\" }\n[[waf.rule]]\nid = \"body\"\naction = \"deny\"\n\
                  targets = [\"form\"]\nmatch = { contains = \"evil\" }\n";
    let gateway = Gateway::start(&format!("{}{closed}", config(&upstream)));
    let ask = |target: &str, more: &str| {
        let mut stream = TcpStream::connect(gateway.address).expect("the gateway listens");
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n{more}\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let answer = read_response(&mut stream, false).expect("an answer");
        (stream, answer)
    };
    for (target, more, status) in [
        ("/closed", "", 403),
        ("/x?evil", "", 403),
        ("/a%2fb", "", 400),
        ("/x", "Authorization: Bearer nonsense\r\n", 401),
        ("/x", "Expect: 100-continue\r\n", 417),
    ] {
        assert_eq!(ask(target, more).1.status, status, "{target} {more}");
    }
    assert!(upstream.received().is_empty());
    for (body, status) in [("a=evil", 403), ("a=good", 200)] {
        let (mut stream, interim) = ask("/x", "");
        assert_eq!(interim.status, 100);
        stream.write_all(body.as_bytes()).expect("sent");
        assert_eq!(read_response(&mut stream, false).expect("an answer").status, status, "{body}");
    }
    let received = upstream.received();
    assert_eq!((received.len(), received[0].body.as_slice()), (1, &b"a=good"[..]));
    // It was met here, so it is not passed on.
    assert!(received[0].all("expect").is_empty());
}

#[test]
fn requests_on_a_connection_that_carried_a_body_are_judged_by_their_own_heads() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream));
    let body = "--x\r\nContent-Disposition: form-data; name=a\r\n\r\nGET /x HTTP/1.1\r\n\r\n--x--\r\n";
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let sized = format!("Content-Length: {}", body.len());
    for (framing, body) in [(sized.as_str(), body), ("Transfer-Encoding: chunked", &chunked)] {
        let mut stream = TcpStream::connect(gateway.address).expect("the gateway listens");
        let get = |stream: &mut TcpStream, target: &str| {
            let head = format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("sent");
            let response = read_response(stream, false).expect("an answer");
            (response.status, response.header("x-portcullis-rule").unwrap_or("").to_owned())
        };
        for _ in 0..3 {
            assert_eq!(upload(&mut stream, framing, body.as_bytes()), 200, "{framing}");
            for _ in 0..3 {
                assert_eq!(get(&mut stream, "/x").0, 200, "{framing}");
            }
        }
        assert_eq!(get(&mut stream, "/x#y"), (400, "intake/fragment".to_owned()), "{framing}");
    }
}

#[test]
fn a_length_beside_chunks_is_seen_behind_a_body_too() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream));
    let mut stream = TcpStream::connect(gateway.address).expect("the gateway listens");
    assert_eq!(upload(&mut stream, "Transfer-Encoding: chunked", b"2\r\nhi\r\n0\r\n\r\n"), 200);
    let both = "POST /t HTTP/1.1\r\nHost: app.test\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\
                X-A: POST /t HTTP/1.1\r\n\r\n0\r\n\r\n";
    stream.write_all(both.as_bytes()).expect("sent");
    let response = read_response(&mut stream, false).expect("an answer");
    assert_eq!((response.status, response.rule()), (400, "intake/framing-conflict"));
    assert_eq!(upstream.received().len(), 1);
}
