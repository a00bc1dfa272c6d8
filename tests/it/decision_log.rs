//! The decision log: whole, without secrets, and what happens when it cannot be written.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::process::Command;

use crate::support::{Gateway, Upstream, exchange, get, get_local, http2, request, wait_until};

fn config(upstream: &Upstream, log: &str) -> String {
    format!(
        r#"{}
[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "origin"

[[authn.api_key]]
id = "batch"
header = "x-api-key"
hash = "sha256:8bc9d88cbe06eae7f6ab60d77b2e7b51b409ca053fc6c38ee31a5bf589653cb3"
roles = ["reader"]

[rbac.role.reader]

[[rbac.grant]]
id = "read"
roles = ["reader"]
path = "/orders/{{*rest}}"

[[rbac.grant]]
id = "open"
roles = ["anyone"]
path = "/open/{{*rest}}"

[log]
{log}
"#,
        upstream.table("origin")
    )
}

const KEY: &str = "the-key-for-tests";

#[test]
fn a_record_says_who_asked_for_what_and_which_rule_decided() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(
        &upstream,
        "sink = { file = \"decisions.jsonl\" }\nheaders = [\"user-agent\"]",
    ));
    request(
        gateway.address,
        "POST",
        "/orders/7?x=1",
        &[("X-Api-Key", KEY), ("User-Agent", "curl/8"), ("Content-Type", "text/plain")],
        b"hello",
    );
    let mut record = gateway.records(1).remove(0);
    for (pointer, stable) in [
        ("/ts", "[time]"),
        ("/request_id", "[id]"),
        ("/decision_id", "[id]"),
        ("/policy/hash", "[hash]"),
        ("/rule_at", "[place]"),
        ("/timing/policy_ns", "[ns]"),
        ("/timing/upstream_us", "[us]"),
        ("/trace_id", "[trace]"),
    ] {
        let value = record.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}"));
        assert!(!value.is_null(), "{pointer} is null");
        *value = stable.into();
    }
    insta::assert_json_snapshot!(record);
}

#[test]
fn secrets_never_reach_it() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream, "sink = { file = \"decisions.jsonl\" }"));
    let secrets = [
        ("X-Api-Key", "hunter2-key"),
        ("Authorization", "Bearer hunter2-token"),
        ("Authorization", "Basic aHVudGVyMjpodW50ZXIy"),
        ("Cookie", "session=hunter2-cookie"),
    ];
    for field in secrets {
        request(
            gateway.address,
            "POST",
            "/orders/7",
            &[field, ("Content-Type", "text/plain")],
            b"hunter2-body",
        );
    }
    // What stands where a request line should be may be anything.
    let heads = [
        "X-Api-Key: hunter2-key\r\n\r\n",
        "Cookie: session=hunter2\r\n\r\n",
        "{\"password\": \"hunter2\"}\r\n\r\n",
        "GET http://user:hunter2@app.test/x HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "GET /orders/%zz?token=hunter2 HTTP/1.1\r\nHost: app.test\r\n\r\n",
    ];
    for head in heads {
        exchange(gateway.address, head.as_bytes());
    }
    let count = secrets.len() + heads.len();
    let text: String = gateway.records(count).iter().map(ToString::to_string).collect();
    assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMjp"), "{text}");
}

#[test]
fn what_a_waf_rule_matched_is_kept_only_where_asked_for_and_never_of_credentials() {
    let waf = r#"
[waf]
[[waf.rule]]
id = "evil"
action = "deny"
targets = ["query", "header.values"]
match = { regex = "evil[a-z]*" }
"#;
    let data = |log: &str, field: (&str, &str), path: &str| {
        let upstream = Upstream::start();
        let log = format!("sink = {{ file = \"decisions.jsonl\" }}\n{log}\n{waf}");
        let gateway = Gateway::start(&config(&upstream, &log));
        assert_eq!(request(gateway.address, "GET", path, &[field], b"").rule(), "waf/evil");
        let record = gateway.records(1).remove(0);
        record["waf"]["matched"][0]["data"].as_str().map(str::to_owned)
    };
    let field = ("X-Other", "1");
    assert_eq!(data("", field, "/open/x?q=1evilest2"), None);
    assert_eq!(data("waf_data = 64", field, "/open/x?q=1evilest2").as_deref(), Some("evilest"));
    assert_eq!(data("waf_data = 6", field, "/open/x?q=1evilest2").as_deref(), Some("eviles"));
    assert_eq!(data("waf_data = 64", ("X-Api-Key", "evil"), "/open/x"), None);
}

fn fifo(gateway: &tempfile::TempDir) -> std::path::PathBuf {
    let path = gateway.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    path
}

fn lost(gateway: &Gateway) -> f64 {
    let text = get_local(gateway.admin.expect("an admin listener"), "/metrics").text();
    let line = text.lines().find(|line| line.starts_with("portcullis_log_lost_total ")).map(str::to_owned);
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

#[test]
fn a_file_that_takes_no_more_tears_no_record_and_loses_none() {
    let upstream = Upstream::start();
    // The limit is met in the middle of a record, as the end of a disk is.
    let gateway = Gateway::start_after(
        "trap '' XFSZ; ulimit -S -f 8",
        tempfile::tempdir().expect("a folder"),
        &config(&upstream, "sink = { file = \"decisions.jsonl\" }"),
    );
    let mut passed = Vec::new();
    let mut pass = || {
        let response = get(gateway.address, "/open/x");
        let id = response.header("x-request-id").expect("an id").to_owned();
        if response.status == 200 {
            passed.push(id);
            return None;
        }
        Some((response.status, response.rule().to_owned(), id))
    };
    let (status, rule, refused) = wait_until(&mut pass);
    assert_eq!((status, rule.as_str()), (503, "fault/log"));
    let limit = ["--pid", &gateway.id().to_string(), "--fsize=unlimited"].map(str::to_owned);
    assert!(Command::new("prlimit").args(limit).status().expect("prlimit runs").success());
    wait_until(|| pass().is_none().then_some(()));
    gateway.signal("TERM");
    let mut gateway = gateway;
    assert_eq!(gateway.wait(), Some(0));
    let text = std::fs::read_to_string(gateway.folder().join("decisions.jsonl")).expect("a log");
    assert!(text.ends_with('\n'));
    let id = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).expect("a whole record");
        record["request_id"].as_str().expect("an id").to_owned()
    };
    let recorded: Vec<String> = text.lines().map(id).collect();
    for id in passed.iter().chain([&refused]) {
        assert_eq!(recorded.iter().filter(|other| *other == id).count(), 1, "{id}");
    }
}

#[test]
fn what_cannot_be_recorded_is_not_passed_on_and_refusals_stay_refusals() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = fifo(&folder);
    let upstream = Upstream::start();
    let gateway = Gateway::start_in(
        folder,
        &config(&upstream, "sink = { file = \"pipe\" }\non_error = \"block\""),
        &[],
    );
    // Nobody reads the pipe, so from some request on nothing is passed any more.
    let refused = wait_until(|| {
        let response = get(gateway.address, "/open/x");
        (response.status != 200).then_some(response)
    });
    assert_eq!((refused.status, refused.rule()), (503, "fault/log"));
    assert_eq!(refused.header("x-portcullis-reason"), Some("log_unavailable"));
    let passed = upstream.received().len();
    let denied = get(gateway.address, "/orders/7");
    assert_eq!((denied.status, denied.rule()), (401, "rbac/default-deny"));
    assert_eq!(upstream.received().len(), passed);
    // As soon as somebody reads, it goes on, and the record names what happened meanwhile.
    let reader = File::open(&pipe).expect("a reader");
    let mut lines = BufReader::new(reader).lines();
    wait_until(|| (get(gateway.address, "/open/x").status == 200).then_some(()));
    let first = lines.next().expect("a line").expect("text");
    assert!(first.starts_with("{\"ts\":"), "{first}");
}

#[test]
fn with_drop_requests_go_on_and_the_losses_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = fifo(&folder);
    // A reader that never reads: the pipe is full after 64 KiB.
    let _reader = OpenOptions::new().read(true).write(true).open(&pipe).expect("a reader");
    let upstream = Upstream::start();
    let gateway =
        Gateway::start_in(folder, &config(&upstream, "sink = { file = \"pipe\" }\non_error = \"drop\""), &[]);
    let path = format!("/open/{}", "x".repeat(6000));
    wait_until(|| {
        assert_eq!(get(gateway.address, &path).status, 200);
        (lost(&gateway) > 0.0).then_some(())
    });
}

#[test]
fn requests_without_a_record_are_served_all_the_same() {
    let upstream = Upstream::start();
    for log in ["sink = \"none\"", "sink = { file = \"decisions.jsonl\" }\nsample = 0.0"] {
        let gateway = Gateway::start(&config(&upstream, log));
        for _ in 0..3 {
            assert_eq!(get(gateway.address, "/open/1").status, 200, "{log}");
            assert_eq!(get(gateway.address, "/orders/1").status, 401, "{log}");
        }
        assert_eq!(lost(&gateway), 0.0, "{log}");
    }
}

/// What fails is recorded in any case, with all that a record has.
#[test]
fn what_fails_is_recorded_with_its_fields_though_what_passes_is_not() {
    let upstream = Upstream::answering(|_| Vec::new());
    let log = "sink = { file = \"decisions.jsonl\" }\nsample = 0.0\nheaders = [\"user-agent\"]";
    let gateway = Gateway::start(&config(&upstream, log));
    let answer = request(gateway.address, "GET", "/open/1", &[("User-Agent", "probe/1")], b"");
    assert_eq!(answer.status, 502);
    let text = wait_until(|| {
        let text = std::fs::read_to_string(gateway.folder().join("decisions.jsonl")).ok()?;
        text.ends_with('\n').then_some(text)
    });
    let record: serde_json::Value = serde_json::from_str(&text).expect("one record");
    assert_eq!(record["facts"]["header.user-agent"], "probe/1", "{text}");
}

/// Whoever has the whole answer has a record, however the answer is sent: a process that is killed then
/// has lost nothing.
#[test]
fn the_record_of_an_answer_is_there_before_the_answer_has_ended() {
    let upstream = Upstream::answering(|request| {
        let answer = |head: &str, body: &str| format!("HTTP/1.1 {head}\r\n\r\n{body}").into_bytes();
        match request.line.split(' ').nth(1).unwrap_or("") {
            "/open/none" => answer("204 No Content", ""),
            "/open/empty" => answer("200 OK\r\nContent-Length: 0", ""),
            "/open/chunks" => {
                answer("200 OK\r\nTransfer-Encoding: chunked", "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
            }
            "/open/trailers" => {
                let head = "200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum";
                answer(head, "3\r\none\r\n0\r\nx-sum: 1\r\n\r\n")
            }
            "/open/large" => answer("200 OK\r\nContent-Length: 1000000", &"x".repeat(1_000_000)),
            _ => answer("200 OK\r\nContent-Length: 2", "ok"),
        }
    });
    let gateway = Gateway::start(&config(&upstream, "sink = { file = \"decisions.jsonl\" }"));
    let recorded = |id: &str, what: &str| {
        let text = std::fs::read_to_string(gateway.folder().join("decisions.jsonl")).expect("a log");
        assert_eq!(text.matches(&format!("\"request_id\":\"{id}\"")).count(), 1, "{what}: {text}");
    };
    let methods = ["GET", "HEAD", "POST"];
    for path in ["", "none", "empty", "chunks", "trailers", "large", "../orders/refused"] {
        for method in methods.iter().cycle().take(12) {
            // (Trailers pass to whoever says that they are read.)
            let fields = [("TE", "trailers"), ("Connection", "TE")];
            let answer = request(gateway.address, method, &format!("/open/{path}"), &fields, b"");
            let length = match (*method, path) {
                ("HEAD", _) | (_, "none" | "empty") => Some(0),
                (_, "") => Some(2),
                (_, "chunks") => Some(6),
                (_, "trailers") => Some(3),
                (_, "large") => Some(1_000_000),
                _ => None,
            };
            assert!(length.is_none_or(|length| answer.body.len() == length), "{method} {path}");
            recorded(answer.header("x-request-id").expect("an id"), &format!("{method} {path}"));
        }
    }
    for _ in 0..4 {
        let ask = |path: &str| {
            let uri = format!("http://app.test/open/{path}");
            http::Request::builder().uri(uri).body(bytes::Bytes::new()).expect("a request")
        };
        // The last one to be answered is the last to be looked at.
        for answer in http2::exchange(gateway.address, vec![ask(""), ask("chunks"), ask("large")]) {
            let id = answer.headers()["x-request-id"].to_str().expect("a text");
            recorded(id, "HTTP/2");
        }
    }
}
