//! `why`, where a WAF rule changed by exclusions: those for other requests are no change of this one's rule.

use crate::support::command::about_folder;
use crate::support::{Gateway, get};

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
[[rbac.grant]]
id = "open"
roles = ["anyone"]
paths = ["/search", "/other"]
[[waf.rule]]
id = "no-x"
action = "deny"
targets = ["query"]
match = { contains = "xxx" }
"#;

fn excluding(path: &str) -> String {
    format!(
        "{CONFIG}[[waf.exclude]]\nid = \"harmless\"\npath = \"{path}\"\ntargets = [\"query:q\"]\nrules = [\"waf/no-x\"]\n"
    )
}

fn put_in_force(gateway: &Gateway, config: &str, generation: u64) {
    gateway.write_config(config);
    gateway.wait_for_generation(generation);
}

fn refused(gateway: &Gateway) -> String {
    let answer = get(gateway.address, "/search?q=xxx");
    assert_eq!((answer.status, answer.rule()), (403, "waf/no-x"));
    answer.header("x-request-id").expect("an id").to_owned()
}

#[test]
fn an_exclusion_for_another_path_is_no_change_before_a_refusal() {
    let gateway = Gateway::start(CONFIG);
    put_in_force(&gateway, &excluding("/other"), 2);
    let id = refused(&gateway);
    let ran = about_folder(gateway.folder(), &["why", &id]);
    assert!(!ran.words().contains("The policy changed"), "{}", ran.show());
    assert!(
        ran.words().contains("No change: every policy that is kept refused this, since 1-"),
        "{}",
        ran.show()
    );
}

#[test]
fn the_end_of_an_exclusion_for_this_path_is() {
    let gateway = Gateway::start(&excluding("/search"));
    assert_eq!(get(gateway.address, "/search?q=xxx").status, 200);
    put_in_force(&gateway, CONFIG, 2);
    // This one is not about the request, and what was before it is looked at.
    put_in_force(&gateway, &excluding("/other"), 3);
    let id = refused(&gateway);
    let found = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    assert!(found["change"]["policy"].as_str().is_some_and(|policy| policy.starts_with("2-")), "{found:#}");
    let ran = about_folder(gateway.folder(), &["why", &id]);
    let want = "what the policy before it did with such a request cannot be told";
    assert!(ran.words().contains(want), "{}", ran.show());
}
