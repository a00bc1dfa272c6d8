//! What is suspicious among grants and denies.
//!
//! Rules are taken apart into [cells](crate::policy::lint::Cell), one caller at a time ([`who`]); what
//! covers a cell is looked up by caller and path. With 10,000 rules that is some ten thousand look-ups
//! of bounded length.

mod covered;
mod lookalike;
mod single;
mod who;

use super::Rbac;
use super::rule::{Kind, Rule};
use crate::decision::Written;
use crate::facts::RoleId;
use crate::policy::condition::Condition;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::lint::Look;
use crate::policy::mode::Mode;
use crate::policy::scope::Scope;

/// A rule with what it is about, by its number.
#[derive(Clone, Copy)]
struct Numbered<'r> {
    number: usize,
    rule: &'r Rule,
    scope: &'r Scope,
}

impl Rbac {
    /// Looks for what is suspicious.
    pub(in crate::policy) fn lint(&self, look: &Look<'_>, diagnostics: &mut Diagnostics) {
        for rule in self.numbered() {
            single::never_matches(rule, look, diagnostics);
            single::never_holds(rule, look, diagnostics);
            single::exempts_all(rule, look, diagnostics);
            single::allow_all(rule, look, diagnostics);
            single::expires_soon(rule, look, diagnostics);
        }
        covered::redundant_grants(self, look, diagnostics);
        covered::shadowed_denies(self, look, diagnostics);
        covered::overbroad_denies(self, look, diagnostics);
        lookalike::look(self, look, diagnostics);
    }

    fn numbered(&self) -> impl DoubleEndedIterator<Item = Numbered<'_>> {
        let rules = self.rules.iter().zip(&self.scopes).enumerate();
        rules.map(|(number, (rule, scope))| Numbered { number, rule, scope })
    }

    fn get(&self, number: usize) -> Option<Numbered<'_>> {
        Some(Numbered { number, rule: self.rules.get(number)?, scope: self.scopes.get(number)? })
    }

    /// What the rules are about.
    pub(crate) fn each_scope(&self) -> impl Iterator<Item = (Written, &Scope)> {
        self.rules.iter().zip(&self.scopes).map(|(rule, scope)| (rule.written, scope))
    }

    /// What the conditions look at, with the rule whose condition it is.
    pub(in crate::policy) fn each_condition(&self) -> impl Iterator<Item = (Written, &Condition)> {
        self.rules.iter().filter_map(|rule| Some((rule.written, rule.condition.as_ref()?)))
    }

    /// The roles that each rule names, `anyone` and `authenticated` included.
    pub(in crate::policy) fn each_role(&self) -> impl Iterator<Item = (Written, RoleId)> {
        self.rules.iter().flat_map(|rule| rule.roles.iter().map(|role| (rule.written, *role)))
    }

    /// The grants that count now or later, as far as they may concern requests of a route: what they
    /// are about, and whether somebody without a credential may use them.
    pub(in crate::policy) fn grants<'l>(
        &'l self,
        look: &'l Look<'_>,
    ) -> impl Iterator<Item = (&'l Scope, bool)> {
        let alive = |rule: &Numbered<'_>| rule.rule.kind == Kind::Grant && !rule.rule.expired(look.now);
        self.numbered().filter(alive).map(|rule| (rule.scope, rule.is_open()))
    }
}

impl<'r> Numbered<'r> {
    /// Whether the rule is about everybody, identified or not.
    fn is_open(&self) -> bool {
        let Rule { kind, roles, subjects, scopes, .. } = self.rule;
        let whoever = match kind {
            Kind::Grant => roles.contains(&RoleId::ANYONE),
            Kind::Deny(_) => roles.is_empty() || roles.contains(&RoleId::ANYONE),
        };
        whoever && subjects.is_empty() && scopes.is_empty()
    }

    /// Whether it is a deny that refuses, now and in future.
    fn enforces(&self, look: &Look<'_>) -> bool {
        match self.rule.kind {
            Kind::Grant | Kind::Deny(Mode::Off) => false,
            Kind::Deny(mode) => !mode.in_shadow(look.now),
        }
    }

    /// Whether this rule counts whenever the other does, from now on.
    fn outlasts(&self, other: &Numbered<'_>, look: &Look<'_>) -> bool {
        let begins = |rule: &Rule| rule.from.filter(|from| *from > look.now);
        let in_time =
            begins(self.rule).is_none_or(|mine| begins(other.rule).is_some_and(|theirs| mine <= theirs));
        in_time && self.rule.until.is_none_or(|mine| other.rule.until.is_some_and(|theirs| theirs <= mine))
    }

    /// Whether its condition holds whenever the other's does: there is none, or they are the same
    /// and look at the same segments.
    fn is_no_stricter_than(&self, other: &Numbered<'_>) -> bool {
        let Some(mine) = &self.rule.condition else { return true };
        let same = |theirs: &Condition| {
            mine.text() == theirs.text()
                && (!mine.uses_path() || self.scope.paths == other.scope.paths && self.scope.paths.len() == 1)
        };
        other.rule.condition.as_ref().is_some_and(same)
    }
}
