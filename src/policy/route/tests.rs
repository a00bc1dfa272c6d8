//! Which route a request takes, against a naive matcher; and what a route may not be.

use proptest::prelude::*;

use super::*;
use crate::policy::code::Code;
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

#[test]
fn more_conditions_are_more_specific_and_a_route_without_any_takes_the_rest() {
    let policy = policy(
        &(route("any", "", "/a")
            + &route("post", "", "/a")
            + "methods = [\"POST\"]\n"
            + &route("tenant", "", "/a")
            + "headers = { X-Tenant = \"a\", x-beta = false }\n"
            + &route("beta", "", "/a")
            + "methods = [\"GET\"]\nheaders = { x-beta = true }\n"
            + &route("deep", "", "/a/{x}")
            + "methods = \"DELETE\"\n"
            + &route("rest", "", "/{*rest}")),
    );
    let check = |ask: Ask, want: &str| {
        let taken = ask.with(&policy, |facts| policy.route(facts.route).map(|route| route.name.clone()));
        assert_eq!(taken.as_deref().unwrap_or("none"), want, "{ask:?}");
    };
    check(ask("GET", "/a"), "any");
    check(ask("POST", "/a"), "post");
    check(ask("POST", "/a").header("x-tenant", "a"), "tenant");
    check(ask("POST", "/a").header("x-tenant", "b"), "post");
    check(ask("POST", "/a").header("x-tenant", "A"), "post");
    check(ask("GET", "/a").header("x-tenant", "a").header("x-beta", ""), "beta");
    check(ask("POST", "/a").header("x-tenant", "a").header("x-beta", ""), "post");
    check(ask("DELETE", "/a/b"), "deep");
    check(ask("GET", "/a/b"), "rest");
}

#[test]
fn a_repeated_field_is_refused_where_a_route_looks_at_it() {
    let policy = policy(
        &(route("tenant", "", "/a")
            + "headers = { x-tenant = \"a\" }\n"
            + &route("none", "", "/b").replace("none", "without")
            + "headers = { x-tenant = false }\n"
            + &route("rest", "", "/{*rest}")),
    );
    let said = |path: &str| {
        ask("GET", path).header("x-tenant", "a").header("x-tenant", "a").verdict(&policy, Stage::Intake)
    };
    assert_eq!(said("/a"), "deny intake/header-duplicate bad_header");
    assert_eq!(said("/b"), "deny intake/header-duplicate bad_header");
    assert_eq!(said("/c"), "pass intake/clean");
}

#[test]
fn a_thousand_tenants_are_one_look() {
    let tenants =
        |at: usize| route(&format!("t{at}"), "", "/a") + &format!("headers = {{ x-tenant = \"{at}\" }}\n");
    let policy = policy(&(0..1000).map(tenants).collect::<String>());
    assert_eq!(policy.routes.choices.len(), 1);
    let asked = ask("GET", "/a").header("x-tenant", "777");
    assert_eq!(asked.with(&policy, |facts| facts.route), Some(RouteId(777)));
}

#[test]
fn conditions_that_could_both_be_met_are_refused() {
    let check = |one: &str, other: &str, ambiguous: bool| {
        let text = route("a", "", "/{x}") + one + "\n" + &route("b", "", "/{y}") + other + "\n";
        let found: Vec<_> = problems(&text).into_iter().map(|(code, at, _)| (code, at)).collect();
        let want = if ambiguous { vec![(Code::AmbiguousRoute, "\"b\"".into())] } else { vec![] };
        assert_eq!(found, want, "{one} / {other}");
    };
    check("methods = [\"GET\", \"PUT\"]", "methods = [\"PUT\"]", true);
    check("methods = [\"GET\"]", "methods = [\"PUT\"]", false);
    check("methods = [\"GET\"]", "", false);
    check("methods = [\"GET\"]", "headers = { x-a = \"1\" }", true);
    check("headers = { x-a = \"1\" }", "headers = { x-a = \"2\" }", false);
    check("headers = { x-a = \"1\" }", "headers = { x-a = true }", true);
    check("headers = { x-a = false }", "headers = { x-a = true }", false);
    check("headers = { x-a = false }", "headers = { x-a = \"1\" }", false);
    check("headers = { x-a = \"1\" }", "headers = { x-b = \"1\" }", true);
    check("headers = { x-a = \"1\", x-b = true }", "headers = { x-b = false, x-c = \"1\" }", false);
}

#[test]
fn what_a_route_may_look_at_is_checked() {
    let check = |keys: &str, want: &str| {
        let found = problems(&(route("a", "", "/a") + keys));
        let [(_, _, message)] = &found[..] else { panic!("{keys}: {found:?}") };
        assert_eq!(message, want);
    };
    check("methods = []", "`methods` is empty, so this route would serve nothing");
    check(
        "headers = { connection = true }",
        "a route cannot name the field `connection`: it belongs to the connection or the framing",
    );
    check(
        "headers = { X-Forwarded-Proto = \"https\" }",
        "a route cannot name the field `x-forwarded-proto`: it is the gateway's own, which sets or removes it",
    );
    check("headers = { x_a = true }", "`x_a` is not the name of a header field");
    check("headers = { x-a = true, X-A = true }", "the field `x-a` stands here twice");
    check("headers = { x-a = \"a\\r\\nb\" }", "no header field can have this value");
    check(
        "headers = { x-a = 7 }",
        "expected a text, or true for any value, or false for none, found an integer",
    );
}

#[test]
fn too_many_views_of_one_path_are_refused() {
    let at = |at: usize| {
        let more: String = (0..at).map(|at| format!("x-{at} = true, ")).collect();
        route(&format!("r{at}"), "", "/a") + &format!("headers = {{ {more} y = true }}\n")
    };
    let codes = |count: usize| -> Vec<Code> {
        problems(&(0..count).map(at).collect::<String>()).into_iter().map(|(code, ..)| code).collect()
    };
    assert_eq!(codes(16), []);
    assert_eq!(codes(17), [Code::Limit]);
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
    a.conditions.count() > b.conditions.count()
}

/// Knows nothing of repeated fields: the requests of the property have none.
fn naive(routes: &Routes, target: &Target, headers: &HeaderMap) -> Option<RouteId> {
    let covers = |route: &Route| {
        route.host.as_ref().is_none_or(|host| host.matches(target.host()))
            && route.path.matches(target.segments())
            && route.conditions.are_met(&target.method, headers)
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

/// Conditions as written: methods, then whether and how two fields are looked at.
type Wanted = (Vec<&'static str>, [Option<&'static str>; 2]);

fn wanted() -> impl Strategy<Value = Wanted> {
    let methods = prop::sample::subsequence(vec!["GET", "POST", "PROPFIND"], 0..3);
    let field = || prop::option::weighted(0.3, prop::sample::select(vec!["\"1\"", "\"2\"", "true", "false"]));
    (methods, [field(), field()])
}

/// Whether some request could meet both, tried with every request there is.
fn both(one: &Wanted, other: &Wanted) -> bool {
    let meets = |(methods, fields): &Wanted, method: &str, has: [Option<&str>; 2]| {
        (methods.is_empty() || methods.contains(&method))
            && fields.iter().zip(has).all(|(want, has)| match want {
                None => true,
                Some("true") => has.is_some(),
                Some("false") => has.is_none(),
                Some(text) => has == Some(text),
            })
    };
    let values = [None, Some("\"1\""), Some("\"2\""), Some("\"3\"")];
    ["GET", "POST", "PROPFIND", "PUT"].iter().any(|method| {
        values
            .iter()
            .any(|a| values.iter().any(|b| meets(one, method, [*a, *b]) && meets(other, method, [*a, *b])))
    })
}

fn count((methods, fields): &Wanted) -> usize {
    usize::from(!methods.is_empty()) + fields.iter().flatten().count()
}

fn keys((methods, fields): &Wanted) -> String {
    let methods = if methods.is_empty() { String::new() } else { format!("methods = {methods:?}\n") };
    let fields =
        ["x-a", "x-b"].iter().zip(fields).filter_map(|(name, want)| Some(format!("{name} = {}", (*want)?)));
    format!("{methods}headers = {{ {} }}\n", fields.collect::<Vec<_>>().join(", "))
}

proptest! {
    #[test]
    fn the_route_taken_is_the_most_specific_of_those_that_cover(
        routes in prop::collection::vec(
            (prop::sample::select(vec!["", "x.test", "*.test", "*.a.test", "y.a.test"]), paths(), wanted()),
            1..32),
        asks in prop::collection::vec(
            (prop::sample::select(vec!["x.test", "y.a.test", "z.a.test", "other"]),
             prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..5),
             prop::sample::select(vec!["GET", "POST", "PROPFIND", "PUT"]),
             [prop::option::of(1u8..4), prop::option::of(1u8..4)]), 1..24),
    ) {
        // Ambiguous routes are left out: which of two equal ones is taken is a load error.
        let mut seen: Vec<(&str, String, &Wanted)> = Vec::new();
        let mut ambiguous = String::new();
        let mut text = String::new();
        for (at, (host, path, wanted)) in routes.iter().enumerate() {
            let path = if path.is_empty() { "/" } else { path };
            let shape = path.replace(|c: char| c.is_ascii_digit(), "");
            let tied = seen.iter().any(|(other, shaped, rival)| {
                other == host && *shaped == shape && count(rival) == count(wanted) && both(rival, wanted)
            });
            let written = route(&format!("r{at}"), host, path) + &keys(wanted);
            if tied {
                ambiguous = written;
            } else {
                text.push_str(&written);
                seen.push((host, shape, wanted));
            }
        }
        if !ambiguous.is_empty() {
            let codes: Vec<Code> = problems(&(text.clone() + &ambiguous)).into_iter().map(|(code, ..)| code).collect();
            prop_assert!(codes.contains(&Code::AmbiguousRoute), "{:?} for\n{}{}", codes, text, ambiguous);
        }
        let policy = policy(&text);
        for (host, segments, method, values) in asks {
            let path = format!("/{}", segments.join("/"));
            let mut asked = ask(method, &path).host(host);
            for (name, value) in ["x-a", "x-b"].iter().zip(values) {
                if let Some(value) = value {
                    asked = asked.header(name, &value.to_string());
                }
            }
            asked.with(&policy, |facts| {
                let want = naive(&policy.routes, facts.target, facts.headers);
                prop_assert_eq!(facts.route, want, "{} {}{} {:?} on\n{}", method, host, path, facts.headers, text);
                let served = policy.routes.iter().any(|(_, route)| {
                    route.host.as_ref().is_none_or(|pattern| pattern.matches(host))
                });
                prop_assert_eq!(policy.routes.serves_host(host), served);
                Ok(())
            })?;
        }
    }
}
