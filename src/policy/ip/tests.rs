//! Address rules: which of them speaks, which is named, and what a trace tells.

use crate::decision::Stage;
use crate::policy::code::Code;
use crate::policy::fixture::{Ask, ask, policy, problems};

const NETWORKS: &str = r#"
    [network]
    office = ["192.0.2.0/24", "2001:db8::/32"]
    abusers = ["198.51.100.0/24"]
    [[route]]
    id = "main"
    path = "/{*rest}"
    upstream = "up"
"#;

fn check(rules: &str, asks: &[(Ask, &str)]) {
    let policy = policy(&format!("{NETWORKS}{rules}"));
    for (ask, want) in asks {
        assert_eq!(ask.verdict(&policy, Stage::Ip), *want, "{ask:?}");
    }
}

fn from(ip: &str) -> Ask {
    ask("GET", "/").ip(ip)
}

#[test]
fn without_rules_every_address_passes() {
    check("", &[(from("192.0.2.1"), "pass ip/no-rule")]);
}

#[test]
fn an_allow_rule_refuses_everybody_else() {
    check(
        "[[ip.rule]]\nid = \"a\"\nallow = [\"office\", \"10.0.0.0/8\"]",
        &[
            (from("192.0.2.1"), "pass ip/a"),
            (from("2001:db8::1"), "pass ip/a"),
            (from("::ffff:10.0.0.1"), "pass ip/a"),
            (from("203.0.113.1"), "deny ip/a ip_not_allowed"),
            (from("::1"), "deny ip/a ip_not_allowed"),
        ],
    );
}

#[test]
fn a_deny_rule_refuses_whom_it_lists_and_names_no_pass() {
    check(
        "[[ip.rule]]\nid = \"d\"\ndeny = [\"abusers\"]",
        &[
            (from("198.51.100.9"), "deny ip/d ip_denied"),
            (from("::ffff:198.51.100.9"), "deny ip/d ip_denied"),
            (from("192.0.2.1"), "pass ip/no-rule"),
        ],
    );
}

#[test]
fn excepted_addresses_are_none_of_a_rules_business() {
    check(
        r#"
        [[ip.rule]]
        id = "a"
        allow = ["office"]
        except = ["203.0.113.7"]
        [[ip.rule]]
        id = "d"
        deny = ["office"]
        except = ["192.0.2.7"]
        "#,
        &[
            (from("203.0.113.7"), "pass ip/no-rule"),
            (from("192.0.2.7"), "pass ip/a"),
            (from("192.0.2.8"), "deny ip/d ip_denied"),
        ],
    );
}

#[test]
fn every_matching_rule_must_let_the_address_through_and_the_first_refusing_is_named() {
    let rules = r#"
        [[ip.rule]]
        id = "z-wide"
        allow = ["office", "10.0.0.0/8"]
        [[ip.rule]]
        id = "narrow"
        allow = ["office"]
        [[ip.rule]]
        id = "a-deny"
        deny = ["203.0.113.0/24"]
    "#;
    check(
        rules,
        &[
            (from("192.0.2.1"), "pass ip/z-wide"),
            (from("10.0.0.1"), "deny ip/narrow ip_not_allowed"),
            (from("203.0.113.1"), "deny ip/z-wide ip_not_allowed"),
        ],
    );
}

#[test]
fn a_rule_speaks_only_within_its_scope() {
    check(
        r#"
        [[ip.rule]]
        id = "admin"
        path = "/admin/{*rest}"
        methods = ["POST"]
        host = "*.test"
        routes = ["main"]
        allow = ["office"]
        "#,
        &[
            (ask("POST", "/admin/x").ip("10.0.0.1"), "deny ip/admin ip_not_allowed"),
            (ask("POST", "/%61dmin").ip("10.0.0.1"), "deny ip/admin ip_not_allowed"),
            (ask("GET", "/admin/x").ip("10.0.0.1"), "pass ip/no-rule"),
            (ask("POST", "/public/admin").ip("10.0.0.1"), "pass ip/no-rule"),
            (ask("POST", "/admin/x").ip("10.0.0.1").host("other.example"), "pass ip/no-rule"),
        ],
    );
}

#[test]
fn a_rule_in_shadow_is_recorded_and_refuses_nobody() {
    check(
        r#"
        [[ip.rule]]
        id = "trial"
        deny = ["office"]
        mode = "shadow"
        shadow_until = 2026-12-01T00:00:00Z
        paths = ["/{*rest}", "/"]
        [[ip.rule]]
        id = "enforced"
        deny = ["192.0.2.9"]
        [[ip.rule]]
        id = "gone"
        mode = "off"
        deny = ["0.0.0.0/0"]
        "#,
        &[
            (from("192.0.2.1"), "pass ip/no-rule; shadow ip/trial ip_denied"),
            (from("192.0.2.9"), "deny ip/enforced ip_denied; shadow ip/trial ip_denied"),
            (from("192.0.2.1").at("2026-12-01T00:00:00Z"), "deny ip/trial ip_denied"),
            (from("10.0.0.1"), "pass ip/no-rule"),
        ],
    );
}

#[test]
fn a_stage_or_route_in_shadow_refuses_nobody() {
    let rules = "[[ip.rule]]\nid = \"b\"\nallow = [\"::1\"]\n[[ip.rule]]\nid = \"a\"\ndeny = [\"office\"]\n";
    let stage = format!("[ip]\nmode = \"shadow\"\nshadow_until = 2027-01-01T00:00:00Z\n{rules}");
    let want = "pass ip/no-rule; shadow ip/b ip_not_allowed; shadow ip/a ip_denied";
    check(&stage, &[(from("192.0.2.1"), want)]);
    check(&stage, &[(from("192.0.2.1").at("2027-01-01T00:00:00Z"), "deny ip/b ip_not_allowed")]);
    let route = format!("mode = \"shadow\"\nshadow_until = 2027-01-01T00:00:00Z\n{rules}");
    check(&route, &[(from("192.0.2.1"), want)]);
}

#[test]
fn a_trace_names_the_network_and_every_other_rule_that_would_refuse() {
    let policy = policy(&format!(
        "{NETWORKS}{}",
        r#"
        [[ip.rule]]
        id = "ok"
        allow = ["office"]
        [[ip.rule]]
        id = "first"
        deny = ["192.0.0.0/16"]
        [[ip.rule]]
        id = "second"
        deny = ["192.0.2.0/28", "192.0.2.0/24"]
        [[ip.rule]]
        id = "trial"
        mode = "shadow"
        deny = ["office"]
        [[ip.rule]]
        id = "not-me"
        allow = ["10.0.0.0/8"]
        except = ["office"]
        [[ip.rule]]
        id = "elsewhere"
        path = "/x"
        deny = ["office"]
        "#
    ));
    let (_, steps) = from("192.0.2.1").traced(&policy, Stage::Ip);
    assert_eq!(
        steps,
        [
            "ip/ok pass: 192.0.2.1 is in 192.0.2.0/24 of `office`",
            "ip/first deny ip_denied: 192.0.2.1 is in 192.0.0.0/16",
            "ip/second alsomatched: 192.0.2.1 is in 192.0.2.0/28",
            "ip/trial shadow ip_denied: 192.0.2.1 is in 192.0.2.0/24 of `office`",
            "ip/not-me pass: 192.0.2.1 is excepted: it is in 192.0.2.0/24 of `office`",
        ]
    );
}

#[test]
fn a_rule_has_exactly_one_list_and_it_is_not_empty() {
    let found = |rule: &str| {
        let found = problems(&format!("[[ip.rule]]\nid = \"x\"\n{rule}"));
        found.into_iter().map(|(code, _, message)| (code, message)).collect::<Vec<_>>()
    };
    assert_eq!(
        found("allow = [\"::1\"]\ndeny = [\"::1\"]"),
        [(Code::Conflict, "a rule has `allow` or `deny`, not both".into())]
    );
    assert_eq!(found(""), [(Code::MissingKey, "[[ip.rule]] lacks `allow` or `deny`".into())]);
    assert_eq!(found("allow = []"), [(Code::BadValue, "`allow` is empty".into())]);
    assert_eq!(found("deny = []"), [(Code::BadValue, "`deny` is empty".into())]);
}
