//! `check`: findings as people and programs read them.

use serde_json::json;

use crate::support::command::{Bench, PLAIN};
use crate::support::tls::Authority;

/// Something wrong of most kinds: a key, a value, a name, a reference to another place.
const BROKEN: &str = "\
version = 1
includ = []

[server]
listen = [\"127.0.0.1:8080\", \"127.0.0.1:8080\"]

[timeouts]
head = \"0s\"

[rbac.role.reader]
inherits = [\"raeder\"]

[[rbac.grant]]
id = \"all\"
roles = [\"anyone\"]
";

#[test]
fn a_finding_has_place_line_caret_and_help() {
    let bench = Bench::with(BROKEN);
    insta::assert_snapshot!("findings", bench.run(&["check"]).show());
    insta::assert_snapshot!("github", bench.run(&["check", "--format", "github"]).show());
}

#[test]
fn the_json_form_has_one_object_for_each_finding() {
    let bench = Bench::with(BROKEN);
    let document = bench.run(&["check", "--format", "json"]).json();
    assert_eq!(document["ok"], false);
    assert_eq!(document["summary"], json!({ "errors": 4, "denied": 0, "warnings": 0, "files": 1 }));
    assert_eq!(
        document["diagnostics"][0],
        json!({
            "code": "unknown-key",
            "severity": "error",
            "message": "unknown key `includ` in the configuration",
            "file": "portcullis.toml",
            "line": 2,
            "column": 1,
            "end_line": 2,
            "end_column": 7,
            "about": null,
            "label": "unknown key",
            "help": "did you mean `include`?",
            "related": [],
        })
    );
}

#[test]
fn sarif_names_its_rules_and_places() {
    let bench = Bench::with(&BROKEN.replace("includ = []\n", ""));
    let log = bench.run(&["check", "--format", "sarif"]).json();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let results = run["results"].as_array().expect("results");
    assert!(results.len() >= 3);
    for result in results {
        let index = result["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "portcullis.toml");
        assert!(place["region"]["startLine"].is_u64());
    }
    let related: Vec<_> =
        results.iter().filter_map(|result| result["relatedLocations"][0].as_object()).collect();
    assert_eq!(related[0]["message"]["text"], "the first listener");
}

#[test]
fn severities_decide_the_exit_code() {
    let check = |config: &str, arguments: &[&str], code| {
        let ran = Bench::with(config).run(&[&["check"], arguments].concat());
        assert_eq!(ran.code, code, "{}", ran.show());
        ran
    };
    check(PLAIN, &["--deny", "warnings"], 0);
    let unused = format!("{PLAIN}\n[network]\nnobody = [\"192.0.2.0/24\"]\n");
    check(&unused, &[], 0);
    check(&unused, &["--deny", "warnings"], 1);
    let dangerous = PLAIN.replace("[server]\n", "[server]\ntrusted_proxies = [\"::/0\"]\n");
    let ran = check(&dangerous, &[], 1);
    assert!(ran.out.contains("deny[trusts-the-world]"), "{}", ran.show());
    check("version = 1\n", &[], 78);
}

#[test]
fn a_clean_configuration_is_told_with_its_hash() {
    let bench = Bench::with(PLAIN);
    let ran = bench.run(&["check"]);
    let hash = bench.run(&["check", "--format", "json"]).json()["policy"]["hash"].as_str().map(str::to_owned);
    let hash = hash.expect("a hash");
    assert!(
        hash.len() == 8 && ran.out.starts_with(&format!("ok: policy {hash} from 1 file")),
        "{}",
        ran.show()
    );
    let quiet = bench.run(&["check", "--quiet"]);
    assert_eq!((quiet.code, quiet.out.as_str()), (0, ""));
}

#[test]
fn many_findings_are_counted_and_errors_come_first() {
    let mut text = PLAIN.to_owned();
    text.push_str("\n[network]\n");
    (0..200).for_each(|number| text.push_str(&format!("n{number} = [\"192.0.2.0/24\"]\n")));
    text.push_str("\n[timeouts]\nhead = \"0s\"\n");
    let bench = Bench::with(&text);
    let ran = bench.run(&["check"]);
    assert!(ran.out.contains("a timeout of zero"), "{}", ran.show());
    assert!(ran.out.contains("and 151 more") && ran.out.contains("1 error, 200 warnings in 1 file"));
    assert_eq!(bench.run(&["check", "--verbose"]).out.matches("warning[").count(), 200);
}

#[test]
fn hostile_text_reaches_no_terminal() {
    let bench = Bench::with("version = 1\n\"\\u001b[2J\\u202e\" = 1\n[server]\nlisten = [\"\u{202e}x\"]\n");
    let ran = bench.run(&["check"]);
    assert!(ran.out.contains("\\u{1b}[2J\\u{202e}"), "{}", ran.show());
    assert!(!ran.out.contains(['\u{1b}', '\u{202e}']), "{}", ran.show());
}

#[test]
fn a_line_of_a_megabyte_is_shown_by_the_words_around_the_place() {
    let bench = Bench::with(&format!("version = 1\nx = [\"{}\", nonsense]\n", "y".repeat(1 << 20)));
    let ran = bench.run(&["check"]);
    assert!(ran.out.contains("portcullis.toml:2:1048586"), "{}", ran.show());
    assert!(ran.out.len() < 2000);
}

#[test]
fn a_certificate_that_cannot_be_used_is_found_before_it_is_needed() {
    let pair = || rcgen::generate_simple_self_signed(["app.test".to_owned()]).expect("a certificate");
    let (one, other) = (pair(), pair());
    let bench = Bench::with(&format!(
        "{PLAIN}[[listener]]\naddress = \"127.0.0.1:0\"\n\
         tls = {{ certificates = [{{ cert = \"cert.pem\", key = \"key.pem\" }}] }}\n"
    ));
    let check = |cert: &str, key: &str, want: &str| {
        bench.write("cert.pem", cert);
        bench.write("key.pem", key);
        for verb in [&["check"][..], &["run"]] {
            let ran = bench.run(verb);
            let said = format!("{}{}", ran.out, ran.err);
            assert_eq!(ran.code, 78, "{said}");
            assert!(said.contains("portcullis.toml:") && said.contains(want), "{said}");
        }
    };
    let (cert, key) = (one.cert.pem(), one.signing_key.serialize_pem());
    check("", &key, "cert.pem` cannot be used");
    check(&cert, "nothing", "key.pem` cannot be used");
    check(&cert, &cert, "key.pem` cannot be used");
    check(&cert, &other.signing_key.serialize_pem(), "does not fit the certificate");
    bench.write("key.pem", &key);
    assert_eq!(bench.run(&["check"]).code, 0, "{}", bench.run(&["check"]).show());
}

#[test]
fn a_certificate_that_has_ended_is_told() {
    let authority = Authority::new("servers");
    let ended = authority.client("x", |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let bench = Bench::with(&format!(
        "{PLAIN}[[listener]]\naddress = \"127.0.0.1:0\"\n\
         tls = {{ certificates = [{{ cert = \"cert.pem\", key = \"cert.key\" }}] }}\n"
    ));
    ended.write(bench.path(), "cert");
    let ran = bench.run(&["check"]);
    assert!(
        ran.out.contains("expired-certificate") && ran.out.contains("ended at 2020-01-01"),
        "{}",
        ran.show()
    );
    assert_eq!(bench.run(&["explain", "--lint", "expired-certificate"]).code, 0);
}

/// What `check` says of a text besides its rendering: the messages, sorted.
fn messages(text: &str) -> Vec<String> {
    let bench = Bench::with(text);
    let document = bench.run(&["check", "--format", "json"]).json();
    let mut messages: Vec<String> = document["diagnostics"]
        .as_array()
        .expect("diagnostics")
        .iter()
        .map(|problem| problem["message"].as_str().unwrap_or_default().to_owned())
        .collect();
    messages.sort();
    messages
}

#[track_caller]
fn told(text: &str, want: &[&str]) {
    let head = "version = 1\n[upstream.app]\nservers = [\"builtin:echo\"]\n[server]\nlisten = [\"127.0.0.1:0\"]\n\
                [[route]]\nid = \"all\"\npath = \"/{*rest}\"\nupstream = \"app\"\n\
                [[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\n";
    let got = messages(&format!("{head}{text}"));
    let mut rest = want.to_vec();
    let unexpected: Vec<&String> = got
        .iter()
        .filter(|message| match rest.iter().position(|want| message.contains(want)) {
            Some(at) => {
                rest.remove(at);
                false
            }
            None => true,
        })
        .collect();
    assert!(rest.is_empty() && unexpected.is_empty(), "missing {rest:?}, not wanted {unexpected:?}");
}

#[test]
fn one_mistake_hides_no_other() {
    told("[waf]\npacks = [\"cor\"]\nmode = \"shadow\"\n", &["`cor` is not one of", "needs `shadow_until`"]);
    told(
        "[network]\noffice = [\"10.0.0.0/33\", \"foo\"]\n[[ip.rule]]\nid = \"a\"\nallow = [\"office\"]\n",
        &["10.0.0.0/33", "no network `foo`"],
    );
    let rule = |lines: &str| format!("[[waf.rule]]\nid = \"x\"\n{lines}");
    told(
        &rule("score = 5\naction = \"deny\"\ntargets = [\"query\"]\nmatch = { regex = '(' }\n"),
        &["either `score` or `action`", "not a regular expression"],
    );
    told(
        &rule("targets = []\nmatch = { contains = \"\" }\n"),
        &["neither `score` nor", "`targets` names nothing", "empty"],
    );
    told(
        "[[authn.jwt]]\nid = \"j\"\nissuer = \"i\"\naudience = \"a\"\nalgorithms = [\"HS256\", \"RS256\"]\n\
         secret_file = \"nothing\"\n",
        &["HMAC and public-key", "`nothing` does not exist"],
    );
    told(
        "[[disclosure]]\nlevel = \"id\"\nstages = [\"rbca\"]\nnetworks = [\"foo\"]\nroles = [\"bar\"]\n",
        &["`rbca` is not one of", "no network `foo`", "no role `bar`"],
    );
    told(
        "[authn]\nrevoked = { file = \"gone\" }\n[[authn.api_key]]\nid = \"k\"\nheader = \"x-key\"\nhash = \"oops\"\n\
         [[authn.basic]]\nid = \"b\"\nuser = [{ name = \"a:b\", hash = \"oops\" }]\n",
        &["not the hash of a key", "no `:`", "hash", "`gone` does not exist"],
    );
    told(
        "[[ip.rule]]\nid = \"a\"\nallow = [\"::1\"]\nmethods = [\"G T\"]\npaths = []\nroutes = [\"foo\"]\n",
        &["G T", "`paths` is empty", "no route `foo`"],
    );
    told(
        "[[authn.jwt]]\nid = \"j\"\nissuer = 7\naudience = []\nalgorithms = [\"HS256\"]\nsecret_file = \"nothing\"\n",
        &["expected a string", "`audience` is empty", "`nothing` does not exist"],
    );
    let version = PLAIN.replace("version = 1", "version = \"1\"");
    assert_eq!(
        messages(&format!("{version}\n[[rbac.grant]]\nid = \"g\"\nroles = [\"r\"]\n")),
        ["expected an integer, found a string", "there is no role `r`"]
    );
}

#[test]
fn nothing_is_told_that_only_follows_from_another_mistake() {
    told("[[ip.rule]]\nid = \"a\"\nallow = [\"1.2.3.4/40\"]\n", &["1.2.3.4/40"]);
    told("[[ip.rule]]\nid = \"a\"\nalow = [\"::1\"]\n", &["unknown key `alow`"]);
    told("[[ip.rule]]\nid = \"a\"\nallow = [\"::1\"]\nmode = \"shadow\"\nshadow_until = 1\n", &["date-time"]);
    told("[[ip.rule]]\nid = \"a\"\nallow = [\"::1\"]\npaths = [\"x\"]\n", &["`x`"]);
    told("[rbac.role.r]\ninherits = 7\n[[rbac.grant]]\nid = \"g\"\nroles = [\"r\"]\n", &["array"]);
    told("[[rbac.grant]]\nid = \"g\"\nroles = 7\n", &["array"]);
    told("[contact]\nurl = 7\n", &["a string"]);
    told("[upstream.far]\nservers = [\"ftp://x\"]\n", &["`ftp://x` cannot be used"]);
    told("[[authn.basic]]\nid = \"b\"\nuser = [{ name = 7, hash = 8 }]\n", &["a string", "a string"]);
    told(
        "[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\npath = \"x\"\nwhen = \"path.id == 'a'\"\n",
        &["`x`"],
    );
    told(
        "[[rbac.grant]]\nid = 7\nroles = [\"anyone\"]\n[[rbac.grant]]\nid = 8\nroles = [\"anyone\"]\n",
        &["name", "name"],
    );
    assert_eq!(
        messages(&format!("network = 7\n{PLAIN}\n[[ip.rule]]\nid = \"a\"\nallow = [\"office\"]\n")),
        ["expected a table, found an integer"]
    );
    told(
        "[[route]]\nid = \"b\"\npath = \"/{*rest}\"\nhost = \"a b\"\nupstream = \"app\"\n[[ip.rule]]\nid = \"a\"\nroutes = [\"b\"]\nallow = [\"::1\"]\n",
        &["a b"],
    );
    told(
        "[waf]\npacks = [\"cor\"]\n[[waf.exclude]]\nid = \"e\"\nrules = [\"waf/sqli-tautology\"]\n",
        &["`cor` is not one of"],
    );
    told(
        "[[waf.rule]]\nid = \"x\"\nscore = 5\ntargets = [\"!args:q\", \"qeury\"]\nmatch = { contains = \"a\" }\n\
         [[waf.exclude]]\nid = \"e\"\nrules = [\"waf/x\"]\n",
        &["`qeury` is not a target"],
    );
    assert_eq!(
        messages("version = 1\n[server]\nlisten = [\"localhost:20010\"]\n"),
        ["`localhost:20010` is not an address to listen on"]
    );
    let bench = Bench::with(&format!(
        "include = [\"p.toml\"]\n{PLAIN}\n[[rbac.grant]]\nid = \"g\"\nroles = [\"r\"]\n"
    ));
    bench.write("p.toml", "[rbac.role.r]\nnonsense\n");
    let ran = bench.run(&["check"]);
    assert!(ran.out.contains("p.toml:2") && !ran.out.contains("no role"), "{}", ran.show());
    // A role circle is one mistake, wherever one begins to read it.
    let roles = "[rbac.role.a]\ninherits = [\"b\"]\n[rbac.role.b]\ninherits = [\"a\"]\n";
    told(roles, &["roles inherit in a circle"]);
}

#[test]
fn no_hash_and_no_secret_is_shown() {
    let users = "[[authn.basic]]\nid = \"b\"\nusers = [{ name = \"a\", hash = \"hunter2\" }]\n\
                 [[authn.api_key]]\nid = \"k\"\nheader = \"x-key\"\nhash = \"hunter2\"\n\
                 [[authn.basic]]\nid = \"c\"\nuser = [{ name = \"a:b\", hash = 'hunter2' }]\nusers = { file = \"users\" }\n";
    let bench = Bench::with(&format!("{PLAIN}\n{users}"));
    bench.write("users", "alice:hunter2\n");
    let ran = bench.run(&["check"]);
    assert!(!ran.show().contains("hunter2"), "{}", ran.show());
    for want in
        ["expected a table such as { file = … }", "portcullis hash-key --password", "a user name has no `:`"]
    {
        assert!(ran.out.contains(want), "{want}: {}", ran.show());
    }
}

#[test]
fn quiet_shows_what_is_wrong_and_nothing_else() {
    let bench = Bench::with(&format!("{BROKEN}[network]\nnobody = [\"::1\"]\n"));
    let ran = bench.run(&["check", "-q"]);
    assert!(ran.out.contains("error[") && !ran.out.contains("warning["), "{}", ran.show());
}

#[test]
fn a_problem_without_a_place_has_no_gutter() {
    let ran = Bench::new().run(&["check", "--config", "missing.toml"]);
    assert_eq!(ran.code, 78);
    assert!(ran.out.contains("there is no such file") && !ran.out.contains('|'), "{}", ran.show());
}

#[test]
fn a_denied_lint_is_never_called_ok() {
    let dangerous = PLAIN.replace("[server]\n", "[server]\ntrusted_proxies = [\"::/0\"]\n");
    for arguments in [&["check"][..], &["check", "-v"], &["check", "-q"]] {
        let ran = Bench::with(&dangerous).run(arguments);
        assert!(ran.code == 1 && !ran.show().contains("ok:"), "{}", ran.show());
    }
}

#[test]
fn files_are_counted_among_all() {
    let bench = Bench::with(&format!("include = [\"p.toml\"]\n{PLAIN}"));
    bench.write("p.toml", "[network]\nnobody = [\"::1\"]\n");
    let ran = bench.run(&["check"]);
    assert!(ran.out.contains("1 warning in 1 of 2 files"), "{}", ran.show());
}

/// The hash is of what is said: also where lists stand in files, from wherever those are named.
#[test]
fn from_where_a_configuration_is_named_does_not_change_its_hash() {
    let bench = Bench::with(&format!(
        "{PLAIN}\n[network]\noffice = {{ file = \"office.txt\" }}\n[[ip.rule]]\nid = \"a\"\nallow = [\"office\"]\n"
    ));
    bench.write("office.txt", "192.0.2.0/24\n");
    let hash = |path: &str| {
        let ran = bench.run(&["check", "--config", path, "--format", "json"]);
        ran.json()["policy"]["hash"].as_str().expect("a hash").to_owned()
    };
    let whole = bench.path().join("portcullis.toml");
    let near = hash("portcullis.toml");
    assert_eq!(
        (hash("./portcullis.toml"), hash(whole.to_str().expect("a path"))),
        (near.clone(), near.clone())
    );
    bench.write("office.txt", "192.0.2.0/25\n");
    assert_ne!(hash("portcullis.toml"), near);
}
