//! Which route a request takes, against a naive matcher; and what a route may not be.

use proptest::prelude::*;

use super::*;
use crate::policy::fixture::{Ask, ask, policy, problems};

fn route(id: &str, host: &str, path: &str) -> String {
    let host = if host.is_empty() { String::new() } else { format!("host = \"{host}\"\n") };
    format!("[[route]]\nid = \"{id}\"\n{host}path = \"{path}\"\nupstream = \"up\"\n")
}

fn check(routes: &[(&str, &str, &str)], asks: &[(&str, &str, &str)]) {
    let text: String = routes.iter().map(|(id, host, path)| route(id, host, path)).collect();
    let policy = policy(&text);
    for (host, path, want) in asks {
        let ask = ask("GET", path).host(host);
        let taken = ask.with(&policy, |facts| policy.route(facts.route).map(|route| route.name.clone()));
        assert_eq!(taken.as_deref().unwrap_or("none"), *want, "{host}{path}");
    }
}

#[test]
fn the_host_decides_before_the_path() {
    check(
        &[
            ("any", "", "/a/b"),
            ("below", "*.test", "/a/{x}"),
            ("deeper", "*.a.test", "/{*rest}"),
            ("exact", "x.a.test", "/{*rest}"),
        ],
        &[
            ("x.a.test", "/a/b", "exact"),
            ("y.a.test", "/a/b", "deeper"),
            ("y.test", "/a/b", "below"),
            ("y.test", "/a", "none"),
            ("example", "/a/b", "any"),
        ],
    );
}

#[test]
fn a_more_specific_host_that_does_not_serve_the_path_yields() {
    check(
        &[("exact", "x.test", "/a"), ("below", "*.test", "/b"), ("any", "", "/{*rest}")],
        &[("x.test", "/a", "exact"), ("x.test", "/b", "below"), ("x.test", "/c", "any")],
    );
}

#[test]
fn segments_decide_from_left_to_right() {
    check(
        &[
            ("literal-any", "", "/a/{y}"),
            ("any-literal", "", "/{x}/b"),
            ("rest", "", "/a/{*rest}"),
            ("end", "", "/a"),
            ("root", "", "/{*rest}"),
        ],
        &[
            ("h", "/a/b", "literal-any"),
            ("h", "/c/b", "any-literal"),
            ("h", "/a", "end"),
            ("h", "/a/", "end"),
            ("h", "/a/b/c", "rest"),
            ("h", "/c", "root"),
            ("h", "/", "root"),
        ],
    );
}

#[test]
fn no_route_is_404_where_the_host_is_served_and_421_where_not() {
    let policy = policy(&(route("a", "*.api.test", "/a") + &route("b", "api.test", "/b/c/{*rest}")));
    let said = |ask: Ask| ask.traced(&policy, Stage::Route);
    assert_eq!(
        said(ask("GET", "/b/c")).1,
        ["route/matched pass: route `b` (api.test/b/c/{*rest}) serves api.test/b/c"]
    );
    let (verdict, steps) = said(ask("GET", "/b/d"));
    assert_eq!(verdict, "deny route/none no_route");
    assert_eq!(
        steps,
        ["route/none deny no_route: no route serves /b/d; nearest: `b` (api.test/b/c/{*rest})"]
    );
    let (verdict, steps) = said(ask("GET", "/b/c").host("apt.test"));
    assert_eq!(verdict, "deny route/authority misdirected");
    assert_eq!(
        steps,
        ["route/authority deny misdirected: no route serves the host `apt.test`; one serves `api.test`"]
    );
    assert_eq!(said(ask("GET", "/b").host("x.api.test")).0, "deny route/none no_route");
}

#[test]
fn routes_that_serve_the_same_requests_are_refused() {
    let found = |text: String| problems(&text);
    assert_eq!(
        found(route("a", "x.test", "/a/{x}") + &route("b", "X.test", "/a/{y}/")),
        [(Code::AmbiguousRoute, "\"b\"".into(), "`a` and `b` serve the same requests".into())]
    );
    assert_eq!(found(route("a", "", "/a/{x}") + &route("b", "", "/{x}/a")), []);
    assert_eq!(found(route("a", "*.test", "/a") + &route("b", "x.test", "/a")), []);
}

#[test]
fn ids_and_upstreams_are_checked() {
    let found = |text: String| {
        let found = problems(&text);
        found.into_iter().map(|(code, at, _)| (code, at)).collect::<Vec<_>>()
    };
    assert_eq!(found(route("a", "", "/a") + &route("a", "", "/b")), [(Code::DuplicateId, "\"a\"".into())]);
    assert_eq!(found(route("none", "", "/a")), [(Code::ReservedId, "\"none\"".into())]);
    assert_eq!(
        found(route("a", "", "/a").replace("\"up\"", "\"upp\"")),
        [(Code::UnknownName, "\"upp\"".into())]
    );
    assert_eq!(
        found(route("a", "", "/a") + "mode = \"shadow\""),
        [(Code::ShadowWithoutEnd, "\"shadow\"".into())]
    );
}

#[test]
fn what_a_route_says_is_kept() {
    let keys = r#"
        authn = "required"
        upgrade = ["websocket"]
        accept = ["encoded-slash", "trailers"]
        body_limit = "1KiB"
        waf_body = "off"
        preserve_host = false
        mode = "shadow"
        shadow_until = 2027-01-01T00:00:00Z
    "#;
    let policy = policy(&(route("a", "", "/a") + keys + &route("b", "", "/b")));
    let Some((_, full)) = policy.routes.iter().next() else { panic!("a route") };
    assert_eq!(
        (full.authn, full.websocket, full.waf_body, full.preserve_host),
        (AuthnWord::Required, true, false, false)
    );
    assert_eq!(full.body_limit, Some(1024));
    assert_eq!(full.accept, Accept { encoded_slash: true, trailers: true, ..Accept::default() });
    assert!(matches!(full.mode, Mode::Shadow(Some(_))));
    let Some((_, plain)) = policy.routes.iter().nth(1) else { panic!("a route") };
    assert_eq!(
        (plain.authn, plain.websocket, plain.waf_body, plain.preserve_host),
        (AuthnWord::Optional, false, true, true)
    );
    assert_eq!((plain.body_limit, plain.accept, plain.mode), (None, Accept::default(), Mode::Enforce));
    assert_eq!(policy.routes.unused_upstreams().collect::<Vec<_>>(), [1]);
}

/// The rule of precedence as it is written, one comparison at a time.
fn more_specific(a: &Route, b: &Route, target: &Target) -> bool {
    let host = |route: &Route| match &route.host {
        Some(HostPattern::Exact(_)) => 1000,
        Some(HostPattern::Below(suffix)) => suffix.len(),
        None => 0,
    };
    if host(a) != host(b) {
        return host(a) > host(b);
    }
    for at in 0..=target.segments().len() {
        let kind = |route: &Route| match route.path.segments().get(at) {
            Some(Segment::Literal(_)) => 3,
            Some(Segment::Any(_)) => 2,
            None if at == target.segments().len() && route.path.rest().is_none() => 3,
            None => 1,
        };
        if kind(a) != kind(b) {
            return kind(a) > kind(b);
        }
    }
    false
}

fn naive(routes: &Routes, target: &Target) -> Option<RouteId> {
    let covers = |route: &Route| {
        route.host.as_ref().is_none_or(|host| host.matches(target.host()))
            && route.path.matches(target.segments())
    };
    let mut best: Option<(RouteId, &Route)> = None;
    for (id, route) in routes.iter().filter(|(_, route)| covers(route)) {
        if best.is_none_or(|(_, best)| more_specific(route, best, target)) {
            best = Some((id, route));
        }
    }
    best.map(|(id, _)| id)
}

fn paths() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "{x}", "c"]);
    (prop::collection::vec(part, 0..4), any::<bool>()).prop_map(|(parts, rest)| {
        let parts = parts.iter().enumerate().map(|(at, part)| part.replace('x', &format!("x{at}")));
        parts.chain(rest.then(|| "{*rest}".to_owned())).map(|part| format!("/{part}")).collect::<String>()
    })
}

proptest! {
    #[test]
    fn the_route_taken_is_the_most_specific_of_those_that_cover(
        routes in prop::collection::vec(
            (prop::sample::select(vec!["", "x.test", "*.test", "*.a.test", "y.a.test"]), paths()), 1..24),
        asks in prop::collection::vec(
            (prop::sample::select(vec!["x.test", "y.a.test", "z.a.test", "other"]),
             prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..5)), 1..20),
    ) {
        // Ambiguous routes are left out: which of two equal ones is taken is a load error.
        let mut seen = std::collections::HashSet::new();
        let text: String = routes
            .iter()
            .map(|(host, path)| (host, if path.is_empty() { "/" } else { path }))
            .filter(|(host, path)| seen.insert((*host, path.replace(|c: char| c.is_ascii_digit(), ""))))
            .enumerate()
            .map(|(at, (host, path))| route(&format!("r{at}"), host, path))
            .collect();
        let policy = policy(&text);
        for (host, segments) in asks {
            let path = format!("/{}", segments.join("/"));
            ask("GET", &path).host(host).with(&policy, |facts| {
                prop_assert_eq!(facts.route, naive(&policy.routes, facts.target), "{}{} on\n{}", host, path, text);
                let served = policy.routes.iter().any(|(_, route)| {
                    route.host.as_ref().is_none_or(|pattern| pattern.matches(host))
                });
                prop_assert_eq!(policy.routes.serves_host(host), served);
                Ok(())
            })?;
        }
    }
}
