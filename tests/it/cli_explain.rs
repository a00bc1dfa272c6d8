//! `explain`: verdicts that hold whatever the policy says, and the pages.

use serde_json::json;

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
        "with the address 192.0.2.7: still refused by intake/encoded-slash, so this address alone does not help"
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

/// Everything that an explanation may have to tell of, on a port that nothing listens on.
const RICH: &str = "\
version = 1
[upstream.app]
servers = [\"builtin:echo\"]
[server]
listen = [\"127.0.0.1:8080\"]
[[route]]
id = \"all\"
path = \"/{*rest}\"
upstream = \"app\"
[rbac.role.reader]
[rbac.role.admin]
[[rbac.grant]]
id = \"read\"
roles = [\"reader\"]
[[rbac.grant]]
id = \"write\"
roles = [\"admin\"]
[[rbac.deny]]
id = \"freeze\"
roles = [\"reader\"]
methods = [\"DELETE\"]
when = \"header.x-emergency != 'yes'\"
";

#[test]
fn what_a_deny_refuses_no_grant_would_allow() {
    let bench = Bench::with(RICH);
    let arguments =
        ["explain", "/a", "-X", "DELETE", "--as", "alice", "--role", "reader", "-H", "x-emergency: no"];
    let ran = bench.run(&arguments);
    assert!(ran.out.contains("No new grant helps, since a deny beats every grant"), "{}", ran.show());
    assert!(!ran.out.contains("needs the role"), "{}", ran.show());
    assert!(ran.out.contains("only about holders of the role reader"), "{}", ran.show());
    assert!(ran.out.contains("`header.x-emergency != 'yes'` is"), "{}", ran.show());
    let account = bench.run(&[&arguments[..], &["--format", "json"]].concat()).json();
    assert_eq!(account["reason"], "denied_by_rule");
    assert_eq!(account["nearest"], serde_json::json!([]));
    assert_eq!(account["policy"].as_str().map(str::len), Some(8));
    let assumed = account["assumed"].to_string();
    assert!(assumed.contains("`claims.sub` is `alice`"), "{assumed}");
}

#[test]
fn the_command_shows_a_credential_that_the_route_reads() {
    let curl = |config: &str| {
        let ran = Bench::with(config).run(&["explain", "/a", "--as", "alice", "--format", "json"]);
        ran.json()["curl"].as_str().unwrap_or_default().to_owned()
    };
    let hash = "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe";
    let basic = format!("[[authn.basic]]\nid = \"b\"\nuser = [{{ name = \"alice\", hash = '{hash}' }}]\n");
    let key =
        format!("[[authn.api_key]]\nid = \"k\"\nheader = \"x-key\"\nhash = \"sha256:{}\"\n", "0".repeat(64));
    assert!(!curl(RICH).contains("$TOKEN"), "{}", curl(RICH));
    assert!(curl(&format!("{RICH}{basic}")).contains("-u alice:\"$PASSWORD\""));
    assert!(curl(&format!("{RICH}{key}")).contains("-H \"x-key: $KEY\""));
    // The key is somebody else's.
    assert!(curl(&format!("{RICH}{basic}{key}")).contains("-u alice:\"$PASSWORD\""));
    let off = RICH.replace("upstream = \"app\"", "upstream = \"app\"\nauthn = \"off\"");
    assert!(!curl(&format!("{off}{basic}{key}")).contains('$'));
}

#[test]
fn what_the_caller_sees_is_told() {
    let with = |level: &str| format!("{RICH}[[disclosure]]\nlevel = \"{level}\"\n");
    let silent = Bench::with(&with("silent"));
    let ran = silent.run(&["explain", "/a"]);
    assert!(ran.out.contains("The caller sees 404 Not Found: disclosure `silent`"), "{}", ran.show());
    let account = silent.run(&["explain", "/a", "--format", "json"]).json();
    assert_eq!((&account["status"], &account["sent_status"]), (&403.into(), &404.into()));
    assert_eq!(account["disclosure"], serde_json::json!({ "level": "silent", "at": "portcullis.toml:23" }));
    assert!(
        Bench::with(&with("id")).run(&["explain", "/a"]).out.contains("disclosure `id` (portcullis.toml:23)")
    );
    let plain = Bench::with(RICH).run(&["explain", "/a", "--format", "json"]).json();
    assert_eq!(plain["sent_status"], 403);
    assert_eq!(plain["disclosure"], serde_json::json!({ "level": "rule", "at": null }));
}

#[test]
fn a_score_is_told_at_the_gate_where_it_arose() {
    let waf = "[waf]\npacks = [\"core\"]\n[[waf.rule]]\nid = \"b\"\nscore = 5\ntargets = [\"form\"]\nmatch = { contains = \"evil\" }\n";
    let bench = Bench::with(&format!("{RICH}{waf}"));
    bench.write("body", "x=evil");
    let form = ["--content-type", "application/x-www-form-urlencoded", "--body", "body"];
    let ran = bench.run(&[&["explain", "/a", "--as", "a", "--role", "reader"][..], &form].concat());
    assert!(ran.out.contains("score 0 of 5"), "{}", ran.show());
    assert_eq!(ran.out.matches("score 5 of 5").count(), 1, "{}", ran.show());
    let ran = bench.run(&["explain", "/a?q=1'%20OR%20'1'='1", "--as", "a", "--role", "reader"]);
    assert!(ran.out.contains("`1' OR '1'='1`"), "{}", ran.show());
    assert!(ran.out.contains("Through portcullis.toml:24:"), "{}", ran.show());
}

#[test]
fn what_cannot_be_meant_is_said() {
    let bench = Bench::with(RICH);
    for argument in ["--role", "--what-if-role"] {
        let ran = bench.run(&["explain", "/a", argument, "raeder"]);
        assert!(ran.err.contains("there is no role `raeder`; did you mean `reader`?"), "{}", ran.show());
    }
    for argument in ["--at", "--what-if-at"] {
        let ran = bench.run(&["explain", "/a", argument, "tomorrow"]);
        assert!(ran.code == 2 && ran.err.contains("such as 2026-12-24T08:00:00Z"), "{}", ran.show());
    }
    let ran = bench.run(&["explain", "orders/1"]);
    assert!(ran.code == 2 && ran.err.contains("leading slash: write `/orders/1`"), "{}", ran.show());
}

#[test]
fn a_token_and_an_address_are_tried_together_and_the_command_shows_what_the_subject_can_show() {
    let bench = Bench::with(
        "\
version = 1
[server]
listen = [\"127.0.0.1:8080\"]
[upstream.demo]
servers = [\"builtin:echo\"]
[[route]]
id = \"all\"
path = \"/{*rest}\"
upstream = \"demo\"
[network]
office = [\"192.0.2.0/24\"]
[[ip.rule]]
id = \"office\"
allow = [\"office\"]
[[authn.jwt]]
id = \"corp\"
issuer = \"https://id.example.com\"
audience = [\"a\"]
algorithms = [\"HS256\"]
secret_file = \"secret\"
roles = \"roles\"
roles_allowed = [\"reader\"]
[[authn.api_key]]
id = \"batch\"
header = \"x-api-key\"
hash = \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"
roles = [\"reader\"]
[rbac.role.reader]
[rbac.role.writer]
[[rbac.grant]]
id = \"read\"
roles = [\"reader\"]
path = \"/a\"
",
    );
    let secret = "not-a-secret-not-a-secret-not-a-secret-0";
    bench.write("secret", secret);
    let claims = json!({
        "iss": "https://id.example.com", "aud": "a", "sub": "alice", "roles": ["reader"],
        "exp": 4_102_444_800_u64,
    });
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    bench.write("token", jsonwebtoken::encode(&header, &claims, &key).expect("a token"));
    let both =
        ["explain", "/a", "--ip", "203.0.113.9", "--what-if-ip", "192.0.2.7", "--what-if-token", "token"];
    let ran = bench.run(&both);
    for text in [
        "with the token in token: still refused by ip/office, so this token alone does not help",
        "with the address 192.0.2.7 and the token in token: allowed, so it takes both",
    ] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    let tried = bench.run(&[&both[..], &["--format", "json"]].concat()).json()["what_if"].clone();
    assert_eq!((&tried[2]["ip"], &tried[2]["token"]), (&"192.0.2.7".into(), &"token".into()), "{tried}");
    // A role that the token names and its source may not bring is the cause, not one that may be.
    bench.write(
        "portcullis.toml",
        std::fs::read_to_string(bench.path().join("portcullis.toml")).expect("there").replacen(
            "roles_allowed = [\"reader\"]",
            "roles_allowed = [\"writer\"]",
            1,
        ),
    );
    let ran = bench.run(&["explain", "/a", "--ip", "192.0.2.7", "--token-file", "token"]);
    let cause = "Likely cause first 1. the token's source may not bring that role (`roles_allowed`) Look";
    assert!(ran.words().contains(cause), "{}", ran.show());
    // No key is alice's, and one is the batch's.
    for (subject, shown) in [("alice", "authorization: Bearer $TOKEN"), ("batch", "x-api-key: $KEY")] {
        let ran = bench.run(&["explain", "/a", "--ip", "192.0.2.7", "--as", subject, "--role", "reader"]);
        assert!(ran.out.contains(shown), "{shown}: {}", ran.show());
    }
}
