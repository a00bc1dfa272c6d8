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
