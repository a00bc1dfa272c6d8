//! Which addresses are welcome at all.
//!
//! Every rule that covers a request must let its address through: an `allow` rule refuses whoever
//! is not on its list, a `deny` rule whoever is, and neither says anything about an address under
//! `except`. Covering rules are found by the scope index and lists are compiled sets, so neither
//! the number of rules nor that of networks is felt by a request that they do not concern.

mod bans;
mod intervals;
mod lints;
mod pages;
mod raw;
mod rule;
mod set;
mod spared;
#[cfg(test)]
mod tests;
mod turns;

pub use bans::Bans;
pub use raw::{RawIp, RawIpRule};
pub use set::IpSet;
pub use spared::{Listed, Spared};

use std::net::IpAddr;

use jiff::Timestamp;

use self::rule::{Rule, Says};
use super::compile::Compile;
use super::mode::Mode;
use super::network::{AddressList, Found};
use super::scope::{Index, Scope};
use crate::decision::{Builtin, Denial, Notes, ShadowHit, Stage, StepOutcome, Trace, Verdict, Written};
use crate::facts::Facts;

/// The compiled address rules.
#[derive(Clone, Debug, Default)]
pub struct Ip {
    /// In policy order.
    rules: Box<[Rule]>,
    /// What each of them is about; the index has it in the form that requests are looked up by.
    scopes: Box<[Scope]>,
    /// Places in `rules`.
    index: Index<u32>,
    /// Addresses that no ban concerns.
    never_ban: AddressList,
}

impl Ip {
    /// Compiles `[ip]`.
    pub fn compile(raw: &RawIp, cx: &mut Compile<'_>) -> Ip {
        let lowered: Vec<_> = raw.rule.iter().filter_map(|raw| Rule::lower(raw, cx)).collect();
        let judged = lowered.iter().zip(0u32..).filter(|((rule, _), _)| rule.mode != Mode::Off);
        let index = Index::new(judged.map(|((_, scope), at)| (scope, at)));
        let (rules, scopes): (Vec<Rule>, Vec<Scope>) = lowered.into_iter().unzip();
        let never_ban = cx.networks.list(&raw.never_ban, cx.diagnostics);
        Ip { rules: rules.into(), scopes: scopes.into(), index, never_ban }
    }

    /// The network of `never_ban` that keeps an address from being banned.
    pub fn never_bans(&self, address: IpAddr) -> Option<Found<'_>> {
        self.never_ban.find(address)
    }

    /// Whether any rule is about this request, whoever makes it.
    pub fn concerns(&self, facts: &Facts<'_>) -> bool {
        let mut concerned = false;
        self.index.visit(facts.target, facts.route, |_| concerned = true);
        concerned
    }

    /// The lists of the rules that are about this request, whoever makes it.
    pub fn lists_about(&self, facts: &Facts<'_>) -> Vec<&AddressList> {
        let mut found = Vec::new();
        self.index.visit(facts.target, facts.route, |&at| {
            let lists = self.rules.get(at as usize).map(Rule::lists);
            found.extend(lists.into_iter().flatten().map(|(_, list)| list));
        });
        found
    }

    /// The lists of a rule, by their keys: `allow` or `deny`, and `except`.
    pub fn lists(&self, written: Written) -> Option<[(&'static str, &AddressList); 2]> {
        self.rules.iter().find(|rule| rule.written == written).map(Rule::lists)
    }

    /// Which addresses a rule lets through, in a sentence with the networks that it names.
    pub fn lets_through(&self, written: Written) -> Option<String> {
        self.rules.iter().find(|rule| rule.written == written).map(Rule::lets_through)
    }

    /// The other rules that are about this request too, and that an address must come past as well, each with the
    /// addresses that do.
    pub fn others_about(&self, written: Written, facts: &Facts<'_>) -> Vec<(Written, String)> {
        let mut found = Vec::new();
        self.index.visit(facts.target, facts.route, |&at| {
            let rule = self.rules.get(at as usize).filter(|rule| rule.written != written);
            let rule = rule.filter(|rule| !rule.mode.in_shadow(facts.now));
            found.extend(rule.map(|rule| (rule.written, rule.lets_through())));
        });
        found.sort_by_key(|(written, _)| *written);
        found.dedup();
        found
    }

    /// Judges the client's address. `shadow`: the stage or the route is in shadow.
    ///
    /// The rule named by a refusal is the first that refuses, in policy order; by a pass, the first
    /// `allow` rule that has the address.
    pub fn check(
        &self,
        facts: &Facts<'_>,
        shadow: bool,
        notes: &mut Notes,
        mut trace: Option<&mut Trace>,
    ) -> Verdict {
        // A ban is an operator's word against an address, now and for a time: no mode softens it.
        if let Some(until) = facts.client.banned
            && facts.now < until
        {
            if !self.never_ban.contains(facts.client.ip) {
                return banned(facts, until, trace);
            }
            if let Some(trace) = trace.as_deref_mut() {
                let ip = facts.client.ip;
                trace.note(Stage::Ip, format!("{ip} is banned until {until}, but `never_ban` lists it"));
            }
        }
        let (mut passes, mut refuses) = (u32::MAX, u32::MAX);
        let noted = notes.shadow.len();
        self.index.visit(facts.target, facts.route, |&at| {
            let Some(rule) = self.rules.get(at as usize) else { return };
            notes.personal = true;
            match rule.says(facts.client.ip) {
                Says::Nothing => {}
                Says::Pass => passes = passes.min(at),
                Says::Refuse if shadow || rule.mode.in_shadow(facts.now) => {
                    let hit = ShadowHit { rule: rule.written.into(), reason: rule.reason() };
                    if !notes.shadow.contains(&hit) {
                        notes.shadow.push(hit);
                    }
                }
                Says::Refuse => refuses = refuses.min(at),
            }
        });
        if let Some(hits) = notes.shadow.get_mut(noted..) {
            hits.sort_unstable_by_key(|hit| hit.rule);
        }
        let verdict = if let Some(rule) = self.rules.get(refuses as usize) {
            Verdict::Deny(Denial {
                stage: Stage::Ip,
                rule: rule.written.into(),
                reason: rule.reason(),
                until: None,
            })
        } else {
            let passes = self.rules.get(passes as usize);
            Verdict::Pass(passes.map_or(Builtin::NoIpRule.into(), |rule| rule.written.into()))
        };
        if let Some(trace) = trace {
            self.explain(facts, shadow, refuses, trace);
        }
        verdict
    }

    /// One step for each rule that covers the request, in policy order. `refuses`: the deciding one.
    #[cold]
    fn explain(&self, facts: &Facts<'_>, shadow: bool, refuses: u32, trace: &mut Trace) {
        let mut covering = Vec::new();
        self.index.visit(facts.target, facts.route, |&at| covering.push(at));
        covering.sort_unstable();
        covering.dedup();
        if covering.is_empty() {
            trace.note(Stage::Ip, "no address rule covers this request");
        }
        for at in covering {
            let Some(rule) = self.rules.get(at as usize) else { continue };
            let (says, note) = rule.explain(facts.client.ip);
            let outcome = match says {
                Says::Nothing | Says::Pass => StepOutcome::Pass,
                Says::Refuse if shadow || rule.mode.in_shadow(facts.now) => {
                    StepOutcome::ShadowDeny(rule.reason())
                }
                Says::Refuse if at == refuses => StepOutcome::Deny(rule.reason()),
                Says::Refuse => StepOutcome::AlsoMatched,
            };
            trace.rule(Stage::Ip, rule.written, outcome, note);
        }
    }
}

/// The refusal of a banned address.
#[cold]
fn banned(facts: &Facts<'_>, until: Timestamp, trace: Option<&mut Trace>) -> Verdict {
    let denial = Denial { until: Some(until), ..Denial::builtin(Stage::Ip, Builtin::Banned) };
    if let Some(trace) = trace {
        let note = format!("{} is banned until {until}", facts.client.ip);
        trace.rule(Stage::Ip, Builtin::Banned, StepOutcome::Deny(denial.reason), note);
    }
    Verdict::Deny(denial)
}
