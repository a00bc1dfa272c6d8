//! Logs as they are found after a crash, or made by somebody else: torn, damaged, hostile to terminals.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::command::{Bench, Ran};

const CONFIG: &str = r#"version = 1
[server]
listen = ["127.0.0.1:8080"]
[log]
sink = { file = "decisions.jsonl" }
[upstream.demo]
servers = ["builtin:echo"]
[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"
[rbac.role.reader]
[[rbac.grant]]
id = "orders"
roles = ["reader"]
path = "/orders/{id}"
"#;

fn id(number: usize) -> String {
    format!("0197f2c4-7e1b-7c3a-9a51-{number:012x}")
}

/// A record of a refusal, with this text wherever a client, a server or a file has a say.
fn record(number: usize, text: &str) -> String {
    let text = serde_json::Value::from(text).to_string();
    let text = text.trim_matches('"');
    format!(
        "{{\"ts\":\"2026-11-24T10:00:00.000001Z\",\"request_id\":\"{}\",\"decision_id\":\"{}\",\"decision\":\"deny\",\
         \"stage\":\"rbac\",\"rule\":\"rbac/default-deny\",\"reason\":\"role_missing{text}\",\"rule_at\":\"a{text}.toml:1\",\
         \"rule_changed\":\"2026{text}\",\"status\":403,\"decided_by\":\"proxy\",\
         \"policy\":{{\"generation\":1,\"hash\":\"0f9a2c1d{text}\"}},\"client\":{{\"ip\":\"192.0.2.7\",\"peer\":\"192.0.2.7\",\
         \"via\":\"peer{text}\"}},\"scheme\":\"http\",\"version\":\"HTTP/1.1\",\"method\":\"GET\",\"host\":\"app.test\",\
         \"path\":\"/orders/7{text}\",\"route\":\"all{text}\",\"identity\":{{\"state\":\"valid\",\"source\":\"s{text}\",\
         \"subject\":\"al{text}\",\"roles\":[\"r{text}\"],\"scopes\":[\"s{text}\"]}},\
         \"waf\":{{\"score\":5,\"threshold\":5,\"matched\":[{{\"id\":\"x{text}\",\"rule\":\"waf/x{text}\",\"target\":\"query:{text}\",\
         \"score\":5,\"msg\":\"m{text}\",\"data\":\"d{text}\"}}]}},\"facts\":{{\"header.user-agent\":\"u{text}\"}},\
         \"bytes\":{{\"in\":0,\"out\":0}}}}\n",
        id(number),
        id(number + 1_000_000)
    )
}

fn bench(log: &str) -> Bench {
    let bench = Bench::with(CONFIG);
    bench.write("decisions.jsonl", log);
    bench
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unchanged(ran: &Ran) {
    for c in ran.out.chars().chain(ran.err.chars()) {
        let harmful = (c.is_control() && c != '\n')
            || matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!harmful, "{c:?}: {}", ran.show());
    }
}

#[test]
fn what_a_rotation_left_torn_is_replayed_as_far_as_it_goes() {
    let bench = bench("");
    let text: String = (0..2000).map(|number| record(number, &format!("-{number}"))).collect();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("in memory");
    let whole = encoder.finish().expect("in memory");
    bench.write("decisions.jsonl.1.gz", &whole[..whole.len() / 2]);
    let ran = bench.run(&["replay"]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    assert!(words(&ran.out).contains("decisions.jsonl.1.gz` is torn after its first"), "{}", ran.show());
    let found = bench.run(&["replay", "--format", "json"]).json();
    let records = found["records"].as_u64().expect("a number");
    assert!((1..2000).contains(&records), "{found}");
    assert_eq!(found["torn"][0]["records"], records);
    assert_eq!(bench.run(&["replay", "--strict"]).code, 1);
    // One record of it is found, and one that is behind its end is missed with a reason.
    let ran = bench.run(&["why", &id(3)]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    let ran = bench.run(&["why", &id(1999), "--log", "decisions.jsonl"]);
    assert!(ran.code == 1 && ran.err.contains("is torn after its first"), "{}", ran.show());
    let ran = bench.run(&["suggest", &id(3), "--hours", "100000"]);
    assert!(words(&ran.out).contains("is torn after its first"), "{}", ran.show());
}

#[test]
fn a_record_that_cannot_be_read_is_named_by_file_and_line() {
    let log = [
        record(1, ""),
        record(2, "").replace("\"status\":403", "\"status\":\"what\""),
        record(3, "").replace("2026-11-24T10:00:00.000001Z", "yesterday evening, I think"),
        record(4, "").replace("\"method\":\"GET\"", "\"method\":\"G E T\""),
        record(5, "")[..200].to_owned() + "\n",
    ];
    let bench = bench(&log.concat());
    for verb in ["why", "suggest"] {
        for (number, what) in
            [(2, "invalid type"), (3, "`ts` is no time"), (4, "`method` is no method"), (5, "no record")]
        {
            let ran = bench.run(&[verb, &id(number), "--log", "decisions.jsonl"]);
            assert_eq!(ran.code, 1, "{}", ran.show());
            let place = format!("decisions.jsonl:{number}");
            assert!(ran.err.contains(&place) && ran.err.contains(what), "{}", ran.show());
        }
    }
    // They hide no other, and are counted.
    assert_eq!(bench.run(&["why", &id(1)]).code, 0);
    let found = bench.run(&["replay", "--format", "json"]).json();
    assert_eq!(found["records"], 5);
}

#[test]
fn what_cannot_be_read_or_has_no_record_is_no_success() {
    let bench = bench(&record(1, ""));
    let bzip2 = b"BZh91AY&SY and more of what bzip2 writes";
    bench.write("old.jsonl.bz2", bzip2);
    bench.write("hello.jsonl", "hello\n");
    bench.write("empty.jsonl", "");
    bench.write("logs/x.jsonl", record(1, ""));
    for (arguments, wanted) in [
        (
            &["replay", "old.jsonl.bz2"][..],
            "compressed with bzip2; plain files are read, and those that gzip, xz or zstd made",
        ),
        (&["why", &id(1), "--log", "old.jsonl.bz2"], "compressed with bzip2"),
        (&["suggest", &id(1), "--log", "old.jsonl.bz2"], "compressed with bzip2"),
        (&["replay", "hello.jsonl"], "there is no record among 1 line in `hello.jsonl`"),
        (&["replay", "empty.jsonl"], "there is no record in `empty.jsonl`"),
        (&["replay", "logs"], "`logs` is no file"),
        (&["why", &id(1), "--log", "logs"], "it is a folder; name a file in it"),
    ] {
        let ran = bench.run(arguments);
        assert!(ran.code == 78 && words(&ran.err).contains(wanted), "{wanted}: {}", ran.show());
    }
    // Beside others it hides none, and is named.
    bench.write("decisions.jsonl.1.bz2", bzip2);
    assert_eq!(bench.run(&["why", &id(1)]).code, 0);
    let ran = bench.run(&["why", &id(2), "--log", "decisions.jsonl"]);
    assert!(ran.code == 1 && ran.err.contains("decisions.jsonl.1.bz2` is not read: "), "{}", ran.show());
    let ran = bench.run(&["replay"]);
    assert!(
        ran.code == 0 && words(&ran.out).contains("decisions.jsonl.1.bz2` is not read"),
        "{}",
        ran.show()
    );
    assert_eq!(bench.run(&["replay", "--strict"]).code, 1);
}

#[test]
fn the_last_line_of_a_plain_log_is_told_where_it_is_torn() {
    let whole = [record(1, ""), record(2, "")].concat();
    let bench = bench(&whole[..whole.len() - 40]);
    let ran = bench.run(&["replay"]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    assert!(words(&ran.out).contains("1 record:"), "{}", ran.show());
    assert!(words(&ran.out).contains("decisions.jsonl` is torn, so it is not read: "), "{}", ran.show());
    assert_eq!(bench.run(&["replay", "--strict"]).code, 1);
    // One that lacks only its line break is a record.
    bench.write("decisions.jsonl", whole.trim_end());
    let found = bench.run(&["replay", "--strict", "--format", "json"]).json();
    assert_eq!((&found["records"], &found["torn"]), (&2.into(), &serde_json::json!([])), "{found}");
}

#[test]
fn what_is_no_id_is_told_what_one_looks_like() {
    let bench = bench(&record(1, ""));
    for (text, code, wanted) in [
        ("nonsense", 1, "there is no record of `nonsense`"),
        ("what is this?", 2, "is no request id"),
        ("", 2, "is no request id"),
        ("rbac/default-deny", 2, "`portcullis explain --rule rbac/default-deny` tells of a rule"),
        ("/orders/7", 2, "`portcullis explain /orders/7` asks about a path"),
        ("\u{1b}[2J", 2, "`\\u{1b}[2J` is no request id"),
    ] {
        for verb in ["why", "suggest"] {
            let ran = bench.run(&[verb, text, "--log", "decisions.jsonl"]);
            assert_eq!(ran.code, code, "{}", ran.show());
            assert!(ran.err.contains(wanted) && ran.err.contains("x-request-id"), "{}", ran.show());
            unchanged(&ran);
        }
    }
}

#[test]
fn no_text_of_a_record_moves_a_terminal() {
    let evil = "\u{1b}]0;t\u{7}\u{1b}[2J\r\u{8}\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}\u{9b}31m\n\t";
    // One with all of it, and one with each stage and decision, since they are told in other words.
    let mut log = record(1, evil);
    for (number, (decision, stage, rule)) in [
        ("deny", "ip", "ip/banned"),
        ("deny", "waf", "waf/x"),
        ("deny", "authn", "authn/expired"),
        ("error", "fault", "fault/log"),
        ("allow", "rbac", "rbac/orders"),
        ("deny\u{1b}", "ip\u{1b}", "ip/\u{1b}[2J"),
    ]
    .into_iter()
    .enumerate()
    {
        let escape = |text: &str| text.replace('\u{1b}', "\\u001b");
        let line = record(number + 2, evil)
            .replace("\"decision\":\"deny\"", &format!("\"decision\":\"{}\"", escape(decision)))
            .replace("\"stage\":\"rbac\"", &format!("\"stage\":\"{}\"", escape(stage)))
            .replace("\"rule\":\"rbac/default-deny\"", &format!("\"rule\":\"{}\"", escape(rule)))
            .replace(
                "\"state\":\"valid\"",
                if stage == "authn" { "\"state\":\"expired\\u001b\"" } else { "\"state\":\"valid\"" },
            );
        log.push_str(&line);
    }
    let bench = bench(&log);
    for number in 1..=7 {
        let ran = bench.run(&["why", &id(number)]);
        assert!(ran.code < 2, "{}", ran.show());
        unchanged(&ran);
        unchanged(&bench.run(&["why", &id(number), "--format", "json"]));
        let ran = bench.run(&["suggest", &id(number), "--hours", "100000"]);
        assert!(ran.code < 2, "{}", ran.show());
        unchanged(&ran);
    }
    // The other policy opens everything, so that all of it flips and is named.
    let open = "\n[[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\npath = \"/{*rest}\"\n";
    bench.write("new.toml", format!("{CONFIG}{open}"));
    for arguments in [&["replay"][..], &["replay", "--with", "new.toml", "--from", "portcullis.toml"]] {
        let ran = bench.run(arguments);
        assert!(ran.code < 2, "{}", ran.show());
        unchanged(&ran);
    }
    fs::remove_file(bench.path().join("new.toml")).expect("there");
}
