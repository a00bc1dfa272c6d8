//! Lints against brute force: in small universes every request is judged, with and without the rules
//! that a lint calls useless.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use crate::config::{Outcome, compile};
use crate::decision::{Stage, Verdict};
use crate::policy::code::Code;
use crate::policy::fixture::{Ask, NOW, ask, time};
use crate::policy::source::Sources;
use crate::policy::{Policy, Progress};

const BASE: &str = "version = 1\n[server]\nlisten = [\"127.0.0.1:8080\"]\n[upstream.app]\nservers = [\"http://127.0.0.1:9001\"]\n\
    [[route]]\nid = \"all\"\npath = \"/{*rest}\"\nhost = \"h.test\"\nupstream = \"app\"\n\
    [[route]]\nid = \"b\"\npath = \"/b/{*rest}\"\nupstream = \"app\"\n\
    [[authn.jwt]]\nid = \"j\"\nissuer = \"https://j.test\"\naudience = [\"a\"]\nalgorithms = [\"RS256\"]\njwks = { url = \"https://j.test/k\" }\nroles = \"roles\"\n\
    [rbac.role.r0]\n[rbac.role.r1]\ninherits = [\"r0\"]\n[rbac.role.r2]\n";

/// A rule of a generated policy.
#[derive(Clone, Debug)]
struct Block {
    /// `grant`, `deny` or `ip`.
    kind: &'static str,
    keys: String,
}

fn list(key: &'static str, values: &'static [&'static str]) -> impl Strategy<Value = String> {
    let some = prop::sample::subsequence(values, 1..=2.min(values.len()));
    prop::option::weighted(0.4, some)
        .prop_map(move |some| some.map_or(String::new(), |some| format!("{key} = {some:?}\n")))
}

const PATHS: &[&str] = &[
    "/",
    "/a",
    "/b",
    "/{x}",
    "/a/b",
    "/a/{x}",
    "/b/{x}",
    "/{x}/b",
    "/a/{*r}",
    "/b/{*r}",
    "/{x}/{*r}",
    "/{*r}",
];

fn scope() -> impl Strategy<Value = String> {
    let hosts = list("hosts", &["h.test", "i.test", "*.test"]);
    (
        list("paths", PATHS),
        list("paths", PATHS),
        hosts,
        list("methods", &["GET", "POST"]),
        list("routes", &["all", "b"]),
        any::<u8>(),
    )
        .prop_map(|(paths, again, hosts, methods, routes, which)| {
            // Most rules have a path and little else.
            let paths = if paths.is_empty() { again } else { paths };
            let keep = |bit: u8, keys: String| if which & bit == bit { keys } else { String::new() };
            paths + &keep(3, hosts) + &methods + &keep(12, routes)
        })
}

fn when() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "",
        "",
        "when = 'header.h == \"1\"'\n",
        "when = 'has claims.c'\n",
        "until = 2026-11-25T00:00:00Z\n",
        "from = 2026-11-25T00:00:00Z\n",
    ])
    .prop_map(str::to_owned)
}

fn grant() -> impl Strategy<Value = Block> {
    let who = prop::sample::select(vec![
        "roles = [\"anyone\"]",
        "roles = [\"authenticated\"]",
        "roles = [\"r0\"]",
        "roles = [\"r1\"]",
        "roles = [\"r0\", \"r2\"]",
        "subjects = [\"alice\"]",
        "subjects = [\"alice\", \"bob\"]\nroles = [\"r0\"]",
        "scopes = [\"s\"]",
        "scopes = [\"s\", \"t\"]",
    ]);
    (scope(), who, when())
        .prop_map(|(scope, who, when)| Block { kind: "rbac.grant", keys: format!("{who}\n{scope}{when}") })
}

fn deny() -> impl Strategy<Value = Block> {
    let who = prop::sample::select(vec![
        "",
        "",
        "",
        "roles = [\"r0\"]",
        "roles = [\"r1\"]",
        "subjects = [\"alice\"]",
        "scopes = [\"s\"]",
        "scopes = [\"s\", \"t\"]",
        "except_roles = [\"r0\"]",
        "except_roles = [\"r1\"]",
        "except_roles = [\"authenticated\"]",
    ]);
    let mode = prop::sample::select(vec![
        "",
        "",
        "",
        "mode = \"off\"\n",
        "mode = \"shadow\"\n",
        "mode = \"shadow\"\nshadow_until = 2020-01-01T00:00:00Z\n",
    ]);
    (scope(), who, when(), mode).prop_map(|(scope, who, when, mode)| Block {
        kind: "rbac.deny",
        keys: format!("{who}\n{scope}{when}{mode}"),
    })
}

fn address() -> impl Strategy<Value = Block> {
    const NETS: &[&str] = &["192.0.2.0/30", "192.0.2.0/31", "192.0.2.2/31", "192.0.2.3", "0.0.0.0/0", "::/0"];
    let which = prop::sample::select(vec!["allow", "deny"]);
    (scope(), which, prop::sample::subsequence(NETS, 1..=2), prop::sample::subsequence(NETS, 0..=1)).prop_map(
        |(scope, which, nets, except)| Block {
            kind: "ip.rule",
            keys: format!("{which} = {nets:?}\nexcept = {except:?}\n{scope}"),
        },
    )
}

/// The policy without the rules at these places of the list.
fn text(blocks: &[Block], without: &BTreeSet<usize>) -> String {
    let blocks = blocks.iter().enumerate().filter(|(at, _)| !without.contains(at));
    blocks.fold(BASE.to_owned(), |text, (at, Block { kind, keys })| {
        text + &format!("[[{kind}]]\nid = \"x{at}\"\n{keys}")
    })
}

fn outcome(text: &str) -> Outcome {
    compile(Sources::single("p.toml", text), time(NOW))
}

/// Requests by everybody of a small world, before and after the moment at which some rules begin or end.
fn universe() -> Vec<Ask> {
    let mut paths = vec!["/".to_owned()];
    for first in ["a", "b", "z"] {
        paths.push(format!("/{first}"));
        paths.extend(["a", "b", "z"].map(|second| format!("/{first}/{second}")));
    }
    paths.push("/a/b/z".into());
    let mut all = Vec::new();
    for path in &paths {
        for (method, host) in [("GET", "h.test"), ("POST", "h.test"), ("PUT", "i.test"), ("GET", "i.test")] {
            let one = ask(method, path).host(host);
            all.push(one.clone());
            all.push(one.clone().header("h", "1"));
            all.push(one.clone().by("alice", &[]).at("2026-11-26T00:00:00Z"));
            all.push(one.clone().by("alice", &["r1"]).scopes(&["s"]));
            all.push(one.clone().by("bob", &["r0"]).header("h", "1"));
            all.push(one.clone().by("carol", &["r2"]).scopes(&["s", "t"]).at("2026-11-26T00:00:00Z"));
            let claims = serde_json::json!({ "c": 1 });
            all.push(one.clone().by("dora", &["r1", "r2"]).scopes(&["t"]).claims(claims).header("h", "1"));
            all.push(one.by("eve", &["r0"]).at("2026-11-26T00:00:00Z"));
        }
    }
    all
}

/// What the gates of roles and of addresses say: whether it passes, by which rule. None where no route
/// serves the request, which is refused whatever they say.
fn verdict(policy: &Policy, ask: &Ask, stage: Stage) -> Option<(bool, String)> {
    ask.with(policy, |facts| {
        facts.route?;
        let verdict = policy.check(stage, facts, &mut Progress::default(), None);
        Some(match verdict {
            Verdict::Pass(rule) => (true, policy.rules.name(rule).to_owned()),
            Verdict::Deny(denial) => (false, policy.rules.name(denial.rule).to_owned()),
            Verdict::Answer(rule) => (true, rule.info().name.to_owned()),
        })
    })
}

/// The rules that a lint is about.
fn about(outcome: &Outcome, code: Code) -> BTreeSet<usize> {
    let found = outcome.diagnostics.iter().filter(|found| found.code == code);
    found.filter_map(|found| found.about.as_ref()?.rsplit_once("/x")?.1.parse().ok()).collect()
}

/// The rules that another finding points at besides.
fn also(outcome: &Outcome, code: Code, label: &str) -> BTreeSet<usize> {
    let found = outcome.diagnostics.iter().filter(|found| found.code == code);
    let places = found.flat_map(|found| &found.also).filter(|(_, words)| words == label);
    let rules = &outcome.setup.as_ref().unwrap().policy.rules;
    let rule = |place| rules.iter().find(|(_, rule)| rule.place == place).map(|(_, rule)| &*rule.name);
    places.filter_map(|(place, _)| rule(*place)?.rsplit_once("/x")?.1.parse().ok()).collect()
}

fn policies() -> impl Strategy<Value = Vec<Block>> {
    (
        prop::collection::vec(grant(), 1..7),
        prop::collection::vec(deny(), 0..5),
        prop::collection::vec(address(), 0..5),
    )
        .prop_map(|(grants, denies, addresses)| [grants, denies, addresses].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_called_useless_is(blocks in policies()) {
        let whole = outcome(&text(&blocks, &BTreeSet::new()));
        let Some(setup) = &whole.setup else { panic!("{:#?}", whole.diagnostics) };
        let universe = universe();
        let compare = |without: &BTreeSet<usize>, stage: Stage, names: bool| {
            if without.is_empty() {
                return Ok(());
            }
            let text = text(&blocks, without);
            let lessened = outcome(&text).setup.unwrap().policy;
            for ask in &universe {
                let (before, after) = (verdict(&setup.policy, ask, stage), verdict(&lessened, ask, stage));
                // Which of several rules lets an address through says nothing about whom it keeps out.
                let part = |verdict: Option<(bool, String)>| {
                    let named = |passes: bool| names && !(passes && stage == Stage::Ip);
                    verdict.map(|(passes, name)| (passes, if named(passes) { name } else { String::new() }))
                };
                prop_assert_eq!(part(before), part(after), "{:?} without {:?}: {}", ask, without, text);
            }
            Ok(())
        };
        compare(&about(&whole, Code::RedundantGrant), Stage::Rbac, false)?;
        compare(&also(&whole, Code::OverbroadDeny, "gives nothing"), Stage::Rbac, false)?;
        let (addresses, others): (BTreeSet<usize>, BTreeSet<usize>) =
            about(&whole, Code::ShadowedRule).into_iter().partition(|at| blocks[*at].kind == "ip.rule");
        compare(&others, Stage::Rbac, true)?;
        compare(&addresses, Stage::Ip, true)?;
        let (addresses, others): (BTreeSet<usize>, BTreeSet<usize>) =
            about(&whole, Code::NeverMatches).into_iter().partition(|at| blocks[*at].kind == "ip.rule");
        compare(&others, Stage::Rbac, true)?;
        compare(&addresses, Stage::Ip, true)?;
        // Whatever a rule is about that lets nobody through is refused, from every address.
        for at in about(&whole, Code::NobodyPasses) {
            let others = (0..blocks.len()).filter(|other| *other != at && blocks[*other].kind == "ip.rule");
            let alone = outcome(&text(&blocks, &others.collect())).setup.unwrap().policy;
            let concerned = universe.iter().filter(|ask| ask.with(&alone, |facts| alone.ip.concerns(facts)));
            for ask in concerned {
                for address in ["192.0.2.0", "192.0.2.2", "192.0.2.3", "198.51.100.1", "2001:db8::1"] {
                    let said = verdict(&setup.policy, &ask.clone().ip(address), Stage::Ip);
                    let passes = said.is_some_and(|(passes, _)| passes);
                    prop_assert!(!passes, "{:?} from {} passes x{}: {:?}", ask, address, at, blocks);
                }
            }
        }
        for found in whole.diagnostics.iter().filter(|found| found.code == Code::UnreachedRoute) {
            for ask in &universe {
                let name = ask.with(&setup.policy, |facts| facts.route.map(|route| format!("route/{}", setup.policy.routes.get(route).name)));
                if name == found.about {
                    prop_assert_eq!(verdict(&setup.policy, ask, Stage::Rbac).map(|(passes, _)| passes), Some(false));
                }
            }
        }
    }
}

/// What the property would show nothing without: in such policies there is something to find.
#[test]
fn the_generated_policies_have_what_is_looked_for() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut found = BTreeSet::new();
    for _ in 0..200 {
        let blocks = policies().new_tree(&mut runner).unwrap().current();
        found.extend(
            outcome(&text(&blocks, &BTreeSet::new())).diagnostics.iter().map(|found| found.code.info().name),
        );
    }
    for code in [
        Code::RedundantGrant,
        Code::OverbroadDeny,
        Code::ShadowedRule,
        Code::NeverMatches,
        Code::NobodyPasses,
        Code::UnreachedRoute,
    ] {
        assert!(found.contains(code.info().name), "{code:?} is not in {found:?}");
    }
}
