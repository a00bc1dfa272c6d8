//! What grants and denies would say of a request of which not everything is known.
//!
//! For replay, whose records lack facts, and for the comparison of two policies, which asks about
//! callers of whom only the role is given. The verdict of a request of which everything is known is
//! [`Rbac::check`]'s; where nothing is uncertain here, both agree.

use super::Rbac;
use super::rule::{Caller, Kind, Rule};
use crate::decision::Written;
use crate::facts::Facts;
use crate::policy::condition::{Fact, Positions, Truth};

/// What is not known of a request.
#[derive(Clone, Copy)]
pub struct Blind<'a> {
    /// Facts that a condition may look at. Where one is said to be unknown, the facts must lack it.
    pub facts: &'a dyn Fn(&Fact) -> bool,
    /// The client's address.
    pub client: bool,
    /// Subject and scopes of the caller.
    pub holder: bool,
    /// Of these, whether the subject is known all the same.
    pub named: bool,
    /// When it is made: rules with a window may be in force or not, unless theirs is over.
    pub time: bool,
    /// Whether anything that a condition looks at is known.
    pub conditions: bool,
}

/// What the rules say: those that do, and those that may, in policy order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Grants that allow.
    pub grants: Vec<Written>,
    /// Grants that may allow.
    pub possible_grants: Vec<Written>,
    /// Denies that forbid.
    pub denies: Vec<Written>,
    /// Denies that may forbid.
    pub possible_denies: Vec<Written>,
}

/// Whether a request may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// It may not.
    Never,
    /// It depends on what is not known.
    Sometimes,
    /// It may.
    Always,
}

impl Blind<'_> {
    /// Where everything is known.
    pub const NOT: Blind<'static> = Blind {
        facts: &|_| false,
        client: false,
        holder: false,
        named: false,
        time: false,
        conditions: false,
    };
}

impl std::fmt::Debug for Blind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blind")
    }
}

impl Outlook {
    /// Whether the request may pass.
    pub fn access(&self) -> Access {
        let maybe = !self.possible_denies.is_empty();
        match (self.denies.is_empty(), self.grants.is_empty(), self.possible_grants.is_empty()) {
            (false, ..) | (true, true, true) => Access::Never,
            (true, false, _) if !maybe => Access::Always,
            (true, ..) => Access::Sometimes,
        }
    }
}

/// What of a rule applies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Applies {
    No,
    Maybe,
    Yes,
}

impl Rbac {
    /// The rules that name subjects, each with its subjects.
    pub fn naming_subjects(&self) -> impl Iterator<Item = (Written, impl Iterator<Item = &str>)> {
        let naming = self.rules.iter().filter(|rule| !rule.subjects.is_empty());
        naming.map(|rule| (rule.written, rule.subjects.iter().map(|subject| &**subject)))
    }

    /// What the rules say of a request.
    pub fn outlook(&self, facts: &Facts<'_>, blind: Blind<'_>) -> Outlook {
        let caller = Caller::new(facts);
        let mut reached = self.table.reach(facts);
        let mut found: Vec<(u32, Applies)> = Vec::new();
        for entry in reached.nearest_first().flat_map(|place| self.table.members(place)) {
            let Some(rule) = self.rules.get(entry.rule as usize) else { continue };
            match applies(rule, self.table.positions(entry), &caller, facts, blind) {
                Applies::No => {}
                applies => found.push((entry.rule, applies)),
            }
        }
        // A rule with several patterns counts by the one with which it does most.
        found.sort_by_key(|(rule, applies)| (*rule, *applies != Applies::Yes));
        found.dedup_by_key(|(rule, _)| *rule);
        let mut outlook = Outlook::default();
        for (rule, applies) in found {
            let Some(rule) = self.rules.get(rule as usize) else { continue };
            let list = match (rule.kind, applies) {
                (_, Applies::No) => continue,
                (Kind::Grant, Applies::Yes) => &mut outlook.grants,
                (Kind::Grant, Applies::Maybe) => &mut outlook.possible_grants,
                (Kind::Deny(_), Applies::Yes) => &mut outlook.denies,
                (Kind::Deny(_), Applies::Maybe) => &mut outlook.possible_denies,
            };
            list.push(rule.written);
        }
        outlook
    }
}

fn applies(
    rule: &Rule,
    positions: &Positions,
    caller: &Caller<'_>,
    facts: &Facts<'_>,
    blind: Blind<'_>,
) -> Applies {
    let shadow = matches!(rule.kind, Kind::Deny(mode) if mode.in_shadow(facts.now));
    let not_yet = rule.not_yet(facts.now) && !blind.time;
    if shadow || not_yet || rule.expired(facts.now) || !rule.methods.contains(&facts.target.method) {
        return Applies::No;
    }
    let exempt = rule.except.iter().any(|role| caller.has_role(*role));
    if rule.lacks_roles(caller) || exempt {
        return Applies::No;
    }
    let mut certain = !(blind.time && (rule.from.is_some() || rule.until.is_some()));
    for (lacks, asks, unknown) in [
        (rule.lacks_subject(caller), !rule.subjects.is_empty(), blind.holder && !blind.named),
        (rule.lacks_scopes(caller), !rule.scopes.is_empty(), blind.holder),
    ] {
        match (asks, unknown) {
            (true, true) => certain = false,
            _ if lacks => return Applies::No,
            _ => {}
        }
    }
    if let Some(condition) = &rule.condition {
        let truth = match blind.conditions {
            true => None,
            false => condition.evaluate_blind(facts, positions, blind.facts, blind.client),
        };
        match (truth, rule.kind) {
            (None, _) => certain = false,
            (Some(Truth::True), _) | (Some(Truth::Error), Kind::Deny(_)) => {}
            (Some(Truth::False), _) | (Some(Truth::Error), Kind::Grant) => return Applies::No,
        }
    }
    if certain { Applies::Yes } else { Applies::Maybe }
}
