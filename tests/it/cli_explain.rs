//! `explain`: verdicts that hold whatever the policy says, and the pages.

use crate::support::command::{Bench, PLAIN};

const AT: [&str; 2] = ["--at", "2026-12-24T08:00:00Z"];

#[test]
fn a_refusal_of_the_intake_is_explained_from_verdict_to_command() {
    let bench = Bench::with(PLAIN);
    let arguments = [
        "explain",
        "http://api.example.com/files/a%2fb",
        "--ip",
        "203.0.113.9",
        "--as",
        "alice",
        "--exit-code",
    ];
    let ran = bench.run(&[&arguments[..], &AT].concat());
    assert_eq!(ran.code, 1);
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.show());
    let hash =
        bench.run(&["check", "--format", "json"]).json()["policy"]["hash"].as_str().unwrap_or("?").to_owned();
    insta::assert_snapshot!("intake", ran.show().replace(&hash, "[hash]"));
    let quiet = bench.run(&[&arguments[..], &["--quiet"]].concat());
    assert_eq!(quiet.out.lines().count(), 2, "{}", quiet.show());
}

#[test]
fn the_same_as_json() {
    let bench = Bench::with(PLAIN);
    let ran = bench.run(&[&["explain", "/a\\b", "--format", "json", "--host", "h"], &AT[..]].concat());
    let account = ran.json();
    assert_eq!(ran.code, 0);
    assert_eq!(account["decision"], "deny");
    assert_eq!(account["status"], 400);
    assert_eq!(account["rule"]["name"], "intake/backslash");
    assert_eq!(account["reason"], "bad_target");
    assert_eq!(account["request"]["time"], "2026-12-24T08:00:00Z");
    assert_eq!(account["stages"][0]["passage"], "refused");
    assert_eq!(account["stages"][0]["steps"][0]["outcome"], "deny");
    assert_eq!(account["stages"][6]["stage"], "waf_body");
    assert_eq!(account["stages"][6]["passage"], "not_reached");
    assert_eq!(account["assumed"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_derivation_of_the_client_is_told() {
    let trusting = PLAIN.replace("[server]\n", "[server]\ntrusted_proxies = [\"10.0.0.0/8\"]\n");
    let client = |config: &str, arguments: &[&str]| {
        let ran = Bench::with(config).run(&[&["explain", "/a%00", "--format", "json"], arguments].concat());
        ran.json()["client"]["words"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(
        client(PLAIN, &["--ip", "192.0.2.7"]),
        "192.0.2.7, the other end of the connection: there are no trusted proxies"
    );
    assert_eq!(
        client(&trusting, &["--ip", "192.0.2.7", "--peer", "192.0.2.1"]),
        "192.0.2.1, the other end of the connection: it is not one of the trusted proxies"
    );
    assert_eq!(
        client(&trusting, &["--ip", "192.0.2.7", "--peer", "10.0.0.1"]),
        "192.0.2.7, from x-forwarded-for of the trusted proxy 10.0.0.1"
    );
    assert_eq!(
        client(&trusting, &["--peer", "10.0.0.1", "-H", "x-forwarded-for: 192.0.2.9, 10.0.0.2"]),
        "192.0.2.9, from x-forwarded-for of the trusted proxy 10.0.0.1, past the trusted 10.0.0.2"
    );
    assert_eq!(
        client(&trusting, &["--ip", "10.0.0.1"]),
        "10.0.0.1, the other end of the connection: it is a trusted proxy but named no client"
    );
}

#[test]
fn secrets_are_warned_about_and_never_repeated() {
    let bench = Bench::with(PLAIN);
    let ran = bench.run(&["explain", "/", "-H", "Authorization: Bearer hunter2", "-H", "cookie: a=hunter2"]);
    assert!(ran.err.contains("--token-file"), "{}", ran.show());
    assert!(!ran.show().contains("hunter2"), "{}", ran.show());
    assert!(ran.out.contains("authorization: Bearer $TOKEN"), "{}", ran.show());
    bench.write("token", "hunter2\n");
    for arguments in [&["--token-file", "token"][..], &["--key-file", "token", "--key-header", "x-mine"]] {
        let ran = bench.run(&[&["explain", "/"], arguments].concat());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.show());
        assert!(!ran.out.contains("hunter2"));
    }
    let from_stdin = bench.run_with(&["explain", "/", "--token-file", "-"], b"hunter2\n");
    assert_eq!(from_stdin.code, 0, "{}", from_stdin.show());
}

#[test]
fn the_command_reproduces_the_request() {
    let bench = Bench::with(PLAIN);
    bench.write("body.json", "{}");
    let command = |arguments: &[&str]| {
        let ran = bench.run(&[&["explain", "--format", "json"], arguments].concat());
        ran.json()["curl"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(
        command(&["/a/../b?x=1", "--host", "h.test"]),
        "curl -i --path-as-is --connect-to ::127.0.0.1:8080 -H accept: -H user-agent: 'http://h.test/a/../b?x=1'"
    );
    assert_eq!(
        command(&["/o'b", "-X", "PUT", "--body", "body.json", "--content-type", "a/b", "-H", "accept: */*"]),
        "curl -i -X PUT --connect-to ::127.0.0.1:8080 -H user-agent: -H 'accept: */*' -H 'content-type: a/b' \
         --data-binary @body.json 'http://localhost/o'\\''b'"
    );
}

#[test]
fn the_same_request_is_judged_side_by_side() {
    let bench = Bench::with(PLAIN);
    let ran = bench.run(&[
        "explain",
        "/a%2fb",
        "--what-if-ip",
        "192.0.2.7",
        "--what-if-ip",
        "2001:db8::1",
        "--what-if-role",
        "x",
        "--format",
        "json",
    ]);
    let account = ran.json();
    let variations = account["what_if"].as_array().expect("variations");
    // Each alone, and both kinds together, since none alone is enough.
    assert_eq!(variations.len(), 5, "{}", ran.show());
    assert_eq!(
        variations[0]["conclusion"],
        "with the address 192.0.2.7: still refused by intake/encoded-slash, so it is not the address"
    );
    assert_eq!(variations[4]["roles"], serde_json::json!(["x"]));
}

#[test]
fn pages_need_no_configuration() {
    let bench = Bench::new();
    let page = |arguments: &[&str]| {
        let ran = bench.run(&[&["explain"], arguments].concat());
        assert_eq!(ran.code, 0, "{}", ran.show());
        assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.show());
        ran.out
    };
    insta::assert_snapshot!("reason", page(&["--reason", "role_missing"]));
    insta::assert_snapshot!("lint", page(&["--lint", "demo-key"]));
    let builtin = page(&["--rules", "builtin"]);
    for rule in portcullis::decision::Builtin::ALL {
        assert!(builtin.contains(rule.info().name), "{}", rule.info().name);
    }
    let listed = bench.run(&["explain", "--rules", "builtin", "--format", "json"]).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(portcullis::decision::Builtin::ALL.len()));
}
