//! WAF rules that are said to do nothing do nothing.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::check;
use crate::config::{Outcome, compile};
use crate::decision::{Stage, Verdict};
use crate::policy::code::Code;
use crate::policy::fixture::{NOW, ask, time};
use crate::policy::source::Sources;
use crate::policy::{Policy, Progress};

const GRANT: &str = "[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\n";

fn rule(keys: &str) -> String {
    format!("{GRANT}[[waf.rule]]\nid = \"x\"\naction = \"deny\"\ntargets = [\"query\"]\n{keys}\n")
}

#[test]
fn a_condition_that_no_text_can_meet_is_found() {
    let never = [(Code::NeverMatches, "waf/x")];
    for (keys, want) in [
        // (Texts in capitals behind `lowercase` are an error.)
        ("transforms = [\"lowercase\"]\nmatch = { regex = 'SELECT' }", &never[..]),
        ("transforms = [\"lowercase\"]\nmatch = { contains = \"select\" }", &[]),
        ("match = { contains = \"SELECT\" }", &[]),
        // Something behind it may bring capitals back.
        ("transforms = [\"lowercase\", \"url_decode\"]\nmatch = { contains = \"SELECT\" }", &[]),
        ("transforms = [\"uppercase\", \"trim\"]\nmatch = { starts_with = \"Select\" }", &never),
        ("transforms = [\"lowercase\"]\nmatch = { regex = 'SELECT\\s' }", &never),
        ("transforms = [\"lowercase\"]\nmatch = { regex = '(?i)SELECT\\s' }", &[]),
        ("transforms = [\"lowercase\"]\nmatch = { regex = '[A-Z]' }", &never),
        ("transforms = [\"remove_whitespace\"]\nmatch = { contains = \"union select\" }", &never),
        ("transforms = [\"length\"]\nmatch = { equals = \"many\" }", &never),
        ("transforms = [\"length\"]\nmatch = { gt = 9 }", &[]),
        // One of several is told too: it was meant to be found.
        ("transforms = [\"uppercase\"]\nmatch = { contains_any = [\"select\", \"UNION\"] }", &never),
        (
            "transforms = [\"uppercase\"]\nmatch = { any = [{ contains = \"a\" }, { equals = \"A\" }] }",
            &never,
        ),
        (
            "transforms = [\"uppercase\"]\nmatch = { contains = \"select\", not = true }",
            &[(Code::MatchesEverything, "waf/x")],
        ),
        (
            "match = { contains = \"a\" }\nchain = [{ targets = [\"query\"], transforms = [\"uppercase\"], match = { contains = \"a\" } }]",
            &never,
        ),
    ] {
        check(&rule(keys), want);
    }
}

#[test]
fn a_rule_about_bodies_needs_a_route_whose_bodies_are_read() {
    let route = |body: &str| {
        format!("[[route]]\nid = \"up\"\npath = \"/up\"\nupstream = \"app\"\nwaf_body = \"{body}\"\n")
    };
    let form = |scope: &str| {
        rule(&format!("match = {{ contains = \"a\" }}\n{scope}")).replace("\"query\"", "\"form\"")
    };
    let never = (Code::NeverMatches, "waf/x");
    check(&(form("path = \"/up\"") + &route("inspect")), &[]);
    let found = |text: &str| {
        super::findings(text).into_iter().filter(|(code, _)| *code != Code::NotInspected).collect::<Vec<_>>()
    };
    // The route for everything reads bodies, and `/up` is not its.
    assert_eq!(found(&(form("routes = [\"up\"]") + &route("off"))), [(never.0, never.1.to_owned())]);
    assert_eq!(found(&(form("routes = [\"up\", \"app\"]") + &route("off"))), []);
    assert_eq!(found(&(form("") + &route("off"))), []);
    // What looks at the query too has something to look at.
    let both = form("routes = [\"up\"]").replace("\"form\"", "\"args\"");
    assert_eq!(found(&(both + &route("off"))), []);
    let absent = form("routes = [\"up\"]").replace("contains = \"a\"", "contains = \"a\", not = true");
    assert_eq!(found(&(absent + &route("off"))), []);
}

#[test]
fn a_rule_that_refuses_what_another_refuses_before_it_is_found() {
    let second = |first: &str, keys: &str, exclude: &str| {
        let one = "match = { contains = \"a\" }\n".to_owned() + first;
        let two = format!(
            "[[waf.rule]]\nid = \"y\"\ntargets = [\"query\"]\nmatch = {{ contains = \"a\" }}\n{keys}\n"
        );
        rule(&one) + &two + exclude
    };
    let shadowed = [(Code::ShadowedRule, "waf/y")];
    let deny = "action = \"deny\"";
    check(&second("", deny, ""), &shadowed);
    check(&second("", &format!("{deny}\npath = \"/a\""), ""), &shadowed);
    check(&second("path = \"/a\"", deny, ""), &[]);
    check(&second("", "score = 5", ""), &[]);
    check(&second("transforms = [\"trim\"]", deny, ""), &[]);
    check(&second("mode = \"off\"", deny, ""), &[]);
    check(&second("paranoia = 2", deny, ""), &[]);
    let exclude = "[[waf.exclude]]\nid = \"e\"\ntargets = [\"query:q\"]\nrules = [\"waf/x\"]\n";
    check(&second("", deny, exclude), &[]);
}

fn outcome(rules: &[String], without: &BTreeSet<usize>) -> Outcome {
    let mut text = String::from(
        "version = 1\n[server]\nlisten = [\"127.0.0.1:8080\"]\n[upstream.app]\nservers = [\"http://127.0.0.1:9001\"]\n\
         [[route]]\nid = \"app\"\npath = \"/{*rest}\"\nupstream = \"app\"\n[waf]\nthreshold = 5\n",
    );
    text.push_str(GRANT);
    for (number, keys) in rules.iter().enumerate().filter(|(number, _)| !without.contains(number)) {
        text.push_str(&format!("[[waf.rule]]\nid = \"x{number}\"\n{keys}"));
    }
    compile(Sources::single("p.toml", text), time(NOW))
}

fn rules() -> impl Strategy<Value = Vec<String>> {
    let transforms = vec![
        "",
        "",
        "\"uppercase\"",
        "\"uppercase\", \"trim\"",
        "\"uppercase\", \"url_decode\"",
        "\"remove_whitespace\"",
    ];
    let matches = vec![
        "{ contains = \"a\" }",
        "{ contains = \"A\" }",
        "{ contains = \"a b\" }",
        "{ equals = \"B\" }",
        "{ starts_with = \"b\" }",
        "{ contains_word = \"A\" }",
        "{ contains_any = [\"A\", \"B\"] }",
        "{ contains = \"a\", not = true }",
        "{ regex = 'A|b' }",
        "{ regex = '[A-B]b?' }",
        "{ all = [{ contains = \"a\" }, { contains = \"B\" }] }",
    ];
    let acts = vec!["action = \"deny\"", "action = \"deny\"", "score = 3", "score = 5", "action = \"log\""];
    let scopes = vec!["", "", "", "path = \"/a\"\n", "mode = \"off\"\n"];
    let one = (
        prop::sample::select(transforms),
        prop::sample::select(matches),
        prop::sample::select(acts),
        prop::sample::select(scopes),
        prop::sample::select(vec!["query", "query.values", "query:q"]),
    );
    let one = one.prop_map(|(transforms, wanted, act, scope, target)| {
        format!("{act}\ntargets = [\"{target}\"]\ntransforms = [{transforms}]\nmatch = {wanted}\n{scope}")
    });
    prop::collection::vec(one, 1..7)
}

/// What the gate says: whether it passes, and by which rule it is refused.
fn verdict(policy: &Policy, uri: &str) -> (bool, String) {
    ask("GET", uri).with(policy, |facts| {
        match policy.check(Stage::Waf, facts, &mut Progress::default(), None) {
            Verdict::Deny(denial) => (false, policy.rules.name(denial.rule).to_owned()),
            Verdict::Pass(_) | Verdict::Answer(_) => (true, String::new()),
        }
    })
}

/// The rules that do nothing, as `check` says.
fn useless(outcome: &Outcome) -> BTreeSet<usize> {
    let found = outcome.diagnostics.iter().filter(|found| match found.code {
        Code::ShadowedRule => true,
        Code::NeverMatches => found.message.ends_with("so this matches no text"),
        _ => false,
    });
    found.filter_map(|found| found.about.as_ref()?.strip_prefix("waf/x")?.parse().ok()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn without_the_rules_that_are_called_useless_nothing_is_otherwise(rules in rules()) {
        let whole = outcome(&rules, &BTreeSet::new());
        prop_assert!(whole.setup.is_some(), "{:#?}", whole.diagnostics);
        let useless = useless(&whole);
        if useless.is_empty() {
            return Ok(());
        }
        let Some(setup) = &whole.setup else { panic!("{:#?}", whole.diagnostics) };
        let lessened = outcome(&rules, &useless).setup.unwrap().policy;
        for path in ["/", "/a"] {
            for value in ["", "a", "A", "b", "B", "ab", "AB", "aB", "a%20b", "%2541", "A%20B", "%20b", "%09A"] {
                for name in ["q", "r", "A"] {
                    let uri = format!("{path}?{name}={value}");
                    prop_assert_eq!(verdict(&setup.policy, &uri), verdict(&lessened, &uri), "{} without {:?}", uri, useless);
                }
            }
        }
    }
}

/// What the property would show nothing without.
#[test]
fn the_generated_rules_have_what_is_looked_for() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut found = BTreeSet::new();
    for _ in 0..300 {
        let rules = rules().new_tree(&mut runner).unwrap().current();
        found
            .extend(outcome(&rules, &BTreeSet::new()).diagnostics.iter().map(|found| found.code.info().name));
    }
    for code in [Code::ShadowedRule, Code::NeverMatches, Code::MatchesEverything] {
        assert!(found.contains(code.info().name), "{code:?} is not in {found:?}");
    }
}
