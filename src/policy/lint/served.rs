//! Which routes a scope is about.

use std::ops::ControlFlow;

use crate::facts::RouteId;
use crate::policy::route::{Route, Routes};
use crate::policy::scope::{PathTree, Scope, Steps};

/// The routes by what they serve.
#[derive(Debug)]
pub(in crate::policy) struct Served<'p> {
    routes: &'p Routes,
    tree: PathTree<RouteId>,
}

/// So much of the tree is looked at for one rule.
const STEPS: usize = 2_000;

impl<'p> Served<'p> {
    pub(in crate::policy) fn new(routes: &'p Routes) -> Served<'p> {
        let mut tree = PathTree::default();
        for (id, route) in routes.iter() {
            tree.insert(Some(&route.path), id);
        }
        Served { routes, tree }
    }

    /// Whether a request may be in the scope and served by a route. Where that is too much work to
    /// find out, it may.
    pub(in crate::policy) fn meets(&self, scope: &Scope) -> bool {
        if scope.is_any() {
            return self.routes.iter().len() > 0;
        }
        if !scope.routes.is_empty() {
            return scope.routes.iter().any(|id| meets(scope, self.routes.get(*id)));
        }
        let paths = scope.paths.iter().map(Some).chain(scope.paths.is_empty().then_some(None));
        let mut steps = Steps(STEPS);
        let mut look = paths.map(|path| {
            self.tree.meeting(path, &mut steps, |id| match meets(scope, self.routes.get(*id)) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        });
        look.any(|looked| looked.is_break())
    }
}

impl<'p> Served<'p> {
    /// The routes that may serve requests in the scope; none where that is too much work to find out.
    pub(in crate::policy) fn of(&self, scope: &Scope) -> Option<Vec<&'p Route>> {
        if !scope.routes.is_empty() {
            return Some(scope.routes.iter().map(|id| self.routes.get(*id)).collect());
        }
        let mut found = Vec::new();
        let mut steps = Steps(STEPS);
        for path in scope.paths.iter().map(Some).chain(scope.paths.is_empty().then_some(None)) {
            let looked = self.tree.meeting(path, &mut steps, |id| {
                let route = self.routes.get(*id);
                if meets(scope, route) {
                    found.push(route);
                }
                ControlFlow::Continue(())
            });
            if looked.is_break() {
                return None;
            }
        }
        Some(found)
    }
}

/// Whether a request may be in the scope and in that of a route, whatever other routes there are.
fn meets(scope: &Scope, route: &Route) -> bool {
    let of = Scope {
        paths: vec![route.path.clone()],
        hosts: route.host.iter().cloned().collect(),
        methods: route.conditions.methods.clone(),
        routes: Vec::new(),
    };
    scope.meets(&of)
}
