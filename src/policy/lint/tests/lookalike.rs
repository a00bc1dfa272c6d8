//! The lint of paths that look alike against brute force: in a small world of spellings, whatever it says
//! is shown by requests.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use crate::config::{Outcome, compile};
use crate::decision::{self, Stage};
use crate::policy::code::Code;
use crate::policy::fixture::{Ask, NOW, ask, time};
use crate::policy::source::Sources;
use crate::policy::{Policy, Progress};

const BASE: &str = "version = 1\n[server]\nlisten = [\"127.0.0.1:8080\"]\n[upstream.app]\nservers = [\"http://127.0.0.1:9001\"]\n\
    [[route]]\nid = \"all\"\npath = \"/{*rest}\"\nupstream = \"app\"\n\
    [[route]]\nid = \"closed\"\npath = \"/b/{*rest}\"\nhost = \"h.test\"\nupstream = \"app\"\nauthn = \"required\"\n\
    [[authn.jwt]]\nid = \"j\"\nissuer = \"https://j.test\"\naudience = [\"a\"]\nalgorithms = [\"RS256\"]\njwks = { url = \"https://j.test/k\" }\nroles = \"roles\"\n\
    [rbac.role.r0]\n";

const PATHS: &[&str] = &[
    "/a", "/A", "/a/", "/A/", "/a/b", "/A/b", "/a/B", "/a/b/", "/b", "/B/", "/{x}", "/{x}/b", "/{x}/B",
    "/a/{*r}", "/A/{*r}", "/A/{x}", "/a/{x}/", "/{*r}",
];

/// A rule: of which kind, for whom, and about what.
fn rule() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "[[rbac.grant]]\nroles = [\"anyone\"]\n",
        "[[rbac.grant]]\nroles = [\"anyone\"]\n",
        "[[rbac.grant]]\nroles = [\"r0\"]\n",
        "[[rbac.grant]]\nroles = [\"r0\"]\n",
        "[[rbac.grant]]\nroles = [\"anyone\"]\nwhen = 'header.h == \"1\"'\n",
        "[[rbac.deny]]\n",
        "[[rbac.deny]]\nexcept_roles = [\"r0\"]\n",
        "[[rbac.deny]]\nroles = [\"r0\"]\n",
        "[[rbac.deny]]\nmode = \"shadow\"\n",
        "[[ip.rule]]\nallow = [\"192.0.2.0/24\"]\n",
        "[[ip.rule]]\ndeny = [\"0.0.0.0/0\"]\n",
        "[[ip.rule]]\ndeny = [\"192.0.2.0/24\"]\n",
    ]);
    let paths = prop::sample::subsequence(PATHS, 1..=2);
    let hosts = prop::sample::select(vec!["", "", "", "host = \"h.test\"\n", "host = \"i.test\"\n"]);
    let methods = prop::sample::select(vec!["", "", "", "methods = [\"GET\"]\n", "methods = [\"PUT\"]\n"]);
    (kind, paths, hosts, methods)
        .prop_map(|(kind, paths, hosts, methods)| format!("{kind}paths = {paths:?}\n{hosts}{methods}"))
}

fn text(rules: &[String]) -> String {
    rules.iter().enumerate().fold(BASE.to_owned(), |text, (at, rule)| {
        text + &rule.replacen("]]\n", &format!("]]\nid = \"x{at}\"\n"), 1)
    })
}

fn outcome(rules: &[String]) -> Outcome {
    compile(Sources::single("p.toml", text(rules)), time(NOW))
}

/// Paths that are the same but for case, side by side.
fn alike() -> Vec<Vec<String>> {
    let spell = |segment: &str| [segment.to_owned(), segment.to_uppercase()];
    let mut all = Vec::new();
    for first in ["a", "b", "z"] {
        all.push(spell(first).map(|first| format!("/{first}")).to_vec());
        for second in ["a", "b", "z"] {
            let pairs = spell(first)
                .into_iter()
                .flat_map(|first| spell(second).map(|second| format!("/{first}/{second}")));
            all.push(pairs.collect());
        }
    }
    all
}

/// Whether anybody may do it, from an address that no rule lists by itself.
fn allows(policy: &Policy, ask: &Ask) -> bool {
    ask.with(policy, |facts| {
        let passes = |stage| {
            let verdict = policy.check(stage, facts, &mut Progress::default(), None);
            matches!(verdict, decision::Verdict::Pass(_))
        };
        [Stage::Ip, Stage::Route, Stage::Authn, Stage::Rbac].into_iter().all(passes)
    })
}

/// The findings: the rule that opens, the one that seems to protect, and whether it is about case.
fn findings(outcome: &Outcome) -> Vec<(String, String, bool)> {
    let found = outcome.diagnostics.iter().filter(|found| found.code == Code::LookalikePath);
    let rules = &outcome.setup.as_ref().unwrap().policy.rules;
    found
        .map(|found| {
            let (place, _) = found.also[0];
            // The place is within the rule.
            let other = rules.iter().filter(|(_, rule)| {
                rule.place.file == place.file
                    && rule.place.start <= place.start
                    && place.end <= rule.place.end
            });
            let other = other.map(|(_, rule)| rule.name.to_string()).next().unwrap_or_default();
            let case = found.message.contains("upper and lower case");
            (found.about.clone().unwrap(), other, case)
        })
        .collect()
}

/// The requests of everybody in this world.
fn asks(path: &str) -> impl Iterator<Item = Ask> {
    let methods = ["GET", "PUT", "POST"].into_iter();
    let places = ["h.test", "i.test", "j.test"].into_iter().flat_map(|host| {
        // One that a list of all addresses of IPv4 does not have, too.
        ["203.0.113.254", "2001:db8::7"].map(|ip| (host, ip))
    });
    methods.flat_map(move |method| places.clone().map(move |(host, ip)| ask(method, path).host(host).ip(ip)))
}

fn holds(outcome: &Outcome) -> Result<usize, TestCaseError> {
    let policy = &outcome.setup.as_ref().unwrap().policy;
    let found = findings(outcome);
    for (open, _, case) in &found {
        let shown = alike().iter().any(|spellings| {
            spellings.iter().any(|mine| {
                let here: Vec<bool> = asks(mine).map(|ask| allows(policy, &ask)).collect();
                match case {
                    true => spellings.iter().any(|theirs| {
                        asks(theirs).zip(&here).any(|(ask, open)| *open && !allows(policy, &ask))
                    }),
                    false => here.contains(&true),
                }
            })
        });
        prop_assert!(shown, "{open} in {:?}", outcome.diagnostics);
    }
    Ok(found.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_looks_alike_is_open_in_one_spelling_and_shut_in_the_other(rules in prop::collection::vec(rule(), 1..6)) {
        let outcome = outcome(&rules);
        prop_assert!(outcome.setup.is_some(), "{:?}", outcome.diagnostics);
        holds(&outcome)?;
    }
}

/// What the property would show nothing without.
#[test]
fn the_generated_policies_have_lookalikes_of_both_kinds() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut case, mut slash) = (0, 0);
    for _ in 0..600 {
        let rules = prop::collection::vec(rule(), 1..6).new_tree(&mut runner).unwrap().current();
        for (_, _, by_case) in findings(&outcome(&rules)) {
            *(if by_case { &mut case } else { &mut slash }) += 1;
        }
    }
    assert!(case > 20 && slash > 0, "{case} {slash}");
}

#[test]
fn a_slash_at_the_end_is_told_only_where_it_opens_what_was_meant_for_few() {
    let check = |rules: &[&str], want: usize| {
        let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
        assert_eq!(findings(&outcome(&rules)).len(), want, "{rules:?}");
    };
    let open = "[[rbac.grant]]\nroles = [\"anyone\"]\npaths = [\"/docs/\"]\n";
    let few = "[[rbac.grant]]\nroles = [\"r0\"]\npaths = [\"/docs\"]\n";
    check(&[open, few], 1);
    // What forbids one forbids the other, so it is not open.
    check(&[open, "[[rbac.deny]]\nexcept_roles = [\"r0\"]\npaths = [\"/docs\"]\n"], 0);
    check(&[open, "[[ip.rule]]\nallow = [\"192.0.2.0/24\"]\npaths = [\"/docs\"]\n"], 0);
    // Whoever opens both, or all, means it.
    check(&["[[rbac.grant]]\nroles = [\"anyone\"]\npaths = [\"/docs\", \"/docs/\"]\n", few], 0);
    check(&[open, "[[rbac.grant]]\nroles = [\"anyone\"]\npaths = [\"/{*r}\"]\n", few], 0);
    // Both are of few.
    check(&["[[rbac.grant]]\nroles = [\"r0\"]\npaths = [\"/docs/\"]\n", few], 0);
}
