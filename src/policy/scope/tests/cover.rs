//! Covering and meeting against all requests of a small universe, and the tree against one pattern
//! after the other.

use std::ops::ControlFlow;

use http::Method;
use proptest::prelude::*;

use crate::policy::scope::*;

/// A pattern over three texts; the universe has one more that no pattern names.
fn any_path() -> impl Strategy<Value = PathPattern> {
    let part = prop::sample::select(vec!["a", "b", "c", "{}"]);
    (prop::collection::vec(part, 0..4), any::<bool>()).prop_map(|(parts, rest)| {
        let numbered = parts.iter().enumerate().map(|(at, part)| part.replace("{}", &format!("{{x{at}}}")));
        let mut text: String = numbered.map(|part| format!("/{part}")).collect();
        text.push_str(if rest { "/{*rest}" } else { "/" });
        PathPattern::parse(&text).unwrap()
    })
}

/// Every path of at most five segments. A pattern has at most three.
fn paths() -> Vec<Vec<&'static str>> {
    let mut all: Vec<Vec<&str>> = vec![Vec::new()];
    let mut longest = all.clone();
    for _ in 0..5 {
        let longer = |path: &Vec<&'static str>| {
            ["a", "b", "c", "z"].map(|last| path.iter().copied().chain([last]).collect::<Vec<_>>())
        };
        longest = longest.iter().flat_map(longer).collect();
        all.extend(longest.iter().cloned());
    }
    all
}

fn has(pattern: &PathPattern, path: &[&'static str]) -> bool {
    pattern.matches(path.iter().copied())
}

fn any_host() -> impl Strategy<Value = HostPattern> {
    let hosts = vec!["a.t", "b.a.t", "*.t", "*.a.t", "*.b.a.t", "c"];
    prop::sample::select(hosts).prop_map(|text| HostPattern::parse(text).unwrap())
}

const UNIVERSE_HOSTS: [&str; 10] = ["a.t", "b.a.t", "c", "z", "z.t", "z.a.t", "z.b.a.t", "z.c", "t", "y.z.t"];

fn any_methods() -> impl Strategy<Value = MethodSet> {
    let names = prop::sample::select(vec!["GET", "POST", "PROPFIND"]);
    prop::collection::vec(names, 0..3).prop_map(|names| {
        let methods: Vec<Method> = names.iter().map(|name| name.parse().unwrap()).collect();
        MethodSet::new(&methods)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_pattern_covers_another_just_if_it_matches_all_its_paths(one in any_path(), other in any_path()) {
        let universe = paths();
        let covers = universe.iter().all(|path| !has(&other, path) || has(&one, path));
        prop_assert_eq!(one.covers(&other), covers, "{} {}", one, other);
        let meets = universe.iter().any(|path| has(&other, path) && has(&one, path));
        prop_assert_eq!(one.meets(&other), meets, "{} {}", one, other);
    }

    #[test]
    fn hosts_and_methods_cover_and_meet_as_their_members_do(
        (one, other) in (any_host(), any_host()),
        (few, many) in (any_methods(), any_methods()),
    ) {
        let all = |covers: &dyn Fn(&str) -> bool| UNIVERSE_HOSTS.iter().all(|host| covers(host));
        prop_assert_eq!(one.covers(&other), all(&|host| !other.matches(host) || one.matches(host)));
        prop_assert_eq!(one.meets(&other), !all(&|host| !(other.matches(host) && one.matches(host))));
        let names: Vec<Method> = ["GET", "POST", "PROPFIND", "PUT"].map(|name| name.parse().unwrap()).into();
        let covers = names.iter().all(|method| !few.contains(method) || many.contains(method));
        prop_assert_eq!(many.covers(&few), covers);
    }

    #[test]
    fn the_tree_finds_what_one_look_at_each_finds(
        stored in prop::collection::vec(prop::option::of(any_path()), 0..30),
        asked in prop::option::of(any_path()),
    ) {
        let mut tree = PathTree::default();
        stored.iter().zip(0..).for_each(|(path, at): (_, usize)| tree.insert(path.as_ref(), at));
        let root = PathPattern::parse("/{*rest}").unwrap();
        let or_any = |path: &Option<PathPattern>| path.clone().unwrap_or_else(|| root.clone());
        let plain = |relates: fn(&PathPattern, &PathPattern) -> bool| -> Vec<usize> {
            (0..stored.len()).filter(|at| relates(&or_any(&stored[*at]), &or_any(&asked))).collect()
        };
        let (mut covering, mut meeting) = (Vec::new(), Vec::new());
        let visit = |found: &mut Vec<usize>, at: &usize| {
            found.push(*at);
            ControlFlow::Continue(())
        };
        let done = tree.covering(asked.as_ref(), &mut Steps(1000), |at| visit(&mut covering, at));
        prop_assert_eq!(done, ControlFlow::Continue(()));
        let done = tree.meeting(asked.as_ref(), &mut Steps(1000), |at| visit(&mut meeting, at));
        prop_assert_eq!(done, ControlFlow::Continue(()));
        covering.sort_unstable();
        meeting.sort_unstable();
        prop_assert_eq!(covering, plain(PathPattern::covers));
        prop_assert_eq!(meeting, plain(PathPattern::meets));
    }
}

#[test]
fn a_question_ends_with_its_steps() {
    let mut tree = PathTree::default();
    (0..100).for_each(|at| tree.insert(None, at));
    let mut seen = 0;
    let mut count = |_: &i32| {
        seen += 1;
        ControlFlow::Continue(())
    };
    assert_eq!(tree.covering(None, &mut Steps(50), &mut count), ControlFlow::Break(()));
    assert_eq!(seen, 49);
}
