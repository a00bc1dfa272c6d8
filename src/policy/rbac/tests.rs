//! Who may do what: case by case, and against a plain reading of all rules.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::decision::RuleRef;
use crate::policy::Policy;
use crate::policy::code::Code;
use crate::policy::fixture::{Ask, ask, policy, problems};

const ROLES: &str = r#"
    [rbac.role.user]
    [rbac.role.reader]
    [rbac.role.writer]
    inherits = ["reader"]
    [rbac.role.admin]
    inherits = ["writer"]
"#;

fn rules(rules: &str) -> Policy {
    policy(&format!("{ROLES}{rules}"))
}

fn check(text: &str, asks: &[(Ask, &str)]) {
    let policy = rules(text);
    for (ask, want) in asks {
        assert_eq!(ask.verdict(&policy, Stage::Rbac), *want, "{ask:?}");
    }
}

#[test]
fn nothing_is_allowed_that_no_grant_allows() {
    check("", &[(ask("GET", "/"), "deny rbac/default-deny no_matching_grant")]);
    check(
        "[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\npath = \"/a\"\nmethods = [\"GET\"]",
        &[
            (ask("GET", "/a"), "pass rbac/g"),
            (ask("GET", "/a/"), "pass rbac/g"),
            (ask("GET", "/b/../%61"), "pass rbac/g"),
            (ask("POST", "/a"), "deny rbac/default-deny no_matching_grant"),
            (ask("GET", "/A"), "deny rbac/default-deny no_matching_grant"),
            (ask("GET", "/a/b"), "deny rbac/default-deny no_matching_grant"),
        ],
    );
}

#[test]
fn roles_count_with_all_they_inherit_and_only_if_declared() {
    check(
        "[[rbac.grant]]\nid = \"g\"\nroles = [\"reader\", \"user\"]",
        &[
            (ask("GET", "/").by("a", &["reader"]), "pass rbac/g"),
            (ask("GET", "/").by("a", &["admin"]), "pass rbac/g"),
            (ask("GET", "/").by("a", &["user", "stranger"]), "pass rbac/g"),
            (
                ask("GET", "/").by("a", &["stranger", "anyone", "Reader"]),
                "deny rbac/default-deny role_missing",
            ),
            (ask("GET", "/"), "deny rbac/default-deny no_matching_grant"),
        ],
    );
}

#[test]
fn authenticated_is_whoever_is_identified_and_a_token_cannot_bring_it() {
    check(
        "[[rbac.grant]]\nid = \"g\"\nroles = [\"authenticated\"]",
        &[
            (ask("GET", "/").by("a", &[]), "pass rbac/g"),
            (ask("GET", "/"), "deny rbac/default-deny no_matching_grant"),
        ],
    );
}

#[test]
fn every_key_that_says_to_whom_must_be_satisfied() {
    let text = r#"
        [[rbac.grant]]
        id = "g"
        roles = ["reader", "user"]
        subjects = ["alice", "bob"]
        scopes = ["a", "b"]
    "#;
    let by = |subject, roles: &[&str], scopes: &[&str]| ask("GET", "/").by(subject, roles).scopes(scopes);
    check(
        text,
        &[
            (by("bob", &["user"], &["b", "c", "a"]), "pass rbac/g"),
            (by("bob", &["user"], &["a"]), "deny rbac/default-deny scope_missing"),
            (by("eve", &["user"], &["a", "b"]), "deny rbac/default-deny subject_not_listed"),
            (by("bob", &[], &["a", "b"]), "deny rbac/default-deny role_missing"),
            (by("eve", &[], &["a", "b"]), "deny rbac/default-deny no_matching_grant"),
        ],
    );
}

#[test]
fn the_first_grant_in_policy_order_is_named() {
    check(
        r#"
        [[rbac.grant]]
        id = "z"
        roles = ["admin"]
        path = "/{*rest}"
        [[rbac.grant]]
        id = "a"
        roles = ["anyone"]
        path = "/a/b"
        [[rbac.grant]]
        id = "b"
        roles = ["anyone"]
        path = "/a/{x}"
        "#,
        &[
            (ask("GET", "/a/b").by("x", &["admin"]), "pass rbac/z"),
            (ask("GET", "/a/b"), "pass rbac/a"),
            (ask("GET", "/a/c"), "pass rbac/b"),
        ],
    );
}

#[test]
fn any_matching_deny_beats_every_grant_and_the_first_is_named() {
    check(
        r#"
        [[rbac.grant]]
        id = "all"
        roles = ["anyone"]
        [[rbac.deny]]
        id = "z-writes"
        methods = ["POST"]
        path = "/a/{*rest}"
        [[rbac.deny]]
        id = "a-readers"
        roles = ["reader"]
        except_roles = ["admin"]
        path = "/a/{x}"
        [[rbac.deny]]
        id = "bob"
        subjects = ["bob"]
        [[rbac.deny]]
        id = "risky"
        scopes = ["risky", "odd"]
        "#,
        &[
            (ask("GET", "/a/1"), "pass rbac/all"),
            (ask("POST", "/a/1").by("x", &["reader"]), "deny rbac/z-writes denied_by_rule"),
            (ask("GET", "/a/1").by("x", &["writer"]), "deny rbac/a-readers denied_by_rule"),
            (ask("GET", "/a/1").by("x", &["admin"]), "pass rbac/all"),
            (ask("GET", "/b").by("bob", &[]), "deny rbac/bob denied_by_rule"),
            (ask("GET", "/b").by("x", &[]).scopes(&["odd"]), "deny rbac/risky denied_by_rule"),
            (ask("GET", "/b").by("x", &[]).scopes(&["even"]), "pass rbac/all"),
        ],
    );
}

#[test]
fn each_deny_has_exempt_roles_of_its_own_and_a_grant_has_none() {
    let policy = rules(
        r#"
        [[rbac.grant]]
        id = "g"
        roles = ["anyone"]
        [[rbac.deny]]
        id = "one"
        except_roles = ["admin"]
        [[rbac.deny]]
        id = "two"
        except_roles = ["reader", "user"]
        [[rbac.deny]]
        id = "all"
        path = "/a"
        "#,
    );
    let exempt = |name: &str| {
        let Some(RuleRef::Written(rule)) = policy.rules.by_name(name) else { panic!("{name}") };
        let mut roles: Vec<&str> = policy.rbac.exempt(rule).collect();
        roles.sort_unstable();
        roles.join(" ")
    };
    assert_eq!(["rbac/g", "rbac/one", "rbac/two", "rbac/all"].map(exempt), ["", "admin", "reader user", ""]);
}

#[test]
fn windows_open_and_close_on_the_instant() {
    let text = r#"
        [[rbac.grant]]
        id = "g"
        roles = ["anyone"]
        path = "/grant"
        from = 2026-12-01T00:00:00Z
        until = 2026-12-02T00:00:00Z
        [[rbac.grant]]
        id = "all"
        roles = ["anyone"]
        path = "/deny"
        [[rbac.deny]]
        id = "freeze"
        path = "/deny"
        from = 2026-12-01T00:00:00Z
        until = 2026-12-02T00:00:00Z
    "#;
    let at = |path, time: &str| ask("GET", path).by("a", &[]).at(time);
    check(
        text,
        &[
            (
                at("/grant", "2026-11-30T23:59:59.999Z"),
                "deny rbac/default-deny grant_not_yet_valid until 2026-12-01T00:00:00Z",
            ),
            (at("/grant", "2026-12-01T00:00:00Z"), "pass rbac/g"),
            (at("/grant", "2026-12-01T23:59:59.999Z"), "pass rbac/g"),
            (at("/grant", "2026-12-02T00:00:00Z"), "deny rbac/default-deny grant_expired"),
            (at("/deny", "2026-11-30T23:59:59.999Z"), "pass rbac/all"),
            (
                at("/deny", "2026-12-01T00:00:00Z"),
                "deny rbac/freeze denied_by_rule until 2026-12-02T00:00:00Z",
            ),
            (at("/deny", "2026-12-02T00:00:00Z"), "pass rbac/all"),
        ],
    );
}

#[test]
fn a_deny_that_ends_is_told_as_the_end_of_a_refusal_only_where_a_grant_follows() {
    // A change freeze said "try again after" to callers whom nothing would have allowed then.
    let text = r#"
        [[rbac.grant]]
        id = "g"
        roles = ["reader"]
        path = "/a"
        [[rbac.grant]]
        id = "later"
        roles = ["reader"]
        path = "/later"
        from = 2027-02-01T00:00:00Z
        [[rbac.grant]]
        id = "sooner"
        roles = ["reader"]
        path = "/sooner"
        until = 2026-12-15T00:00:00Z
        [[rbac.deny]]
        id = "freeze"
        path = "/{*rest}"
        until = 2027-01-01T00:00:00Z
        [[rbac.deny]]
        id = "longer"
        path = "/a"
        methods = ["PUT"]
        until = 2027-03-01T00:00:00Z
        [[rbac.deny]]
        id = "for-good"
        path = "/a"
        methods = ["POST"]
    "#;
    let by = |method, path, roles: &[&str]| ask(method, path).by("a", roles).at("2026-12-01T00:00:00Z");
    check(
        text,
        &[
            (by("GET", "/a", &["reader"]), "deny rbac/freeze denied_by_rule until 2027-01-01T00:00:00Z"),
            (by("GET", "/a", &[]), "deny rbac/freeze denied_by_rule"),
            (by("GET", "/b", &["reader"]), "deny rbac/freeze denied_by_rule"),
            (by("GET", "/later", &["reader"]), "deny rbac/freeze denied_by_rule"),
            (by("GET", "/sooner", &["reader"]), "deny rbac/freeze denied_by_rule"),
            // The deny that goes on longer counts, and one without end.
            (by("PUT", "/a", &["reader"]), "deny rbac/freeze denied_by_rule until 2027-03-01T00:00:00Z"),
            (by("POST", "/a", &["reader"]), "deny rbac/freeze denied_by_rule"),
        ],
    );
}

#[test]
fn a_condition_in_doubt_is_unmet_in_a_grant_and_met_in_a_deny() {
    let text = r#"
        [[rbac.grant]]
        id = "own"
        roles = ["anyone"]
        path = "/users/{id}"
        when = "claims.sub == path.id"
        [[rbac.grant]]
        id = "not-blue"
        roles = ["anyone"]
        path = "/not"
        when = "not header.x-tenant == 'blue'"
        [[rbac.grant]]
        id = "open"
        roles = ["anyone"]
        path = "/open"
        [[rbac.deny]]
        id = "red"
        path = "/open"
        when = "header.x-tenant == 'red'"
        [[rbac.deny]]
        id = "not-green"
        path = "/open"
        when = "not query.c == 'green'"
    "#;
    let alice = || ask("GET", "/users/alice").claims(json!({ "sub": "alice" }));
    let open = |query: &str| ask("GET", &format!("/open{query}"));
    check(
        text,
        &[
            (alice(), "pass rbac/own"),
            (alice().claims(json!({ "sub": "bob" })), "deny rbac/default-deny condition_unmet"),
            (alice().claims(json!({ "sub": 7 })), "deny rbac/default-deny condition_unmet"),
            (alice().claims(json!({})), "deny rbac/default-deny condition_unmet"),
            (ask("GET", "/users/alice"), "deny rbac/default-deny condition_unmet"),
            (ask("GET", "/not").header("x-tenant", "red"), "pass rbac/not-blue"),
            (ask("GET", "/not"), "deny rbac/default-deny condition_unmet"),
            (
                ask("GET", "/not").header("x-tenant", "red").header("x-tenant", "red"),
                "deny rbac/default-deny condition_unmet",
            ),
            (open("?c=green").header("x-tenant", "blue"), "pass rbac/open"),
            (open("?c=green").header("x-tenant", "red"), "deny rbac/red denied_by_rule"),
            (open("?c=green"), "deny rbac/red condition_error"),
            (open("").header("x-tenant", "blue"), "deny rbac/not-green condition_error"),
            (open("?c=green&c=green").header("x-tenant", "blue"), "deny rbac/not-green condition_error"),
            (open("?c=%zz").header("x-tenant", "blue"), "deny rbac/not-green condition_error"),
            (open("?c=red").header("x-tenant", "blue"), "deny rbac/not-green denied_by_rule"),
        ],
    );
}

#[test]
fn a_deny_that_is_met_under_one_pattern_and_in_doubt_under_another_is_met() {
    check(
        r#"
        [[rbac.deny]]
        id = "d"
        paths = ["/{id}/x", "/x/{id}"]
        when = "path.id == 'a' or path.id == 'x' and claims.none == 'z'"
        "#,
        &[
            (ask("GET", "/a/x"), "deny rbac/d denied_by_rule"),
            (ask("GET", "/x/x"), "deny rbac/d condition_error"),
        ],
    );
}

#[test]
fn a_deny_in_shadow_is_recorded_once_in_policy_order_and_refuses_nobody() {
    check(
        r#"
        [[rbac.grant]]
        id = "all"
        roles = ["anyone"]
        [[rbac.deny]]
        id = "z"
        mode = "shadow"
        shadow_until = 2026-12-01T00:00:00Z
        paths = ["/{x}", "/a", "/{*rest}"]
        [[rbac.deny]]
        id = "a"
        mode = "shadow"
        shadow_until = 2027-01-01T00:00:00Z
        when = "claims.x == 1"
        [[rbac.deny]]
        id = "off"
        mode = "off"
        [[rbac.deny]]
        id = "posts"
        methods = ["POST"]
        "#,
        &[
            (ask("GET", "/a"), "pass rbac/all; shadow rbac/z denied_by_rule; shadow rbac/a condition_error"),
            (
                ask("POST", "/a"),
                "deny rbac/posts denied_by_rule; shadow rbac/z denied_by_rule; shadow rbac/a condition_error",
            ),
            (
                ask("GET", "/a").claims(json!({ "x": 2 })).at("2026-12-01T00:00:00Z"),
                "deny rbac/z denied_by_rule",
            ),
        ],
    );
}

#[test]
fn nobody_is_told_to_log_in_only_where_that_can_be_done() {
    let policy = rules(
        "[[rbac.grant]]\nid = \"g\"\nroles = [\"reader\"]\n[[rbac.grant]]\nid = \"h\"\nroles = [\"anyone\"]\nuntil = 2026-01-01T00:00:00Z",
    );
    let said = |ask: Ask, can_identify| {
        ask.with(&policy, |facts| match policy.rbac.check(facts, can_identify, &mut Notes::default(), None) {
            Verdict::Deny(denial) => (denial.reason, denial.status()),
            Verdict::Pass(_) | Verdict::Answer(_) => panic!("nothing allows this"),
        })
    };
    assert_eq!(said(ask("GET", "/"), true), (Reason::CredentialsMissing, 401));
    // The two grants lack different things.
    assert_eq!(said(ask("GET", "/"), false), (Reason::NoMatchingGrant, 403));
    assert_eq!(said(ask("GET", "/").by("a", &[]), true), (Reason::NoMatchingGrant, 403));
}

#[test]
fn the_reason_of_a_default_deny_is_the_one_thing_that_the_nearest_grants_lack() {
    let grant = |id: &str, keys: &str| format!("[[rbac.grant]]\nid = \"{id}\"\n{keys}\n");
    let reason = |grants: &[(&str, &str)], ask: Ask| {
        let text: String = grants.iter().map(|(id, keys)| grant(id, keys)).collect();
        ask.verdict(&rules(&text), Stage::Rbac).rsplit(' ').next().unwrap_or("").to_owned()
    };
    let (role, other) = (("a", "roles = [\"writer\"]"), ("b", "roles = [\"user\"]"));
    let scope = ("c", "scopes = [\"s\"]");
    let both = ("d", "roles = [\"admin\"]\nscopes = [\"s\"]");
    let by = || ask("GET", "/").by("x", &["reader"]);
    assert_eq!(reason(&[role], by()), "role_missing");
    assert_eq!(reason(&[role, other], by()), "role_missing");
    assert_eq!(reason(&[role, both], by()), "role_missing");
    assert_eq!(reason(&[scope, both], by()), "scope_missing");
    assert_eq!(reason(&[role, scope], by()), "no_matching_grant");
    assert_eq!(reason(&[both], by()), "no_matching_grant");
    // A grant that was meant for who asks says more than one that was meant for another.
    let ended = ("x", "subjects = [\"x\"]\nuntil = 2026-01-01T00:00:00Z");
    let foreign = ("y", "subjects = [\"y\"]");
    assert_eq!(reason(&[ended, foreign], by()), "grant_expired");
    assert_eq!(reason(&[foreign, role, ended], by()), "grant_expired");
    assert_eq!(reason(&[foreign, role], by()), "no_matching_grant");
    let scoped = ("z", "subjects = [\"x\"]\nscopes = [\"s\"]");
    assert_eq!(reason(&[ended, foreign, scoped], by()), "no_matching_grant");
    let policy = rules(&[foreign, ended].map(|(id, keys)| grant(id, keys)).concat());
    let nearest = by().with(&policy, |facts| policy.rbac.nearest(facts));
    let names: Vec<&str> = nearest.iter().map(|near| &*policy.rules.get(near.rule).name).collect();
    assert_eq!(names, ["rbac/x", "rbac/y"]);
    assert_eq!(reason(&[("e", "roles = [\"writer\"]\nmethods = [\"PUT\"]")], by()), "no_matching_grant");
    assert_eq!(reason(&[("f", "roles = [\"writer\"]\npath = \"/x\"")], by()), "no_matching_grant");
}

#[test]
fn the_nearest_grants_are_listed_with_what_they_need_and_the_caller_has() {
    let policy = rules(
        r#"
        [[rbac.grant]]
        id = "two"
        roles = ["admin"]
        scopes = ["s", "t"]
        [[rbac.grant]]
        id = "late"
        roles = ["anyone"]
        until = 2026-01-01T00:00:00Z
        [[rbac.grant]]
        id = "one"
        roles = ["admin", "user"]
        [[rbac.grant]]
        id = "met"
        roles = ["reader"]
        [[rbac.deny]]
        id = "no"
        "#,
    );
    let shown = ask("GET", "/").by("x", &["writer"]).scopes(&["s"]).with(&policy, |facts| {
        let who = facts.identity.who().map(|who| &**who);
        let show = |near: &Nearest| {
            let unmet = near.unmet.iter().map(|unmet| {
                let (needs, have) = (unmet.needs(&policy.roles), unmet.have(who, &policy.roles));
                format!(" {} {needs:?} {have:?}", unmet.name())
            });
            format!("{}:{}", policy.rules.name(near.rule.into()), unmet.collect::<String>())
        };
        policy.rbac.nearest(facts).iter().map(show).collect::<Vec<_>>()
    });
    assert_eq!(
        shown,
        [
            r#"rbac/late: expired ["2026-01-01T00:00:00Z"] []"#,
            r#"rbac/one: roles ["user", "admin"] ["reader", "writer"]"#,
            r#"rbac/two: roles ["admin"] ["reader", "writer"] scopes ["s", "t"] ["s"]"#,
        ]
    );
}

#[test]
fn no_more_than_sixteen_grants_are_looked_at_and_the_more_specific_first() {
    let mut text = String::new();
    for number in 0..40 {
        text.push_str(&format!(
            "[[rbac.grant]]\nid = \"g{number}\"\nroles = [\"admin\"]\npath = \"/{{*rest}}\"\n"
        ));
    }
    text.push_str("[[rbac.grant]]\nid = \"near\"\nroles = [\"writer\"]\npath = \"/a/b\"\n");
    let policy = rules(&text);
    ask("GET", "/a/b").with(&policy, |facts| {
        let near = policy.rbac.nearest(facts);
        assert_eq!(near.len(), 16);
        assert!(near.iter().any(|near| policy.rules.name(near.rule.into()) == "rbac/near"));
    });
}

#[test]
fn a_trace_shows_every_rule_that_was_reached_and_why() {
    let policy = rules(
        r#"
        [[rbac.grant]]
        id = "role"
        roles = ["admin", "reader"]
        path = "/a/{id}"
        [[rbac.grant]]
        id = "also"
        roles = ["anyone"]
        path = "/a/{*rest}"
        when = "claims.sub == 'alice'"
        [[rbac.grant]]
        id = "lacks"
        roles = ["admin", "user"]
        scopes = ["s"]
        subjects = ["carol"]
        path = "/a/{id}"
        [[rbac.grant]]
        id = "put"
        roles = ["anyone"]
        methods = ["PUT", "PROPFIND"]
        [[rbac.grant]]
        id = "elsewhere"
        roles = ["anyone"]
        path = "/b"
        [[rbac.deny]]
        id = "exempt"
        except_roles = ["reader"]
        [[rbac.deny]]
        id = "window"
        until = 2026-01-01T00:00:00Z
        [[rbac.deny]]
        id = "unmet"
        when = "claims.sub == 'bob'"
        [[rbac.deny]]
        id = "trial"
        mode = "shadow"
        when = "claims.none == 'x'"
        "#,
    );
    let alice = ask("GET", "/a/1").by("alice", &["reader"]).claims(json!({ "sub": "alice" }));
    let (verdict, steps) = alice.traced(&policy, Stage::Rbac);
    assert_eq!(verdict, "pass rbac/role; shadow rbac/trial condition_error");
    assert_eq!(
        steps,
        [
            "rbac/role pass: for the role reader",
            "rbac/also alsomatched: for the role anyone; `claims.sub == 'alice'`: claims.sub is \"alice\"",
            "rbac/lacks unmet: the role user or admin is missing; the scope s is missing; it is about other subjects",
            "rbac/put unmet: it is about PUT, PROPFIND",
            "rbac/exempt unmet: the role reader is exempt",
            "rbac/window unmet: it ended at 2026-01-01T00:00:00Z",
            "rbac/unmet unmet: `claims.sub == 'bob'`: claims.sub is \"alice\"",
            "rbac/trial shadow condition_error: for everybody; `claims.none == 'x'`: claims.none is absent",
        ]
    );
    let (_, steps) = ask("GET", "/a/1").by("alice", &[]).traced(&policy, Stage::Rbac);
    assert!(
        steps
            .contains(&"rbac/exempt deny denied_by_rule: for everybody who lacks the role reader".to_owned()),
        "{steps:#?}"
    );
    let (_, steps) = ask("GET", "/b").by("x", &["reader"]).traced(&rules(""), Stage::Rbac);
    assert_eq!(steps, ["rbac/default-deny deny no_matching_grant: no grant allows this"]);
}

#[test]
fn a_trace_of_very_many_rules_is_cut_and_keeps_the_deciding_one() {
    let mut text = String::new();
    for number in 0..300 {
        text.push_str(&format!("[[rbac.grant]]\nid = \"g{number}\"\nroles = [\"admin\"]\n"));
    }
    text.push_str("[[rbac.grant]]\nid = \"last\"\nroles = [\"anyone\"]\n");
    let (verdict, steps) = ask("GET", "/").traced(&rules(&text), Stage::Rbac);
    assert_eq!((&*verdict, steps.len()), ("pass rbac/last", 102));
    assert!(steps.iter().any(|step| step.starts_with("rbac/last pass")));
    assert!(steps.iter().any(|step| step.contains("200 more rules")));
}

#[test]
fn what_is_no_grant_or_deny_says_why() {
    let found = |text: &str| {
        let found =
            problems(&format!("{ROLES}{text}")).into_iter().filter(|(code, ..)| *code != Code::UnusedName);
        found.collect::<Vec<_>>()
    };
    let one = |text: &str| {
        let mut found = found(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        found.swap_remove(0)
    };
    let (code, _, message) = one("[[rbac.grant]]\nid = \"g\"\npath = \"/\"");
    assert_eq!(
        (code, &*message),
        (Code::MissingKey, "[[rbac.grant]] does not say to whom: it lacks `roles`, `subjects` or `scopes`")
    );
    for key in ["roles", "subjects", "scopes"] {
        assert_eq!(one(&format!("[[rbac.grant]]\nid = \"g\"\n{key} = []")).0, Code::BadValue, "{key}");
        assert_eq!(one(&format!("[[rbac.deny]]\nid = \"g\"\n{key} = []")).0, Code::BadValue, "{key}");
    }
    assert_eq!(one("[[rbac.deny]]\nid = \"g\"\nexcept_roles = []").0, Code::BadValue);
    assert_eq!(one("[[rbac.deny]]\nid = \"g\"\nexcept_roles = [\"anyone\"]").1, "\"anyone\"");
    assert_eq!(one("[[rbac.grant]]\nid = \"g\"\nroles = [\"reeder\"]").0, Code::UnknownName);
    assert_eq!(one("[[rbac.grant]]\nid = \"g\"\nscopes = [\"a b\"]").0, Code::BadValue);
    assert_eq!(one("[[rbac.grant]]\nid = \"g\"\nsubjects = [\"\"]").0, Code::BadValue);
    assert_eq!(
        one("[[rbac.grant]]\nid = \"g\"\nroles = [\"user\"]\nuntil = 2026-11-24T12:00:00Z").0,
        Code::NeverValid
    );
    assert_eq!(
        one("[[rbac.deny]]\nid = \"g\"\nfrom = 2027-01-01T00:00:00Z\nuntil = 2027-01-01T00:00:00Z").0,
        Code::NeverValid
    );
    let (code, at, _) = one(
        "[[rbac.grant]]\nid = \"g\"\nroles = [\"user\"]\npath = \"/{id}\"\nwhen = \"claims.sub == path.ip\"",
    );
    assert_eq!((code, &*at), (Code::BadValue, "path.ip"));
    assert_eq!(
        one("[[rbac.grant]]\nid = \"g\"\nroles = [\"user\"]\n[[rbac.deny]]\nid = \"g\"").0,
        Code::DuplicateId
    );
    assert_eq!(one("[[rbac.deny]]\nid = \"default-deny\"").0, Code::ReservedId);
}

#[test]
fn extension_methods_and_condition_facts_are_gathered_from_all_rules() {
    let policy = rules(
        r#"
        [[rbac.grant]]
        id = "dav"
        roles = ["user"]
        methods = ["REPORT", "GET", "PROPFIND"]
        when = "claims.b == 1 and has header.authorization"
        [[rbac.deny]]
        id = "d"
        methods = ["MKCOL", "PROPFIND"]
        when = "query.a == 'x' or claims.b == 2 or now < '2027-01-01T00:00:00Z' or header.x-a == 'y'"
        "#,
    );
    let methods = policy.rbac.extension_methods();
    assert_eq!(methods.iter().map(http::Method::as_str).collect::<Vec<_>>(), ["PROPFIND", "REPORT"]);
    let facts: Vec<String> = policy.rbac.condition_facts().iter().map(Fact::to_string).collect();
    assert_eq!(facts, ["claims.b", "header.x-a", "query.a"]);
}

/// A rule of the property test.
#[derive(Clone, Debug)]
struct Spec {
    deny: bool,
    paths: Vec<&'static str>,
    methods: Vec<&'static str>,
    roles: Vec<u32>,
    except: Vec<u32>,
    subjects: Vec<&'static str>,
    scopes: Vec<&'static str>,
    when: Option<&'static str>,
}

/// More roles than fit a word, each inheriting the next but one in tens.
const MANY_ROLES: u32 = 150;

fn specs() -> impl Strategy<Value = Spec> {
    let paths = prop::sample::select(vec!["/a", "/{x}", "/a/{y}", "/{*rest}", "/a/{*rest}"]);
    let methods = prop::sample::select(vec!["GET", "POST", "PROPFIND"]);
    let when = prop::sample::select(vec!["header.t == 'x'", "not header.t == 'x'", "has header.t"]);
    (
        prop::bool::weighted(0.2),
        prop::collection::vec(paths, 0..3),
        prop::collection::vec(methods, 0..2),
        prop::collection::vec(0..MANY_ROLES, 0..4),
        prop::collection::vec(0..MANY_ROLES, 0..2),
        prop::collection::vec(prop::sample::select(vec!["alice", "bob", "carol"]), 0..2),
        prop::collection::vec(prop::sample::select(vec!["s", "t"]), 0..2),
        prop::option::weighted(0.2, when),
    )
        .prop_map(|(deny, paths, methods, roles, except, subjects, scopes, when)| Spec {
            deny,
            paths,
            methods,
            // A grant says to whom.
            roles: if !deny && roles.is_empty() && subjects.is_empty() && scopes.is_empty() {
                vec![0]
            } else {
                roles
            },
            except: if deny { except } else { Vec::new() },
            subjects,
            scopes,
            when,
        })
}

fn text(specs: &[Spec]) -> String {
    let mut text = String::new();
    for role in 0..MANY_ROLES {
        text.push_str(&format!("[rbac.role.r{role}]\n"));
        if role % 10 < 8 {
            text.push_str(&format!("inherits = [\"r{}\"]\n", role + 2));
        }
    }
    for (number, spec) in specs.iter().enumerate() {
        text.push_str(&format!(
            "[[rbac.{}]]\nid = \"r{number}\"\n",
            if spec.deny { "deny" } else { "grant" }
        ));
        let list = |items: &[&str]| format!("{items:?}\n");
        let roles = |roles: &[u32]| {
            format!("{:?}\n", roles.iter().map(|role| format!("r{role}")).collect::<Vec<_>>())
        };
        for (key, value) in [
            ("paths", (!spec.paths.is_empty()).then(|| list(&spec.paths))),
            ("methods", (!spec.methods.is_empty()).then(|| list(&spec.methods))),
            ("roles", (!spec.roles.is_empty()).then(|| roles(&spec.roles))),
            ("except_roles", (!spec.except.is_empty()).then(|| roles(&spec.except))),
            ("subjects", (!spec.subjects.is_empty()).then(|| list(&spec.subjects))),
            ("scopes", (!spec.scopes.is_empty()).then(|| list(&spec.scopes))),
            ("when", spec.when.map(|when| format!("\"{when}\"\n"))),
        ] {
            if let Some(value) = value {
                text.push_str(&format!("{key} = {value}"));
            }
        }
    }
    text
}

/// Somebody who asks for something, in the property test.
#[derive(Clone, Debug)]
struct Asking {
    method: &'static str,
    path: &'static str,
    tenant: Option<&'static str>,
    who: Option<(&'static str, Vec<u32>, Vec<&'static str>)>,
}

fn asking() -> impl Strategy<Value = Asking> {
    let who = (
        prop::sample::select(vec!["alice", "bob", "dave"]),
        prop::collection::vec(0..MANY_ROLES, 0..5),
        prop::collection::vec(prop::sample::select(vec!["s", "t"]), 0..3),
    );
    (
        prop::sample::select(vec!["GET", "POST", "PROPFIND", "REPORT"]),
        prop::sample::select(vec!["/", "/a", "/b", "/a/b", "/a/b/c"]),
        prop::option::of(prop::sample::select(vec!["x", "y"])),
        prop::option::weighted(0.8, who),
    )
        .prop_map(|(method, path, tenant, who)| Asking { method, path, tenant, who })
}

impl Asking {
    fn ask(&self) -> Ask {
        let mut ask = ask(self.method, self.path);
        if let Some(tenant) = self.tenant {
            ask = ask.header("t", tenant);
        }
        let Some((subject, roles, scopes)) = &self.who else { return ask };
        let roles: Vec<String> = roles.iter().map(|role| format!("r{role}")).collect();
        ask.by(subject, &roles.iter().map(String::as_str).collect::<Vec<_>>()).scopes(scopes)
    }

    fn has_role(&self, role: u32) -> bool {
        let roles = self.who.iter().flat_map(|(_, roles, _)| roles);
        // Role 12 inherits 14, 16, 18; 18 and 19 inherit nothing.
        roles.into_iter().any(|held| held / 10 == role / 10 && held % 2 == role % 2 && *held <= role)
    }

    fn matches(&self, spec: &Spec) -> bool {
        let segments = || self.path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let covers = |path: &&str| {
            crate::policy::scope::PathPattern::parse(path).unwrap().matches(segments().into_iter())
        };
        let scopes = self.who.as_ref().map(|(_, _, scopes)| &scopes[..]).unwrap_or_default();
        let mut needed = spec.scopes.iter();
        let condition = match (spec.when, self.tenant) {
            (None, _) => true,
            (Some("has header.t"), tenant) => tenant.is_some(),
            (Some(_), None) => spec.deny,
            (Some(when), Some(tenant)) => (tenant == "x") != when.starts_with("not"),
        };
        (spec.paths.is_empty() || spec.paths.iter().any(covers))
            && (spec.methods.is_empty() || spec.methods.contains(&self.method))
            && (spec.roles.is_empty() || spec.roles.iter().any(|role| self.has_role(*role)))
            && !spec.except.iter().any(|role| self.has_role(*role))
            && (spec.subjects.is_empty()
                || self.who.as_ref().is_some_and(|(who, ..)| spec.subjects.contains(who)))
            && match spec.deny {
                _ if spec.scopes.is_empty() => true,
                true => needed.any(|scope| scopes.contains(scope)),
                false => needed.all(|scope| scopes.contains(scope)),
            }
            && condition
    }

    /// The plain reading: every rule, one after the other.
    fn naive(&self, specs: &[Spec]) -> String {
        let first = |deny: bool| specs.iter().position(|spec| spec.deny == deny && self.matches(spec));
        match (first(true), first(false)) {
            (Some(deny), _) => format!("deny rbac/r{deny}"),
            (None, Some(grant)) => format!("pass rbac/r{grant}"),
            (None, None) => "deny rbac/default-deny".to_owned(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_verdict_is_that_of_reading_every_rule(
        specs in prop::collection::vec(specs(), 0..120),
        asking in prop::collection::vec(asking(), 1..40),
    ) {
        let policy = policy(&text(&specs));
        for asking in asking {
            let said = asking.ask().verdict(&policy, Stage::Rbac);
            let rule = said.split(' ').take(2).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(rule, asking.naive(&specs), "{:?}", asking);
            let granted = specs.iter().any(|spec| !spec.deny && asking.matches(spec));
            let said = asking.ask().with(&policy, |facts| policy.rbac.is_granted(facts));
            prop_assert_eq!(said, granted, "whatever denies say: {:?}", asking);
        }
    }
}
