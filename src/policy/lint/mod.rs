//! What is suspicious in a policy that is right by its letters: rules that never decide, grants that
//! give nothing, doors that stand open.
//!
//! A false alarm is worse than a miss: whoever was called for nothing does not look again. So a lint
//! speaks only where it can prove what it says from the policy alone (property tests compare it with
//! brute force), and every search is bounded: where it ends early nothing is said. [`check`] is called
//! for a policy without errors; [`AllowList`] then takes away what somebody has answered for.

mod allow;
mod cell;
mod pages;
mod raw;
mod routes;
mod served;
mod shadowed;
mod sources;
#[cfg(test)]
mod tests;

pub use allow::{AllowList, Allowed};
pub use pages::{Page, page};
pub use raw::{RawAllow, RawLint};

pub(in crate::policy) use cell::{Cell, cells};
pub(in crate::policy) use served::Served;

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::Policy;
use super::decode::Name;
use super::diagnostic::{At, Diagnostics, Place};
use super::raw::RawPolicy;
use super::scope::{MethodSet, RawScope, Scope};
use super::source::Sources;
use crate::decision::Written;
use crate::facts::RouteId;

/// What lints look at.
pub(in crate::policy) struct Look<'p> {
    /// The policy as written, for places.
    pub(in crate::policy) raw: &'p RawPolicy,
    /// The same compiled.
    pub(in crate::policy) policy: &'p Policy,
    /// The texts.
    pub(in crate::policy) sources: &'p Sources,
    /// What its routes serve.
    pub(in crate::policy) served: Served<'p>,
    /// The routes by name.
    route_ids: HashMap<&'p str, RouteId>,
    /// When the policy is looked at.
    pub(in crate::policy) now: Timestamp,
    /// What ends before then ends soon.
    pub(in crate::policy) soon: Timestamp,
}

/// Looks for what is suspicious in a policy without errors.
pub fn check(
    raw: &RawPolicy,
    policy: &Policy,
    sources: &Sources,
    now: Timestamp,
    diagnostics: &mut Diagnostics,
) {
    let within = raw.lint.as_ref().and_then(|lint| lint.expires_within);
    let within = within.and_then(|span| SignedDuration::try_from(span.value.0).ok()).unwrap_or(SOON);
    let soon = now.checked_add(within).unwrap_or(Timestamp::MAX);
    let route_ids = policy.routes.iter().map(|(id, route)| (&*route.name, id)).collect();
    let look = Look { raw, policy, sources, served: Served::new(&policy.routes), route_ids, now, soon };
    policy.ip.lint(&look, diagnostics);
    policy.rbac.lint(&look, diagnostics);
    super::waf::lint(&look, diagnostics);
    shadowed::routes(&look, diagnostics);
    routes::unreached(&look, diagnostics);
    sources::roles(&look, diagnostics);
    sources::claims(&look, diagnostics);
}

impl Look<'_> {
    /// The scope of a rule as written. None: it names a route that there is not.
    pub(in crate::policy) fn scope(&self, raw: &RawScope) -> Option<Scope> {
        let id = |name: &At<Name>| self.route_ids.get(name.as_str()).copied();
        let methods = raw.methods.iter().flat_map(|methods| &methods.0).map(|method| &method.value.0);
        Some(Scope {
            paths: raw.path.iter().chain(raw.paths.iter().flatten()).map(|path| path.value.clone()).collect(),
            hosts: raw.host.iter().chain(raw.hosts.iter().flatten()).map(|host| host.value.clone()).collect(),
            methods: MethodSet::new(methods),
            routes: raw.routes.iter().flat_map(|routes| &routes.0).map(id).collect::<Option<_>>()?,
        })
    }

    /// The full name of a rule.
    pub(in crate::policy) fn name(&self, rule: Written) -> &str {
        &self.policy.rules.get(rule).name
    }

    /// Where it stands.
    pub(in crate::policy) fn place(&self, rule: Written) -> Place {
        self.policy.rules.get(rule).place
    }

    /// Several rules as people read them: `a`, `b` and 3 more.
    pub(in crate::policy) fn names(&self, rules: &[Written]) -> String {
        let shown: Vec<String> =
            rules.iter().take(SHOWN).map(|rule| format!("`{}`", self.name(*rule))).collect();
        match rules.len().saturating_sub(SHOWN) {
            0 => match shown.split_last() {
                Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
                _ => shown.concat(),
            },
            more => format!("{} and {more} more", shown.join(", ")),
        }
    }
}

/// Two weeks.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// So many names stand in a message.
const SHOWN: usize = 3;
