//! Programs in SecLang on a running gateway: from their files to what clients get and the record says.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::support::command::Bench;
use crate::support::{Gateway, Upstream, get, request, send};

const OPEN: &str = r#"
[[route]]
id = "all"
path = "/{*rest}"
upstream = "origin"
[[rbac.grant]]
id = "all"
roles = ["anyone"]
path = "/{*rest}"
[waf]
seclang = ["setup.conf", "rules/*.conf"]
"#;

const SETUP: &str = "SecAction \"id:900,phase:1,nolog,pass,setvar:tx.inbound_anomaly_score_threshold=5\"\n\
    Include more/words.conf\n";

const WORDS: &str = "SecRule ARGS|REQUEST_HEADERS:User-Agent \"@pmFromFile words.data\" \\\n  \
    \"id:901,phase:2,block,msg:'a word',logdata:'%{TX.0} in %{MATCHED_VAR_NAME}',capture,\\\n   \
    setvar:'tx.anomaly_score_pl1=+5'\"\n";

const SUM: &str = "SecRule TX:ANOMALY_SCORE_PL1 \"@ge %{tx.inbound_anomaly_score_threshold}\" \
    \"id:949110,phase:2,deny,msg:'too much'\"\n";

/// Files of a program, and a policy that runs it.
fn folder(rules: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for inner in ["more", "rules"] {
        fs::create_dir(folder.path().join(inner)).expect("a folder");
    }
    let files =
        [("setup.conf", SETUP), ("more/words.conf", WORDS), ("more/words.data", "# names\nsqlmap\nnikto\n")];
    for (name, text) in files.iter().chain(rules) {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

fn start(upstream: &Upstream, rules: &[(&str, &str)], more: &str) -> Gateway {
    let config = format!("{}{OPEN}{more}", upstream.table("origin"));
    Gateway::start_in(folder(rules), &config, &[])
}

#[test]
fn a_program_of_several_files_refuses_and_records() {
    let upstream = Upstream::start();
    let log = "[log]\nsink = { file = \"decisions.jsonl\" }\nwaf_data = 64\n";
    let gateway = start(&upstream, &[("rules/b.conf", SUM)], log);
    assert_eq!(get(gateway.address, "/?q=hello").status, 200);
    let refused =
        request(gateway.address, "POST", "/", &[("Content-Type", "application/json")], b"{\"a\":\"SQLmap\"}");
    assert_eq!((refused.status, refused.rule()), (403, "waf/901"));
    let records = gateway.records(2);
    // An allow is recorded when its answer has gone, and each thread writes its own records.
    let with = |status: u16| records.iter().find(|record| record["status"] == status).expect("a record");
    assert_eq!(with(200)["waf"]["matched"], serde_json::json!([]));
    let refusal = with(403);
    assert_eq!((refusal["rule"].as_str(), refusal["reason"].as_str()), (Some("waf/901"), Some("waf_score")));
    let matched = &refusal["waf"]["matched"];
    assert_eq!(matched[0]["id"], "901");
    assert_eq!(matched[0]["data"], "SQLmap in ARGS:json.a");
    assert_eq!((&matched[0]["score"], &matched[1]["id"]), (&5.into(), &"949110".into()));
    assert_eq!((&refusal["waf"]["score"], &refusal["waf"]["threshold"]), (&5.into(), &5.into()));
    assert_eq!(upstream.received().len(), 1);
}

const TWICE: &str = "SecRule ARGS \"@rx ^(\\w+)+=\\1;$\" \"id:7,phase:2,deny,msg:'twice'\"\n";

#[test]
fn a_value_on_which_an_expression_gives_up_is_refused_and_said_why() {
    let upstream = Upstream::start();
    let log = "[log]\nsink = { file = \"decisions.jsonl\" }\n";
    let gateway = start(&upstream, &[("rules/a.conf", TWICE)], log);
    let matches = get(gateway.address, "/?q=ab=ab;");
    assert_eq!((matches.status, matches.rule()), (403, "waf/7"));
    let hostile = get(gateway.address, &format!("/?q={}=;", "a".repeat(4000)));
    assert_eq!((hostile.status, hostile.rule()), (403, "waf/budget"));
    assert_eq!(get(gateway.address, "/?q=ab=abc;").status, 200);
    let records = gateway.records(3);
    let refusal = records.iter().find(|record| record["rule"] == "waf/budget").expect("a record");
    assert_eq!(refusal["reason"], "waf_budget");
    let matched = &refusal["waf"]["matched"];
    assert_eq!((&matched[0]["id"], &matched[0]["target"]), (&"7".into(), &"ARGS:q".into()));
    assert_eq!(matched[0]["msg"], "the expression took more steps than one text may take");
    assert_eq!(upstream.received().len(), 1);
}

const ANSWERS: &str = "SecResponseBodyLimit 4096\n\
    SecRule RESPONSE_HEADERS:X-Secret \"@rx .\" \"id:1,phase:3,deny,msg:'a header'\"\n\
    SecRule RESPONSE_BODY \"@rx ORA-\\d+\" \"id:2,phase:4,deny,msg:'a database'\"\n\
    SecRule RESPONSE_STATUS \"@eq 500\" \"id:3,phase:5,pass,msg:'noted'\"\n";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("into a vector");
    encoder.finish().expect("into a vector")
}

#[test]
fn answers_are_judged_before_the_client_gets_any_of_them() {
    let upstream = Upstream::answering(|received| {
        let leak = b"<p>ORA-00933: no</p>";
        let path = received.line.split(' ').nth(1).unwrap_or_default();
        let (fields, body) = match path {
            "/text" => ("Content-Type: text/html; charset=utf-8", leak.to_vec()),
            "/gzip" => ("Content-Type: text/plain\r\nContent-Encoding: gzip", gzip(leak)),
            "/image" => ("Content-Type: image/png", leak.to_vec()),
            "/header" => ("X-Secret: 1", Vec::new()),
            "/long" => ("Content-Type: text/plain", [&[b'x'; 100_000][..], leak].concat()),
            _ => ("Content-Type: text/plain", b"well".to_vec()),
        };
        let status = if path == "/broken" { "500 Broken" } else { "200 OK" };
        let head = format!("HTTP/1.1 {status}\r\n{fields}\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    });
    let gateway = start(&upstream, &[("rules/a.conf", ANSWERS)], "");
    for (path, status, rule) in [
        ("/text", 403, "waf/2"),
        ("/gzip", 403, "waf/2"),
        ("/header", 403, "waf/1"),
        ("/image", 200, ""),
        ("/fine", 200, ""),
        ("/broken", 500, ""),
    ] {
        let answer = get(gateway.address, path);
        assert_eq!(answer.status, status, "{path}");
        assert!(!answer.text().contains("ORA-") || path == "/image", "{path}");
        if !rule.is_empty() {
            assert_eq!(answer.rule(), rule, "{path}");
        }
    }
    // Of a long one the first part is judged, and all of it passes.
    let long = get(gateway.address, "/long");
    assert_eq!((long.status, long.body.len()), (200, 100_000 + 20));
    let noted = gateway.records(7).into_iter().find(|record| record["path"] == "/broken");
    assert_eq!(noted.expect("a record")["waf"]["matched"][0]["id"], "3");
    // What comes back must be readable, so codings that are not are not asked for.
    request(gateway.address, "GET", "/fine", &[("Accept-Encoding", "br, gzip;q=0.5, zstd")], b"");
    let asked = upstream.received();
    assert_eq!(asked.last().expect("a request").all("accept-encoding"), ["gzip;q=0.5"]);
}

#[test]
fn a_head_that_is_no_request_is_looked_at_for_the_record() {
    let upstream = Upstream::start();
    let gateway = start(
        &upstream,
        &[("rules/b.conf", SUM)],
        "[server]\nlisten = [\"127.0.0.1:0\"]\nrequest_id = \"accept\"\n",
    );
    let raw = b"GET /?q=\"sqlmap\" HTTP/1.1\r\nHost: app.test\r\nX-Request-Id: my-own-id-1\r\n\r\n";
    assert_eq!(send(gateway.address, raw).status, 400);
    let record = gateway.records(1).remove(0);
    assert_eq!(
        (record["rule"].as_str(), record["request_id"].as_str()),
        (Some("intake/malformed"), Some("my-own-id-1"))
    );
    assert_eq!(record["waf"]["matched"][0]["id"], "901");
    assert_eq!(record["waf"]["matched"][0]["shadow"], true);
    // What was understood and refused is looked at too.
    let refused = request(gateway.address, "TRACE", "/?q=nikto", &[], b"");
    assert_eq!(refused.status, 405);
    assert_eq!(gateway.records(2)[1]["waf"]["matched"][0]["id"], "901");
}

#[test]
fn a_rule_is_explained_in_both_languages_and_a_mistake_is_told_with_its_line() {
    let upstream = "[upstream.origin]\nservers = [\"builtin:echo\"]\n";
    let bench = Bench::with(&format!("version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\n{upstream}{OPEN}"));
    fs::create_dir_all(bench.path().join("more")).expect("a folder");
    fs::create_dir_all(bench.path().join("rules")).expect("a folder");
    bench.write("setup.conf", SETUP);
    bench.write("more/words.conf", WORDS);
    bench.write("more/words.data", "sqlmap\nnikto\n");
    bench.write("rules/b.conf", SUM);
    let page = bench.run(&["explain", "--rule", "waf/901"]).show();
    for part in [
        "more/words.conf:1",
        "SecRule ARGS|REQUEST_HEADERS:User-Agent \"@pmFromFile words.data\"",
        "match = { contains_any_nocase = [\"sqlmap\", \"nikto\"] }",
        "score = 5",
        "SecRule ARGS_GET|ARGS_POST|ARGS_POST|REQUEST_HEADERS:user-agent \"@pm sqlmap nikto\"",
    ] {
        assert!(page.contains(part), "{part} is not in:\n{page}");
    }
    let json = bench.run(&["explain", "--rule", "waf/901", "--format", "json"]).json();
    assert_eq!(json["rule"], "waf/901");
    assert!(bench.run(&["explain", "--rule", "waf/902"]).show().contains("did you mean `waf/90"));
    bench.write(
        "rules/b.conf",
        "SecRule ARGS \"@rx a\" \"id:1,deny\"\nSecRule ARGZ \"@rx a\" \"id:2,deny\"\n",
    );
    let told = bench.run(&["check"]).show();
    assert!(told.contains("rules/b.conf:2") && told.contains("did you mean `ARGS`?"), "{told}");
    fs::remove_file(bench.path().join("rules/b.conf")).expect("removed");
    let told = bench.run(&["check"]).show();
    assert!(told.contains("`rules/*.conf` matches no file"), "{told}");
}

/// Counts what is asked of a path, by who asks: the name in a header stands for an address.
const COUNTS: &str = "SecAction \"id:10,phase:1,nolog,pass,initcol:ip=%{REQUEST_HEADERS.X-Who},initcol:global=all\"\n\
    SecRule REQUEST_URI \"@beginsWith /login\" \"id:11,phase:1,nolog,pass,setvar:ip.logins=+1,expirevar:ip.logins=600,\
    setvar:'ip.last=%{REQUEST_URI}',setvar:global.logins=+1\"\n\
    SecRule IP:LOGINS \"@gt 3\" \"id:12,phase:1,deny,msg:'too many logins, the last was %{ip.last}'\"\n\
    SecRule REQUEST_URI \"@beginsWith /logout\" \"id:13,phase:1,nolog,pass,setvar:!ip.logins\"\n\
    SecRule &IP:/^log/ \"@eq 0\" \"id:14,phase:1,pass,nolog,setvar:tx.none=1\"\n\
    SecRule GLOBAL:LOGINS \"@ge 9\" \"id:15,phase:1,deny,msg:'too many of all'\"\n";

#[test]
fn counters_outlive_requests_connections_and_reloads() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream, &[("rules/c.conf", COUNTS)], "");
    let address = gateway.address;
    let ask = |who: &str, path: &str| {
        let answer = request(address, "GET", path, &[("X-Who", who)], b"");
        (answer.status, answer.rule().to_owned())
    };
    for _ in 0..3 {
        assert_eq!(ask("a", "/login").0, 200);
    }
    assert_eq!(ask("a", "/login"), (403, "waf/12".to_owned()));
    assert_eq!(ask("a", "/elsewhere"), (403, "waf/12".to_owned()), "it is remembered, whatever is asked");
    assert_eq!(ask("b", "/login").0, 200);
    // A new program, the same memory.
    let rules = gateway.folder().join("rules/c.conf");
    fs::write(&rules, COUNTS.replace("too many of all", "all of them")).expect("written");
    gateway.signal("HUP");
    gateway.wait_for("trigger=");
    assert_eq!(ask("a", "/elsewhere"), (403, "waf/12".to_owned()));
    assert_eq!(ask("a", "/logout"), (403, "waf/12".to_owned()), "who is refused is not asked further");
    for count in 2..=3 {
        assert_eq!(ask("b", "/login").0, 200, "{count}");
    }
    assert_eq!(ask("b", "/logout").0, 200);
    assert_eq!(ask("b", "/login").0, 200, "it begins anew");
    assert_eq!(ask("c", "/login"), (403, "waf/15".to_owned()));
}
