//! What stayed as it was between the policy that decided and the one that is tried: what a record says
//! of a gate that did not change holds for the new policy too, though its facts are not kept.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Setup;
use crate::decision::{Builtin, RuleRef};
use crate::facts::{RouteId, Target};
use crate::policy::Policy;
use crate::policy::authn::KeyRing;
use crate::policy::diff::{ChangedName, Difference, Fingerprint, Kind, Meaning, RuleScope};
use crate::policy::route::{AuthnWord, Route};
use crate::policy::scope::{HostPattern, MethodSet, PathPattern, Scope};
use crate::policy::waf::RuleReach;

/// What did not change.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// What the first gate refuses.
    pub(super) intake: bool,
    /// The first gate refuses no more than before, as far as routes do not say so.
    pub(super) intake_wider: bool,
    /// The routes of then.
    pub(super) then: BTreeMap<Box<str>, Route>,
    /// How the client's address is found.
    pub(super) client: bool,
    /// What routes refuse and answer by themselves.
    pub(super) routes: bool,
    /// The WAF's rules and settings.
    pub(super) waf: WafKnown,
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
        let then = old.policy.routes.iter().map(|(_, route)| (route.name.clone(), route.clone())).collect();
        let same = |prefixes: &[&str]| definitions(&was, prefixes).eq(definitions(&is, prefixes));
        let routes = same_routes(&old.policy, &new.policy, Route::decides_as);
        let reading = same_routes(&old.policy, &new.policy, Route::reads_as);
        let (before, after) = (&old.policy.intake, &new.policy.intake);
        let limits = {
            let (a, b) = (before.limits, after.limits);
            b.head >= a.head && b.fields >= a.fields && b.target >= a.target && b.credential >= a.credential
        };
        let (trusted, trusts) = (&old.policy.proxies, &new.policy.proxies);
        let nobody = trusted.proxies.is_empty() && trusts.proxies.is_empty();
        let named = old.policy.rbac.condition_facts().iter().map(ToString::to_string);
        let headers = old.settings.log.headers.iter().map(|name| format!("header.{name}"));
        let unread = old.policy.routes.iter().filter(|(_, route)| route.authn == AuthnWord::Off);
        Known {
            intake: reading && before.limits == after.limits && before.managed == after.managed,
            intake_wider: limits && before.managed == after.managed,
            client: nobody || trusted == trusts,
            routes,
            waf: match same(&["[waf]", "file "]) {
                true => WafKnown::between(old, new, &was, &is),
                false => WafKnown::Nothing,
            },
            authn: same(&["authn."]) || same_sources(old, new, &was, &is),
            then,
            named: named.chain(headers).collect(),
            roles: old.policy.roles.iter().map(|(_, name)| name.into()).collect(),
            unread: unread.map(|(_, route)| route.name.clone()).collect(),
            anything: true,
        }
    }
}

/// What is known of the WAF's judgement, whose texts are not kept.
#[derive(Clone, Debug, Default)]
pub(super) enum WafKnown {
    /// Nothing: its settings are others, or rules of a program.
    #[default]
    Nothing,
    /// It is what it was but for some rules.
    Changed(Vec<ChangedRule>),
}

/// A WAF rule that is not what it was.
#[derive(Clone, Debug)]
pub(super) struct ChangedRule {
    name: Box<str>,
    /// The requests for which it is not.
    scopes: Vec<Scope>,
    /// Whether it may refuse there what it did not, and may let pass what it refused.
    more: bool,
    less: bool,
}

impl WafKnown {
    /// Compares the rules; of exclusions, each belongs to the rules that it names.
    fn between(old: &Setup, new: &Setup, was: &Meaning, is: &Meaning) -> WafKnown {
        let changed = Difference::rules(was, is);
        let changed = changed.into_iter().filter(|rule| rule.name.starts_with("waf/"));
        let changed = changed.map(|rule| {
            let excluded =
                !rule.because.is_empty() && rule.because.iter().all(|name| name.starts_with("waf.exclude "));
            match excluded {
                true => ChangedRule::excluded(&rule, new, was, is),
                false => ChangedRule::new(rule.name, &old.policy, &new.policy),
            }
        });
        changed.collect::<Option<Vec<_>>>().map_or(WafKnown::Nothing, WafKnown::Changed)
    }

    /// The changed rules that are about a request.
    pub(super) fn about(&self, target: &Target, route: Option<RouteId>) -> Option<About<'_>> {
        let WafKnown::Changed(rules) = self else { return None };
        let about = |rule: &&ChangedRule| rule.scopes.iter().any(|scope| scope.matches(target, route));
        Some(About(rules.iter().filter(about).collect()))
    }
}

impl ChangedRule {
    fn new(name: Box<str>, old: &Policy, new: &Policy) -> Option<ChangedRule> {
        let (was, is) = (of(old, &name)?, of(new, &name)?);
        let mut scopes: Vec<Scope> = Vec::new();
        if let Some(was) = &was {
            // Its routes are numbered as they are now.
            let names = was.scope.routes.iter().map(|id| &*old.routes.get(*id).name);
            scopes.push(Scope { routes: routes(new, names)?, ..was.scope.clone() });
        }
        scopes.extend(is.iter().map(|is| is.scope.clone()));
        let refuses = |reach: &Option<RuleReach<'_>>| reach.as_ref().is_some_and(|reach| reach.refuses);
        Some(ChangedRule { less: refuses(&was), more: refuses(&is), name, scopes })
    }

    /// A rule that is what it was but for exclusions that name it.
    fn excluded(rule: &ChangedName, new: &Setup, was: &Meaning, is: &Meaning) -> Option<ChangedRule> {
        // Of a program's rules, what one does not see may concern others.
        of(&new.policy, &rule.name)??;
        let scope = |scope: &RuleScope| {
            Some(Scope {
                paths: scope.paths.iter().map(|path| PathPattern::parse(path).ok()).collect::<Option<_>>()?,
                hosts: scope.hosts.iter().map(|host| HostPattern::parse(host)).collect::<Option<_>>()?,
                methods: MethodSet::default(),
                routes: routes(&new.policy, scope.routes.iter().map(String::as_str))?,
            })
        };
        let (mut scopes, mut more, mut less) = (Vec::new(), false, false);
        for name in &rule.because {
            let (before, after) = (was.exclusion(name), is.exclusion(name));
            scopes.extend(before.into_iter().chain(after).map(scope).collect::<Option<Vec<_>>>()?);
            more |= before.is_some();
            less |= after.is_some();
        }
        Some(ChangedRule { name: rule.name.clone(), scopes, more, less })
    }
}

/// Whether sources that are written otherwise verify alike all the same, perhaps since their files are named from
/// elsewhere. (What of `[authn]` says who must be shown stands in the routes.)
fn same_sources(old: &Setup, new: &Setup, was: &Meaning, is: &Meaning) -> bool {
    let others = |name: &str| name.starts_with("authn.jwt ") || name.starts_with("authn.basic ");
    let differ = Difference::definitions(was, is);
    let differ = differ.iter().filter(|found| found.name.starts_with("authn."));
    let keys = KeyRing::default();
    differ.into_iter().all(|found| found.kind == Kind::Changed && others(&found.name))
        && old.policy.authn.stamp(&keys) == new.policy.authn.stamp(&keys)
}

/// Whether the routes refuse and answer what they did. In which order they stand does not matter.
fn same_routes(old: &Policy, new: &Policy, alike: fn(&Route, &Route) -> bool) -> bool {
    let was: BTreeMap<&str, &Route> = old.routes.iter().map(|(_, route)| (&*route.name, route)).collect();
    let is = |route: &Route| was.get(&*route.name).is_some_and(|was| alike(was, route));
    was.len() == new.routes.iter().len() && new.routes.iter().all(|(_, route)| is(route))
}

/// The routes with these names, if there are all of them.
fn routes<'n>(policy: &Policy, names: impl Iterator<Item = &'n str>) -> Option<Vec<RouteId>> {
    let found = |name: &str| policy.routes.iter().find(|(_, route)| *route.name == *name).map(|(id, _)| id);
    names.map(found).collect()
}

/// A rule by its name, if there is one; none if nothing can be said of it.
fn of<'p>(policy: &'p Policy, name: &str) -> Option<Option<RuleReach<'p>>> {
    match policy.rules.by_name(name) {
        None => Some(None),
        Some(RuleRef::Written(rule)) => policy.waf.reach(rule).map(Some),
        Some(RuleRef::Builtin(_)) => None,
    }
}

/// The changed rules that are about one request.
#[derive(Debug)]
pub(super) struct About<'k>(Vec<&'k ChangedRule>);

impl About<'_> {
    /// Whether what passed all rules passes them still: none refuses that did not, or not in this way.
    pub(super) fn passes_still(&self) -> bool {
        self.0.iter().all(|rule| !rule.more)
    }

    /// Whether what a rule refused is refused still: by the same one, or since none refused that does
    /// not refuse now in the same way. A score may have been the sum of many.
    pub(super) fn refuses_still(&self, rule: &str, by_score: bool) -> bool {
        let no_less = self.0.iter().all(|rule| !rule.less);
        let itself = rule.starts_with("waf/") && Builtin::by_name(rule).is_none() && !by_score;
        no_less || (itself && self.0.iter().all(|changed| *changed.name != *rule))
    }
}

/// The definitions of some kinds.
fn definitions<'m>(
    meaning: &'m Meaning,
    prefixes: &'m [&str],
) -> impl Iterator<Item = (&'m Box<str>, &'m Fingerprint)> {
    meaning.definitions.iter().filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)))
}
