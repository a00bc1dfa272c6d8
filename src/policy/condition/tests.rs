//! What conditions come to, what they may not be, and that no value is worth withholding.

use proptest::prelude::*;
use serde_json::json;

use super::parse::{MAX_DEPTH, MAX_LENGTH};
use super::*;
use crate::policy::Policy;
use crate::policy::code::Code;
use crate::policy::diagnostic::{Diagnostic, Diagnostics, FileId};
use crate::policy::fixture::{Ask, NOW, ask, policy, time};
use crate::policy::network::Networks;
use crate::policy::rbac::Roles;
use crate::policy::route::RouteNames;
use crate::policy::rules::Rules;

use Truth::{Error, False, True};

const PATTERN: &str = "/users/{id}/{*rest}";

fn compile(when: &str, patterns: &[&str]) -> Result<Condition, Vec<Diagnostic>> {
    let sources = Sources::single("t.toml", "");
    let mut diagnostics = Diagnostics::default();
    let office = "192.0.2.0/24".parse().unwrap();
    let office = crate::policy::network::NetItem::Net(office);
    let office = vec![At { value: office, place: Place::default() }];
    let raw = vec![(
        At { value: "office".to_owned(), place: Place::default() },
        crate::policy::network::RawNetwork::List(office),
    )];
    let networks = Networks::compile(&raw, &sources, &mut diagnostics);
    let mut cx = Compile {
        sources: &sources,
        now: time(NOW),
        diagnostics: &mut diagnostics,
        rules: Rules::default(),
        networks,
        roles: Roles::default(),
        routes: RouteNames::default(),
    };
    let patterns: Vec<_> = patterns.iter().map(|text| PathPattern::parse(text).unwrap()).collect();
    let place = Place { file: FileId(9), start: 0, end: 0 };
    let condition = Condition::compile(&At { value: when.to_owned(), place }, &patterns, &mut cx);
    match condition {
        Some(condition) if !diagnostics.has_errors() => Ok(condition),
        _ => Err(diagnostics.into_sorted()),
    }
}

fn on(when: &str, ask: &Ask) -> Truth {
    let condition = compile(when, &[PATTERN]).unwrap_or_else(|problems| panic!("{when}: {problems:?}"));
    let positions = condition.positions(Some(&PathPattern::parse(PATTERN).unwrap()));
    ask.with(&empty(), |facts| condition.evaluate(facts, &positions))
}

fn empty() -> Policy {
    policy("")
}

fn check(ask: &Ask, cases: &[(&str, Truth)]) {
    for (when, want) in cases {
        assert_eq!(on(when, ask), *want, "{when}");
    }
}

fn alice() -> Ask {
    ask("GET", "/users/alice/x?page=7&dup=1&dup=1&sp=a+b%20c&bad=%zz")
        .header("x-tenant", "blue")
        .header("x-twice", "a")
        .header("x-twice", "a")
        .header("x-odd", "\u{e9}")
        .claims(json!({
            "sub": "alice", "level": 3, "ratio": 0.5, "admin": true, "nothing": null,
            "groups": ["dev", "ops"], "mixed": ["dev", 1], "holes": ["dev", null], "empty": [],
            "deep": { "er": { "x": "y" } }, "ends": 1_800_000_000, "began": "2026-01-01T00:00:00Z",
        }))
}

#[test]
fn texts_numbers_times_and_truth_values_are_compared() {
    check(
        &alice(),
        &[
            ("claims.sub == path.id", True),
            ("claims.sub != path.id", False),
            ("claims.sub == 'alice'", True),
            ("\"Alice\" == claims.sub", False),
            ("claims.deep.er.x == 'y'", True),
            ("claims.level >= 3", True),
            ("claims.level == 3.0 and claims.level < 3.5 and claims.level > -1", True),
            ("claims.ratio < 1 and claims.ratio == 0.5", True),
            ("claims.admin == true", True),
            ("claims.admin != true", False),
            ("claims.level <= claims.ratio", False),
            ("now < '2026-12-31T00:00:00Z'", True),
            ("now >= '2026-12-31T00:00:00+01:00'", False),
            ("now < claims.ends and claims.began < now", True),
            ("method == 'GET' and host == 'api.test'", True),
            ("header.X-Tenant == 'blue'", True),
            ("header.x-odd == '\u{e9}'", True),
            ("query.page == '7'", True),
            ("query.sp == 'a b c'", True),
            (r#"claims.sub == "a\"\\" or claims.sub == 'it\'s'"#, False),
        ],
    );
}

#[test]
fn in_looks_into_lists_claims_and_networks() {
    check(
        &alice(),
        &[
            ("method in ['GET', 'HEAD']", True),
            ("method in ['PUT',]", False),
            ("claims.sub in ['bob', 'alice']", True),
            ("claims.level in [1, 2.0]", False),
            ("'ops' in claims.groups", True),
            ("path.id in claims.groups", False),
            ("path.id in claims.empty", False),
            ("client.ip in office", True),
            ("client.ip in ['10.0.0.0/8', '2001:db8::/32']", False),
            ("client.ip in ['10.0.0.0/8', 'office']", True),
            ("client.ip in [office]", True),
        ],
    );
    assert_eq!(on("client.ip in ['10.0.0.0/8']", &alice().ip("::ffff:10.1.1.1")), True);
}

#[test]
fn starts_and_ends_are_compared() {
    check(
        &alice(),
        &[
            ("path.id startsWith 'al'", True),
            ("header.x-tenant endsWith 'ue'", True),
            ("claims.sub endsWith path.id", True),
            ("'alice@x' startsWith claims.sub", True),
            ("claims.level startsWith '3'", Error),
        ],
    );
}

#[test]
fn has_asks_for_presence_alone() {
    check(
        &alice(),
        &[
            ("has claims.sub and has claims.deep and has claims.mixed", True),
            ("has claims.nothing or has claims.deep.er.z or has claims.sub.x", False),
            ("has header.x-tenant and has header.x-twice", True),
            ("has header.x-none", False),
            ("has query.dup and has query.bad", True),
            ("not has query.none", True),
        ],
    );
}

#[test]
fn what_is_absent_doubled_or_of_another_type_is_an_error_also_under_not() {
    for broken in [
        "claims.none == 'x'",
        "claims.nothing == 'x'",
        "claims.level == 'x'",
        "claims.sub == 3",
        "claims.sub == true",
        "claims.sub < 3",
        "claims.sub < claims.sub",
        "claims.admin < claims.admin",
        "claims.groups == claims.groups",
        "claims.deep == claims.deep",
        "claims.sub == now",
        "claims.sub in [1, 2]",
        "claims.groups in ['dev']",
        "'dev' in claims.sub",
        "'dev' in claims.mixed",
        "1 in claims.mixed",
        "'dev' in claims.holes",
        "'dev' in claims.none",
        "header.x-none == 'x'",
        "header.x-twice == 'a'",
        "query.none == 'x'",
        "query.dup == '1'",
        "query.bad == '%zz'",
    ] {
        assert_eq!(on(broken, &alice()), Error, "{broken}");
        assert_eq!(on(&format!("not {broken}"), &alice()), Error, "not {broken}");
        assert_eq!(on(&format!("not not ({broken})"), &alice()), Error, "not not {broken}");
    }
    let nobody = ask("GET", "/users/alice/x");
    check(&nobody, &[("claims.sub == path.id", Error), ("has claims.sub", False)]);
}

#[test]
fn an_error_counts_unless_the_outcome_does_not_depend_on_it() {
    let (t, f, e) = ("method == 'GET'", "method == 'PUT'", "claims.none == 'x'");
    for (a, b, and, or) in [
        (t, t, True, True),
        (t, f, False, True),
        (f, f, False, False),
        (t, e, Error, True),
        (f, e, False, Error),
        (e, e, Error, Error),
    ] {
        for (a, b) in [(a, b), (b, a)] {
            check(&alice(), &[(&format!("{a} and {b}"), and), (&format!("{a} or {b}"), or)]);
        }
    }
    check(
        &alice(),
        &[
            ("has claims.none and claims.none == 'x'", False),
            ("has claims.sub and claims.none == 'x'", Error),
        ],
    );
}

#[test]
fn or_binds_less_than_and_and_both_less_than_not() {
    check(
        &alice(),
        &[
            ("method == 'GET' or method == 'GET' and method == 'PUT'", True),
            ("(method == 'GET' or method == 'GET') and method == 'PUT'", False),
            ("not method == 'PUT' and method == 'GET'", True),
            ("not (method == 'PUT' or method == 'GET')", False),
        ],
    );
}

fn problem(when: &str) -> (Code, String, String) {
    let problems = compile(when, &[PATTERN]).err().unwrap_or_else(|| panic!("{when} was accepted"));
    let first = problems.into_iter().next().unwrap();
    (first.code, first.message, first.help.unwrap_or_default())
}

#[test]
fn what_is_no_condition_says_why() {
    for (when, message) in [
        ("", "the condition ends where a value is expected"),
        ("claims.sub", "the condition ends where a comparison is expected"),
        ("claims.sub = 'x'", "`=` has no meaning in a condition"),
        ("claims.sub == 'x' && method == 'GET'", "`&&` has no meaning in a condition"),
        ("claims.sub == 'x", "the text that begins here is not closed with '"),
        ("claims.sub == 'a\\nb'", "`\\` escapes nothing here"),
        (
            "claims.sub == 'x' AND method == 'GET'",
            "`AND` stands where `and`, `or` or the end of the condition is expected",
        ),
        ("(claims.sub == 'x'", "the condition ends where `)` is expected"),
        ("method in ['GET' 'PUT']", "a text stands where `,` or `]` is expected"),
        ("method in [['GET']]", "`[` stands where a single value is expected"),
        ("claim.sub == 'x'", "`claim.sub` is not a fact"),
        ("sub == 'x'", "`sub` is not a fact"),
        ("claims. == 'x'", "`claims.` is not a fact"),
        ("path.nope == 'x'", "the path `/users/{id}/{*rest}` has no `{nope}`"),
        ("path.rest == 'x'", "`{*rest}` stands for any number of segments"),
        ("'x' == 'x'", "both sides are constants, so the request does not matter"),
        ("path.id == 3", "a text is never equal to a number"),
        ("header.x-a < 'b'", "`<` compares numbers and times, and this is a text"),
        ("header.x-a < 3", "a text cannot be compared with a number"),
        ("claims.a < 'b'", "`<` compares numbers and times, and this is a text"),
        ("claims.a < true", "`<` compares numbers and times, and this is true or false"),
        ("now < 'tomorrow'", "`tomorrow` is not a point in time"),
        ("now == path.id", "a time is never equal to a text"),
        ("now startsWith '2026'", "`startsWith` compares texts, and this is a time"),
        ("now in ['2026-01-01T00:00:00Z']", "a time is compared with `<` and `>`"),
        ("host == 'API.test'", "`host` is never `API.test`"),
        ("host in ['api.test:80']", "`host` is never `api.test:80`"),
        ("method != 'get'", "`method` is never `get`"),
        ("method in []", "nothing is in an empty list"),
        ("method in ['GET', 3]", "a number among values of another type"),
        ("claims.a in ['GET', 3]", "a number among values of another type"),
        ("claims.a in [claims.b]", "a list holds constants"),
        ("'x' in ['x']", "both sides are constants, so the request does not matter"),
        ("claims.a in 'x'", "`in` looks into a list or a claim"),
        ("claims.a in header.x", "`in` looks into a list or a claim"),
        ("claims.a == ['x']", "a list stands only behind `in`"),
        ("client.ip == '10.0.0.1'", "`client.ip` is compared with `in` only"),
        ("client.ip in ofice", "there is no network `ofice`"),
        (
            "client.ip in ['10.0.0.1/8']",
            "`10.0.0.1/8` has bits behind its prefix; write the network's first address",
        ),
        ("client.ip in ['Office']", "`Office` is not an address, network or name"),
        ("client.ip in []", "no address is in an empty list"),
        ("has client.ip", "`client.ip` stands only left of `in`"),
        ("has method", "`has` asks for a claim, a header or a query parameter"),
        ("has path.id", "`has` asks for a claim, a header or a query parameter"),
        ("header.x: == 'a'", "`:` has no meaning in a condition"),
        (
            "claims.a == 99999999999999999999999999999999999999999x",
            "`99999999999999999999999999999999999999999x` is not a fact",
        ),
    ] {
        assert_eq!(problem(when).1, message, "{when}");
    }
}

#[test]
fn habits_and_misspellings_are_answered_with_what_to_write() {
    for (when, help) in [
        ("claims.sub = 'x'", "write `==`"),
        ("!has claims.sub", "write `not`"),
        ("claims.sub == 'x' || has claims.y", "write `or`"),
        ("claims.sub startswith 'x'", "did you mean `startsWith`?"),
        ("claims.sub == 'x' AND method == 'GET'", "did you mean `and`?"),
        ("claim.sub == 'x'", "did you mean `claims`?"),
        ("client.ip in ofice", "did you mean `office`?"),
        ("claims.admin", "write `claims.admin == …`, or `has claims.admin` to ask whether it is there"),
    ] {
        assert_eq!(problem(when).2, help, "{when}");
    }
}

#[test]
fn every_pattern_of_the_rule_must_have_the_named_segment() {
    assert!(compile("claims.sub == path.id", &["/a/{id}", "/{x}/b/{id}"]).is_ok());
    assert!(compile("claims.sub == path.id", &["/a/{id}", "/b"]).is_err());
    assert!(compile("claims.sub == path.id", &[]).is_err());
}

#[test]
fn the_same_name_may_stand_at_different_places_of_the_patterns() {
    let condition = compile("claims.sub == path.id", &["/a/{id}", "/{x}/b/{id}"]).unwrap();
    let alice = |uri| ask("GET", uri).claims(json!({ "sub": "alice" }));
    for (pattern, uri, want) in [
        ("/a/{id}", "/a/alice", True),
        ("/{x}/b/{id}", "/alice/b/x", False),
        ("/{x}/b/{id}", "/a/b/alice", True),
    ] {
        let positions = condition.positions(Some(&PathPattern::parse(pattern).unwrap()));
        let truth = alice(uri).with(&empty(), |facts| condition.evaluate(facts, &positions));
        assert_eq!(truth, want, "{pattern} {uri}");
    }
}

#[test]
fn nesting_and_length_are_limited() {
    let nested = |depth: usize| format!("{}method == 'GET'{}", "(".repeat(depth), ")".repeat(depth));
    assert!(compile(&nested(MAX_DEPTH - 1), &[]).is_ok());
    assert!(compile(&nested(MAX_DEPTH), &[]).is_err());
    assert!(compile(&nested(100_000), &[]).is_err());
    assert!(compile(&("not ".repeat(1000) + "method == 'GET'"), &[]).is_err());
    let long = format!("method == '{}'", "X".repeat(MAX_LENGTH));
    assert_eq!(problem(&long).1, "a condition has at most 4096 bytes");
    let wide = vec!["method == 'GET'"; 200].join(" and ");
    assert_eq!(on(&wide, &alice()), True);
}

#[test]
fn problems_point_into_the_text_whatever_its_quotes() {
    let spot = |value: &str, written: &str| {
        let text = format!("when = {written}\n");
        let sources = Sources::single("t.toml", text.as_str());
        let place = Place { file: FileId(0), start: 7, end: 7 + written.len() as u32 };
        let at = places(&At { value: value.to_owned(), place }, &sources)(&(4..6));
        text[at.start as usize..at.end as usize].to_owned()
    };
    assert_eq!(spot("abcdefgh", "\"abcdefgh\""), "ef");
    assert_eq!(spot("abcdefgh", "'abcdefgh'"), "ef");
    assert_eq!(spot("abcdefgh", "\"\"\"abcdefgh\"\"\""), "ef");
    assert_eq!(spot("abcdefgh", "'''\nabcdefgh'''"), "ef");
    assert_eq!(spot("abc\"efgh", "\"abc\\\"efgh\""), "\"abc\\\"efgh\"");
    assert_eq!(spot("abcdefgh", "something else"), "something else");
}

#[test]
fn the_facts_a_condition_looks_at_are_listed_once_and_read_for_the_record() {
    let when = "claims.sub == path.id and (header.x-tenant == 'a' or header.x-tenant == query.page or has claims.groups) and has header.authorization";
    let condition = compile(when, &[PATTERN]).unwrap();
    let names: Vec<String> = condition.facts().iter().map(Fact::to_string).collect();
    assert_eq!(
        names,
        ["claims.sub", "header.x-tenant", "query.page", "claims.groups", "header.authorization"]
    );
    let values = alice().header("authorization", "Bearer secret").with(&empty(), |facts| {
        let text = |fact: &Fact| fact.seen(facts).map(|seen| format!("{seen:?}"));
        condition.facts().iter().map(text).collect::<Vec<_>>()
    });
    let some = |text: &str| Some(text.to_owned());
    let claims = "Claim(Array [String(\"dev\"), String(\"ops\")])";
    let want = ["Claim(String(\"alice\"))", "Text(\"blue\")", "Text(\"7\")", claims].map(some);
    assert_eq!(values, [&want[..], &[None]].concat());
}

#[test]
fn an_explanation_shows_the_values_and_no_credential() {
    let when = "claims.sub == path.id and query.none == 'x' and header.x-twice == 'y' and has header.cookie and client.ip in office";
    let condition = compile(when, &[PATTERN]).unwrap();
    let positions = condition.positions(Some(&PathPattern::parse(PATTERN).unwrap()));
    let text =
        alice().header("cookie", "secret").with(&empty(), |facts| condition.explain(facts, &positions));
    assert_eq!(
        text,
        format!(
            "`{when}`: claims.sub is \"alice\", path.id is \"alice\", query.none is absent, \
             header.x-twice is given twice, header.cookie is not shown, client.ip is 192.0.2.1"
        )
    );
}

/// A condition over the facts `claims.a`, `header.b`, `query.c`, as text.
fn condition() -> impl Strategy<Value = String> {
    let fact = prop::sample::select(vec!["claims.a", "header.b", "query.c"]);
    let leaf = (fact, any::<bool>(), prop::sample::select(vec!["x", "y"]))
        .prop_map(|(fact, equal, value)| format!("{fact} {} '{value}'", if equal { "==" } else { "!=" }));
    leaf.prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("not ({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) or ({b})")),
        ]
    })
}

fn request(a: Option<&str>, b: Option<&str>, c: Option<&str>) -> Ask {
    let mut ask = ask("GET", &c.map_or("/".to_owned(), |c| format!("/?c={c}")));
    if let Some(b) = b {
        ask = ask.header("b", b);
    }
    let mut claims = json!({});
    if let Some(a) = a {
        claims["a"] = a.into();
    }
    ask.claims(claims)
}

proptest! {
    /// Withholding a value never makes a condition definite: if it is true or false without the
    /// value, it is the same with every value. So no grant passes, and no deny is escaped, because
    /// something was left out.
    #[test]
    fn nothing_is_gained_by_withholding_a_value(
        when in condition(),
        known in prop::collection::vec(prop::option::of(prop::sample::select(vec!["x", "y"])), 3),
    ) {
        let policy = empty();
        let condition = compile(&when, &[]).unwrap();
        let positions = condition.positions(None);
        let truth = |a, b, c| request(a, b, c).with(&policy, |facts| condition.evaluate(facts, &positions));
        let without = truth(known[0], known[1], known[2]);
        let all = |known: Option<&'static str>| known.map_or(vec!["x", "y"], |value| vec![value]);
        for a in all(known[0]) {
            for b in all(known[1]) {
                for c in all(known[2]) {
                    let with = truth(Some(a), Some(b), Some(c));
                    prop_assert!(with != Error);
                    prop_assert!(without == Error || without == with, "{}", when);
                }
            }
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[a-z.'\"\\\\ ()<=!\\[\\],0-9]{0,60}") {
        let _ = compile(&text, &[PATTERN]);
    }
}

#[test]
fn what_does_not_hold_is_told_with_what_it_saw() {
    let unheld = |when: &str| {
        let condition = compile(when, &[PATTERN]).unwrap_or_else(|problems| panic!("{when}: {problems:?}"));
        let positions = condition.positions(Some(&PathPattern::parse(PATTERN).unwrap()));
        let ask = alice().header("cookie", "secret=1");
        let found = ask.with(&empty(), |facts| condition.unheld(facts, &positions))?;
        assert_eq!(found.text, when);
        let parts = found.parts.iter().map(|part| format!("{}: {}", part.text, part.seen.join(", ")));
        Some(parts.collect::<Vec<_>>().join(" | "))
    };
    for (when, want) in [
        ("claims.sub == path.id", None),
        (
            "claims.sub != path.id",
            Some("claims.sub != path.id: claims.sub is \"alice\", path.id is \"alice\""),
        ),
        // Of what is joined by `and` only what fails; an `or` fails as a whole.
        (
            "claims.admin == true and  (claims.level > 5 and claims.dept == 'x') and not has claims.no",
            Some("claims.level > 5: claims.level is 3 | claims.dept == 'x': claims.dept is absent"),
        ),
        (
            "client.ip in office and (method=='PUT' or not (has claims.sub and host == 'api.test'))",
            Some(
                "method == 'PUT' or not (has claims.sub and host == 'api.test'): method is \"GET\", claims.sub is \"alice\", host is \"api.test\"",
            ),
        ),
        ("'dev' in claims.mixed", Some("'dev' in claims.mixed: claims.mixed is [\\\"dev\\\",1]")),
        ("not (client.ip in office)", Some("not client.ip in office: client.ip is 192.0.2.1")),
        ("method in ['PUT' , 'HEAD']", Some("method in ['PUT' , 'HEAD']: method is \"GET\"")),
        // Nothing of a credential.
        ("header.cookie == 'x'", Some("header.cookie == 'x': header.cookie is not shown")),
    ] {
        assert_eq!(unheld(when).as_deref(), want, "{when}");
    }
}

// === conditions that never hold ===

fn never(when: &str) -> (bool, bool) {
    let condition = compile(when, &[PATTERN]).unwrap_or_else(|problems| panic!("{when}: {problems:?}"));
    (condition.never_true(time(NOW)).is_some(), condition.always_false(time(NOW)).is_some())
}

#[test]
fn what_can_never_be_is_found() {
    for when in [
        "claims.a == 'x' and claims.a == 'y'",
        "claims.a == 'x' and claims.b == 1 and not (claims.a == 'x')",
        "claims.a in ['x', 'y'] and (claims.b == 1 and claims.a in ['z'])",
        "claims.a == 'x' and claims.a > 3",
        "'x' == header.b and header.b != 'x'",
        "path.id == 'a' and path.id startsWith 'b'",
        "query.c startsWith 'ab' and query.c startsWith 'b'",
        "query.c endsWith 'ab' and query.c endsWith 'xb'",
        "claims.a > 5 and claims.a < 5.0",
        "3 >= claims.a and 4 <= claims.a",
        "not (claims.a > 3) and not (claims.a <= 3)",
        "has claims.a and not has claims.a",
        "not has header.b and header.b == 'x'",
        "claims.a == true and (claims.b == 'x' and claims.b == 'y' or claims.c < 1 and claims.c > 2)",
    ] {
        // Withheld, it is an error, by which a deny counts.
        assert_eq!(never(when), (true, false), "{when}");
    }
    for when in [
        "method == 'GET' and method == 'PUT'",
        "claims.a == 'x' and method in ['GET', 'HEAD'] and not (method in ['GET', 'HEAD', 'PUT'])",
        "now > '2100-01-02T00:00:00Z' and now < '2100-01-01T00:00:00Z'",
        "now < '2020-01-01T00:00:00Z'",
        "host == 'a.test' and (claims.a == 1 or host == 'b.test') and host endsWith '.example'",
    ] {
        assert_eq!(never(when), (true, true), "{when}");
    }
}

#[test]
fn what_may_be_is_not_accused() {
    for when in [
        "claims.a == 'x' and claims.b == 'y'",
        "claims.a == 'x' or claims.a == 'y'",
        "claims.a == 1 and claims.a == 1.0",
        "claims.a >= 5 and claims.a <= 5",
        "claims.a != 'x' and claims.a != 'y'",
        "query.c startsWith 'a' and query.c startsWith 'ab' and query.c endsWith 'b'",
        "'x' in claims.a and 'y' in claims.a",
        "not has claims.a or claims.a == 'x'",
        "not (claims.a == 'x' and claims.a == 'y')",
        "now > '2020-01-01T00:00:00Z'",
        "now < '2020-01-01T00:00:00Z' or method == 'GET'",
        "client.ip in office and not (client.ip in ['192.0.2.1'])",
        "claims.a == claims.b and claims.a != claims.c",
    ] {
        assert_eq!(never(when), (false, false), "{when}");
    }
}

/// A condition of comparisons with constants, as text.
fn comparisons() -> impl Strategy<Value = String> {
    let texts = prop::sample::select(vec!["claims.a", "header.b", "query.c", "method", "claims.n"]);
    let values = prop::sample::select(vec!["'A'", "'AB'", "'B'"]);
    let relation = prop::sample::select(vec!["==", "!=", "startsWith", "endsWith"]);
    let text = (texts.clone(), relation, values.clone(), any::<bool>()).prop_map(
        |(fact, relation, value, turned)| match turned && relation.ends_with('=') {
            true => format!("{value} {relation} {fact}"),
            false => format!("{fact} {relation} {value}"),
        },
    );
    let list = (texts, prop::collection::vec(values, 1..3))
        .prop_map(|(fact, values)| format!("{fact} in [{}]", values.join(", ")));
    let numbers = prop::sample::select(vec!["1", "2", "2.0", "3"]);
    let order = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let number = (order.clone(), numbers, any::<bool>()).prop_map(|(order, number, turned)| match turned {
        true => format!("{number} {order} claims.n"),
        false => format!("claims.n {order} {number}"),
    });
    let times =
        prop::sample::select(vec!["2026-11-24T12:00:00Z", "2026-11-24T13:00:00Z", "2020-01-01T00:00:00Z"]);
    let moment = (order, times).prop_map(|(order, time)| format!("now {order} '{time}'"));
    let has = prop::sample::select(vec!["has claims.a", "has header.b", "has query.c", "has claims.n"])
        .prop_map(str::to_owned);
    let leaf = prop_oneof![4 => text, 2 => list, 3 => number, 2 => moment, 1 => has];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            1 => inner.clone().prop_map(|a| format!("not ({a})")),
            3 => prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| {
                parts.iter().map(|part| format!("({part})")).collect::<Vec<_>>().join(" and ")
            }),
            1 => (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) or ({b})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_request_proves_that_it_holds_after_all(when in comparisons()) {
        let condition = compile(&when, &[PATTERN]).unwrap_or_else(|problems| panic!("{when}: {problems:?}"));
        let never_true = condition.never_true(time(NOW)).is_some();
        let always_false = condition.always_false(time(NOW)).is_some();
        prop_assert!(never_true || !always_false, "{}", when);
        if !never_true {
            return Ok(());
        }
        let positions = condition.positions(Some(&PathPattern::parse(PATTERN).unwrap()));
        // What it does not look at need not vary.
        fn of<'a, T>(when: &str, word: &str, all: &'a [T]) -> &'a [T] {
            if when.contains(word) { all } else { &all[..1] }
        }
        let claims = [json!(null), json!("A"), json!("AB"), json!("ABB"), json!("BA"), json!(true)];
        let numbers = [json!(null), json!("A"), json!(0), json!(1), json!(1.5), json!(2), json!(2.5), json!(3), json!(4)];
        let texts = [None, Some("A"), Some("AB"), Some("BAB"), Some("C")];
        let times = [NOW, "2026-11-24T12:30:00Z", "2026-11-24T13:00:00Z", "2126-01-01T00:00:00Z"];
        let (claims, numbers) = (of(&when, "claims.a", &claims), of(&when, "claims.n", &numbers));
        let (headers, queries) = (of(&when, "header.b", &texts), of(&when, "query.c", &texts));
        let (methods, times) = (of(&when, "method", &["GET", "A", "AB"]), of(&when, "now", &times));
        let policy = empty();
        let given = methods.iter().flat_map(|method| times.iter().map(move |now| (*method, *now)));
        for (method, now) in given {
            let sent = headers.iter().flat_map(|header| queries.iter().map(move |query| (header, query)));
            for (header, query) in sent {
                for (claim, number) in claims.iter().flat_map(|claim| numbers.iter().map(move |number| (claim, number))) {
                    let query = query.map(|value| format!("?c={value}")).unwrap_or_default();
                    let mut ask = ask(method, &format!("/users/alice/x{query}")).at(now);
                    ask = ask.claims(json!({ "a": claim, "n": number }));
                    if let Some(header) = header {
                        ask = ask.header("b", header);
                    }
                    let truth = ask.with(&policy, |facts| condition.evaluate(facts, &positions));
                    prop_assert_ne!(truth, True, "{} {:?}", &when, &ask);
                    prop_assert!(!always_false || truth == False, "{} {:?}", &when, &ask);
                }
            }
        }
    }
}
