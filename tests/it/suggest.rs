//! `suggest`: what its text opens is said, also where no record speaks of it.

use crate::support::command::{Bench, Ran, about_folder};
use crate::support::{Gateway, request};

const CONFIG: &str = r#"version = 1
[server]
listen = ["127.0.0.1:0"]
state_dir = "state"
[upstream.demo]
servers = ["builtin:echo"]
[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"
[[authn.api_key]]
id = "batch"
header = "x-api-key"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
roles = ["archivist"]
[rbac.role.archivist]
[rbac.role.ops]
[[rbac.grant]]
id = "archive"
roles = ["archivist"]
methods = ["DELETE"]
path = "/archive/{*rest}"
[[rbac.deny]]
id = "freeze"
methods = ["DELETE"]
path = "/archive/{*rest}"
except_roles = ["ops"]
[[rbac.grant]]
id = "purge"
roles = ["ops"]
path = "/purge"
[[rbac.deny]]
id = "purge-freeze"
path = "/purge"
except_roles = ["ops"]
[[rbac.grant]]
id = "reports"
subjects = ["batch"]
path = "/reports/{id}"
when = "client.ip in office"
[[rbac.grant]]
id = "ledger"
subjects = ["batch"]
path = "/ledger/{id}"
until = 2026-01-01T00:00:00Z # was for the audit
[[rbac.grant]]
id = "search"
roles = ["anyone"]
path = "/search"
[network]
office = ["192.0.2.0/24"]
[[waf.rule]]
id = "no-x"
action = "deny"
targets = ["header:referer"]
match = { contains = "xxx" }
[[waf.rule]]
id = "no-y"
action = "deny"
targets = ["body"]
match = { contains = "yyy" }
"#;

fn suggested(gateway: &Gateway, method: &str, path: &str, field: (&str, &str), more: &[&str]) -> Ran {
    let answer = request(gateway.address, method, path, &[("x-api-key", "abc"), field], b"");
    assert_eq!(answer.status, 403, "{path}");
    let id = answer.header("x-request-id").expect("an id");
    let ran = about_folder(gateway.folder(), &[&["suggest", id], more].concat());
    assert_eq!(ran.code, 0, "{}", ran.show());
    ran
}

fn says(ran: &Ran, texts: &[&str]) {
    for text in texts {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
}

const NONE: (&str, &str) = ("accept", "*/*");

#[test]
fn a_freeze_that_it_ends_for_a_role_is_named_though_nobody_asked_yet() {
    let gateway = Gateway::start(CONFIG);
    let ran = suggested(&gateway, "DELETE", "/archive/7", NONE, &[]);
    says(
        &ran,
        &[
            "except_roles = [\"archivist\", \"ops\"]",
            "Beyond what the log has, it opens, by the policy itself:",
            "gained DELETE /archive/{*rest}",
            "for archivist, by rbac/freeze",
        ],
    );
    let found = suggested(&gateway, "DELETE", "/archive/7", NONE, &["--format", "json"]).json();
    assert_eq!(found["gains"][0]["role"], "archivist", "{found}");
    assert_eq!(found["gains"][0]["path"], "/archive/{*rest}", "{found}");
}

#[test]
fn a_condition_that_is_not_kept_is_named() {
    let gateway = Gateway::start(CONFIG);
    let ran = suggested(&gateway, "GET", "/reports/7", NONE, &[]);
    says(
        &ran,
        &[
            "A grant for batch alone",
            "for the subject batch, by rbac/for-",
            "`when = \"client.ip in office\"` of the nearest grant, `rbac/reports`, is not kept",
        ],
    );
}

#[test]
fn of_a_grant_that_has_ended_a_later_end_is_suggested() {
    let gateway = Gateway::start(CONFIG);
    let ran = suggested(&gateway, "GET", "/ledger/7", NONE, &[]);
    says(
        &ran,
        &[
            "`rbac/ledger`, which ended at 2026-01-01T00:00:00Z, until 20",
            "id = \"ledger\"",
            "until = 20",
            "It replaces the rule at",
            "Until when is for you to say",
        ],
    );
    assert!(!ran.out.contains("id = \"for-") && !ran.out.contains("until = 2026-01-01"), "{}", ran.show());
}

#[test]
fn rules_that_were_not_reached_are_no_rules_that_let_it_pass() {
    let gateway = Gateway::start(CONFIG);
    let ran = suggested(&gateway, "GET", "/search", ("referer", "xxx"), &[]);
    says(&ran, &["could not be tried", "were not reached: they may refuse the same request"]);
    let head_only = CONFIG.replace("targets = [\"body\"]", "targets = [\"query\"]");
    let gateway = Gateway::start(&head_only);
    let ran = suggested(&gateway, "GET", "/search", ("referer", "xxx"), &[]);
    assert!(!ran.words().contains("were not reached"), "{}", ran.show());
}

#[test]
fn a_grant_for_one_subject_is_a_gain_of_no_role() {
    let bench = Bench::with(CONFIG);
    let grant =
        "[[rbac.grant]]\nid = \"frank\"\nsubjects = [\"frank\"]\nmethods = [\"GET\"]\npath = \"/pay/1\"\n";
    bench.write("new.toml", format!("{CONFIG}{grant}"));
    let ran = bench.run(&["diff", "portcullis.toml", "new.toml"]);
    says(&ran, &["gained GET /pay/1 for the subject frank, by rbac/frank"]);
    let found = bench.run(&["diff", "portcullis.toml", "new.toml", "--format", "json"]).json();
    let cells = &found["difference"]["cells"];
    assert_eq!(cells.as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!((&cells[0]["role"], &cells[0]["subjects"][0]), (&"authenticated".into(), &"frank".into()));
    // With a role besides, both are named.
    bench.write("new.toml", format!("{CONFIG}{grant}roles = [\"ops\"]\n"));
    let ran = bench.run(&["diff", "portcullis.toml", "new.toml"]);
    says(&ran, &["gained GET /pay/1 for the subject frank with ops, by rbac/frank"]);
}

#[test]
fn where_one_change_is_not_enough_all_are_shown_and_the_role_that_is() {
    let gateway = Gateway::start(CONFIG);
    let answer = request(gateway.address, "POST", "/purge", &[("x-api-key", "abc")], b"");
    assert_eq!((answer.status, answer.rule()), (403, "rbac/purge-freeze"));
    let id = answer.header("x-request-id").expect("an id");
    let role = "The role ops: its holders are exempt, and rbac/purge allows them this.";
    let ran = about_folder(gateway.folder(), &["suggest", id]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    says(&ran, &["That is not enough. Also A grant for batch alone", role, "It replaces the rule at"]);
    let ran = about_folder(gateway.folder(), &["why", id]);
    says(&ran, &[role, "for everybody who lacks the role ops", "No new grant helps"]);
    let told = about_folder(gateway.folder(), &["why", id, "--format", "json"]).json();
    assert_eq!(told["explained"]["ways_out"][0], role);
    // Both together are enough.
    let told = about_folder(gateway.folder(), &["suggest", id, "--format", "json"]).json();
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let freeze = "[[rbac.deny]]\nid = \"purge-freeze\"\npath = \"/purge\"\nexcept_roles = [\"ops\"]\n";
    assert!(CONFIG.contains(freeze) && told["also"].as_array().is_some_and(|also| also.len() == 1), "{told}");
    let fixed = CONFIG.replace(freeze, &text(&told["toml"])) + &text(&told["also"][0]["toml"]);
    gateway.write_config(&fixed);
    gateway.wait_for_generation(2);
    let ask = |method| request(gateway.address, method, "/purge", &[("x-api-key", "abc")], b"").status;
    assert_eq!((ask("POST"), ask("PUT")), (200, 403));
}
