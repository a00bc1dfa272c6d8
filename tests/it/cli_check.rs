//! `check`: findings as people and programs read them.

use serde_json::json;

use crate::support::command::{Bench, PLAIN};

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
    assert_eq!(document["summary"], json!({ "errors": 4, "denied": 0, "warnings": 1, "files": 1 }));
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
