//! What stayed as it was between the policy that decided and the one that is tried: what a record says
//! of a gate that did not change holds for the new policy too, though its facts are not kept.

use std::collections::BTreeSet;

use crate::config::Setup;
use crate::policy::Policy;
use crate::policy::diff::{Fingerprint, Meaning};

/// What did not change.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// What the first gate refuses.
    pub(super) intake: bool,
    /// The first gate refuses no more than before.
    pub(super) intake_wider: bool,
    /// How the client's address is found.
    pub(super) client: bool,
    /// The routes.
    pub(super) routes: bool,
    /// The WAF's rules and settings.
    pub(super) waf: bool,
    /// The sources of identity.
    pub(super) authn: bool,
    /// The names of the values that were recorded, if a request had them.
    pub(super) named: BTreeSet<String>,
    /// The roles that were declared.
    pub(super) roles: BTreeSet<Box<str>>,
    /// The routes of then that read no credentials.
    pub(super) unread: BTreeSet<Box<str>>,
    /// Whether the policy of then is known at all.
    pub(super) anything: bool,
}

impl Known {
    /// Compares. Without the old policy, nothing is known.
    pub(super) fn between(old: Option<&Setup>, new: &Setup) -> Known {
        let Some(old) = old else { return Known::default() };
        let meaning = |setup: &Setup| Meaning::of(&setup.sources, &setup.policy.rules);
        let (was, is) = (meaning(old), meaning(new));
        let same = |prefixes: &[&str]| definitions(&was, prefixes).eq(definitions(&is, prefixes));
        let rules = |meaning: &Meaning| -> Vec<_> {
            let waf = meaning.rules.iter().filter(|(name, _)| name.starts_with("waf/"));
            waf.map(|(name, rule)| (name.clone(), rule.clone())).collect()
        };
        let routes = same(&["route "]);
        let (before, after) = (&old.policy.intake, &new.policy.intake);
        let limits = {
            let (a, b) = (before.limits, after.limits);
            b.head >= a.head && b.fields >= a.fields && b.target >= a.target && b.credential >= a.credential
        };
        let proxies = |policy: &Policy| policy.proxies.proxies.is_empty();
        let named = old.policy.rbac.condition_facts().iter().map(ToString::to_string);
        let headers = old.settings.log.headers.iter().map(|name| format!("header.{name}"));
        let unread =
            old.policy.routes.iter().filter(|(_, route)| route.authn == crate::policy::route::AuthnWord::Off);
        Known {
            intake: routes && before.limits == after.limits && before.managed == after.managed,
            intake_wider: routes && limits && before.managed == after.managed,
            client: (proxies(&old.policy) && proxies(&new.policy)) || same(&["[server]", "network "]),
            routes,
            waf: rules(&was) == rules(&is) && same(&["[waf]", "waf.exclude ", "file "]),
            authn: same(&["[authn]", "authn."]),
            named: named.chain(headers).collect(),
            roles: old.policy.roles.iter().map(|(_, name)| name.into()).collect(),
            unread: unread.map(|(_, route)| route.name.clone()).collect(),
            anything: true,
        }
    }
}

/// The definitions of some kinds.
fn definitions<'m>(
    meaning: &'m Meaning,
    prefixes: &'m [&str],
) -> impl Iterator<Item = (&'m Box<str>, &'m Fingerprint)> {
    meaning.definitions.iter().filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)))
}
