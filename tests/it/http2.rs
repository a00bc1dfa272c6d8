//! HTTP/2, in clear text with prior knowledge and over TLS.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, Version};
use rustls::pki_types::CertificateDer;

use crate::support::http2::{agreed, exchange, exchange_tls, read_nothing};
use crate::support::{Gateway, Upstream, get};

fn config(upstream: &Upstream, more: &str) -> String {
    format!(
        r#"{}
[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "origin"

[[rbac.grant]]
id = "open"
roles = ["anyone"]
path = "/open/{{*rest}}"
{more}
"#,
        upstream.table("origin")
    )
}

fn ask(method: &str, uri: &str, body: &'static str) -> Request<Bytes> {
    let request = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
    request.body(Bytes::from_static(body.as_bytes())).expect("a request")
}

fn field<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-")
}

#[test]
fn many_streams_of_one_connection_are_each_judged() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream, ""));
    let paths: Vec<String> = (0..40)
        .map(|number| format!("/{}/{number}", if number % 2 == 0 { "open" } else { "closed" }))
        .collect();
    let requests = paths.iter().map(|path| ask("GET", &format!("http://app.test{path}"), "")).collect();
    for (number, answer) in exchange(gateway.address, requests).iter().enumerate() {
        let (status, rule) = if number % 2 == 0 { (200, "rbac/open") } else { (403, "rbac/default-deny") };
        assert_eq!(
            (answer.status().as_u16(), field(answer, "x-portcullis-rule")),
            (status, rule),
            "{number}"
        );
        assert!(answer.headers().get("connection").is_none());
    }
    let records = gateway.records(40);
    assert!(records.iter().all(|record| record["version"] == "HTTP/2" && record["host"] == "app.test"));
    let received = upstream.received();
    assert_eq!(received.len(), 20);
    assert!(received.iter().all(|request| request.all("host") == ["app.test"]));
}

#[test]
fn bodies_and_heads_are_what_they_are_in_http1() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream, ""));
    let answers = exchange(
        gateway.address,
        vec![
            ask("POST", "http://app.test/open/a", "a body"),
            ask("HEAD", "http://app.test/closed", ""),
            ask("GET", "http://app.test/open/%2e%2e/closed", ""),
            ask("GET", "http://app.test/a%2fb", ""),
            ask("TRACE", "http://app.test/open/a", ""),
        ],
    );
    let seen: Vec<(u16, &str)> =
        answers.iter().map(|answer| (answer.status().as_u16(), field(answer, "x-portcullis-rule"))).collect();
    assert_eq!(
        seen,
        [
            (200, "rbac/open"),
            (403, "rbac/default-deny"),
            (403, "rbac/default-deny"),
            (400, "intake/encoded-slash"),
            (405, "intake/method-refused"),
        ]
    );
    assert!(answers[1].body().is_empty() && field(&answers[1], "content-length") != "-");
    let received = upstream.received();
    assert_eq!((received.len(), received[0].body.as_slice()), (1, &b"a body"[..]));
}

#[test]
fn a_head_that_is_too_large_is_refused_by_name_and_recorded() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream, ""));
    let mut large = ask("GET", "http://app.test/open/1", "");
    large.headers_mut().insert("x", "a".repeat(70_000).parse().expect("a value"));
    let answers = exchange(gateway.address, vec![large, ask("GET", "http://app.test/open/2", "")]);
    assert_eq!((answers[0].status().as_u16(), answers[1].status().as_u16()), (431, 200));
    assert_eq!(field(&answers[0], "x-portcullis-rule"), "intake/head-too-large");
    let records = gateway.records(2);
    assert!(
        records.iter().any(|record| record["rule"] == "intake/head-too-large" && record["status"] == 431)
    );
}

/// RFC 9113, section 6.1: there is no stream 0 that could have a body.
#[test]
fn a_connection_that_breaks_the_protocol_is_recorded() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream, ""));
    let mut stream = std::net::TcpStream::connect(gateway.address).expect("the gateway listens");
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let data = [0, 0, 1, 0, 0, 0, 0, 0, 0, b'x'];
    let sent = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &data].concat();
    stream.write_all(&sent).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("closed");
    let records = gateway.records(1);
    assert_eq!((&records[0]["rule"], &records[0]["status"]), (&"intake/malformed".into(), &499.into()));
}

#[test]
fn an_authority_and_a_host_that_differ_are_refused() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream, ""));
    let mut request = ask("GET", "http://app.test/open/a", "");
    request.headers_mut().insert("host", "other.test".parse().expect("a value"));
    let mut cookies = ask("GET", "http://app.test/open/cookies", "");
    cookies.headers_mut().append("cookie", "a=1".parse().expect("a value"));
    cookies.headers_mut().append("cookie", "b=2".parse().expect("a value"));
    let answers = exchange(gateway.address, vec![request, cookies]);
    assert_eq!(field(&answers[0], "x-portcullis-rule"), "intake/authority-conflict");
    // RFC 9113 section 8.2.3: fields that a client split are one in HTTP/1.1.
    assert_eq!(answers[1].status(), 200);
    assert_eq!(upstream.received()[0].all("cookie"), ["a=1; b=2"]);
}

/// A certificate for `app.test` with its key, written where a configuration finds them.
fn certificate(folder: &tempfile::TempDir) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["app.test".to_owned()]).expect("a certificate");
    fs::write(folder.path().join("cert.pem"), made.cert.pem()).expect("written");
    fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    made.cert.der().clone()
}

const TLS: &str = r#"
[[listener]]
address = "127.0.0.1:0"
tls = { certificates = [{ cert = "cert.pem", key = "key.pem" }] }
"#;

#[test]
fn tls_speaks_both_versions_and_says_https() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().expect("a folder");
    let root = certificate(&folder);
    let gateway = Gateway::start_in(folder, &config(&upstream, TLS), &[]);
    let requests = vec![ask("GET", "https://app.test/open/a", ""), ask("GET", "https://app.test/closed", "")];
    let answers = exchange_tls(gateway.address, root.clone(), requests);
    assert_eq!((answers[0].status().as_u16(), answers[1].status().as_u16()), (200, 403));
    assert_eq!(upstream.received()[0].all("x-forwarded-proto"), ["https"]);
    for record in gateway.records(2) {
        assert_eq!((record["scheme"].as_str(), record["version"].as_str()), (Some("https"), Some("HTTP/2")));
    }
    assert_eq!(agreed(gateway.address, root.clone(), &[b"http/1.1"]), Some(b"http/1.1".to_vec()));
    assert_eq!(agreed(gateway.address, root, &[]), None);
}

#[test]
fn a_scheme_other_than_that_of_the_connection_is_refused() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream, ""));
    let answers = exchange(gateway.address, vec![ask("GET", "https://app.test/open/a", "")]);
    assert_eq!(field(&answers[0], "x-portcullis-rule"), "intake/bad-target");
    assert!(upstream.received().is_empty());
}

#[test]
fn clear_text_on_a_tls_port_harms_nobody() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().expect("a folder");
    let root = certificate(&folder);
    let gateway = Gateway::start_in(folder, &config(&upstream, TLS), &[]);
    assert!(crate::support::exchange(gateway.address, b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").is_none());
    let answers = exchange_tls(gateway.address, root, vec![ask("GET", "https://app.test/open/a", "")]);
    assert_eq!(answers[0].status(), 200);
    let admin = gateway.admin.expect("an admin listener");
    assert_eq!(get(admin, "/livez").status, 200);
}

#[test]
fn trailers_of_an_answer_pass_without_what_only_the_gateway_says() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-portcullis-rule, x-sum\r\n\r\n\
          2\r\nok\r\n0\r\nX-Portcullis-Rule: rbac/fake\r\nX-Request-Id: fake\r\nX-Sum: 7\r\n\r\n"
            .to_vec()
    });
    let gateway = Gateway::start(&config(&upstream, ""));
    let answer = exchange(gateway.address, vec![ask("GET", "http://app.test/open/a", "")]).remove(0);
    let trailers: &HeaderMap = answer.extensions().get().expect("the client keeps them");
    let names: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
    assert_eq!((answer.body().as_ref(), names), (&b"ok"[..], vec!["x-sum"]));
}

#[test]
fn a_client_that_reads_nothing_does_not_hold_an_upstream() {
    // An upstream that sends for as long as somebody takes it.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (closed, seen) = channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the gateway connects");
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        let mut sent = stream.write_all(head);
        while sent.is_ok() {
            sent = stream.write_all(&[b'x'; 65536]);
        }
        closed.send(()).expect("somebody waits");
    });
    let config = config(&Upstream::start(), "[timeouts]\nbody_idle = \"100ms\"");
    let origin =
        config.split("servers = [\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a server");
    let gateway = Gateway::start(&config.replace(origin, &format!("http://{address}")));
    read_nothing(gateway.address, ask("GET", "http://app.test/open/a", ""), || {
        seen.recv_timeout(Duration::from_secs(120)).expect("the gateway lets go of its upstream");
        // The stream ends as well, while the client is still there.
        let record = gateway.records(1).remove(0);
        assert_eq!((&record["path"], &record["status"]), (&"/open/a".into(), &200.into()), "{record}");
    });
}
