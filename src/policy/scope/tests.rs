//! The index against the plain reading of scopes.

mod cover;

use http::{HeaderMap, HeaderValue, Method, Uri, header};
use proptest::prelude::*;

use super::shape::{Asked, Pattern};
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

/// Texts stand with their patterns up to a certain length, and elsewhere from there on.
#[test]
fn patterns_of_every_length_are_found_and_no_byte_of_them_is_passed_over() {
    let path = |length: usize| format!("/a/{}", "x".repeat(length));
    let scopes: Vec<Scope> = (1..80).map(|length| scope(&[&path(length)], &["h.test"], &[], &[])).collect();
    for length in 1..80 {
        assert_eq!(visited(&scopes, &target("GET", "h.test", &path(length)), None), [length - 1]);
        for at in 0..length {
            let mut other = path(length);
            other.replace_range(3 + at..4 + at, "y");
            let other = target("GET", "h.test", &other);
            let has = Pattern::new(None, None, scopes[length - 1].paths.first());
            let mut texts = Vec::new();
            has.write(&mut texts);
            assert!(!Asked::new(&other, None, 0).has(&has.shape(), &texts), "{length}: {at}");
        }
    }
}

#[test]
fn of_many_patterns_just_the_one_that_matches_is_visited_and_once() {
    let paths: Vec<String> = (0..20_000).map(|number| format!("/s{number}/x")).collect();
    let scopes: Vec<Scope> = paths.iter().map(|path| scope(&[path], &[], &[], &[])).collect();
    let index = Index::new(scopes.iter().zip(0usize..));
    for (at, path) in paths.iter().enumerate() {
        let mut found = Vec::new();
        index.visit(&target("GET", "h", path), None, |entry| found.push(*entry));
        assert_eq!(found, [at]);
    }
}

#[test]
fn many_shapes_are_divided_and_all_of_them_found() {
    // Each segment literal or not: 256 shapes of one length, all of which cover the request.
    let path = |bits: u32| -> String {
        (0..8).map(|at| if bits >> at & 1 == 1 { format!("/{{n{at}}}") } else { "/a".to_owned() }).collect()
    };
    let scopes: Vec<Scope> = (0..256).map(|bits| scope(&[&path(bits)], &[], &[], &[])).collect();
    let all: Vec<usize> = (0..256).collect();
    assert_eq!(visited(&scopes, &target("GET", "h", "/a/a/a/a/a/a/a/a"), None), all);
    let odd: Vec<usize> = (0..256).filter(|bits| bits & 1 == 1).collect();
    assert_eq!(visited(&scopes, &target("GET", "h", "/b/a/a/a/a/a/a/a"), None), odd);
    assert_eq!(visited(&scopes, &target("GET", "h", "/a/a/a/a/a/a/a"), None), [] as [usize; 0]);
}

/// A segment as a pattern has it, and as a request may write it. Few of them, so that patterns and
/// requests collide all the time; some differ only behind, before or between blocks of a hash.
fn segment() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop::sample::select(vec![
        ("a", "a"),
        ("a", "%61"),
        ("b", "b"),
        ("ab", "ab"),
        ("a b", "a%20b"),
        ("c", "a%2Fb"),
        ("a", "%2Fa"),
        ("sixteen-bytes-16", "sixteen-bytes-16"),
        ("seventeen-bytes-a", "seventeen-bytes-a"),
        ("seventeen-bytes-b", "seventeen-bytes-b"),
        ("a-segment-of-more-than-two-blocks-a", "a-segment-of-more-than-two-blocks-a"),
        ("a-segment-of-more-than-two-blocks-b", "a-segment-of-more-than-two-blocks-b"),
    ])
}

fn path_pattern() -> impl Strategy<Value = String> {
    let part = prop_oneof![3 => segment().prop_map(|(text, _)| text.to_owned()), 3 => Just("{}".to_owned())];
    (prop::collection::vec(part, 0..8), any::<bool>()).prop_map(|(parts, rest)| {
        let numbered = parts.iter().enumerate().map(|(at, part)| part.replace("{}", &format!("{{x{at}}}")));
        let mut text: String = numbered.map(|part| format!("/{part}")).collect();
        if rest || text.is_empty() {
            text.push_str(if rest { "/{*rest}" } else { "/" });
        }
        text
    })
}

/// The last two differ before their sixth dot from the right.
const HOSTS: [&str; 7] =
    ["a.test", "b.a.test", "*.test", "*.a.test", "c.test", "*.x.b.c.d.e.f.a.test", "*.y.b.c.d.e.f.a.test"];

/// A path of a pattern, and a request's that has it or nearly so.
fn pattern_and_path() -> impl Strategy<Value = (String, String)> {
    let more = prop::collection::vec(segment(), 0..2);
    (path_pattern(), prop::collection::vec(segment(), 8), more, any::<bool>()).prop_map(
        |(pattern, instead, more, rarely)| {
            let parts = pattern.split('/').skip(1).zip(instead);
            let written =
                parts.map(|(part, (_, other))| match part.starts_with('{') || (rarely && other == "b") {
                    true => other.to_owned(),
                    false => part.replace(' ', "%20"),
                });
            let path: String = written
                .chain(more.iter().map(|(_, other)| (*other).to_owned()))
                .map(|part| format!("/{part}"))
                .collect();
            (pattern, path)
        },
    )
}

fn any_scope() -> impl Strategy<Value = Scope> {
    let hosts = prop::sample::select(HOSTS.to_vec());
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

fn any_host() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a.test",
        "b.a.test",
        "c.b.a.test",
        "test",
        "x.test",
        "other",
        "[::1]",
        "a.x.b.c.d.e.f.a.test",
        "a.y.b.c.d.e.f.a.test",
        "x.b.c.d.e.f.a.test",
    ])
}

fn any_target() -> impl Strategy<Value = Target> {
    let methods = prop::sample::select(vec!["GET", "POST", "PROPFIND", "REPORT", "PUT", "MKCOL"]);
    (methods, any_host(), prop::collection::vec(segment(), 0..9), any::<bool>()).prop_map(
        |(method, host, segments, slash)| {
            let path: String = segments.iter().map(|(_, written)| format!("/{written}")).collect();
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

    /// Nothing but this comparison decides what a look-up finds, however badly hashes collide.
    #[test]
    fn a_pattern_has_the_request_just_if_the_plain_reading_says_so(
        (path, written) in pattern_and_path(),
        at in prop::option::of(prop::sample::select(HOSTS.to_vec())),
        host in any_host(),
        route in prop::option::of(0u32..2),
        asked_route in prop::option::of(0u32..2),
    ) {
        let scope = scope(&[&path], at.as_slice(), &[], route.as_slice());
        let target = target("GET", host, if written.is_empty() { "/" } else { &written });
        let asked_route = asked_route.map(RouteId);
        let pattern = Pattern::new(route.map(RouteId), scope.hosts.first(), scope.paths.first());
        let (shape, mut texts) = (pattern.shape(), Vec::new());
        pattern.write(&mut texts);
        let asked = Asked::new(&target, asked_route, 8);
        let matches = scope.matches(&target, asked_route);
        prop_assert_eq!(shape.fits(asked.length() as u32) && asked.has(&shape, &texts), matches);
        if matches {
            prop_assert_eq!(asked.sum(&shape), pattern.sum());
        }
    }
}
