//! What reaches the upstream, and what of its answer reaches the client.

use crate::support::{Gateway, Upstream, get, request, send};

fn config(upstream: &Upstream, more: &str) -> String {
    format!(
        r#"{}
[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "origin"

[[rbac.grant]]
id = "all"
roles = ["anyone"]
{more}
"#,
        upstream.table("origin")
    )
}

#[test]
fn hop_by_hop_and_spoofed_fields_do_not_reach_the_upstream() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream, ""));
    let fields = [
        ("Connection", "keep-alive, X-Private, x-portcullis-rule"),
        ("Keep-Alive", "timeout=5"),
        ("X-Private", "1"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "x"),
        ("Proxy", "http://evil.test"),
        ("Proxy-Authorization", "Basic eA=="),
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Prefix", "/x"),
        ("Forwarded", "for=10.0.0.1"),
        ("X-Real-IP", "10.0.0.1"),
        ("X-Original-URL", "/admin"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Portcullis-Subject", "evil"),
        ("X-Portcullis-Roles", "admin"),
        ("X-Request-Id", "evil-evil-evil"),
        ("Cookie", "a=b"),
        ("X-Kept", "yes"),
    ];
    let response = request(gateway.address, "GET", "/x", &fields, b"");
    assert_eq!(response.status, 200);
    let received = upstream.received().remove(0);
    let mut names: Vec<String> = received.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "cookie",
            "host",
            "traceparent",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-kept",
            "x-portcullis-rule",
            "x-request-id",
        ]
    );
    assert_eq!(received.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received.all("x-forwarded-proto"), ["http"]);
    assert_eq!(received.all("x-forwarded-host"), ["app.test"]);
    assert_eq!(received.all("x-portcullis-rule"), ["rbac/all"]);
    assert_eq!(received.all("x-request-id"), [response.header("x-request-id").expect("set")]);
}

/// RFC 9111: a shared cache before the gateway must not serve what was for one address to others.
#[test]
fn what_was_allowed_by_a_look_at_the_address_or_cookies_is_private() {
    let upstream = Upstream::start();
    let more = r#"
[[rbac.deny]]
id = "away"
path = "/conditional/{*rest}"
when = "not client.ip in here"
[[rbac.deny]]
id = "unwanted"
path = "/cookies/{*rest}"
when = "has header.cookie"
[[rbac.deny]]
id = "asked"
path = "/header/{*rest}"
when = "has header.x-other"
[network]
here = ["127.0.0.1"]
[[ip.rule]]
id = "here"
path = "/office/{*rest}"
allow = ["here"]
"#;
    let gateway = Gateway::start(&config(&upstream, more));
    let private = Some("private");
    let cases = [
        ("/office/x", private),
        ("/conditional/x", private),
        ("/cookies/x", private),
        ("/header/x", None),
        ("/x", None),
    ];
    for (path, wanted) in cases {
        let answer = get(gateway.address, path);
        assert_eq!((answer.status, answer.header("cache-control")), (200, wanted), "{path}");
    }
}

#[test]
fn tracestate_passes_only_with_the_traceparent_that_it_is_about() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream, ""));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let good = format!("00-{trace}-b7ad6b7169203331-01");
    let cut = format!("00-{trace}-b7ad6b71692033-01");
    let cases: [(&[&str], bool); 4] =
        [(&[&good], true), (&[], false), (&[&cut], false), (&[&good, &good], false)];
    for (at, (parents, continued)) in cases.into_iter().enumerate() {
        let mut fields = vec![("tracestate", "vendor=1")];
        fields.extend(parents.iter().map(|parent| ("traceparent", *parent)));
        assert_eq!(request(gateway.address, "GET", "/x", &fields, b"").status, 200);
        let received = upstream.received().remove(at);
        let state: &[&str] = if continued { &["vendor=1"] } else { &[] };
        assert_eq!(received.all("tracestate"), state, "{parents:?}");
        let [parent] = received.all("traceparent")[..] else { panic!("one field: {parents:?}") };
        assert_eq!(parent.contains(trace), continued, "{parents:?}");
    }
}

#[test]
fn bodies_pass_however_they_are_framed() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream, ""));
    let sized = request(gateway.address, "POST", "/a", &[("Content-Type", "text/plain")], b"hello");
    let chunked = send(
        gateway.address,
        b"POST /b HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\nConnection: close\r\n\r\n\
          5;ext=1\r\nhello\r\n0\r\nX-T: secret\r\n\r\n",
    );
    assert_eq!((sized.status, chunked.status), (200, 200));
    let received = upstream.received();
    assert_eq!((&received[0].body[..], &received[1].body[..]), (&b"hello"[..], &b"hello"[..]));
    assert!(received[1].all("trailer X-T").is_empty() && received[1].all("trailer").is_empty());
}

#[test]
fn the_upstreams_answer_passes_with_our_words_and_without_its_claims() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nX-Portcullis-Decision: allow\r\nX-Request-Id: fake\r\n\
          Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: x\r\nX-App: yes\r\nProxy-Status: other; error=x\r\n\r\nnope"
            .to_vec()
    });
    let gateway = Gateway::start(&config(&upstream, ""));
    let response = get(gateway.address, "/x");
    assert_eq!((response.status, response.text().as_str()), (403, "nope"));
    assert_eq!(response.header("x-portcullis-decision"), Some("allow"));
    assert_eq!(response.rule(), "rbac/all");
    assert_eq!(response.header("x-app"), Some("yes"));
    assert_eq!(response.header("proxy-status"), Some("other; error=x"));
    assert!(response.header("x-hop").is_none() && response.header("keep-alive").is_none());
    assert_ne!(response.header("x-request-id"), Some("fake"));
    let record = gateway.records(1).remove(0);
    assert_eq!(record["decided_by"], "upstream");
    assert_eq!((record["decision"].as_str(), record["status"].as_u64()), (Some("allow"), Some(403)));
}

#[test]
fn a_dead_upstream_is_a_named_502() {
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("bound")
    };
    let gateway = Gateway::start(&format!(
        "[upstream.origin]\nservers = [\"http://{dead}\"]\n[[route]]\nid = \"all\"\npath = \"/{{*rest}}\"\n\
         upstream = \"origin\"\n[[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\n"
    ));
    let response = get(gateway.address, "/x");
    assert_eq!((response.status, response.rule()), (502, "fault/upstream-connect"));
    assert_eq!(response.header("x-portcullis-decision"), Some("error"));
    let status = response.header("proxy-status").expect("set");
    assert!(status.contains("error=connection_refused"), "{status}");
    assert_eq!(gateway.records(1)[0]["decision"], "error");
}

#[test]
fn an_upstream_that_breaks_is_a_named_fault() {
    for (answer, status, rule) in [
        (&b""[..], 502, "fault/upstream-reset"),
        (b"garbage\r\n\r\n", 502, "fault/upstream-protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-", 502, "fault/upstream-reset"),
    ] {
        let bytes = answer.to_vec();
        let upstream = Upstream::answering(move |_| bytes.clone());
        let gateway = Gateway::start(&config(
            &upstream,
            "[timeouts]\nupstream_first_byte = \"1s\"\ndrain_delay = \"0s\"\n",
        ));
        let response = request(gateway.address, "POST", "/x", &[], b"");
        let incomplete = answer.len() > 15;
        let (status, rule) = if incomplete { (504, "fault/upstream-timeout") } else { (status, rule) };
        assert_eq!((response.status, response.rule()), (status, rule), "{answer:?}");
    }
}

#[test]
fn a_truncated_answer_never_looks_complete() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nshort".to_vec()
    });
    let gateway =
        Gateway::start(&config(&upstream, "[timeouts]\nbody_idle = \"1s\"\ndrain_delay = \"0s\"\n"));
    let response = get(gateway.address, "/x");
    assert_eq!(response.header("content-length"), Some("100"));
    assert!(response.body.len() < 100);
    // The status had been sent; the record tells what became of it.
    let record = gateway.records(1).remove(0);
    assert_eq!((record["decision"].as_str(), record["status"].as_u64()), (Some("error"), Some(200)));
    assert_eq!(record["rule"], "fault/upstream-timeout");
}

#[test]
fn trailers_pass_where_the_route_takes_them_but_for_what_was_judged_or_is_secret() {
    let upstream = Upstream::start();
    let taking = config(
        &upstream,
        "\n[[rbac.deny]]\nid = \"tenant\"\nwhen = \"has header.x-tenant and header.x-tenant != 'a'\"\n",
    )
    .replace("upstream = \"origin\"", "upstream = \"origin\"\naccept = [\"trailers\"]");
    let gateway = Gateway::start(&taking);
    let response = send(
        gateway.address,
        b"POST /b HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\
          Trailer: X-Sum, Authorization, Cookie, X-Tenant, X-Portcullis-Rule, Content-Length\r\nConnection: close\r\n\r\n\
          5\r\nhello\r\n0\r\nX-Sum: 7\r\nAuthorization: x\r\nCookie: a=b\r\nX-Tenant: b\r\nX-Portcullis-Rule: x\r\n\
          Content-Length: 9\r\nX-Unannounced: 1\r\n\r\n",
    );
    assert_eq!(response.status, 200);
    let received = upstream.received().remove(0);
    assert_eq!((received.body.as_slice(), received.all("trailer")), (&b"hello"[..], vec!["x-sum"]));
    let trailers = received.headers.iter().filter(|(name, _)| name.starts_with("trailer "));
    let names: Vec<String> = trailers.map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert_eq!(names, ["trailer x-sum"]);
}

#[test]
fn request_ids_of_strangers_are_replaced_and_of_trusted_proxies_kept() {
    let upstream = Upstream::start();
    let trusting = "[server]\nlisten = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    for (more, kept) in [("", false), (trusting, true)] {
        let gateway = Gateway::start(&config(&upstream, more));
        let response = request(gateway.address, "GET", "/x", &[("X-Request-Id", "from-the-proxy-1")], b"");
        assert_eq!(response.header("x-request-id") == Some("from-the-proxy-1"), kept);
        let bad = request(gateway.address, "GET", "/x", &[("X-Request-Id", "has space in it")], b"");
        assert_ne!(bad.header("x-request-id"), Some("has space in it"));
    }
}

#[test]
fn an_answer_that_ends_in_two_places_or_was_not_asked_for_is_a_fault() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let upstream = Upstream::answering(move |_| answer.as_bytes().to_vec());
        let gateway = Gateway::start(&config(&upstream, ""));
        let response = get(gateway.address, "/x");
        assert_eq!((response.status, response.rule()), (502, "fault/upstream-protocol"), "{answer}");
    }
}

#[test]
fn what_a_condition_read_reaches_the_upstream_as_it_was_read() {
    let upstream = Upstream::start();
    let more = "\n[[rbac.deny]]\nid = \"tenant\"\nwhen = \"header.x-tenant != 'a'\"\n";
    let gateway = Gateway::start(&config(&upstream, more));
    let fields =
        [("Connection", "close"), ("Connection", "x-tenant, x-hop"), ("X-Tenant", "a"), ("X-Hop", "1")];
    assert_eq!(request(gateway.address, "GET", "/x", &fields, b"").status, 200);
    let received = upstream.received().remove(0);
    assert_eq!((received.all("x-tenant"), received.all("x-hop")), (vec!["a"], vec![]));
    assert_eq!(request(gateway.address, "GET", "/x", &[("X-Tenant", "b")], b"").rule(), "rbac/tenant");
}
