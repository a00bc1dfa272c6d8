//! What each lint says, and that it says nothing where there is nothing to be said.

mod brute;
mod lookalike;
mod routes;
mod waf;

use super::page;
use crate::config::compile;
use crate::policy::code::{Code, Severity};
use crate::policy::diagnostic::Diagnostic;
use crate::policy::source::Sources;

/// When the policies of these tests are checked.
const NOW: &str = "2026-11-24T12:00:00Z";

const BASE: &str = "version = 1\n[upstream.app]\nservers = [\"http://127.0.0.1:9001\"]\n\
                    [[route]]\nid = \"app\"\npath = \"/{*rest}\"\nupstream = \"app\"\n";

/// Findings: code and what it is about.
type Wanted = &'static [(Code, &'static str)];

/// The findings of a policy, whole.
fn diagnostics(text: &str) -> Vec<Diagnostic> {
    let server = if text.contains("[server]") { "" } else { "[server]\nlisten = [\"127.0.0.1:8080\"]\n" };
    let outcome = compile(Sources::single("p.toml", format!("{BASE}{server}{text}")), NOW.parse().unwrap());
    assert!(outcome.setup.is_some(), "{text}\n{:#?}", outcome.diagnostics);
    outcome.diagnostics
}

fn findings(text: &str) -> Vec<(Code, String)> {
    diagnostics(text).into_iter().map(|found| (found.code, found.about.unwrap_or_default())).collect()
}

#[track_caller]
fn check(text: &str, want: &[(Code, &str)]) {
    let found = findings(text);
    let found: Vec<(Code, &str)> = found.iter().map(|(code, about)| (*code, about.as_str())).collect();
    assert_eq!(found, want, "{text}");
}

#[test]
fn every_lint_has_a_page_and_fires_on_its_example() {
    for code in Code::ALL.iter().filter(|code| code.info().severity < Severity::Error) {
        let page = page(*code).unwrap_or_else(|| panic!("{code:?} has no page"));
        assert!(!page.why.is_empty() && !page.mend.is_empty());
        assert!(page.example.lines().all(|line| line.chars().count() <= 76), "{code:?}");
        // What these are about stands in files that the loader reads.
        if ![Code::ExpiredCertificate, Code::SeclangIgnored].contains(code) {
            let found = findings(page.example);
            assert!(found.iter().any(|(found, _)| found == code), "{code:?}: {found:?}");
        }
    }
}

#[test]
fn a_when_that_never_holds_is_told() {
    let grant = |when: &str| {
        format!("[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\npath = \"/a\"\nwhen = \"{when}\"\n")
    };
    let deny = |when: &str, more: &str| {
        let rest = "[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\npath = \"/a\"\n";
        format!("{rest}[[rbac.deny]]\nid = \"d\"\npath = \"/a/{{*rest}}\"\nwhen = \"{when}\"\n{more}")
    };
    let both = "header.x == 'a' and header.x == 'b'";
    check(&grant(both), &[(Code::NeverMatches, "rbac/g")]);
    check(&grant("now < '2026-01-01T00:00:00Z'"), &[(Code::NeverValid, "rbac/g")]);
    check(&grant("header.x == 'a' or header.x == 'b'"), &[]);
    // What is withheld is met in a deny, so this one refuses whoever sends nothing.
    check(&deny(both, ""), &[]);
    check(&deny("method == 'GET' and method == 'PUT'", ""), &[(Code::NeverMatches, "rbac/d")]);
    check(&deny("method == 'GET' and method == 'PUT'", "mode = \"off\"\n"), &[]);
}

#[test]
fn a_deny_that_exempts_all_whom_it_is_about_is_told() {
    let roles = "[[authn.api_key]]\nid = \"k\"\nheader = \"x-api-key\"\nhash = \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n\
                 roles = [\"reader\", \"admin\"]\n[rbac.role.reader]\n[rbac.role.admin]\ninherits = [\"reader\"]\n\
                 [[rbac.grant]]\nid = \"g\"\nroles = [\"reader\", \"admin\"]\npath = \"/a/{*rest}\"\n";
    for (who, told) in [
        ("roles = [\"admin\"]\nexcept_roles = [\"reader\"]", true),
        ("roles = [\"admin\", \"reader\"]\nexcept_roles = [\"reader\"]", true),
        ("roles = [\"admin\"]\nexcept_roles = [\"authenticated\"]", true),
        ("subjects = [\"k\"]\nexcept_roles = [\"authenticated\"]", true),
        ("roles = [\"reader\"]\nexcept_roles = [\"admin\"]", false),
        ("roles = [\"admin\", \"reader\"]\nexcept_roles = [\"admin\"]", false),
        ("roles = [\"anyone\"]\nexcept_roles = [\"authenticated\"]", false),
        ("except_roles = [\"reader\"]", false),
    ] {
        let found = findings(&format!("{roles}[[rbac.deny]]\nid = \"d\"\npath = \"/a/b\"\n{who}\n"));
        let found = found.contains(&(Code::NeverMatches, "rbac/d".to_owned()));
        assert_eq!(found, told, "{who}");
    }
}

#[test]
fn a_grant_is_redundant_where_others_allow_all_of_it() {
    use Code::RedundantGrant as Redundant;
    let roles = "[[authn.api_key]]\nid = \"k\"\nheader = \"x-api-key\"\nhash = \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n\
                 roles = [\"reader\", \"admin\"]\n[rbac.role.reader]\n[rbac.role.admin]\ninherits = [\"reader\"]\n";
    let two = |one: &str, other: &str| {
        format!(
            "{roles}[[rbac.grant]]\nid = \"one\"\n{one}\n[[rbac.grant]]\nid = \"two\"\n{other}\n[[rbac.grant]]\nid = \"rest\"\nroles = [\"admin\"]\nmethods = [\"PATCH\"]\n"
        )
    };
    let none: Wanted = &[];
    let (first, second): (Wanted, Wanted) = (&[(Redundant, "rbac/one")], &[(Redundant, "rbac/two")]);
    for (one, other, want) in [
        // Of two that say the same the later one is too many, of others the narrower one.
        ("roles = [\"reader\"]\npath = \"/a\"", "roles = [\"reader\"]\npath = \"/a/\"", second),
        ("roles = [\"reader\"]\npath = \"/a/b\"", "roles = [\"reader\"]\npath = \"/a/{*rest}\"", first),
        ("roles = [\"reader\"]\npath = \"/a/{x}\"", "roles = [\"reader\"]\npath = \"/a/b\"", second),
        (
            "roles = [\"reader\"]\npath = \"/a\"\nmethods = [\"GET\"]",
            "roles = [\"reader\"]\npath = \"/a\"",
            first,
        ),
        (
            "roles = [\"reader\"]\npath = \"/a\"\nmethods = [\"GET\"]",
            "roles = [\"reader\"]\npath = \"/a\"\nmethods = [\"PUT\"]",
            none,
        ),
        // Who inherits a role has what is granted to it, and not the other way round.
        ("roles = [\"admin\"]\npath = \"/a\"", "roles = [\"reader\"]\npath = \"/a\"", first),
        ("roles = [\"authenticated\"]\npath = \"/a\"", "roles = [\"reader\"]\npath = \"/a\"", second),
        ("subjects = [\"k\"]\npath = \"/a\"", "roles = [\"authenticated\"]\npath = \"/a\"", first),
        ("subjects = [\"k\"]\npath = \"/a\"", "roles = [\"reader\"]\npath = \"/a\"", none),
        ("scopes = [\"x\", \"y\"]\npath = \"/a\"", "scopes = [\"x\"]\npath = \"/a\"", first),
        ("scopes = [\"x\"]\npath = \"/a\"", "scopes = [\"y\"]\npath = \"/a\"", none),
        // A condition narrows; the same condition does not narrow further.
        (
            "roles = [\"reader\"]\npath = \"/a\"\nwhen = 'method == \"GET\"'",
            "roles = [\"reader\"]\npath = \"/a\"",
            first,
        ),
        (
            "roles = [\"reader\"]\npath = \"/a\"\nwhen = 'header.x == \"1\"'",
            "roles = [\"reader\"]\npath = \"/a\"\nwhen = 'header.x == \"2\"'",
            none,
        ),
        (
            "roles = [\"reader\"]\npath = \"/a\"\nwhen = 'header.x == \"1\"'",
            "roles = [\"reader\"]\npath = \"/{x}\"\nwhen = 'header.x == \"1\"'",
            first,
        ),
        (
            "roles = [\"reader\"]\npath = \"/{x}/a\"\nwhen = 'path.x == \"1\"'",
            "roles = [\"reader\"]\npath = \"/{y}/{x}\"\nwhen = 'path.x == \"1\"'",
            none,
        ),
        // A grant that ends does not cover one that lasts.
        (
            "roles = [\"reader\"]\npath = \"/a\"",
            "roles = [\"reader\"]\npath = \"/{*rest}\"\nuntil = 2030-01-01T00:00:00Z",
            none,
        ),
        (
            "roles = [\"reader\"]\npath = \"/a\"\nuntil = 2029-01-01T00:00:00Z",
            "roles = [\"reader\"]\npath = \"/{*rest}\"\nuntil = 2030-01-01T00:00:00Z",
            first,
        ),
        (
            "roles = [\"reader\"]\npath = \"/a\"",
            "roles = [\"reader\"]\npath = \"/{*rest}\"\nfrom = 2030-01-01T00:00:00Z",
            none,
        ),
        (
            "roles = [\"reader\"]\npath = \"/a\"\nhost = \"a.test\"",
            "roles = [\"reader\"]\npath = \"/a\"\nhost = \"*.test\"",
            first,
        ),
        (
            "roles = [\"reader\"]\npath = \"/a\"",
            "roles = [\"reader\"]\npath = \"/a\"\nhost = \"*.test\"",
            second,
        ),
    ] {
        check(&two(one, other), want);
    }
    // Several together may cover what none of them does.
    let both = "[[rbac.grant]]\nid = \"three\"\nroles = [\"reader\"]\npaths = [\"/a\", \"/b\"]\n";
    check(
        &(two("roles = [\"reader\"]\npath = \"/a\"", "roles = [\"reader\"]\npath = \"/b\"") + both),
        &[(Redundant, "rbac/three")],
    );
}

#[test]
fn a_deny_is_shadowed_only_by_one_before_it_that_always_forbids_as_much() {
    let two = |one: &str, other: &str| {
        format!(
            "[[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\n[rbac.role.ops]\n[[authn.basic]]\nid = \"b\"\nroles = [\"ops\"]\n\
                 [[authn.basic.user]]\nname = \"a\"\nhash = \"$2y$10$abcdefghijklmnopqrstuuu3/Y9GFcoTQ7nvNyWm0f7ZTKqOyjKcq\"\n\
                 [[rbac.deny]]\nid = \"one\"\n{one}\n[[rbac.deny]]\nid = \"two\"\n{other}\n"
        )
    };
    let (none, second): (Wanted, Wanted) = (&[], &[(Code::ShadowedRule, "rbac/two")]);
    for (one, other, want) in [
        ("path = \"/a/{*rest}\"", "path = \"/a/b\"", second),
        // The narrower first gives its own reason.
        ("path = \"/a/b\"", "path = \"/a/{*rest}\"", none),
        ("path = \"/a\"\nexcept_roles = [\"ops\"]", "path = \"/a\"", none),
        ("path = \"/a\"\nexcept_roles = [\"ops\"]", "path = \"/a\"\nexcept_roles = [\"ops\"]", second),
        ("path = \"/a\"", "path = \"/a\"\nexcept_roles = [\"ops\"]", second),
        ("path = \"/a\"\nroles = [\"ops\"]", "path = \"/a\"", none),
        ("path = \"/a\"\nmode = \"shadow\"\nshadow_until = 2030-01-01T00:00:00Z", "path = \"/a\"", none),
        ("path = \"/a\"", "path = \"/a\"\nmode = \"shadow\"\nshadow_until = 2030-01-01T00:00:00Z", none),
        ("path = \"/a\"\nmode = \"off\"", "path = \"/a\"", none),
        ("path = \"/a\"\nuntil = 2030-01-01T00:00:00Z", "path = \"/a\"", none),
        ("path = \"/a\"\nwhen = 'header.x == \"1\"'", "path = \"/a\"", none),
        ("path = \"/a\"\nscopes = [\"x\", \"y\"]", "path = \"/a\"\nscopes = [\"y\"]", second),
        ("path = \"/a\"\nscopes = [\"x\"]", "path = \"/a\"\nscopes = [\"x\", \"y\"]", none),
    ] {
        check(&two(one, other), want);
    }
}

#[test]
fn an_overbroad_deny_leaves_nothing_of_a_grant_for_good() {
    let both = |grant: &str, deny: &str| {
        format!(
            "[[rbac.grant]]\nid = \"open\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\n[[rbac.grant]]\nid = \"g\"\n{grant}\n[[rbac.deny]]\nid = \"d\"\n{deny}\n"
        )
    };
    let (none, some): (Wanted, Wanted) = (&[], &[(Code::OverbroadDeny, "rbac/d")]);
    for (grant, deny, want) in [
        ("roles = [\"anyone\"]\nmethods = [\"PUT\"]\npath = \"/a/b\"", "path = \"/a/{*rest}\"", some),
        ("roles = [\"anyone\"]\nmethods = [\"PUT\"]\npath = \"/a/b\"", "methods = [\"PUT\"]", some),
        ("roles = [\"anyone\"]\nmethods = [\"PUT\"]\npath = \"/{*rest}\"", "path = \"/a/{*rest}\"", none),
        // A freeze that ends is what it is for.
        (
            "roles = [\"anyone\"]\nmethods = [\"PUT\"]",
            "methods = [\"PUT\"]\nuntil = 2027-06-01T00:00:00Z",
            none,
        ),
        ("roles = [\"anyone\"]\nmethods = [\"PUT\"]", "methods = [\"PUT\"]\nwhen = 'has header.x'", none),
        (
            "roles = [\"anyone\"]\nmethods = [\"PUT\"]",
            "methods = [\"PUT\"]\nexcept_roles = [\"authenticated\"]",
            none,
        ),
        (
            "roles = [\"anyone\"]\nmethods = [\"PUT\"]",
            "methods = [\"PUT\"]\nroles = [\"authenticated\"]",
            none,
        ),
        (
            "roles = [\"authenticated\"]\nmethods = [\"PUT\"]",
            "methods = [\"PUT\"]\nroles = [\"authenticated\"]",
            some,
        ),
    ] {
        check(&both(grant, deny), want);
    }
}

#[test]
fn allowing_all_is_told_from_allowing_much() {
    let grant = |more: &str| format!("[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\n{more}");
    check(&grant(""), &[(Code::AllowAll, "rbac/g")]);
    check(&grant("path = \"/{*rest}\"\n"), &[(Code::AllowAll, "rbac/g")]);
    for more in [
        "path = \"/{x}\"\n",
        "methods = [\"GET\"]\n",
        "host = \"*.test\"\n",
        "scopes = [\"x\"]\n",
        "when = 'header.x == \"1\"'\n",
    ] {
        assert!(!findings(&grant(more)).iter().any(|(code, _)| *code == Code::AllowAll), "{more}");
    }
}

#[test]
fn the_end_of_a_grant_is_told_in_time() {
    let grant = |until: &str, more: &str| {
        format!(
            "[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\nuntil = {until}\n{more}"
        )
    };
    let soon: Wanted = &[(Code::GrantExpiresSoon, "rbac/g")];
    check(&grant("2026-12-08T11:59:59Z", ""), soon);
    check(&grant("2026-12-08T12:00:01Z", ""), &[]);
    check(&grant("2027-01-01T00:00:00Z", "[lint]\nexpires_within = \"1000h\"\n"), soon);
    check(&grant("2026-12-01T00:00:00Z", "[lint]\nexpires_within = \"24h\"\n"), &[]);
}

#[test]
fn an_open_path_beside_a_protected_one_is_told_if_only_spelling_parts_them() {
    let two = |open: &str, protected: &str| {
        format!(
            "[[rbac.grant]]\nid = \"open\"\nroles = [\"anyone\"]\npath = \"{open}\"\n[[rbac.grant]]\nid = \"closed\"\nroles = [\"authenticated\"]\npath = \"{protected}\"\n[[rbac.grant]]\nid = \"r\"\nroles = [\"authenticated\"]\nmethods = [\"PATCH\"]\n"
        )
    };
    let alike = |open: &str, protected: &str| {
        findings(&two(open, protected)).contains(&(Code::LookalikePath, "rbac/open".to_owned()))
    };
    assert!(
        alike("/Admin", "/admin") && alike("/Admin/help", "/admin/{*rest}") && alike("/admin/", "/admin")
    );
    assert!(alike("/users/{x}/KEY", "/users/{y}/key"));
    assert!(
        !alike("/admins", "/admin")
            && !alike("/admin/help", "/admin/{*rest}")
            && !alike("/{*rest}", "/Admin")
    );
    assert!(!alike("/a/{x}", "/a/{*rest}"));
    // Lists of addresses protect too.
    let ip = "[[rbac.grant]]\nid = \"open\"\nroles = [\"anyone\"]\npaths = [\"/Office\", \"/a\"]\n\
              [[ip.rule]]\nid = \"office\"\npath = \"/office/{*rest}\"\nallow = [\"192.0.2.0/24\"]\n\
              [[rbac.grant]]\nid = \"r\"\nroles = [\"authenticated\"]\nmethods = [\"PATCH\"]\n";
    check(ip, &[(Code::LookalikePath, "rbac/open")]);
    // What is open under both spellings is not protected.
    let open = "[[rbac.grant]]\nid = \"open\"\nroles = [\"anyone\"]\npaths = [\"/A\", \"/a\"]\n\
                [[rbac.grant]]\nid = \"closed\"\nroles = [\"authenticated\"]\npath = \"/a/{*rest}\"\n";
    check(open, &[]);
}

#[test]
fn address_rules_that_never_decide_are_found() {
    let two = |one: &str, other: &str| {
        format!(
            "[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\n[[ip.rule]]\nid = \"one\"\n{one}\n[[ip.rule]]\nid = \"two\"\n{other}\n"
        )
    };
    let (none, second): (Wanted, Wanted) = (&[], &[(Code::ShadowedRule, "ip/two")]);
    for (one, other, want) in [
        ("deny = [\"192.0.2.0/24\"]", "deny = [\"192.0.2.7\"]\npath = \"/a\"", second),
        ("deny = [\"192.0.2.7\"]", "deny = [\"192.0.2.0/24\"]", none),
        ("deny = [\"192.0.2.0/24\"]\nexcept = [\"192.0.2.7\"]", "deny = [\"192.0.2.7\"]", none),
        // The second list was meant to add, and does not.
        (
            "allow = [\"192.0.2.0/24\"]\npath = \"/a/{*rest}\"",
            "allow = [\"192.0.2.0/24\", \"198.51.100.0/24\"]\npath = \"/a/b\"",
            second,
        ),
        ("allow = [\"192.0.2.0/24\"]", "allow = [\"192.0.2.7\"]", none),
        ("allow = [\"192.0.2.0/24\"]", "deny = [\"198.51.100.0/24\"]", second),
        ("allow = [\"192.0.2.0/24\"]\nmode = \"off\"", "deny = [\"198.51.100.0/24\"]", none),
        ("deny = [\"192.0.2.0/24\"]", "allow = [\"0.0.0.0/0\", \"::/0\"]", &[(Code::NeverMatches, "ip/two")]),
        ("deny = [\"192.0.2.0/24\"]", "allow = [\"0.0.0.0/0\"]", none),
    ] {
        check(&two(one, other), want);
    }
}

#[test]
fn lists_that_have_no_address_in_common_let_nobody_through() {
    let rules = |rules: &[&str]| {
        let grant = "[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\n";
        let rules = rules.iter().zip(["one", "two", "three"]);
        rules.fold(grant.to_owned(), |text, (rule, id)| {
            text + &format!("[[ip.rule]]\nid = \"{id}\"\n{rule}\n")
        })
    };
    let office = "allow = [\"192.0.2.0/24\"]";
    let vpn = "allow = [\"198.51.100.0/24\"]";
    let of = |list: &str, more: &str| format!("{list}\n{more}");
    let (none, one, two): (Wanted, Wanted, Wanted) =
        (&[], &[(Code::NobodyPasses, "ip/one")], &[(Code::NobodyPasses, "ip/two")]);
    for (first, second, want) in [
        // The second was meant to add; told once, of the first, where each leaves the other nobody.
        (office.to_owned(), vpn.to_owned(), one),
        (office.to_owned(), of(vpn, "path = \"/a/{*rest}\""), two),
        (of(vpn, "path = \"/a/{*rest}\""), office.to_owned(), one),
        (of(office, "methods = [\"GET\"]"), of(vpn, "methods = [\"GET\", \"POST\"]"), one),
        // The others of its requests may pass.
        (of(office, "path = \"/a/{x}\""), of(vpn, "path = \"/{x}/b\""), none),
        (of(office, "path = \"/a\""), of(vpn, "path = \"/b\""), none),
        // Somebody is in both, or exempt.
        (office.to_owned(), "allow = [\"192.0.2.7\", \"198.51.100.0/24\"]".to_owned(), none),
        (of(office, "except = [\"198.51.100.7\"]"), vpn.to_owned(), none),
        // In shadow or off it refuses nobody, and a deny closes on purpose.
        (of(office, "mode = \"off\""), vpn.to_owned(), none),
        (of(office, "mode = \"shadow\"\nshadow_until = 2030-01-01T00:00:00Z"), vpn.to_owned(), none),
        ("deny = [\"198.51.100.0/24\"]".to_owned(), vpn.to_owned(), none),
    ] {
        check(&rules(&[&first, &second]), want);
    }
    // By two together: each leaves nobody of a part. What is so the other way round was told already.
    let parts = [
        of(vpn, "paths = [\"/a\", \"/b\"]"),
        of(office, "path = \"/a\""),
        of("allow = [\"203.0.113.0/24\"]", "path = \"/b\""),
    ];
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    check(&rules(&parts), one);
    // A list without addresses lets nobody through by itself; the other rule is the one that is in vain.
    let empty = "allow = [\"later\"]";
    let network = "[network]\nlater = { file = \"not-yet.txt\", optional = true }\n";
    let vain: Wanted = &[(Code::ShadowedRule, "ip/two"), (Code::NobodyPasses, "ip/two")];
    check(&(rules(&[empty, vpn]) + network), vain);
}

#[test]
fn of_lists_that_let_nobody_through_all_others_are_named() {
    let rule = |id: &str, list: &str, paths: &str| {
        format!("[[ip.rule]]\nid = \"{id}\"\nallow = [\"{list}\"]\npaths = {paths}\n")
    };
    let message = |others: &[String]| {
        let text = rule("one", "192.0.2.0/24", "[\"/a\", \"/b\"]") + &others.concat();
        let found = diagnostics(&text).into_iter().find(|found| found.code == Code::NobodyPasses);
        found.map(|found| found.message).unwrap_or_default()
    };
    assert_eq!(
        message(&[rule("two", "198.51.100.0/24", "[\"/a\", \"/b\"]")]),
        "`ip/one` lets nobody through: `ip/two` is about all of its requests and has none of its addresses"
    );
    let both = [rule("two", "198.51.100.0/24", "[\"/a\"]"), rule("three", "203.0.113.0/24", "[\"/b\"]")];
    assert_eq!(
        message(&both),
        "`ip/one` lets nobody through: `ip/two` and `ip/three` are about all of its requests and have none of its addresses"
    );
}

#[test]
fn lists_of_thousands_of_addresses_are_compared_all_the_same() {
    let rule = |id: &str, kind: &str, low: u32| {
        let list: Vec<String> =
            (0..6000).map(|at| format!("\"10.{low}.{}.{}\"", at / 100, at % 100 * 2)).collect();
        format!("[[ip.rule]]\nid = \"{id}\"\n{kind} = [{}]\n", list.join(", "))
    };
    let grant = "[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\n";
    let two = |one: String, other: String| format!("{grant}{one}{other}");
    let shadowed: Wanted = &[(Code::ShadowedRule, "ip/two")];
    check(&two(rule("one", "deny", 0), rule("two", "deny", 0)), shadowed);
    let disjoint: Wanted = &[(Code::NobodyPasses, "ip/one")];
    check(&two(rule("one", "allow", 0), rule("two", "allow", 1)), disjoint);
}

#[test]
fn exclusions_are_compared_with_their_rules() {
    let with = |rule: &str, exclude: &str| {
        format!(
            "[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\n[waf]\npacks = [\"core\"]\n[[waf.rule]]\nid = \"x\"\nscore = 5\nmatch = {{ contains = \"x\" }}\n{rule}\n[[waf.exclude]]\nid = \"e\"\n{exclude}\n"
        )
    };
    let (none, useless): (Wanted, Wanted) = (&[], &[(Code::UselessExclusion, "exclude/e")]);
    for (rule, exclude, want) in [
        ("targets = [\"query\"]", "rules = [\"waf/x\"]\ntargets = [\"query:q\"]", none),
        ("targets = [\"query\"]", "rules = [\"waf/x\"]\ntargets = [\"form:q\"]", useless),
        ("targets = [\"query\"]", "rules = [\"waf/x\"]", none),
        ("targets = [\"query\"]\nmode = \"off\"", "rules = [\"waf/x\"]", useless),
        ("targets = [\"query\"]\nparanoia = 2", "rules = [\"waf/x\"]", useless),
        ("targets = [\"query\"]\npath = \"/a\"", "rules = [\"waf/x\"]\npath = \"/b\"", useless),
        ("targets = [\"query\"]", "rules = [\"waf/sqli-tautology\"]\ntargets = [\"query:q\"]", none),
        ("targets = [\"query\"]", "rules = [\"waf/sqli-tautology\"]\ntargets = [\"method\"]", useless),
    ] {
        check(&with(rule, exclude), want);
    }
}

#[test]
fn roles_and_claims_must_come_from_somewhere() {
    let grant = "[rbac.role.a]\n[rbac.role.b]\ninherits = [\"a\"]\n[[rbac.grant]]\nid = \"g\"\nroles = [\"a\"]\n[[rbac.grant]]\nid = \"b\"\nroles = [\"b\"]\nmethods = [\"GET\"]\n";
    let grant = &grant[..grant.rfind("[[rbac.grant]]").unwrap()];
    let key = |roles: &str| {
        format!(
            "[[authn.api_key]]\nid = \"k\"\nheader = \"x-api-key\"\nhash = \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\nroles = [{roles}]\n"
        )
    };
    let without = |found: &[(Code, String)]| {
        found.iter().any(|(code, about)| *code == Code::RoleWithoutSource && about == "role/a")
    };
    assert!(without(&findings(&(key("") + grant))));
    // Without any source the policy is not finished.
    assert!(!without(&findings(grant)));
    assert!(!without(&findings(&(key("\"a\"") + grant))));
    // Whoever has `b` has `a`.
    assert!(!without(&findings(&(key("\"b\"") + grant))));
    let jwt = "[[authn.jwt]]\nid = \"c\"\nissuer = \"https://id.test\"\naudience = [\"a\"]\nalgorithms = [\"RS256\"]\njwks = { url = \"https://id.test/k\" }\n";
    assert!(without(&findings(&format!("{jwt}{grant}"))));
    assert!(!without(&findings(&format!("{jwt}roles = \"roles\"\n{grant}"))));
    assert!(without(&findings(&format!("{jwt}roles = \"roles\"\nroles_allowed = []\n{grant}"))));
    let when = "[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\nwhen = 'claims.uri == \"x\"'\n";
    check(when, &[(Code::UnknownClaim, "rbac/g")]);
    check(&format!("{jwt}{when}"), &[]);
    let mtls = "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = { certificates = [{ cert = \"c\", key = \"k\" }], client_ca = \"ca\" }\n[[authn.mtls]]\nid = \"m\"\nsubject = \"uri\"\n";
    check(&format!("{mtls}{when}"), &[]);
    check(&format!("{mtls}{}", when.replace("claims.uri", "claims.url")), &[(Code::UnknownClaim, "rbac/g")]);
}

#[test]
fn routes_that_grants_pass_by_are_found() {
    let grant = "[[rbac.grant]]\nid = \"g\"\nroles = [\"authenticated\"]\npath = \"/a/{*rest}\"\n";
    let route = |more: &str| format!("[[route]]\nid = \"r\"\nupstream = \"app\"\n{more}\n{grant}");
    check(&route("path = \"/a/b\""), &[]);
    check(&route("path = \"/b\""), &[(Code::UnreachedRoute, "route/r")]);
    check(&route("path = \"/a/b\"\nauthn = \"off\""), &[(Code::UnreachedRoute, "route/r")]);
    check(&route("path = \"/b\"\nhost = \"a.test\"\nredirect = \"https\""), &[]);
}

#[test]
fn what_is_allowed_is_set_aside_and_an_entry_for_nothing_is_told() {
    let grant = "[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\n";
    let allow = |code: &str, more: &str| {
        format!("{grant}[[lint.allow]]\ncode = \"{code}\"\n{more}reason = \"it filters only\"\n")
    };
    check(&allow("allow-all", ""), &[]);
    check(&allow("allow-all", "name = \"rbac/g\"\n"), &[]);
    check(&allow("allow-all", "name = \"rbac/h\"\n"), &[(Code::AllowAll, "rbac/g"), (Code::UnusedAllow, "")]);
    check(&allow("never-valid", ""), &[(Code::AllowAll, "rbac/g"), (Code::UnusedAllow, "")]);
    let outcome = |text: String| {
        compile(
            Sources::single("p.toml", format!("{BASE}[server]\nlisten = [\"127.0.0.1:8080\"]\n{text}")),
            NOW.parse().unwrap(),
        )
    };
    let whole = outcome(allow("allow-all", ""));
    let allowed: Vec<_> =
        whole.allowed.iter().map(|allowed| (allowed.finding.code, allowed.reason.as_str())).collect();
    assert_eq!(allowed, [(Code::AllowAll, "it filters only")]);
    for (text, code) in [
        (allow("alow-all", ""), Code::UnknownName),
        (allow("cycle", ""), Code::BadValue),
        (allow("allow-all", "").replace("it filters only", " "), Code::BadValue),
        (allow("allow-all", "").replace("reason =", "raeson ="), Code::UnknownKey),
    ] {
        let outcome = outcome(text.clone());
        assert!(
            outcome.setup.is_none() && outcome.diagnostics.iter().any(|found| found.code == code),
            "{text}"
        );
    }
}
