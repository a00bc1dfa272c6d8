//! What `why` and the API tell of a decision is what was recorded: also of what no record holds, such as a
//! ban or the text that a WAF rule matched, and also of clients behind proxies.

use serde_json::Value;

use crate::support::command::{Bench, about_folder};
use crate::support::{Gateway, get_local, request, send, wait_until};

const CONFIG: &str = r#"
[server]
listen = ["127.0.0.1:0"]
state_dir = "state"
trusted_proxies = ["127.0.0.1"]
[upstream.demo]
servers = ["builtin:echo"]
[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"
[[route]]
id = "orders"
path = "/orders/{id}"
upstream = "demo"
[[authn.api_key]]
id = "batch"
header = "x-api-key"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
roles = ["reader"]
[[ip.rule]]
id = "office"
path = "/office"
allow = ["192.0.2.0/24"]
[rbac.role.reader]
[rbac.role.writer]
[[rbac.grant]]
id = "team"
roles = ["anyone"]
path = "/team"
when = "header.x-team == 'blue'"
[[rbac.grant]]
id = "open"
roles = ["anyone"]
paths = ["/office", "/search", "/open"]
[[rbac.grant]]
id = "orders"
roles = ["writer"]
path = "/orders/{id}"
[[waf.rule]]
id = "no-x"
score = 4
targets = ["query"]
match = { contains = "xxx" }
[[waf.rule]]
id = "no-y"
score = 3
targets = ["query"]
match = { contains = "yyy" }
"#;

/// The id of a request that gets this status.
fn ask(gateway: &Gateway, path: &str, fields: &[(&str, &str)], status: u16) -> String {
    let answer = request(gateway.address, "GET", path, fields, b"");
    assert_eq!(answer.status, status, "{path}");
    answer.header("x-request-id").expect("an id").to_owned()
}

fn about(gateway: &Gateway, id: &str) -> Value {
    let admin = gateway.admin.expect("an admin listener");
    wait_until(|| {
        let answer = get_local(admin, &format!("/api/decisions/{id}"));
        (answer.status == 200).then(|| answer.json()["about"].clone())
    })
}

#[test]
fn the_api_judges_again_by_all_that_the_record_holds() {
    let gateway = Gateway::start(CONFIG);
    for (path, field, status) in [
        ("/office", ("x-forwarded-for", "203.0.113.9"), 403),
        ("/office", ("x-forwarded-for", "192.0.2.7"), 200),
        ("/team", ("x-team", "blue"), 200),
        ("/team", ("x-team", "red"), 401),
    ] {
        let id = ask(&gateway, path, &[field], status);
        let about = about(&gateway, &id);
        assert_eq!(about["same_decision"], true, "{path} {field:?}: {about}");
        assert_eq!(about["as_recorded"], Value::Null);
        // And as `why` does.
        let told = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
        assert_eq!(told["agrees"], true);
        for part in ["client", "decision", "rule", "stages", "identity"] {
            assert_eq!(told["explained"][part], about["again"][part], "{path} {field:?}");
        }
        if path == "/office" {
            assert_eq!(about["again"]["client"]["ip"], field.1);
            assert_eq!(about["again"]["client"]["peer"], "127.0.0.1");
        }
    }
}

#[test]
fn a_request_without_a_host_is_made_again_without_one() {
    // The command named a host, and was another request.
    let gateway = Gateway::start(CONFIG);
    let answer = send(gateway.address, b"GET /open HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert_eq!((answer.status, answer.rule()), (400, "intake/authority-missing"));
    let id = answer.header("x-request-id").expect("an id");
    let told = about_folder(gateway.folder(), &["why", id, "--format", "json"]).json();
    let curl = told["explained"]["curl"].as_str().expect("a command");
    assert!(curl.contains(" -H host: ") && curl.ends_with("/open"), "{curl}");
    let about = about(&gateway, id);
    assert_eq!(about["again"]["curl"], *curl);
    // One with a host says it in its URL alone.
    let id = ask(&gateway, "/open", &[], 200);
    let told = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    let curl = told["explained"]["curl"].as_str().expect("a command");
    assert!(!curl.contains("-H host:"), "{curl}");
}

#[test]
fn the_end_of_a_deny_is_told_as_an_end_only_where_a_grant_follows() {
    let until = "2100-01-01T00:00:00Z";
    let freeze = format!("[[rbac.deny]]\nid = \"freeze\"\npath = \"/{{*rest}}\"\nuntil = {until}\n");
    let gateway = Gateway::start(&format!("{CONFIG}{freeze}"));
    for (path, passes) in [("/open", true), ("/nothing", false)] {
        let answer = request(gateway.address, "GET", path, &[], b"");
        assert_eq!((answer.status, answer.rule()), (403, "rbac/freeze"), "{path}");
        let told = answer.json();
        assert_eq!(told["temporary"], passes, "{told}");
        assert_eq!(told.to_string().contains("Try again after"), passes, "{told}");
        assert_eq!(answer.header("retry-after").is_some(), passes, "{path}");
        let id = answer.header("x-request-id").expect("an id");
        let about = about(&gateway, id);
        assert_eq!(about["temporary"], passes);
        let told = about_folder(gateway.folder(), &["why", id, "--format", "json"]).json();
        assert_eq!(told["record"]["until"].is_string(), passes, "{told}");
        let in_vain = format!(
            "The rule ends by itself at {until}, and the request would be refused then all the same."
        );
        let by_itself = format!("It ends by itself at {until}.");
        let (wanted, unwanted) = if passes { (&by_itself, &in_vain) } else { (&in_vain, &by_itself) };
        let explain = &["explain", path, "--ip", "192.0.2.7"][..];
        for arguments in [&["why", id][..], explain] {
            let ran = about_folder(gateway.folder(), arguments);
            let text = ran.words();
            assert!(text.contains(wanted.as_str()) && !text.contains(unwanted.as_str()), "{}", ran.show());
            // What else is in the way, and no advice that would not be enough.
            assert_eq!(
                text.contains("Without it no grant would allow this either"),
                !passes,
                "{}",
                ran.show()
            );
            assert!(passes || !text.contains("portcullis suggest"), "{}", ran.show());
            if !passes {
                let ran = about_folder(gateway.folder(), &["suggest", id]);
                assert!(ran.words().contains("no grant would allow this either"), "{}", ran.show());
            }
        }
        let told = about_folder(gateway.folder(), &[explain, &["--format", "json"]].concat()).json();
        let ends = (told["until"].as_str(), told["rule_until"].as_str());
        assert_eq!(ends, if passes { (Some(until), None) } else { (None, Some(until)) });
    }
}

#[test]
fn a_refusal_by_the_waf_is_told_as_it_was_recorded() {
    let gateway = Gateway::start(CONFIG);
    let id = ask(&gateway, "/search?q=xxxyyy", &[], 403);
    let ran = about_folder(gateway.folder(), &["why", &id]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    let text = ran.words();
    for wanted in [
        "looked at text of the request that no record keeps",
        "what follows is what was recorded",
        "waf REFUSED",
        "WAF matches (score 7 of 5)",
        "waf/no-x on query:q +4",
        "waf/no-y on query:q +3",
        "[[waf.exclude]]",
        &format!("portcullis suggest {id}"),
        "None: The rules of the WAF looked at text",
    ] {
        assert!(text.contains(wanted), "{wanted}: {}", ran.show());
    }
    for unwanted in ["Allowed:", "[[case]]", "outcome = \"allow\""] {
        assert!(!text.contains(unwanted), "{unwanted}: {}", ran.show());
    }
    let told = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    assert_eq!((&told["agrees"], &told["case"]), (&false.into(), &Value::Null));
    assert_eq!(told["explained"]["decision"], "deny");
    assert_eq!(told["explained"]["waf"]["threshold"], 5);
    let about = about(&gateway, &id);
    assert_eq!((&about["again"]["decision"], &about["same_decision"]), (&"deny".into(), &true.into()));
    assert!(about["as_recorded"].as_str().is_some_and(|why| why.contains("WAF")), "{about}");
}

#[test]
fn a_refusal_at_the_second_gate_of_the_waf_is_told_there_without_a_body_too() {
    // The trail said of rules that look at bodies as well that the head had refused, and nobody had been
    // looked at.
    let rule = "[[waf.rule]]\nid = \"no-z\"\nscore = 9\ntargets = [\"query\", \"form\"]\nmatch = { contains = \"zzz\" }\n";
    let gateway = Gateway::start(&format!("{CONFIG}{rule}"));
    for (query, gate, behind) in [("zzz", "waf_body", "passed"), ("xxxyyy", "waf", "not_reached")] {
        let id = ask(&gateway, &format!("/search?q={query}"), &[], 403);
        let told = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
        let stages = told["explained"]["stages"].as_array().expect("a list");
        let passage =
            |name: &str| &stages.iter().find(|stage| stage["stage"] == name).expect("there")["passage"];
        assert_eq!((passage(gate), passage("rbac")), (&"refused".into(), &behind.into()), "{query}: {told}");
        // What was reached need not be minded.
        let ran = about_folder(gateway.folder(), &["suggest", &id]);
        assert_eq!(ran.words().contains("were not reached"), gate == "waf", "{}", ran.show());
    }
}

#[test]
fn a_trail_that_was_kept_is_the_one_that_is_told() {
    let gateway = Gateway::start(&format!(
        "{CONFIG}\n[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"admin.token\"\n"
    ));
    let admin = gateway.admin.expect("an admin listener").to_string();
    let run =
        |arguments: &[&str]| about_folder(gateway.folder(), &[arguments, &["--admin", &admin]].concat());
    let before = ask(&gateway, "/search?q=xxxyyy", &[], 403);
    let begun = run(&["verbose", "--for", "10m", "--route", "all"]);
    assert_eq!(begun.code, 0, "{}", begun.show());
    let id = ask(&gateway, "/search?q=xxxyyy", &[], 403);
    about(&gateway, &id);
    // What the rules of the WAF saw stands in no record, and in the trail.
    let ran = run(&["why", &id]);
    let text = ran.words();
    for wanted in ["are those that were kept when it was decided", "matches query:q", "waf/no-y"] {
        assert!(ran.code == 0 && text.contains(wanted), "{wanted}: {}", ran.show());
    }
    let told = run(&["why", &id, "--format", "json"]).json();
    assert_eq!(told["steps"], "kept");
    // Of one that was decided before, and of a copy of the log, the steps are made anew.
    for arguments in [&["why", &before][..], &["why", &id, "--log", "decisions.jsonl"]] {
        let log = gateway.folder().join("decisions.jsonl").to_string_lossy().into_owned();
        let arguments: Vec<&str> =
            arguments.iter().map(|word| if *word == "decisions.jsonl" { &*log } else { word }).collect();
        let told = run(&[&arguments[..], &["--format", "json"]].concat()).json();
        assert_eq!(told["steps"], "made_anew", "{arguments:?}");
    }
}

#[test]
fn a_refusal_by_a_ban_says_until_when_by_whom_and_how_it_is_ended() {
    let gateway = Gateway::start(&format!(
        "{CONFIG}\n[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"admin.token\"\n"
    ));
    let admin = gateway.admin.expect("an admin listener").to_string();
    let run =
        |arguments: &[&str]| about_folder(gateway.folder(), &[arguments, &["--admin", &admin]].concat());
    assert_eq!(run(&["ban", "203.0.113.0/24", "--for", "1h", "--reason", "scans"]).code, 0);
    let id = ask(&gateway, "/open", &[("x-forwarded-for", "203.0.113.9")], 403);
    let record = gateway.records(1).pop().expect("one");
    let until = record["until"].as_str().expect("the end of the ban").to_owned();
    for arguments in [&["why", &id][..], &["why", &id, "--admin", &admin]] {
        let ran = about_folder(gateway.folder(), arguments);
        let text = ran.words();
        for wanted in [
            "A ban is no part of the policy",
            "ip REFUSED",
            &format!("It ends by itself at {until}"),
            "203.0.113.0/24 is banned until",
            "by alice, from 127.0.0.1: scans",
            "`portcullis unban 203.0.113.0/24` ends it now",
            "None: A ban is no part of the policy",
        ] {
            assert!(text.contains(wanted) || wanted.starts_with("by alice"), "{wanted}: {}", ran.show());
        }
        for unwanted in ["Allowed:", "[[case]]", "portcullis suggest"] {
            assert!(!text.contains(unwanted), "{unwanted}: {}", ran.show());
        }
        assert!(text.contains("scans"), "{}", ran.show());
    }
    // What lets it pass is no entry of the policy.
    let ran = about_folder(gateway.folder(), &["suggest", &id]);
    assert_eq!(ran.code, 1, "{}", ran.show());
    assert!(
        ran.words().contains("no part of the policy") && ran.words().contains("portcullis unban"),
        "{}",
        ran.show()
    );
    // When the ban is gone, the record still says that there was one.
    assert_eq!(run(&["unban", "203.0.113.0/24"]).code, 0);
    let ran = about_folder(gateway.folder(), &["why", &id]);
    let text = ran.words();
    assert!(
        text.contains("ip REFUSED") && text.contains("it was lifted, or is kept elsewhere"),
        "{}",
        ran.show()
    );
    assert!(text.contains(&format!("It was to end by itself at {until}")), "{}", ran.show());
    assert!(!text.contains("It ends by itself") && !text.contains("portcullis unban 203"), "{}", ran.show());
    // And one that has ended by itself has.
    let log = std::fs::read_to_string(gateway.folder().join("decisions.jsonl")).expect("there");
    let old = gateway.folder().join("old.jsonl");
    std::fs::write(&old, log.replace(&until, "2026-01-01T00:00:00Z")).expect("written");
    let ran = about_folder(gateway.folder(), &["why", &id, "--log", old.to_str().expect("UTF-8")]);
    let text = ran.words();
    assert!(text.contains("It ended by itself at 2026-01-01T00:00:00Z"), "{}", ran.show());
    assert!(!text.contains("It ends by itself") && !text.contains("portcullis unban 203"), "{}", ran.show());
    let about = about(&gateway, &id);
    assert_eq!((&about["again"]["decision"], &about["same_decision"]), (&"deny".into(), &true.into()));
}

#[test]
fn a_credential_that_was_refused_is_told_as_it_was_recorded() {
    let gateway = Gateway::start(CONFIG);
    let id = ask(&gateway, "/open", &[("x-api-key", "wrong")], 401);
    let ran = about_folder(gateway.folder(), &["why", &id]);
    let text = ran.words();
    assert!(text.contains("authn REFUSED") && text.contains("is not kept."), "{}", ran.show());
    assert!(text.contains("by somebody with a credential which no source knows from"), "{}", ran.show());
    // Sentences that begin and end as such, and all that could be.
    assert!(
        text.contains("Likely cause - A mistyped or withdrawn API key. - A token signed by"),
        "{}",
        ran.show()
    );
    assert!(!text.contains("Allowed:") && !text.contains("[[case]]"), "{}", ran.show());
    let ran = about_folder(gateway.folder(), &["suggest", &id]);
    assert!(ran.code == 1 && ran.words().contains("is for its source in `[authn]` to say"), "{}", ran.show());
}

#[test]
fn where_no_grant_is_the_remedy_what_is_one_is_said() {
    let gateway = Gateway::start(CONFIG);
    for (path, fields, status, wanted) in [
        ("/a%2fb", &[][..], 400, "`accept = [\"encoded-slash\"]`"),
        ("/a%zz", &[], 400, "The request itself is at fault"),
        (
            "/open",
            &[("authorization", "Bearer x")],
            401,
            "Whether this credential is valid is for its source in `[authn]` to say",
        ),
    ] {
        let id = ask(&gateway, path, fields, status);
        let ran = about_folder(gateway.folder(), &["suggest", &id]);
        assert!(ran.code == 1 && ran.words().contains(wanted), "{}", ran.show());
        assert!(!ran.words().contains("rbac.grant"), "{}", ran.show());
    }
}

#[test]
fn a_path_with_the_letters_of_a_pattern_is_not_taken_for_one() {
    let gateway = Gateway::start(&format!(
        "{CONFIG}\n[[rbac.grant]]\nid = \"z\"\nroles = [\"reader\"]\npath = \"/z\"\n"
    ));
    let key = ("x-api-key", "abc");
    for path in ["/x/%7B*rest%7D", "/x/%7Bid%7D", "/x/a*b%3f%22"] {
        let id = ask(&gateway, path, &[key], 403);
        ask(&gateway, "/x/other", &[key], 403);
        let ran = about_folder(gateway.folder(), &["suggest", &id, "--format", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.show());
        let found = ran.json();
        assert_eq!((&found["tried"], &found["opens"]), (&true.into(), &0.into()), "{found}");
        assert!(found["toml"].as_str().is_some_and(|toml| toml.contains("when = ")), "{found}");
        let ran = about_folder(gateway.folder(), &["explain", path, "--as", "a", "--role", "reader"]);
        assert!(ran.words().contains("path = \"/x/{segment2}\" when = \"path.segment2 =="), "{}", ran.show());
    }
}

#[test]
fn what_stands_behind_an_address_rule_is_named() {
    let gateway = Gateway::start(&CONFIG.replace("\"/office\", \"/search\"", "\"/search\""));
    let id = ask(&gateway, "/office", &[("x-forwarded-for", "203.0.113.9"), ("x-api-key", "abc")], 403);
    let ran = about_folder(gateway.folder(), &["suggest", &id]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    for text in ["\"203.0.113.9\"", "Who asked is not in the record", "`rbac/default-deny`"] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
}

#[test]
fn a_case_of_another_policy_expects_what_was_and_says_that_it_fails() {
    let gateway = Gateway::start(&CONFIG.replace("state_dir = \"state\"\n", ""));
    let id = ask(&gateway, "/orders/7", &[("x-api-key", "abc")], 403);
    // The files let it pass now, and there is no history.
    let text = std::fs::read_to_string(gateway.folder().join("portcullis.toml")).expect("there");
    let fresh = text.replace("roles = [\"writer\"]", "roles = [\"reader\"]");
    let bench = Bench::new();
    bench.write("portcullis.toml", &fresh);
    let log = gateway.folder().join("decisions.jsonl");
    let told = bench.run(&["why", &id, "--log", log.to_str().expect("UTF-8"), "--format", "json"]).json();
    let case = told["case"].as_str().expect("a case");
    assert!(case.contains("outcome = \"deny\"") && case.contains("so it fails"), "{case}");
    bench.write("cases.toml", case);
    assert_eq!(bench.run(&["test", "cases.toml"]).code, 1, "{case}");
    bench.write("portcullis.toml", &text);
    let tested = bench.run(&["test", "cases.toml"]);
    assert_eq!(tested.code, 0, "{}\n{case}", tested.show());
}

#[test]
fn whom_else_a_default_refused_is_asked_of_the_same_resource() {
    let gateway = Gateway::start(CONFIG);
    let key = ("x-api-key", "abc");
    let id = ask(&gateway, "/orders/7", &[key], 403);
    ask(&gateway, "/orders/8", &[key], 403);
    // Scanners, all over.
    for path in ["/wp-login.php", "/.env", "/a/b/c"] {
        ask(&gateway, path, &[("x-forwarded-for", "203.0.113.9")], 401);
    }
    let found = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    let hour = &found["hour"];
    assert_eq!((&hour["refused"], &hour["subjects"], &hour["elsewhere"]), (&2.into(), &1.into(), &3.into()));
    assert_eq!(hour["resource"], "GET /orders/{id} of the route orders");
    assert_eq!(found["conclusion"], "All by the same subject, so it is about who asks.");
    assert_eq!(about(&gateway, &id)["others"]["refused"], 2);
    let ran = about_folder(gateway.folder(), &["why", &id]);
    assert!(ran.words().contains("It refused 3 requests of 3 other resources as well"), "{}", ran.show());
    // The same of others' requests for it: the resource.
    ask(&gateway, "/orders/9", &[("x-forwarded-for", "203.0.113.9")], 401);
    let found = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    assert_eq!(found["hour"]["addresses"], 2);
    assert!(found["conclusion"].as_str().is_some_and(|text| text.contains("what they ask for")), "{found}");
    assert_eq!((&found["hour"]["anonymous"], &found["hour"]["of_this_caller"]), (&1.into(), &2.into()));
    // One stranger among many requests of the same caller says little.
    for _ in 0..8 {
        ask(&gateway, "/orders/7", &[key], 403);
    }
    let found = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    assert_eq!(found["conclusion"], "Nearly all by the same subject, so it is rather about who asks.");
    let ran = about_folder(gateway.folder(), &["why", &id]);
    assert!(
        ran.words().contains("11 requests (10 of 1 subject, 1 of nobody in particular) from 2 addresses"),
        "{}",
        ran.show()
    );
}

#[test]
fn whom_else_a_ban_and_a_credential_concern_is_asked_of_the_address_and_the_caller() {
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"admin.token\"\n";
    let gateway = Gateway::start(&format!("{CONFIG}\n{admin}"));
    let admin = gateway.admin.expect("an admin listener").to_string();
    for address in ["203.0.113.9", "203.0.113.10"] {
        let ran = about_folder(gateway.folder(), &["ban", address, "--for", "1h", "--admin", &admin]);
        assert_eq!(ran.code, 0, "{}", ran.show());
    }
    let why = |id: &str| {
        let ran = about_folder(gateway.folder(), &["why", id]);
        let section = ran.out.split("\nReproduce\n").nth(1).and_then(|rest| rest.split("\n\n").next());
        let section = section.expect("a command").to_owned();
        // It is pasted into a shell as a whole, so whatever is no command is a comment on each line.
        let mut goes_on = true;
        for line in section.lines() {
            assert!(goes_on || line.starts_with("  # "), "{section}");
            goes_on = line.ends_with(" \\");
        }
        (ran.words(), about(&gateway, id)["others"].clone())
    };
    let banned = [("x-forwarded-for", "203.0.113.9")];
    ask(&gateway, "/search", &banned, 403);
    ask(&gateway, "/orders/1", &banned, 403);
    ask(&gateway, "/open", &[("x-forwarded-for", "203.0.113.10")], 403);
    let (told, others) = why(&ask(&gateway, "/open", &banned, 403));
    for text in [
        "of the address 203.0.113.9, ip/banned refused 3 requests",
        "All from the address that is banned, so it is the ban",
        "It refused 1 request of 1 other address as well",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    assert_eq!((&others["refused"], &others["resource"]), (&3.into(), &"the address 203.0.113.9".into()));
    let wrong = [("x-api-key", "wrong")];
    ask(&gateway, "/search", &wrong, 401);
    ask(&gateway, "/orders/1", &wrong, 401);
    let (told, others) = why(&ask(&gateway, "/open", &wrong, 401));
    for text in
        ["from the address 127.0.0.1, authn/key-unknown refused 3 requests", "it is what is shown there"]
    {
        assert!(told.contains(text), "{text}: {told}");
    }
    assert_eq!(others["refused"], 3);
}

#[test]
fn from_requests_of_nobody_in_particular_nothing_is_concluded_about_who_asks() {
    let gateway = Gateway::start(CONFIG);
    let ask = |path: &str, from: &str| ask(&gateway, path, &[("x-forwarded-for", from)], 401);
    let conclusion = |id: &str| {
        let told = about_folder(gateway.folder(), &["why", id, "--format", "json"]).json();
        assert_eq!(about(&gateway, id)["others"]["refused"], told["hour"]["refused"]);
        told["conclusion"].as_str().unwrap_or_default().to_owned()
    };
    ask("/c/1", "203.0.113.9");
    let id = ask("/c/2", "203.0.113.9");
    // Behind one address there may be many.
    assert!(conclusion(&id).contains("does not tell whom it concerns"), "{}", conclusion(&id));
    ask("/c/3", "203.0.113.10");
    // What no rule tells apart is told apart by how it begins.
    ask("/d/3", "203.0.113.11");
    assert_eq!(conclusion(&id), "From several addresses, so it is rather about what they ask for.");
    assert_eq!(about(&gateway, &id)["others"]["resource"], "GET /c/{*rest} of the route all");
}

#[test]
fn of_the_causes_of_no_matching_grant_the_one_is_told_that_can_be() {
    let more = r#"
[rbac.role.auditor]
[[rbac.grant]]
id = "audit"
subjects = ["another"]
path = "/audit"
[[rbac.grant]]
id = "audit-role"
roles = ["auditor"]
path = "/audit"
[[rbac.grant]]
id = "ended"
subjects = ["batch"]
path = "/ledger"
until = 2026-01-01T00:00:00Z
[[rbac.grant]]
id = "ledger"
subjects = ["another"]
path = "/ledger"
"#;
    let gateway = Gateway::start(&format!("{CONFIG}\n{more}"));
    let none = "o grant is about this path and method";
    let several = "he grants that are about it each lack something else";
    for (path, reason, wanted, unwanted) in [
        ("/audit", "(no_matching_grant)", several, none),
        ("/nothing", "(no_matching_grant)", none, several),
        ("/ledger", "(grant_expired)", "- A grant with an `until` that has passed", none),
    ] {
        let id = ask(&gateway, path, &[("x-api-key", "abc")], 403);
        let told = about_folder(gateway.folder(), &["why", &id]).words();
        assert!(told.contains(reason) && told.contains(wanted) && !told.contains(unwanted), "{path}: {told}");
    }
}

#[test]
fn the_command_shows_the_credential_in_the_way_in_which_it_was_verified() {
    let gateway = Gateway::start(CONFIG);
    let id = ask(&gateway, "/orders/7", &[("x-api-key", "abc")], 403);
    let ran = about_folder(gateway.folder(), &["why", &id]);
    assert!(ran.words().contains("-H \"x-api-key: $KEY\""), "{}", ran.show());
    // The same subject, had it come with a token of another source.
    let log = std::fs::read_to_string(gateway.folder().join("decisions.jsonl")).expect("there");
    let bench = Bench::new();
    bench.write("log.jsonl", log.replace("\"source\":\"batch\"", "\"source\":\"corp\""));
    bench.write("secret", "a secret that nobody guesses: 7c1b5e4f0d3a");
    let source = "[[authn.jwt]]\nid = \"corp\"\nissuer = \"https://id.test\"\naudience = [\"orders\"]\n\
                  algorithms = [\"HS256\"]\nsecret_file = \"secret\"\n";
    let text = std::fs::read_to_string(gateway.folder().join("portcullis.toml")).expect("there");
    bench.write("portcullis.toml", format!("{}\n{source}", text.replace("state_dir = \"state\"\n", "")));
    let told = bench.run(&["why", &id, "--log", "log.jsonl"]);
    assert!(told.words().contains("-H \"authorization: Bearer $TOKEN\""), "{}", told.show());
}

#[test]
fn why_points_to_nothing_that_is_not_there() {
    let gateway = Gateway::start(CONFIG);
    let scheme = ask(&gateway, "/orders/7", &[("authorization", "Odd abc")], 401);
    let ran = about_folder(gateway.folder(), &["why", &scheme]);
    let told = ran.words();
    assert!(
        told.contains("in a scheme that no source reads") && !told.contains("malformed"),
        "{}",
        ran.show()
    );
    assert!(
        told.contains("it is another request in what matters here") && !told.contains("portcullis suggest"),
        "{told}"
    );
    let target = ask(&gateway, "/a'b%zz", &[], 400);
    let told = about_folder(gateway.folder(), &["why", &target]).words();
    assert!(told.contains("/a'b%zz") && !told.contains("portcullis suggest"), "{told}");
    let rule = ask(&gateway, "/search?q=xxxyyy", &[], 403);
    let told = about_folder(gateway.folder(), &["why", &rule]).words();
    assert!(told.contains("portcullis suggest") && told.contains("portcullis explain --rule waf/"), "{told}");
}

#[test]
fn the_api_counts_what_the_log_holds_and_says_since_when() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("decisions.jsonl");
    let text = format!("{CONFIG}\n[log]\nsink = {{ file = {:?} }}\n", log.to_str().expect("UTF-8"));
    let text = text.replace("state_dir = \"state\"\n", "");
    let first = Gateway::start(&text);
    for path in ["/orders/7", "/orders/8"] {
        ask(&first, path, &[("x-api-key", "abc")], 403);
    }
    drop(first);
    // Another process, whose memory has but one.
    let gateway = Gateway::start(&text);
    let id = ask(&gateway, "/orders/9", &[("x-api-key", "abc")], 403);
    assert_eq!(about(&gateway, &id)["others"]["refused"], 3);
    // Without a file it is what the process remembers, and that is said.
    let gateway = Gateway::start(
        &format!("{CONFIG}\n[log]\nsink = \"stdout\"\n").replace("state_dir = \"state\"\n", ""),
    );
    let id = ask(&gateway, "/orders/9", &[("x-api-key", "abc")], 403);
    let about = about(&gateway, &id);
    let others = &about["others"];
    assert!(others["gap"].as_str().is_some_and(|gap| gap.contains("remembers")), "{others}");
    let admin = gateway.admin.expect("an admin listener").to_string();
    let told = about_folder(gateway.folder(), &["why", &id, "--admin", &admin, "--format", "json"]).json();
    assert_eq!((&told["hour"]["from"], &told["hour"]["gap"]), (&others["from"], &others["gap"]));
}

#[test]
fn the_text_of_a_rule_that_came_in_a_pack_is_shown() {
    let gateway =
        Gateway::start(&CONFIG.replacen("[[waf.rule]]", "[waf]\npacks = [\"core\"]\n[[waf.rule]]", 1));
    let id = ask(&gateway, "/search?q=1%27%20or%20%271%27=%271", &[], 403);
    let told = about_folder(gateway.folder(), &["why", &id]).out;
    let rule = told.split("\nThe rule\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a rule");
    let (first, text) = rule.split_once('\n').expect("its text");
    let (name, at) = first.trim().split_once(" in core:").expect("its place");
    let id = name.trim_start_matches("waf/");
    assert!(text.starts_with(&format!("{at:>6} | [[waf.rule]]\n")), "{rule}");
    assert!(text.contains(&format!("| id = \"{id}\"\n")), "{rule}");
    assert!(text.contains("| targets = ") && text.contains("| match = "), "{rule}");
}

#[test]
fn what_of_a_condition_did_not_hold_is_told_with_its_facts() {
    let grant = "[[rbac.grant]]\nid = \"sales\"\nroles = [\"reader\"]\npath = \"/sales/{id}\"\n\
                 when = \"header.x-dept == 'sales' and (path.id == 'a' or path.id == 'b')\"\n";
    let gateway = Gateway::start(&format!("{CONFIG}\n{grant}"));
    let id = ask(&gateway, "/sales/a", &[("x-api-key", "abc"), ("x-dept", "hr")], 403);
    let whole = "its `when` to hold, `header.x-dept == 'sales' and (path.id == 'a' or path.id == 'b')`";
    let part = "`header.x-dept == 'sales'` does not hold: header.x-dept is \"hr\".";
    let ran = about_folder(gateway.folder(), &["why", &id]);
    for text in [whole, part] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    assert!(!ran.words().contains("`path.id == 'a' or path.id == 'b'` does not"), "{}", ran.show());
    let asked = ["explain", "/sales/c", "--as", "a", "--role", "reader"];
    let ran = about_folder(gateway.folder(), &asked);
    let other = "`path.id == 'a' or path.id == 'b'` does not hold: path.id is \"c\".";
    for text in [whole, "header.x-dept is absent.", other] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    let ran = about_folder(gateway.folder(), &["suggest", &id]);
    assert!(ran.words().contains(part), "{}", ran.show());
    let near = &about(&gateway, &id)["again"]["nearest"][0];
    assert_eq!(near["unmet"][0]["fails"][0]["facts"][0], "header.x-dept is \"hr\"", "{near}");
    let admin = gateway.admin.expect("an admin listener");
    let page = get_local(admin, &format!("/decisions/{id}")).text();
    let code =
        "<code>header.x-dept == &#x27;sales&#x27;</code> does not hold: header.x-dept is &quot;hr&quot;";
    assert!(page.contains(code), "{page}");
    // Whoever is refused learns nothing of it.
    let answer = request(gateway.address, "GET", "/sales/a", &[("x-api-key", "abc"), ("x-dept", "hr")], b"");
    assert!(
        answer.text().contains("condition_unmet") && !answer.text().contains("x-dept"),
        "{}",
        answer.text()
    );
}
