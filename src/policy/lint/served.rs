//! Which routes a scope is about.

use std::ops::ControlFlow;

use crate::facts::RouteId;
use crate::policy::route::{Route, Routes};
use crate::policy::scope::{PathTree, Scope, Steps};

/// The routes by what they serve.
#[derive(Debug)]
pub(in crate::policy) struct Served<'p> {
    routes: &'p Routes,
    /// What each route serves, whatever other routes there are.
    scopes: Vec<Scope>,
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
        let scope = |(_, route): (RouteId, &Route)| Scope {
            paths: vec![route.path.clone()],
            hosts: route.host.iter().cloned().collect(),
            methods: route.conditions.methods.clone(),
            routes: Vec::new(),
        };
        Served { routes, scopes: routes.iter().map(scope).collect(), tree }
    }

    /// Whether a request may be in the scope and served by a route. Where that is too much work to
    /// find out, it may.
    pub(in crate::policy) fn meets(&self, scope: &Scope) -> bool {
        if scope.is_any() {
            return !self.scopes.is_empty();
        }
        self.each(scope, |_| ControlFlow::Break(())).is_break()
    }

    /// Visits the routes that serve requests in the scope, some of them more than once. Broken off also
    /// where that is too much work.
    pub(super) fn each(
        &self,
        scope: &Scope,
        mut visit: impl FnMut(RouteId) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut look = |id: RouteId| match self.scopes.get(id.0 as usize) {
            // Routes are compared as such where the scope names them, and have none in their own.
            Some(served) if scope.meets(served) => visit(id),
            _ => ControlFlow::Continue(()),
        };
        if !scope.routes.is_empty() {
            return scope.routes.iter().try_for_each(|id| look(*id));
        }
        let paths = scope.paths.iter().map(Some).chain(scope.paths.is_empty().then_some(None));
        let mut steps = Steps(STEPS);
        for path in paths {
            self.tree.meeting(path, &mut steps, |id| look(*id))?;
        }
        ControlFlow::Continue(())
    }
    /// The routes that may serve requests in the scope; none where that is too much work to find out.
    pub(in crate::policy) fn of(&self, scope: &Scope) -> Option<Vec<&'p Route>> {
        let mut found = Vec::new();
        if !scope.routes.is_empty() {
            return Some(scope.routes.iter().map(|id| self.routes.get(*id)).collect());
        }
        let looked = self.each(scope, |id| {
            found.push(self.routes.get(id));
            ControlFlow::Continue(())
        });
        looked.is_continue().then_some(found)
    }
}
