//! What is suspicious among address rules.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::Ip;
use super::intervals::Intervals;
use super::rule::Rule;
use crate::decision::Written;
use crate::policy::code::Code;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::lint::{Cell, Look, cells};
use crate::policy::mode::Mode;
use crate::policy::scope::{PathTree, RawScope, Scope, Steps};

/// So many steps are gone for one cell of a rule.
const STEPS: usize = 300;

/// So many places in lists of addresses are compared in all. Beyond that nothing more is said.
const WORK: usize = 20_000_000;

impl Ip {
    /// Looks for what is suspicious.
    pub(in crate::policy) fn lint(&self, look: &Look<'_>, diagnostics: &mut Diagnostics) {
        self.never_match(look, diagnostics);
        self.shadowed(look, diagnostics);
        self.disjoint(look, diagnostics);
    }

    /// The rules that say who may pass, with their paths as written: what they are about is protected.
    pub(in crate::policy) fn protected<'l>(
        &'l self,
        look: &'l Look<'_>,
    ) -> impl Iterator<Item = (Written, &'l Scope, &'l RawScope)> {
        let raw = look.raw.ip.iter().flat_map(|ip| &ip.rule);
        let rules = self.rules.iter().zip(&self.scopes).zip(raw);
        let protects = |rule: &Rule| rule.is_allow() && enforces(rule, look);
        rules
            .filter(move |((rule, _), _)| protects(rule))
            .map(|((rule, scope), raw)| (rule.written, scope, &raw.scope))
    }

    /// A rule that names routes, none of which serves what it is about.
    fn never_match(&self, look: &Look<'_>, diagnostics: &mut Diagnostics) {
        for (rule, scope) in self.rules.iter().zip(&self.scopes) {
            // This gate stands before that of the route, so other rules may refuse what is not served.
            if rule.mode == Mode::Off || scope.routes.is_empty() || look.served.meets(scope) {
                continue;
            }
            let name = look.name(rule.written);
            let message = format!("`{name}` is about requests that the routes it names do not serve");
            diagnostics
                .push(Code::NeverMatches, look.place(rule.written), message)
                .about(name)
                .label("never judged")
                .help("compare its `path`, `host` and `methods` with those of the routes");
        }
    }

    /// Rules whose refusals are all made by rules before them.
    fn shadowed(&self, look: &Look<'_>, diagnostics: &mut Diagnostics) {
        let mut tree = PathTree::default();
        let mut refused: Vec<Option<Intervals>> = Vec::new();
        let mut work = WORK;
        for (number, (rule, scope)) in self.rules.iter().zip(&self.scopes).enumerate() {
            if !enforces(rule, look) {
                refused.push(None);
                continue;
            }
            let mine = rule.refused();
            work = work.saturating_sub(mine.size());
            if work == 0 {
                return;
            }
            if mine.is_empty() && rule.is_allow() {
                let name = look.name(rule.written);
                diagnostics
                    .push(
                        Code::NeverMatches,
                        look.place(rule.written),
                        format!("`{name}` refuses nobody: it lets every address through"),
                    )
                    .about(name)
                    .label("refuses nobody")
                    .help("list the addresses that may pass, or remove it");
            }
            let by = self.cover(scope, &tree, &mut work, |number, work| {
                let theirs = refused.get(number).and_then(Option::as_ref);
                theirs.is_some_and(|theirs| {
                    *work = work.saturating_sub(mine.size() + theirs.size());
                    *work > 0 && theirs.covers(&mine)
                })
            });
            match by.filter(|_| !mine.is_empty()) {
                Some(by) => self.tell(rule, &by, look, diagnostics),
                None => {
                    scope.paths.iter().for_each(|path| tree.insert(Some(path), number));
                    if scope.paths.is_empty() {
                        tree.insert(None, number);
                    }
                }
            }
            refused.push(Some(mine));
        }
    }

    /// `allow` rules that let nobody through, since others are about all of their requests and have none of
    /// their addresses. Which of two is the mistake cannot be told; where each is so, it is told once.
    fn disjoint(&self, look: &Look<'_>, diagnostics: &mut Diagnostics) {
        let mut tree = PathTree::default();
        let mut work = WORK;
        let mut passing: Vec<Option<Intervals>> = Vec::new();
        for (number, (rule, scope)) in self.rules.iter().zip(&self.scopes).enumerate() {
            if !rule.is_allow() || !enforces(rule, look) {
                passing.push(None);
                continue;
            }
            let passes = rule.refused().complement();
            work = work.saturating_sub(passes.size());
            if work == 0 {
                return;
            }
            passing.push(Some(passes));
            scope.paths.iter().for_each(|path| tree.insert(Some(path), number));
            if scope.paths.is_empty() {
                tree.insert(None, number);
            }
        }
        let mut told: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (number, scope) in self.scopes.iter().enumerate() {
            let Some(mine) = passing.get(number).and_then(Option::as_ref) else { continue };
            if mine.is_empty() {
                // It lets nobody through by itself.
                continue;
            }
            let by = self.cover(scope, &tree, &mut work, |other, work| {
                let theirs = passing.get(other).and_then(Option::as_ref).filter(|_| other != number);
                theirs.is_some_and(|theirs| {
                    *work = work.saturating_sub(mine.size() + theirs.size());
                    *work > 0 && mine.without(theirs) == *mine
                })
            });
            let (Some(by), Some(rule)) = (by, self.rules.get(number)) else { continue };
            let again = |other: &usize| told.get(other).is_some_and(|by| by.contains(&number));
            if !by.iter().all(again) {
                self.tell_disjoint(rule, &by, look, diagnostics);
                told.insert(number, by);
            }
        }
    }

    fn tell_disjoint(
        &self,
        rule: &Rule,
        by: &BTreeSet<usize>,
        look: &Look<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        let by: Vec<Written> =
            by.iter().filter_map(|at| self.rules.get(*at)).map(|rule| rule.written).collect();
        let name = look.name(rule.written);
        let (are, have) = if by.len() == 1 { ("is", "has") } else { ("are", "have") };
        let message = format!(
            "`{name}` lets nobody through: {} {are} about all of its requests and {have} none of its addresses",
            look.names(&by)
        );
        let problem = diagnostics.push(Code::NobodyPasses, look.place(rule.written), message);
        problem.about(name).label("lets nobody through");
        for by in &by {
            problem.also(look.place(*by), "has none of these addresses");
        }
        problem.help("every rule must let an address through: list all that may pass in one rule, or exempt them from the wider one with `except`");
    }

    /// The rules that together do what is asked of each in all of this scope.
    fn cover(
        &self,
        scope: &Scope,
        tree: &PathTree<usize>,
        work: &mut usize,
        mut fits: impl FnMut(usize, &mut usize) -> bool,
    ) -> Option<BTreeSet<usize>> {
        let mut by = BTreeSet::new();
        for cell in cells(scope)? {
            let mut found = None;
            let _ = tree.covering(cell.path, &mut Steps(STEPS), |number| {
                let fits = self.is_within(&cell, *number) && fits(*number, work);
                if fits {
                    found = Some(*number);
                }
                if fits || *work == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            by.insert(found?);
        }
        Some(by)
    }

    fn is_within(&self, cell: &Cell<'_>, number: usize) -> bool {
        self.scopes.get(number).is_some_and(|scope| cell.is_within(scope))
    }

    fn tell(&self, rule: &Rule, by: &BTreeSet<usize>, look: &Look<'_>, diagnostics: &mut Diagnostics) {
        let by: Vec<Written> =
            by.iter().filter_map(|at| self.rules.get(*at)).map(|rule| rule.written).collect();
        let name = look.name(rule.written);
        let refuse = if by.len() == 1 { "refuses" } else { "refuse" };
        let message =
            format!("`{name}` refuses nobody: {} before it {refuse} the same addresses", look.names(&by));
        let problem = diagnostics.push(Code::ShadowedRule, look.place(rule.written), message);
        problem.about(name).label("refuses nobody");
        for by in &by {
            problem.also(look.place(*by), "refuses the same addresses, or more");
        }
        problem.help(match rule.is_allow() {
            true => "every rule must let an address through: to add addresses, list them in the other rule",
            false => "remove it, or narrow the other",
        });
    }
}

/// Whether the rule refuses, now and in future.
fn enforces(rule: &Rule, look: &Look<'_>) -> bool {
    rule.mode != Mode::Off && !rule.mode.in_shadow(look.now)
}
