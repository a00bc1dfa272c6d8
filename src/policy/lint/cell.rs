//! A rule taken apart: one path, host, route and method at a time.
//!
//! A rule is about the product of its keys, so another has all of it just if it has every cell, and a
//! rule's own cells may each be covered by another rule.

use http::Method;
use smallvec::SmallVec;

use crate::facts::RouteId;
use crate::policy::scope::{HostPattern, MethodSet, PathPattern, Scope};

/// The requests of one path, host, route and method; none: any.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::policy) struct Cell<'s> {
    pub(in crate::policy) path: Option<&'s PathPattern>,
    pub(in crate::policy) host: Option<&'s HostPattern>,
    pub(in crate::policy) route: Option<RouteId>,
    pub(in crate::policy) method: Option<&'s Method>,
}

/// A rule with more cells is not looked at: nobody writes one, and it would cost too much.
const MAX_CELLS: usize = 128;

/// The cells of a scope, if they are few.
pub(in crate::policy) fn cells(scope: &Scope) -> Option<Vec<Cell<'_>>> {
    let methods = or_any(scope.methods.named());
    if scope.combinations().saturating_mul(methods.len()) > MAX_CELLS {
        return None;
    }
    let (paths, hosts) = (or_any(scope.paths.iter()), or_any(scope.hosts.iter()));
    let routes = or_any(scope.routes.iter().copied());
    let mut cells = Vec::with_capacity(scope.combinations().saturating_mul(methods.len()));
    for method in &methods {
        for route in &routes {
            for host in &hosts {
                let of = |path: &Option<_>| Cell { path: *path, host: *host, route: *route, method: *method };
                cells.extend(paths.iter().map(of));
            }
        }
    }
    Some(cells)
}

/// What is listed; nothing listed means any.
fn or_any<T>(listed: impl Iterator<Item = T>) -> SmallVec<[Option<T>; 4]> {
    let mut listed: SmallVec<[Option<T>; 4]> = listed.map(Some).collect();
    if listed.is_empty() {
        listed.push(None);
    }
    listed
}

impl Cell<'_> {
    /// Whether a scope has all of the cell but for its path, which was looked up.
    pub(in crate::policy) fn is_within(&self, scope: &Scope) -> bool {
        self.hosts_within(&scope.hosts)
            && (scope.routes.is_empty() || self.route.is_some_and(|route| scope.routes.contains(&route)))
            && self.methods_within(&scope.methods)
    }

    fn hosts_within(&self, hosts: &[HostPattern]) -> bool {
        hosts.is_empty() || self.host.is_some_and(|mine| hosts.iter().any(|host| host.covers(mine)))
    }

    fn methods_within(&self, methods: &MethodSet) -> bool {
        methods.is_any() || self.method.is_some_and(|method| methods.contains(method))
    }
}
