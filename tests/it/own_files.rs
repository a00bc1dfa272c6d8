//! What stands in files of its own: the page of a refusal, and secrets.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::command::{Bench, PLAIN};
use crate::support::{Gateway, get, request};

const ROUTE: &str = r#"
[upstream.app]
servers = ["builtin:echo"]
[[route]]
id = "all"
path = "/{*rest}"
upstream = "app"
"#;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

#[test]
fn a_refusal_is_shown_on_the_operators_own_page() {
    let template = "<!doctype html><style>{{ style|safe }}</style><h1>{{ heading }}, says Acme</h1>\
                    {% for fact in facts %}<p>{{ fact[0] }}: {{ fact[1] }}</p>{% endfor %}";
    let style = "h1 { color: green }";
    let config = format!(
        "[page]\ntemplate = \"refusal.html\"\nstyle = \"own.css\"\n[[disclosure]]\nlevel = \"rule\"\n{ROUTE}"
    );
    let gateway = Gateway::start_in(folder(&[("refusal.html", template), ("own.css", style)]), &config, &[]);
    let ask = || request(gateway.address, "GET", "/a%3Cb%3E'", &[("Accept", "text/html")], b"");
    let response = ask();
    assert_eq!(response.status, 403);
    let page = response.text();
    assert!(page.contains("<h1>You do not have access to this, says Acme</h1>"), "{page}");
    assert!(page.contains("<style>h1 { color: green }</style>"), "{page}");
    assert!(
        page.contains("rbac&#x2f;default-deny") && !page.contains("<b>") && !page.contains('\''),
        "{page}"
    );
    let policy = response.header("content-security-policy").expect("a policy");
    let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    assert!(
        policy.contains(&format!("'sha256-{hash}'")) && policy.contains("default-src 'none'"),
        "{policy}"
    );
    // Programs get what they always get.
    assert_eq!(get(gateway.address, "/").json()["rule"], "rbac/default-deny");
}

#[test]
fn a_page_that_cannot_be_shown_is_found_when_it_is_loaded() {
    let check = |template: Option<&str>, want: &[&str]| {
        let bench = Bench::with(&format!("{PLAIN}[page]\ntemplate = \"refusal.html\"\n"));
        if let Some(template) = template {
            bench.write("refusal.html", template);
        }
        let ran = bench.run(&["check"]);
        assert_eq!(ran.code, 78, "{}", ran.show());
        for part in want {
            assert!(ran.show().contains(part), "{part}: {}", ran.show());
        }
    };
    check(None, &["`refusal.html` cannot be used: there is no such file", "portcullis.toml:"]);
    check(Some(" \n"), &["`refusal.html` cannot be used: it is empty"]);
    check(
        Some("<p>\n{{ headnig }}\n"),
        &["refusal.html:2:1", "this template cannot be used", "the variables are status, title, heading"],
    );
    check(Some("{% for x in facts %}"), &["this template cannot be used"]);
    check(Some("{% include 'other.html' %}"), &["this template cannot be used"]);
}

#[test]
fn hashes_in_the_log_stay_the_same_with_a_key_of_ones_own() {
    let config = format!(
        "[log]\nclient = \"hash\"\nhash_key_file = \"hash.key\"\nsink = {{ file = \"decisions.jsonl\" }}\n{ROUTE}"
    );
    let hash = |key: &str| {
        let gateway = Gateway::start_in(folder(&[("hash.key", key)]), &config, &[]);
        get(gateway.address, "/");
        gateway.records(1)[0]["client"]["ip"].as_str().expect("a text").to_owned()
    };
    let one = hash("0123456789abcdef0123456789abcdef\n");
    assert!(one.starts_with("hash:"));
    assert_eq!(one, hash("0123456789abcdef0123456789abcdef"));
    assert_ne!(one, hash("fedcba9876543210fedcba9876543210"));
}

#[test]
fn the_hash_of_an_api_key_may_stand_in_a_file() {
    let hash = format!("{}\n", portcullis::policy::authn::hash_key(b"a-key-of-this-test"));
    let config = format!(
        "{ROUTE}[[authn.api_key]]\nid = \"batch\"\nheader = \"x-api-key\"\nhash_file = \"batch.hash\"\nroles = [\"reader\"]\n\
         [rbac.role.reader]\n[[rbac.grant]]\nid = \"read\"\nroles = [\"reader\"]\n"
    );
    let gateway = Gateway::start_in(folder(&[("batch.hash", &hash)]), &config, &[]);
    let ask = |key: &str| request(gateway.address, "GET", "/", &[("X-Api-Key", key)], b"").status;
    assert_eq!((ask("a-key-of-this-test"), ask("another")), (200, 401));
}

#[test]
fn secrets_that_cannot_be_used_are_told_and_not_shown() {
    let check = |more: &str, file: Option<&str>, want: &str| {
        let bench = Bench::with(&format!("{PLAIN}{more}"));
        if let Some(text) = file {
            bench.write("secret", text);
        }
        let ran = bench.run(&["check"]);
        assert_eq!(ran.code, 78, "{}", ran.show());
        assert!(ran.show().contains(want), "{want}: {}", ran.show());
        assert!(!ran.show().contains("mk-secret"), "{}", ran.show());
    };
    let key = "[[authn.api_key]]\nid = \"a\"\nheader = \"x-api-key\"\n";
    let by_file = format!("{key}hash_file = \"secret\"\n");
    check(&by_file, None, "the file `secret` does not exist");
    check(&by_file, Some("mk-secret\n"), "the file `secret` does not hold the hash of a key");
    check(&by_file, Some(""), "the file `secret` does not hold the hash of a key");
    check(key, None, "[[authn.api_key]] lacks the key `hash`");
    let both = format!("{by_file}hash = \"sha256:{}\"\n", "0".repeat(64));
    check(&both, Some("x"), "`hash` and `hash_file` exclude each other");
    let log = "[log]\nhash_key_file = \"secret\"\n";
    check(log, None, "`secret` cannot be used: there is no such file");
    check(log, Some("mk-secret\n"), "`secret` cannot be used: it has fewer than 16 bytes");
    let bench = Bench::with(&format!("{PLAIN}{log}"));
    std::fs::create_dir(bench.path().join("secret")).expect("a folder");
    let ran = bench.run(&["check"]);
    assert!(ran.code == 78 && ran.show().contains("it is a directory"), "{}", ran.show());
}
