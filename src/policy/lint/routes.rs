//! Routes that no grant reaches.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::Look;
use crate::facts::RouteId;
use crate::policy::code::Code;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::route::{AuthnWord, Route};
use crate::policy::scope::{PathTree, Scope, Steps};

/// So much of the tree is looked at for one route.
const STEPS: usize = 2_000;

/// Reports routes that serve no request that a grant could be about. Without any grant another lint
/// says so once.
pub(super) fn unreached(look: &Look<'_>, diagnostics: &mut Diagnostics) {
    if look.policy.rbac.grants_nothing() {
        return;
    }
    let mut anywhere: PathTree<(&Scope, bool)> = PathTree::default();
    let mut by_route: HashMap<RouteId, Vec<(&Scope, bool)>> = HashMap::new();
    for (scope, open) in look.policy.rbac.grants(look) {
        scope.routes.iter().for_each(|route| by_route.entry(*route).or_default().push((scope, open)));
        if scope.routes.is_empty() {
            scope.paths.iter().for_each(|path| anywhere.insert(Some(path), (scope, open)));
            if scope.paths.is_empty() {
                anywhere.insert(None, (scope, open));
            }
        }
    }
    for ((id, route), raw) in look.policy.routes.iter().zip(&look.raw.route) {
        // Over clear text such a route answers itself.
        if route.redirect {
            continue;
        }
        let served = served(route);
        // Where nobody is identified, a grant must be for everybody.
        let reaches = |(scope, open): &(&Scope, bool)| {
            let here = Scope { routes: Vec::new(), ..(*scope).clone() };
            (*open || route.authn != AuthnWord::Off) && here.meets(&served)
        };
        let named = by_route.get(&id).is_some_and(|grants| grants.iter().any(reaches));
        let reached = named
            || anywhere
                .meeting(Some(&route.path), &mut Steps(STEPS), |grant| match reaches(grant) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                })
                .is_break();
        if reached {
            continue;
        }
        let message =
            format!("no grant is about the route `{}`, so all its requests are refused", route.name);
        diagnostics
            .push(Code::UnreachedRoute, raw.id.place, message)
            .about(format!("route/{}", route.name))
            .label("always refused")
            .help("add a [[rbac.grant]] with its path, or remove the route");
    }
}

fn served(route: &Route) -> Scope {
    Scope {
        paths: vec![route.path.clone()],
        hosts: route.host.iter().cloned().collect(),
        methods: route.conditions.methods.clone(),
        routes: Vec::new(),
    }
}
