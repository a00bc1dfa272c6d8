//! Scope keys: which requests a rule is about. The same words mean the same everywhere.
//!
//! A missing key means any; values in one key are ORed, keys are ANDed.
//! [`Scope::matches`] is the plain reading, one rule at a time; it is the reference that the
//! compiled [`Index`] is tested against.

mod buckets;
mod cover;
mod host;
mod index;
mod method;
mod path;
mod patterns;
mod shape;
#[cfg(test)]
mod tests;
mod tree;

use crate::facts::{RouteId, Target};
use crate::policy::decode::{Name, OneOrMany, table};
use crate::policy::diagnostic::At;

pub use host::HostPattern;
pub use index::Index;
pub use method::{MethodMask, MethodName, MethodSet};
pub use path::{PathPattern, Segment};
pub use patterns::{Covering, Patterns, PatternsBuilder};
pub use tree::{PathTree, Steps};

table! {
    /// The scope keys of a rule.
    pub struct RawScope as "a scope" {
        /// The paths the rule is about: `/a/{name}/b`, `/a/{*rest}`.
        opt path: At<PathPattern>,
        /// Several paths.
        opt paths: Vec<At<PathPattern>>,
        /// The hosts the rule is about: exact, or `*.example.com`.
        opt host: At<HostPattern>,
        /// Several hosts.
        opt hosts: Vec<At<HostPattern>>,
        /// The methods the rule is about.
        opt methods: OneOrMany<At<MethodName>>,
        /// The routes the rule is about, by id.
        opt routes: OneOrMany<At<Name>>,
    }
}

/// Which requests a rule is about. An empty list means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Path patterns.
    pub paths: Vec<PathPattern>,
    /// Host patterns.
    pub hosts: Vec<HostPattern>,
    /// Methods.
    pub methods: MethodSet,
    /// Routes.
    pub routes: Vec<RouteId>,
}

impl Scope {
    /// Whether a request is in scope, read one pattern after the other.
    pub fn matches(&self, target: &Target, route: Option<RouteId>) -> bool {
        (self.paths.is_empty() || self.paths.iter().any(|path| path.matches(target.segments())))
            && (self.hosts.is_empty() || self.hosts.iter().any(|host| host.matches(target.host())))
            && self.methods.contains(&target.method)
            && (self.routes.is_empty() || route.is_some_and(|route| self.routes.contains(&route)))
    }

    /// How many combinations of routes, hosts and paths there are.
    pub fn combinations(&self) -> usize {
        let lists = [self.paths.len(), self.hosts.len(), self.routes.len()];
        lists.into_iter().map(|length| length.max(1)).fold(1, usize::saturating_mul)
    }

    /// Whether the scope leaves nothing out.
    pub fn is_any(&self) -> bool {
        *self == Scope::default()
    }
}
