//! What a route chooses by, and what it changes on the way.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Gateway, Response, Upstream, get, request};

/// A gateway whose routes are the test's; everybody may do everything.
fn gateway(upstreams: &[(&str, &Upstream)], routes: &str) -> Gateway {
    let tables: String = upstreams.iter().map(|(name, upstream)| upstream.table(name)).collect();
    Gateway::start(&format!("{tables}{routes}\n[[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\n"))
}

fn naming(name: &'static str) -> Upstream {
    Upstream::answering(move |_| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()).into_bytes()
    })
}

fn said(response: &Response) -> (u16, String, &str) {
    (response.status, response.text(), response.rule())
}

#[test]
fn a_route_is_chosen_by_method_and_field_too() {
    let (plain, tenant, written) = (naming("plain"), naming("tenant"), naming("written"));
    let gateway = gateway(
        &[("plain", &plain), ("tenant", &tenant), ("written", &written)],
        r#"
[[route]]
id = "plain"
path = "/x"
upstream = "plain"
[[route]]
id = "tenant"
path = "/x"
headers = { x-tenant = "a" }
upstream = "tenant"
[[route]]
id = "written"
path = "/x"
methods = ["POST", "PUT"]
headers = { x-tenant = "a" }
upstream = "written"
"#,
    );
    let ask =
        |method: &str, fields: &[(&str, &str)]| request(gateway.address, method, "/x", fields, b"").text();
    assert_eq!(ask("GET", &[]), "plain");
    assert_eq!(ask("GET", &[("X-Tenant", "a")]), "tenant");
    assert_eq!(ask("PUT", &[("X-Tenant", "a")]), "written");
    assert_eq!(ask("PUT", &[("X-Tenant", "b")]), "plain");
    // What chose the route arrives, though Connection names it away or another spelling stands beside.
    ask("GET", &[("X-Tenant", "a"), ("Connection", "x-tenant"), ("x.tenant", "b")]);
    let received = tenant.received().pop().expect("a request");
    assert_eq!((received.all("x-tenant"), received.all("x.tenant")), (vec!["a"], vec![]));
    let twice = request(gateway.address, "GET", "/x", &[("X-Tenant", "b"), ("X-Tenant", "a")], b"");
    assert_eq!((twice.status, twice.rule()), (400, "intake/header-duplicate"));
}

#[test]
fn a_prefix_is_taken_off_and_put_on_and_nothing_else_comes_of_it() {
    let upstream = Upstream::start();
    let gateway = gateway(
        &[("origin", &upstream)],
        r#"
[[route]]
id = "api"
path = "/api/{*rest}"
strip_prefix = "/api"
accept = ["double-slash"]
upstream = "origin"
[[route]]
id = "old"
path = "/old/{*rest}"
strip_prefix = "/old"
add_prefix = "/v1"
upstream = "origin"
"#,
    );
    let forwarded = |path: &str| {
        let response = get(gateway.address, path);
        let line = upstream.received().last().map_or(String::new(), |received| received.line.clone());
        (response.status, response.rule().to_owned(), line)
    };
    let fine = |line: &str| (200, "rbac/all".to_owned(), format!("GET {line} HTTP/1.1"));
    assert_eq!(forwarded("/api/orders/7?x=/api"), fine("/orders/7?x=/api"));
    assert_eq!(upstream.received()[0].all("x-forwarded-prefix"), ["/api"]);
    assert_eq!(forwarded("/api"), fine("/"));
    assert_eq!(forwarded("/api/a//b/"), fine("/a//b/"));
    assert_eq!(forwarded("/old/./x"), fine("/v1/x"));
    let before = upstream.received().len();
    for (path, status, rule) in [
        ("/api//evil.test/x", 400, "intake/bad-target"),
        ("/api%2e/admin", 404, "route/none"),
        ("/old/../admin", 404, "route/none"),
        ("/api/%2e%2e%2fadmin", 400, "intake/encoded-slash"),
    ] {
        let response = get(gateway.address, path);
        assert_eq!((response.status, response.rule()), (status, rule), "{path}");
    }
    assert_eq!(upstream.received().len(), before);
    // The record keeps what was asked for.
    assert!(gateway.records(8).iter().any(|record| record["path"] == "/api/orders/7"));
}

#[test]
fn fields_are_set_and_removed_both_ways_and_ours_stay_ours() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: old\r\nX-Powered-By: x\r\nX-Frame-Options: ALLOWALL\r\n\
          X-Kept: yes\r\n\r\nok"
            .to_vec()
    });
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("token"), "Bearer upstream-secret\n").expect("written");
    let config = format!(
        r#"{}
[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "origin"
accept = ["underscore-headers"]
request_headers = {{ set = {{ x-api-level = "2", authorization = {{ file = "token" }} }}, remove = ["x-debug"] }}
[route.response_headers]
set = {{ x-frame-options = "DENY" }}
remove = ["server", "x-powered-by"]
[[rbac.grant]]
id = "all"
roles = ["anyone"]
path = "/open"
"#,
        upstream.table("origin")
    );
    let gateway = Gateway::start_in(folder, &config, &[]);
    let fields =
        [("X-Api-Level", "1"), ("x_api_level", "9"), ("x.debug", "1"), ("X-Debug", "1"), ("X-Kept", "yes")];
    let response = request(gateway.address, "GET", "/open", &fields, b"");
    assert_eq!(response.status, 200);
    let header = |name: &str| response.header(name);
    assert_eq!(
        (header("server"), header("x-powered-by"), header("x-frame-options"), header("x-kept")),
        (None, None, Some("DENY"), Some("yes"))
    );
    let received = upstream.received().remove(0);
    assert_eq!(received.all("x-api-level"), ["2"]);
    assert_eq!(received.all("authorization"), ["Bearer upstream-secret"]);
    for name in ["x_api_level", "x.debug", "x-debug"] {
        assert!(received.all(name).is_empty(), "{name}: {received:?}");
    }
    assert_eq!(received.all("x-kept"), ["yes"]);
    // A refusal is ours alone.
    let refused = get(gateway.address, "/shut");
    assert_eq!((refused.status, refused.header("x-frame-options")), (403, None));
}

#[test]
fn a_key_in_another_spelling_does_not_reach_the_upstream() {
    let upstream = Upstream::start();
    let gateway = gateway(
        &[("origin", &upstream)],
        r#"
[[route]]
id = "all"
path = "/{*rest}"
upstream = "origin"
accept = ["underscore-headers"]
[[authn.api_key]]
id = "batch"
header = "x-api-key"
hash = "sha256:5b2adc1dd23ac4d5b4ee1f0dfa2a5d5f1c0b5d9bfa9b1d8b7e2ee4f0b4a3d7c1"
"#,
    );
    let fields = [("x_api_key", "secret"), ("x.api_key", "secret"), ("x_other", "kept")];
    assert_eq!(request(gateway.address, "GET", "/", &fields, b"").status, 200);
    let received = upstream.received().remove(0);
    assert!(!received.headers.iter().any(|(_, value)| value == "secret"), "{received:?}");
    assert_eq!(received.all("x_other"), ["kept"]);
}

#[test]
fn requests_are_split_by_weight() {
    let (old, new, none) = (naming("old"), naming("new"), naming("none"));
    let gateway = gateway(
        &[("old", &old), ("new", &new), ("none", &none)],
        r#"
[server]
listen = ["127.0.0.1:0"]
request_id = "accept"
[[route]]
id = "all"
path = "/{*rest}"
upstream = [{ name = "old", weight = 3 }, { name = "new", weight = 1 }, { name = "none", weight = 0 }]
"#,
    );
    // The ids are the test's, so what each one draws is always the same.
    let ask = |number: u32| {
        let id = format!("request-{number:08}");
        request(gateway.address, "GET", "/", &[("X-Request-Id", &id)], b"").text()
    };
    let answers: Vec<String> = (0..200).map(ask).collect();
    let new = answers.iter().filter(|answer| *answer == "new").count();
    assert!((30..70).contains(&new), "{new} of 200");
    assert!(!answers.contains(&"none".to_owned()));
    assert_eq!((0..20).map(ask).collect::<Vec<_>>(), answers[..20]);
}

#[test]
fn a_route_waits_as_long_as_it_says() {
    let upstream = Upstream::answering(|received| {
        if received.line.contains("/slow") {
            std::thread::park();
        }
        // A body that never ends.
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab".to_vec()
    });
    let gateway = gateway(
        &[("origin", &upstream)],
        r#"
[timeouts]
body_idle = "24h"
[[route]]
id = "first-byte"
path = "/slow/first-byte"
upstream = "origin"
timeouts = { upstream_first_byte = "50ms" }
[[route]]
id = "total"
path = "/slow/total"
upstream = "origin"
timeouts = { total = "50ms" }
[[route]]
id = "cut"
path = "/cut/total"
upstream = "origin"
timeouts = { total = "50ms" }
[[route]]
id = "idle"
path = "/cut/idle"
upstream = "origin"
timeouts = { body_idle = "50ms" }
"#,
    );
    for path in ["/slow/first-byte", "/slow/total"] {
        let response = get(gateway.address, path);
        assert_eq!((response.status, response.rule()), (504, "fault/upstream-timeout"), "{path}");
    }
    for path in ["/cut/total", "/cut/idle"] {
        let mut stream = TcpStream::connect(gateway.address).expect("the gateway listens");
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n").as_bytes()).expect("sent");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        // How much of it came before the cut does not matter: that the connection ends does.
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer).map_err(|error| error.kind());
        assert!(!matches!(ended, Err(ErrorKind::WouldBlock)), "{path} goes on");
        assert!(!answer.ends_with(b"abcde"), "{path}");
    }
    assert_eq!(gateway.records(4).len(), 4);
}

#[test]
fn a_body_is_bounded_by_its_route() {
    let upstream = Upstream::start();
    let gateway = gateway(
        &[("origin", &upstream)],
        r#"
[[route]]
id = "all"
path = "/{*rest}"
upstream = "origin"
[[route]]
id = "small"
path = "/small"
upstream = "origin"
body_limit = "4B"
"#,
    );
    let post = |path: &str| {
        let response = request(gateway.address, "POST", path, &[], b"12345");
        (response.status, response.rule().to_owned())
    };
    assert_eq!(post("/small"), (413, "waf/body-too-large".to_owned()));
    assert_eq!(post("/large"), (200, "rbac/all".to_owned()));
    let fits = request(gateway.address, "POST", "/small", &[], b"1234");
    assert_eq!(said(&fits), (200, "ok".to_owned(), "rbac/all"));
}
