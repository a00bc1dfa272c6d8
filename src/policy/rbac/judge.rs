//! The verdict: every rule that applies is asked, any deny beats every grant, and of several rules
//! that say the same the first in policy order is named.

use super::rule::{Caller, Kind, Rule};
use super::table::{Entry, EntryKind, Reached, Table};
use crate::decision::{Notes, Reason, ShadowHit};
use crate::facts::Facts;
use crate::policy::condition::Truth;
use crate::policy::scope::MethodMask;

/// A judgement being made.
pub(super) struct Judge<'j, 'f> {
    rules: &'j [Rule],
    table: &'j Table,
    facts: &'j Facts<'f>,
    pub(super) caller: Caller<'f>,
    method: MethodMask,
    notes: &'j mut Notes,
    /// The first grant that allows.
    pub(super) grant: Option<u32>,
    /// The first deny that forbids, and whether its condition holds or cannot be told.
    pub(super) deny: Option<(u32, Reason)>,
}

impl<'j, 'f> Judge<'j, 'f> {
    #[inline]
    pub(super) fn new(
        rules: &'j [Rule],
        table: &'j Table,
        facts: &'j Facts<'f>,
        notes: &'j mut Notes,
    ) -> Self {
        let method = MethodMask::of(&facts.target.method);
        Judge { rules, table, facts, caller: Caller::new(facts), method, notes, grant: None, deny: None }
    }

    /// Asks the rules that cover the request. Where they stand.
    #[inline]
    pub(super) fn ask(&mut self) -> Reached<'j> {
        let (table, facts, caller, method) = (self.table, self.facts, self.caller, self.method);
        let mut reached = Reached::default();
        table.each_entry(facts, &caller, method, &mut reached, |entry| self.consider(entry));
        reached
    }

    #[inline]
    fn consider(&mut self, entry: &Entry) {
        if entry.methods.undecided(self.method) && !self.names_extension(entry) {
            return;
        }
        match entry.kind {
            EntryKind::Grant => self.allowed_by(entry.rule),
            EntryKind::Deny => self.forbidden_by(entry.rule, Reason::DeniedByRule),
            EntryKind::DetailedGrant | EntryKind::DetailedDeny => self.consider_details(entry),
            // What leads on to rules is none.
            EntryKind::List | EntryKind::Crowd => {}
        }
    }

    #[cold]
    fn names_extension(&self, entry: &Entry) -> bool {
        let rule = self.rules.get(entry.rule as usize);
        rule.is_some_and(|rule| rule.methods.contains(&self.facts.target.method))
    }

    #[inline]
    fn allowed_by(&mut self, rule: u32) {
        self.grant = Some(self.grant.map_or(rule, |first| first.min(rule)));
    }

    #[inline]
    fn forbidden_by(&mut self, rule: u32, reason: Reason) {
        // A deny may be met under one of its patterns and in doubt under another: met is said.
        let found = (rule, reason);
        self.deny = Some(self.deny.map_or(found, |first| first.min(found)));
    }

    fn consider_details(&mut self, entry: &Entry) {
        let Some(rule) = self.rules.get(entry.rule as usize) else { return };
        let settled = match rule.kind {
            Kind::Grant => self.deny.is_some() || self.grant.is_some_and(|first| first <= entry.rule),
            Kind::Deny(mode) => {
                !mode.in_shadow(self.facts.now) && self.deny.is_some_and(|(first, _)| first < entry.rule)
            }
        };
        let now = self.facts.now;
        if settled || rule.not_yet(now) || rule.expired(now) || !rule.concerns(&self.caller) {
            return;
        }
        let truth = rule.condition(self.facts, self.table.positions(entry));
        self.notes.personal |= rule.is_personal;
        // Who withholds a value that a rule must look at does not pass, and is not let off.
        match (rule.kind, truth) {
            (Kind::Grant, Truth::True) => self.allowed_by(entry.rule),
            (Kind::Deny(mode), Truth::True | Truth::Error) => {
                let reason =
                    if truth == Truth::Error { Reason::ConditionError } else { Reason::DeniedByRule };
                if mode.in_shadow(now) {
                    self.note(rule, reason);
                } else {
                    self.forbidden_by(entry.rule, reason);
                }
            }
            (Kind::Grant, Truth::False | Truth::Error) | (Kind::Deny(_), Truth::False) => {}
        }
    }

    /// Records a deny in shadow, once, in policy order.
    fn note(&mut self, rule: &Rule, reason: Reason) {
        let hit = ShadowHit { rule: rule.written.into(), reason };
        let shadow = &mut self.notes.shadow;
        match shadow.iter_mut().find(|known| known.rule == hit.rule) {
            Some(known) => known.reason = known.reason.min(reason),
            None => {
                let at = shadow.iter().take_while(|known| known.rule < hit.rule).count();
                shadow.insert(at, hit);
            }
        }
    }
}
