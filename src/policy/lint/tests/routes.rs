//! Routes that are said to serve nothing serve nothing, and no other.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::check;
use crate::config::{Outcome, compile};
use crate::policy::code::Code;
use crate::policy::fixture::{Ask, NOW, ask, time};
use crate::policy::source::Sources;

#[test]
fn a_route_is_shadowed_where_others_take_all_of_it() {
    let grant = "[[rbac.grant]]\nid = \"g\"\nroles = [\"authenticated\"]\nmethods = [\"GET\"]\n";
    let routes = |routes: &[(&str, &str)]| {
        let table =
            |(id, keys): &(&str, &str)| format!("[[route]]\nid = \"{id}\"\nupstream = \"app\"\n{keys}\n");
        grant.to_owned() + &routes.iter().map(table).collect::<String>()
    };
    let shadowed = [(Code::ShadowedRoute, "route/x")];
    let x = ("x", "path = \"/x\"");
    let (with, without) = ("path = \"/x\"\nheaders = { b = true }", "path = \"/x\"\nheaders = { b = false }");
    check(&routes(&[x, ("a", with), ("b", without)]), &shadowed);
    check(&routes(&[x, ("a", with)]), &[]);
    check(&routes(&[x, ("a", with), ("b", "path = \"/x\"\nheaders = { b = false, c = false }")]), &[]);
    check(&routes(&[x, ("a", with), ("b", &format!("{without}\nhost = \"a.test\""))]), &[]);
    // What others leave of the methods is not nothing.
    check(&routes(&[x, ("a", with), ("b", &format!("{without}\nmethods = [\"GET\"]"))]), &[]);
    let get = ("x", "path = \"/x\"\nmethods = [\"GET\"]");
    check(
        &routes(&[
            get,
            ("a", &format!("{with}\nmethods = [\"GET\", \"PUT\"]")),
            ("b", &format!("{without}\nmethods = [\"GET\"]")),
        ]),
        &shadowed,
    );
    // A value of a field is one of many.
    check(&routes(&[x, ("a", "path = \"/x\"\nheaders = { b = \"1\" }"), ("b", without)]), &[]);
    let one = ("x", "path = \"/x\"\nheaders = { b = \"1\" }");
    check(
        &routes(&[
            one,
            ("a", "path = \"/x\"\nheaders = { b = \"1\", c = true }"),
            ("b", "path = \"/x\"\nheaders = { b = \"1\", c = false }"),
        ]),
        &shadowed,
    );
    // A path with all below it is the path and what is below it.
    let below = ("x", "path = \"/x/{*rest}\"");
    check(&routes(&[below]), &[]);
    check(&routes(&[below, ("a", "path = \"/x\""), ("b", "path = \"/x/{y}/{*rest}\"")]), &shadowed);
    check(&routes(&[below, ("a", "path = \"/x\""), ("b", "path = \"/x/{y}\"")]), &[]);
    check(&routes(&[below, ("a", "path = \"/x\""), ("b", "path = \"/x/y/{*rest}\"")]), &[]);
}

fn outcome(routes: &[String]) -> Outcome {
    let mut text = String::from(
        "version = 1\n[server]\nlisten = [\"127.0.0.1:8080\"]\n[upstream.app]\nservers = [\"http://127.0.0.1:9001\"]\n\
         [[rbac.grant]]\nid = \"g\"\nroles = [\"authenticated\"]\nmethods = [\"GET\"]\n",
    );
    for (number, keys) in routes.iter().enumerate() {
        text.push_str(&format!("[[route]]\nid = \"r{number}\"\nupstream = \"app\"\n{keys}"));
    }
    compile(Sources::single("p.toml", text), time(NOW))
}

fn routes() -> impl Strategy<Value = Vec<String>> {
    let paths = vec!["/", "/a", "/{x}", "/a/{*r}", "/{x}/{*r}", "/a/{x}", "/a/{x}/{*r}", "/{*r}"];
    let hosts = vec!["", "", "", "host = \"h.test\"\n", "host = \"*.test\"\n"];
    let methods = vec!["", "", "", "methods = [\"GET\"]\n", "methods = [\"GET\", \"PUT\"]\n"];
    let fields = vec![
        "",
        "headers = { h = true }\n",
        "headers = { h = false }\n",
        "headers = { h = true, i = true }\n",
        "headers = { h = true, i = false }\n",
        "headers = { h = \"1\" }\n",
        "headers = { i = false }\n",
    ];
    let route = (
        prop::sample::select(paths),
        prop::sample::select(hosts),
        prop::sample::select(methods),
        prop::sample::select(fields),
    );
    let route =
        route.prop_map(|(path, host, methods, fields)| format!("path = \"{path}\"\n{host}{methods}{fields}"));
    prop::collection::vec(route, 2..7)
}

/// Requests of every kind that makes a difference to such routes.
fn universe() -> Vec<Ask> {
    let mut all = Vec::new();
    for path in ["/", "/a", "/z", "/a/z", "/z/z", "/a/z/z", "/z/z/z", "/a/z/z/z"] {
        for host in ["h.test", "i.test", "other"] {
            for method in ["GET", "PUT", "OTHER"] {
                for h in [None, Some("1"), Some("2")] {
                    for i in [None, Some("2")] {
                        let fields =
                            [("h", h), ("i", i)].into_iter().filter_map(|(name, value)| Some((name, value?)));
                        all.push(fields.fold(ask(method, path).host(host), |ask, (name, value)| {
                            ask.header(name, value)
                        }));
                    }
                }
            }
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn just_the_routes_that_no_request_takes_are_told(routes in routes()) {
        let outcome = outcome(&routes);
        let found = outcome.diagnostics.iter().filter(|found| found.code == Code::ShadowedRoute);
        let told: BTreeSet<String> = found.filter_map(|found| found.about.clone()).collect();
        // Two that are equally specific are an error.
        let Some(setup) = &outcome.setup else { return Ok(()) };
        let routes_of = &setup.policy.routes;
        let taken = universe().iter().filter_map(|ask| ask.with(&setup.policy, |facts| facts.route)).collect::<Vec<_>>();
        let idle = routes_of.iter().filter(|(id, _)| !taken.contains(id));
        let idle: BTreeSet<String> = idle.map(|(_, route)| format!("route/{}", route.name)).collect();
        prop_assert_eq!(told, idle, "{:?}", routes);
    }
}

/// What the property would show nothing without.
#[test]
fn some_of_the_generated_routes_are_shadowed() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let shadowed = |_: &usize| {
        let routes = routes().new_tree(&mut runner).unwrap().current();
        let outcome = outcome(&routes);
        outcome.setup.is_some() && outcome.diagnostics.iter().any(|found| found.code == Code::ShadowedRoute)
    };
    assert!((0..2_000).filter(shadowed).count() > 3);
}
