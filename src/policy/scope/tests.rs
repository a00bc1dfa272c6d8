//! The index against the plain reading of scopes.

use http::{HeaderMap, HeaderValue, Method, Uri, header};
use proptest::prelude::*;

use super::*;
use crate::facts::Scheme;

fn pattern(text: &str) -> PathPattern {
    PathPattern::parse(text).unwrap()
}

fn scope(paths: &[&str], hosts: &[&str], methods: &[&str], routes: &[u32]) -> Scope {
    let methods: Vec<Method> = methods.iter().map(|name| name.parse().unwrap()).collect();
    Scope {
        paths: paths.iter().map(|text| pattern(text)).collect(),
        hosts: hosts.iter().map(|text| HostPattern::parse(text).unwrap()).collect(),
        methods: MethodSet::new(&methods),
        routes: routes.iter().copied().map(RouteId).collect(),
    }
}

fn target(method: &str, host: &str, path: &str) -> Target {
    let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap())]);
    let uri: Uri = path.parse().unwrap();
    Target::parse(&method.parse().unwrap(), Scheme::Http, &uri, &headers)
}

fn visited(scopes: &[Scope], target: &Target, route: Option<RouteId>) -> Vec<usize> {
    let index = Index::new(scopes.iter().zip(0usize..));
    let mut found = Vec::new();
    index.visit(target, route, |entry| found.push(*entry));
    found.sort_unstable();
    found.dedup();
    found
}

fn filtered(scopes: &[Scope], target: &Target, route: Option<RouteId>) -> Vec<usize> {
    (0..scopes.len()).filter(|at| scopes[*at].matches(target, route)).collect()
}

#[test]
fn every_overlapping_pattern_is_visited() {
    let scopes = [
        scope(&["/a/b"], &[], &[], &[]),
        scope(&["/a/{x}"], &[], &[], &[]),
        scope(&["/{x}/b"], &[], &[], &[]),
        scope(&["/{*rest}"], &[], &[], &[]),
        scope(&["/a/b/{*rest}"], &[], &[], &[]),
        scope(&["/a/b/c"], &[], &[], &[]),
        scope(&[], &[], &[], &[]),
        scope(&["/a"], &[], &[], &[]),
    ];
    assert_eq!(visited(&scopes, &target("GET", "h.test", "/a/b"), None), [0, 1, 2, 3, 4, 6]);
    assert_eq!(visited(&scopes, &target("GET", "h.test", "/"), None), [3, 6]);
}

#[test]
fn hosts_routes_and_methods_narrow() {
    let scopes = [
        scope(&[], &["a.test"], &[], &[]),
        scope(&[], &["*.test"], &[], &[]),
        scope(&[], &["*.a.test"], &[], &[]),
        scope(&[], &[], &["GET"], &[]),
        scope(&[], &[], &["PROPFIND", "PUT"], &[]),
        scope(&[], &[], &[], &[7]),
        scope(&["/x"], &["*.a.test"], &["PROPFIND"], &[1, 7]),
    ];
    let on = |method, host, path, route: Option<u32>| {
        visited(&scopes, &target(method, host, path), route.map(RouteId))
    };
    assert_eq!(on("GET", "a.test", "/", None), [0, 1, 3]);
    assert_eq!(on("PROPFIND", "b.a.test", "/x", Some(7)), [1, 2, 4, 5, 6]);
    assert_eq!(on("REPORT", "test", "/x", Some(8)), [] as [usize; 0]);
    assert_eq!(on("PUT", "test", "/x", Some(1000)), [4]);
}

#[test]
fn long_segments_are_compared_whole() {
    let long = |last: char| format!("/{}{last}", "x".repeat(5000));
    let scopes = [long('a'), long('b'), long('a')].map(|path| scope(&[&path], &[], &[], &[]));
    assert_eq!(visited(&scopes, &target("GET", "h", &long('a')), None), [0, 2]);
    assert_eq!(visited(&scopes, &target("GET", "h", &long('c')), None), [] as [usize; 0]);
}

#[test]
fn the_table_of_children_stays_short_of_clusters() {
    let paths: Vec<String> = (0..20_000).map(|number| format!("/s{number}/x")).collect();
    let scopes: Vec<Scope> = paths.iter().map(|path| scope(&[path], &[], &[], &[])).collect();
    let index = Index::new(scopes.iter().zip(0usize..));
    for (at, path) in paths.iter().enumerate() {
        let mut found = Vec::new();
        index.visit(&target("GET", "h", path), None, |entry| found.push(*entry));
        assert_eq!(found, [at]);
    }
}

/// Few words, so that patterns and requests collide all the time.
fn segment() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "ab", "c"])
}

fn path_pattern() -> impl Strategy<Value = String> {
    let part = prop_oneof![3 => segment().prop_map(str::to_owned), 2 => Just("{x}".to_owned())];
    (prop::collection::vec(part, 0..5), any::<bool>()).prop_map(|(parts, rest)| {
        let numbered = parts.iter().enumerate().map(|(at, part)| part.replace('x', &format!("x{at}")));
        let mut text: String = numbered.map(|part| format!("/{part}")).collect();
        if rest || text.is_empty() {
            text.push_str(if rest { "/{*rest}" } else { "/" });
        }
        text
    })
}

fn any_scope() -> impl Strategy<Value = Scope> {
    let hosts = prop::sample::select(vec!["a.test", "b.a.test", "*.test", "*.a.test", "c.test"]);
    let methods = prop::sample::select(vec!["GET", "POST", "PROPFIND", "REPORT"]);
    (
        prop::collection::vec(path_pattern(), 0..3),
        prop::collection::vec(hosts, 0..3),
        prop::collection::vec(methods, 0..3),
        prop::collection::vec(0u32..4, 0..3),
    )
        .prop_map(|(paths, hosts, methods, routes)| {
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            scope(&paths, &hosts, &methods, &routes)
        })
}

fn any_target() -> impl Strategy<Value = Target> {
    let methods = prop::sample::select(vec!["GET", "POST", "PROPFIND", "REPORT", "PUT", "MKCOL"]);
    let hosts = prop::sample::select(vec!["a.test", "b.a.test", "c.b.a.test", "test", "x.test", "other"]);
    (methods, hosts, prop::collection::vec(segment(), 0..6), any::<bool>()).prop_map(
        |(method, host, segments, slash)| {
            let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
            target(method, host, &if slash || path.is_empty() { path + "/" } else { path })
        },
    )
}

proptest! {
    #[test]
    fn the_index_finds_what_the_plain_reading_finds(
        scopes in prop::collection::vec(any_scope(), 0..40),
        targets in prop::collection::vec((any_target(), prop::option::of((0u32..5).prop_map(RouteId))), 1..20),
    ) {
        for (target, route) in targets {
            prop_assert_eq!(visited(&scopes, &target, route), filtered(&scopes, &target, route));
        }
    }
}
