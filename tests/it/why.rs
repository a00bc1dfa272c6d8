//! `why`: from a bare request id to the cause, what would help, and a case that keeps it found.

use std::fs;
use std::io::Write as _;

use serde_json::Value;

use crate::support::command::{Bench, about_folder};
use crate::support::{Gateway, get, get_local, request, wait_until};

fn config(roles: &str) -> String {
    format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
state_dir = "state"

[contact]
url = "https://intranet.example/access"

[upstream.demo]
servers = ["builtin:echo"]

[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "demo"

[[authn.api_key]]
id = "batch"
header = "x-api-key"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
roles = ["reader"]

[rbac.role.reader]
[rbac.role.writer]

[[rbac.grant]]
id = "orders"
roles = [{roles}]
path = "/orders/{{id}}"

[[rbac.grant]]
id = "open"
roles = ["anyone"]
path = "/open"
"#
    )
}

fn ask(gateway: &Gateway, method: &str, path: &str) -> (u16, String) {
    let answer = request(gateway.address, method, path, &[("X-Api-Key", "abc")], b"");
    (answer.status, answer.header("x-request-id").expect("an id").to_owned())
}

#[test]
fn a_request_id_is_enough() {
    let gateway = Gateway::start(&config("\"reader\", \"writer\""));
    assert_eq!(ask(&gateway, "PUT", "/orders/7").0, 200);
    // This was refused before the change as well.
    let nobody = || request(gateway.address, "PUT", "/orders/7", &[], b"").status;
    assert_eq!(nobody(), 401);
    gateway.write_config(&config("\"writer\""));
    gateway.wait_for_generation(2);
    let (status, id) = ask(&gateway, "PUT", "/orders/7");
    assert_eq!(status, 403);
    assert_eq!(nobody(), 401);
    // Who may write may be somebody else.
    assert_eq!(get(gateway.address, "/orders/7").status, 401);
    let ran = about_folder(gateway.folder(), &["why", &id]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    for text in [
        "Refused:",
        "PUT /orders/7",
        "rbac/default-deny",
        "(role_missing)",
        "The policy changed",
        "rbac/orders",
        "reader lost",
        "2 requests (1 of 1 subject, 1 of nobody in particular) from 1 address",
        "The change above accounts for it, but perhaps not for 1 of them: their callers were refused the same \
         path before it too (in this hour it refused 1 request before the change).",
        "needs the role writer",
        "Ask https://intranet.example/access.",
        "as it is kept in the history",
        "curl -i -X PUT",
        "[[case]]",
    ] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    // Nothing is told twice.
    for text in ["Refused:", "The role was never granted", "the role was never granted", "built in"] {
        assert!(ran.words().matches(text).count() <= 1, "{text}: {}", ran.show());
    }
    // No credential is shown, and none is in the command.
    assert!(!ran.words().contains("abc") && ran.words().contains("$KEY"), "{}", ran.show());
    // What changed is the rule, and nothing that it refers to.
    assert!(
        ran.words().contains("- rbac/orders was changed: roles: \"reader\" removed - "),
        "{}",
        ran.show()
    );
    let found = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    assert_eq!(found["record"]["rule"], "rbac/default-deny");
    assert_eq!((&found["agrees"], &found["judged_by"]), (&true.into(), &"kept".into()));
    assert_eq!(found["change"]["lost"][0]["role"], "reader");
    assert_eq!(found["mended_by"], Value::Null);
    assert_eq!((&found["hour"]["refused"], &found["conclusion"]), (&2.into(), &Value::Null));
    assert_eq!((&found["hour"]["before"], &found["hour"]["as_before"]), (&1.into(), &1.into()));
    assert_eq!(found["hour"]["since_change"], found["change"]["at"]);
    // The case is one, and it holds.
    let case = found["case"].as_str().expect("a case");
    let bench = Bench::new();
    bench.write("cases.toml", case);
    bench.write(
        "portcullis.toml",
        fs::read_to_string(gateway.folder().join("portcullis.toml")).expect("there"),
    );
    let tested = bench.run(&["test", "cases.toml"]);
    assert_eq!(tested.code, 0, "{}\n{case}", tested.show());
    // The id of the decision, as the refusal's `instance` has it, is as good.
    let decision = found["record"]["decision_id"].as_str().expect("an id");
    let ran = about_folder(gateway.folder(), &["why", &format!("urn:uuid:{decision}"), "-q"]);
    assert!(ran.code == 0 && ran.words().contains("PUT /orders/7"), "{}", ran.show());
}

#[test]
fn a_change_of_a_rule_that_refused_the_same_before_is_no_cause() {
    let frozen = |paths: &str| {
        config("\"reader\", \"writer\"") + &format!("[[rbac.deny]]\nid = \"frozen\"\npaths = [{paths}]\n")
    };
    let gateway = Gateway::start(&frozen("\"/orders/1\""));
    gateway.write_config(&frozen("\"/orders/1\", \"/orders/2\""));
    gateway.wait_for_generation(2);
    let [long, new] = ["/orders/1", "/orders/2"].map(|path| {
        let (status, id) = ask(&gateway, "PUT", path);
        assert_eq!(status, 403);
        about_folder(gateway.folder(), &["why", &id])
    });
    assert!(long.words().contains("No change: every policy that is kept refused this"), "{}", long.show());
    assert!(!long.words().contains("The policy changed"), "{}", long.show());
    for text in ["The policy changed", "the policy before it let this request pass, by rbac/orders"] {
        assert!(new.words().contains(text), "{text}: {}", new.show());
    }
}

#[test]
fn an_older_decision_is_told_by_the_policy_of_then() {
    let gateway = Gateway::start(&config("\"writer\""));
    let (status, id) = ask(&gateway, "PUT", "/orders/7");
    assert_eq!(status, 403);
    gateway.write_config(&config("\"reader\""));
    gateway.wait_for_generation(2);
    assert_eq!(ask(&gateway, "PUT", "/orders/7").0, 200);
    let found = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    assert_eq!((&found["agrees"], &found["judged_by"]), (&true.into(), &"kept".into()));
    assert_eq!(found["change"], Value::Null);
    // It is mended since, and nobody is sent to do it again.
    assert_eq!(found["mended_by"], "rbac/orders");
    let told = about_folder(gateway.folder(), &["why", &id]).words();
    assert!(
        told.contains("By now: The files as they are now let the same request pass, by rbac/orders"),
        "{told}"
    );
    assert!(!told.contains("It stays so") && !told.contains("portcullis suggest"), "{told}");
    // Without the history, the files of now are asked, and that they disagree is said.
    fs::remove_dir_all(gateway.folder().join("state")).expect("removed");
    let ran = about_folder(gateway.folder(), &["why", &id]);
    assert!(
        ran.words().contains("is not kept") && ran.words().contains("the files have changed since"),
        "{}",
        ran.show()
    );
}

#[test]
fn the_narrowest_grant_is_suggested_with_what_else_it_would_open() {
    let gateway = Gateway::start(&config("\"writer\""));
    let (_, id) = ask(&gateway, "PUT", "/orders/7");
    ask(&gateway, "PUT", "/orders/7");
    ask(&gateway, "GET", "/orders/8");
    let ran = about_folder(gateway.folder(), &["suggest", &id]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    for text in [
        "A grant for batch alone",
        "[[rbac.grant]]",
        "subjects = [\"batch\"]",
        "methods = [\"PUT\"]",
        "path = \"/orders/7\"",
        "nothing is applied",
        "would also open 1 request that the policy as it is now refuses:",
    ] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    // What is suggested does what is said of it.
    let found = about_folder(gateway.folder(), &["suggest", &id, "--format", "json"]).json();
    assert_eq!(found["opens"], 1);
    let text = fs::read_to_string(gateway.folder().join("portcullis.toml")).expect("there");
    gateway.write("portcullis.toml", &format!("{text}\n{}", found["toml"].as_str().expect("a table")));
    gateway.wait_for_generation(2);
    assert_eq!(ask(&gateway, "PUT", "/orders/7").0, 200);
    assert_eq!(ask(&gateway, "GET", "/orders/8").0, 403);
    let ran = about_folder(gateway.folder(), &["suggest", &id]);
    assert_eq!(ran.code, 1, "{}", ran.show());
    assert!(ran.words().contains("lets the request pass"), "{}", ran.show());
}

#[test]
fn what_other_changes_did_is_not_what_a_suggestion_opens() {
    let gateway = Gateway::start(&config("\"reader\""));
    assert_eq!(ask(&gateway, "PUT", "/orders/7").0, 200);
    assert_eq!(ask(&gateway, "GET", "/orders/8").0, 200);
    gateway.write_config(&config("\"writer\""));
    gateway.wait_for_generation(2);
    let (status, id) = ask(&gateway, "PUT", "/orders/7");
    assert_eq!(status, 403);
    // The one that passed would pass again; the other stays refused, by the other change.
    let ran = about_folder(gateway.folder(), &["suggest", &id, "--format", "json"]);
    assert_eq!(ran.json()["opens"], 1, "{}", ran.show());
    let flips = &ran.json()["replay"]["flips_by_rule"];
    assert_eq!((&flips[0]["to"], &flips[0]["requests"][0]), (&"allow".into(), &"PUT /orders/7".into()));
    // By the rules of now and of the suggestion, not by those of then.
    let rule = flips[0]["rule"].as_str().expect("a rule");
    assert!(rule.starts_with("rbac/for-") && flips[0]["before"] == "rbac/default-deny", "{}", ran.show());
    assert_eq!(ran.json()["allowed_then"], 1, "{}", ran.show());
    let ran = about_folder(gateway.folder(), &["suggest", &id]);
    let wanted = [
        "would also open 1 request that the policy as it is now refuses, and that was allowed when it was made:",
        &format!("Allowed 1 by {rule} with it, by rbac/default-deny now"),
    ];
    for text in wanted {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
}

#[test]
fn an_address_is_put_into_the_rule_and_a_waf_match_is_excluded() {
    let more = r#"
[[ip.rule]]
id = "office"
path = "/office"
allow = ["192.0.2.0/24"]

[[waf.rule]]
id = "no-x"
action = "deny"
targets = ["query"]
match = { contains = "xxx" }

[[rbac.grant]]
id = "more"
roles = ["anyone"]
paths = ["/office", "/search"]
"#;
    let gateway = Gateway::start(&format!("{}{more}", config("\"writer\"")));
    let (status, id) = ask(&gateway, "GET", "/office");
    assert_eq!(status, 403);
    // It had a key, but nobody had looked at who it is.
    let ran = about_folder(gateway.folder(), &["why", &id]);
    for text in [
        "GET /office by somebody from 127.0.0.1 got 403",
        "refused 1 request from 1 address",
        "It is as it was in 1-",
        "An address of 192.0.2.0/24.",
    ] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    let ran = about_folder(gateway.folder(), &["suggest", &id]);
    assert!(ran.words().contains("allow = [\"127.0.0.1\", \"192.0.2.0/24\"]"), "{}", ran.show());
    assert!(ran.words().contains("It replaces the rule at"), "{}", ran.show());
    let (status, id) = ask(&gateway, "GET", "/search?q=xxx");
    assert_eq!(status, 403);
    let ran = about_folder(gateway.folder(), &["suggest", &id]);
    for text in ["[[waf.exclude]]", "targets = [\"query:q\"]", "rules = [\"waf/no-x\"]", "could not be tried"]
    {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    let unauthorised = request(gateway.address, "GET", "/orders/7", &[("X-Api-Key", "wrong")], b"");
    let id = unauthorised.header("x-request-id").expect("an id").to_owned();
    let ran = about_folder(gateway.folder(), &["suggest", &id]);
    assert_eq!(ran.code, 1, "{}", ran.show());
}

#[test]
fn a_request_is_explained_side_by_side() {
    let bench = Bench::with(&format!("version = 1\n{}", config("\"writer\"")));
    bench.write("new.toml", format!("version = 1\n{}", config("\"reader\"")));
    let base = ["explain", "/orders/7", "--as", "a", "--role", "reader"];
    let run = |more: &[&str]| bench.run(&[&base[..], more].concat());
    let comparing = ["--what-if-policy", "new.toml", "--what-if-at", "2027-01-01T00:00:00Z"];
    let more = ["--what-if-role", "writer", "--what-if-ip", "192.0.2.7", "--what-if-policy", "current"];
    // All kinds stand together, also where only the verdict is wanted.
    for quiet in [&[][..], &["-q"]] {
        let ran = run(&[&comparing[..], &more, quiet].concat());
        for text in [
            "as asked refused 403",
            "by the policy new.toml: allowed, so it is the policy",
            "at 2027-01-01T00:00:00Z: still refused by rbac/default-deny, so this time alone does not help",
            "with the address 192.0.2.7: still refused by rbac/default-deny, so this address alone does not help",
            "with the role writer: allowed, so it is the missing role",
            "by the current files: still refused by rbac/default-deny, so this policy alone does not help",
        ] {
            assert!(ran.words().contains(text), "{text}: {}", ran.show());
        }
        assert_eq!(ran.words().matches("What if").count(), 1, "{}", ran.show());
        assert_eq!(ran.words().contains("Trail"), quiet.is_empty(), "{}", ran.show());
    }
    bench.write("token.txt", "not.a.token");
    let ran = run(&["--what-if-token", "token.txt", "--what-if-role", "writer", "--format", "json"]);
    let others = ran.json()["what_if"].clone();
    assert_eq!((&others[0]["decision"], &others[0]["roles"][0]), (&"allow".into(), &"writer".into()));
    assert_eq!(
        (&others[1]["decision"], &others[1]["change"], &others[1]["token"]),
        (&"deny".into(), &"with the token in token.txt".into(), &"token.txt".into())
    );
    let ran = bench.run_with(&[&base[..], &["--what-if-token", "-"]].concat(), b"not.a.token");
    assert!(ran.words().contains("with the token from standard input:"), "{}", ran.show());
    // The columns stay in line whatever a file is called.
    let long = "a-folder-with-a-long-name-that-goes-on-and-on/and-a-file.toml";
    fs::create_dir(bench.path().join("a-folder-with-a-long-name-that-goes-on-and-on")).expect("made");
    bench.write(long, format!("version = 1\n{}", config("\"reader\"")));
    let ran = run(&["-q", "--what-if-policy", long]);
    let column = |line: &str, word: &str| line.find(word).map(|at| line[..at].chars().count());
    let lines: Vec<&str> = ran.out.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(column(lines[0], "refused"), column(lines[1], "allowed"), "{}", ran.show());
}

#[test]
fn records_that_were_put_aside_are_found_and_compressed_ones_with_a_line_about_it() {
    let gateway = Gateway::start(&config("\"writer\""));
    let (_, id) = ask(&gateway, "GET", "/orders/7");
    let log = gateway.folder().join("decisions.jsonl");
    let text = wait_until(|| fs::read(&log).ok().filter(|text| !text.is_empty()));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&text).expect("in memory");
    fs::write(gateway.folder().join("decisions.jsonl.1.gz"), encoder.finish().expect("in memory"))
        .expect("written");
    fs::write(&log, "").expect("emptied");
    let ran = about_folder(gateway.folder(), &["why", &id]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    assert!(ran.err.contains("reading decisions.jsonl.1.gz"), "{}", ran.show());
    let ran = about_folder(gateway.folder(), &["why", "0197f2c4-7e1b-7c3a-9a51-0d0f5f2b6e11"]);
    assert_eq!(ran.code, 1, "{}", ran.show());
    assert!(ran.err.contains("there is no record of"), "{}", ran.show());
    // Of a file that is no log nobody can say what is not in it.
    fs::write(gateway.folder().join("junk.gz"), b"no log").expect("written");
    let junk = gateway.folder().join("junk.gz").display().to_string();
    let ran = about_folder(gateway.folder(), &["why", &id, "--log", &junk]);
    assert_eq!(ran.code, 78, "{}", ran.show());
    assert!(ran.err.contains("junk.gz` cannot be read"), "{}", ran.show());
}

/// The configuration of a gateway that writes its decisions to a pipe: nothing is on the disk.
fn piped(more: &str) -> String {
    let text = config("\"writer\"").replace("state_dir = \"state\"\n", "");
    format!("{text}\n[log]\nsink = \"stdout\"\n{more}")
}

#[test]
fn where_the_log_is_no_file_the_gateway_is_asked() {
    let gateway = Gateway::start(&piped(""));
    let (status, id) = ask(&gateway, "PUT", "/orders/7");
    assert_eq!(status, 403);
    ask(&gateway, "PUT", "/orders/8");
    let admin = gateway.admin.expect("an admin listener").to_string();
    let ran = about_folder(gateway.folder(), &["why", &id, "--admin", &admin]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    for text in [
        "PUT /orders/7",
        "(role_missing)",
        "needs the role writer",
        "made anew by the files",
        // What the gateway remembers is counted as a log is.
        "2 requests of 1 subject from 1 address",
        "curl -i -X PUT",
        "[[case]]",
    ] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    let ran = about_folder(gateway.folder(), &["suggest", &id, "--admin", &admin]);
    for text in ["subjects = [\"batch\"]", "Of 1 other request of the last 24 hours, it would open none"] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    // What it does not know is said, and so is whom that was asked of.
    let ran =
        about_folder(gateway.folder(), &["why", "0197f2c4-7e1b-7c3a-9a51-0d0f5f2b6e11", "--admin", &admin]);
    assert_eq!(ran.code, 1, "{}", ran.show());
    assert!(ran.err.contains("there is no decision") && ran.err.contains("is no file"), "{}", ran.show());
    let ran = about_folder(gateway.folder(), &["why", "../../x", "--admin", &admin]);
    assert!(ran.code == 2 && ran.err.contains("is no request id"), "{}", ran.show());
}

#[test]
fn a_record_that_this_machine_has_not_is_asked_of_the_gateway_with_the_token_that_it_wants() {
    // Others can reach this listener, so that reading needs the token too.
    let admin = "[admin]\nlisten = \"0.0.0.0:0\"\ntoken_file = \"admin.token\"\n";
    let gateway = Gateway::start(&format!("{}\n{admin}", config("\"writer\"")));
    let (_, id) = ask(&gateway, "PUT", "/orders/7");
    // Another folder, as an operator's own machine has it: the same policy, no log, and the token.
    let log = "[log]\nsink = { file = \"decisions.jsonl\" }\n";
    let text = format!("version = 1\n{}\n{log}{admin}", config("\"writer\""));
    let bench =
        Bench::with(&text.replace("127.0.0.1:0", "127.0.0.1:8080").replace("0.0.0.0:0", "0.0.0.0:9901"));
    let port = gateway.admin.expect("an admin listener").port();
    let address = format!("127.0.0.1:{port}");
    bench.write("admin.token", "not the token, but as long as one has to be");
    let ran = bench.run(&["why", &id, "--admin", &address]);
    assert!(ran.code != 0 && ran.err.contains("401"), "{}", ran.show());
    bench.write("admin.token", fs::read(gateway.folder().join("admin.token")).expect("made at the start"));
    let ran = bench.run(&["why", &id, "--admin", &address]);
    assert!(ran.code == 0 && ran.words().contains("PUT /orders/7"), "{}", ran.show());
    let ran = bench.run(&["status", "--admin", &address]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    // Whoever does not answer is named beside the log that has nothing.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = nobody.local_addr().expect("bound");
    drop(nobody);
    let ran = bench.run(&["why", &id, "--admin", &address.to_string()]);
    assert_eq!(ran.code, 78, "{}", ran.show());
    assert!(ran.err.contains("decisions.jsonl") && ran.err.contains("nothing listens on"), "{}", ran.show());
}

#[test]
fn of_decisions_with_one_request_id_the_newest_is_told_and_the_others_named() {
    let text = config("\"writer\"").replace("state_dir", "request_id = \"accept\"\nstate_dir");
    let gateway = Gateway::start(&text);
    let fields = [("X-Api-Key", "abc"), ("X-Request-Id", "chosen-by-the-client")];
    for path in ["/orders/7", "/orders/8", "/orders/9"] {
        assert_eq!(request(gateway.address, "PUT", path, &fields, b"").status, 403, "{path}");
    }
    let admin = gateway.admin.expect("an admin listener");
    let told = get_local(admin, "/api/decisions/chosen-by-the-client").json();
    let others = told["about"]["same_request_id"].as_array().expect("a list").clone();
    assert_eq!((told["path"].as_str(), others.len()), (Some("/orders/9"), 2), "{told}");
    let ran = about_folder(gateway.folder(), &["why", "chosen-by-the-client"]);
    let before = others[0].as_str().expect("an id");
    for text in ["PUT /orders/9", "2 decisions before this bear the same request id", before] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    let found = about_folder(gateway.folder(), &["why", "chosen-by-the-client", "--format", "json"]).json();
    assert_eq!(found["same_request_id"].as_array(), Some(&others));
    // The id of a decision is its own.
    let ran = about_folder(gateway.folder(), &["why", before]);
    assert!(ran.words().contains("PUT /orders/8"), "{}", ran.show());
    assert!(!ran.words().contains("the same request id"), "{}", ran.show());
    // The page says it too.
    let page = get_local(admin, "/decisions/chosen-by-the-client").text();
    assert!(page.contains(&format!("href=\"/decisions/{before}\"")), "{page}");
}

#[test]
fn nothing_is_promised_that_a_hashed_subject_or_a_missing_credential_makes_impossible() {
    let text = config("\"writer\"").replace("[contact]", "[authn]\nmode = \"required\"\n\n[contact]");
    let gateway = Gateway::start(&format!(
        "{text}\n[log]\nsink = {{ file = \"decisions.jsonl\" }}\nsubject = \"hash\"\n"
    ));
    let (status, id) = ask(&gateway, "PUT", "/orders/7");
    assert_eq!(status, 403);
    assert_eq!(about_folder(gateway.folder(), &["suggest", &id]).code, 1);
    let ran = about_folder(gateway.folder(), &["why", &id]);
    assert!(ran.code == 0 && !ran.words().contains("portcullis suggest"), "{}", ran.show());
    let nobody = get(gateway.address, "/orders/7");
    assert_eq!((nobody.status, nobody.rule()), (401, "authn/required"));
    let ran = about_folder(gateway.folder(), &["suggest", nobody.header("x-request-id").expect("an id")]);
    assert!(ran.words().contains("Nobody was shown, and one is demanded here"), "{}", ran.show());
    assert!(!ran.words().contains("this credential"), "{}", ran.show());
}

#[test]
fn a_refusal_that_a_grant_would_end_is_said_to_come_to_the_waf_whose_text_is_not_kept() {
    let rule = "\n[[waf.rule]]\nid = \"no-x\"\naction = \"deny\"\ntargets = [\"args\"]\nmatch = { contains = \"xxx\" }\n";
    let gateway = Gateway::start(&format!("{}{rule}", config("\"writer\"")));
    assert_eq!(ask(&gateway, "PUT", "/orders/7").0, 403);
    let text = fs::read_to_string(gateway.folder().join("portcullis.toml")).expect("there");
    fs::write(
        gateway.folder().join("new.toml"),
        text.replace("roles = [\"writer\"]", "roles = [\"reader\"]"),
    )
    .expect("written");
    let new = gateway.folder().join("new.toml").display().to_string();
    let ran = about_folder(gateway.folder(), &["replay", "--with", &new]);
    let said =
        "rbac/orders lets pass what was refused, and the text that WAF rules would then look at is not kept";
    assert!(ran.words().contains(said), "{}", ran.show());
}

#[test]
fn a_changed_source_of_credentials_is_named_where_one_is_believed_no_longer() {
    let gateway = Gateway::start(&config("\"reader\""));
    assert_eq!(ask(&gateway, "GET", "/orders/7").0, 200);
    let other = "b".repeat(64);
    let key = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    gateway.write_config(&config("\"reader\"").replace(key, &other));
    gateway.wait_for_generation(2);
    let (status, id) = ask(&gateway, "GET", "/orders/7");
    assert_eq!(status, 401);
    let ran = about_folder(gateway.folder(), &["why", &id]);
    for text in ["The policy changed", "authn.api_key batch was changed: hash: another", "cannot be told"] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
}

/// Which roles a source of then would have brought is not in the record, but what it left out is.
#[test]
fn a_role_that_a_source_may_bring_no_longer_is_the_change() {
    let secret = "not-a-secret-not-a-secret-not-a-secret-0";
    let source = |allowed: &str| {
        let jwt = format!(
            "[[authn.jwt]]\nid = \"corp\"\nissuer = \"https://id.test\"\naudience = [\"a\"]\nalgorithms = [\"HS256\"]\n\
             secret_file = \"secret\"\nroles = \"roles\"\nroles_allowed = [{allowed}]\n"
        );
        config("\"reader\"").replace("[rbac.role.reader]\n", &format!("{jwt}\n[rbac.role.reader]\n"))
    };
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("secret"), secret).expect("written");
    let gateway = Gateway::start_in(folder, &source("\"reader\", \"writer\""), &[]);
    let claims = serde_json::json!({
        "iss": "https://id.test", "aud": "a", "sub": "alice", "roles": ["reader"], "exp": 4_102_444_800_u64,
    });
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let token = jsonwebtoken::encode(&header, &claims, &key).expect("a token");
    let ask = |path: &str| {
        let bearer = format!("Bearer {token}");
        let answer = request(gateway.address, "GET", path, &[("Authorization", &bearer)], b"");
        (answer.status, answer.header("x-request-id").expect("an id").to_owned())
    };
    assert_eq!(ask("/orders/7").0, 200);
    let (status, never) = ask("/nothing");
    assert_eq!(status, 403);
    gateway.write_config(&source("\"writer\""));
    gateway.wait_for_generation(2);
    let (status, id) = ask("/orders/7");
    assert_eq!(status, 403);
    let ran = about_folder(gateway.folder(), &["why", &id]);
    for text in [
        "The policy changed",
        "the policy before it let this request pass, by rbac/orders",
        "authn.jwt corp was changed: roles_allowed: [\"writer\"], before [\"reader\", \"writer\"]",
        "- The token's source may not bring that role",
    ] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    // Where it would not have been enough either, nothing is said of those before.
    let (_, after) = ask("/nothing");
    let ran = about_folder(gateway.folder(), &["why", &after]);
    assert!(ran.words().contains("No change that is known"), "{}", ran.show());
    let ran = about_folder(gateway.folder(), &["why", &never]);
    assert!(ran.words().contains("No change: every policy that is kept"), "{}", ran.show());
}
