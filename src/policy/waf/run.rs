//! One gate over one request: what matched, what it scores, and what becomes of the request.
//!
//! All rules of a gate are asked, whatever was found before, so that the record lists everything. Then
//! the matches are read in policy order: the request ends at the first rule that refuses by itself, or
//! at the one at which the sum of the scores reaches the threshold, whichever comes first; that rule is
//! named.
//!
//! **Shadow.** A rule in shadow never adds to the sum. It is recorded as one that would have refused
//! when it refuses by itself, or when its score alone, put on top of the sum of the rules that count,
//! makes the difference. Where the stage or the route is in shadow the sum is kept as if it were not,
//! and the rules recorded are those that would have been named. A body too large is refused even then:
//! what was not read whole cannot be passed on.

use std::sync::Arc;

use smallvec::SmallVec;

use super::bits::Bits;
use super::body;
use super::budget::{Budget, Exhausted, GAVE_UP};
use super::compile::{Active, Engine, Gate, GateRule};
use super::ir::Action;
use super::matcher::Scratch;
use super::memory::Memory;
use super::program::Transaction;
use super::record::Recorder;
use super::targets::Collection;
use super::values::Values;
use crate::decision::{
    BodyInspection, Builtin, Denial, Notes, Reason, RuleRef, ShadowHit, Stage, StepOutcome, Trace, Verdict,
    WafMatch, Written,
};
use crate::facts::{Body, Facts};

/// What the head gate leaves for the body gate.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    values: Values,
    /// The collections that are in `values`.
    has: Vec<Collection>,
    scratch: Scratch,
    /// Work done so far.
    spent: u64,
    /// The sum of the scores of rules that are not in shadow themselves.
    sum: u32,
    /// Rules in shadow that matched and score.
    shadow_scores: SmallVec<[(Written, u32); 2]>,
    /// What the SecLang program has set so far; nothing where there is none.
    transaction: Option<Box<Transaction>>,
    /// What rules remember of the requests before.
    memory: Option<Arc<dyn Memory>>,
}

impl Carried {
    /// With what rules remember of the requests before, and are to remember of this one.
    pub fn remembering(memory: Arc<dyn Memory>) -> Carried {
        Carried { memory: Some(memory), ..Carried::default() }
    }

    pub(super) fn transaction(&mut self) -> &mut Transaction {
        self.transaction.get_or_insert_with(|| Box::new(Transaction::with(self.memory.take())))
    }
}

/// A link that matched: by which of its units, and on which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    link: usize,
    unit: usize,
    text: usize,
}

/// A rule that matched, by all of its links.
struct Matched<'a> {
    rule: &'a GateRule,
    hits: &'a [Hit],
}

/// What judging at one gate needs.
pub(super) struct Run<'a, 'f> {
    pub(super) engine: &'a Engine,
    pub(super) stage: Stage,
    pub(super) facts: &'a Facts<'f>,
    /// Whether the stage or the route is in shadow.
    pub(super) shadow: bool,
    pub(super) recorder: Recorder<'a>,
    pub(super) notes: &'a mut Notes,
    pub(super) trace: Option<&'a mut Trace>,
}

impl Run<'_, '_> {
    /// Judges the request line, header fields, cookies and query.
    pub(super) fn head(mut self, carried: &mut Carried) -> Verdict {
        let gate = &self.engine.head;
        if gate.rules.is_empty() {
            return clean();
        }
        self.gate(gate, gate.active(self.facts), carried)
    }

    /// Judges the body, and what needs the head's texts beside it. Also runs when there is no body.
    pub(super) fn body(mut self, carried: &mut Carried) -> Verdict {
        let gate = &self.engine.body;
        if gate.rules.is_empty() {
            return clean();
        }
        let active = gate.active(self.facts);
        if let Body::Whole(bytes) = self.facts.body
            && !bytes.is_empty()
            && gate.needs_body(&active)
        {
            self.notes.waf.body = BodyInspection::Inspected;
            carried.spent = carried.spent.saturating_add(bytes.len() as u64);
            let bounds = &self.engine.settings.bounds;
            if let Err(unreadable) = body::read(self.facts.headers, bytes, bounds, &mut carried.values)
                && let Some(verdict) = self.refuse(unreadable.rule, unreadable.why)
            {
                return verdict;
            }
        }
        self.gate(gate, active, carried)
    }

    fn gate(&mut self, gate: &Gate, active: Active<'_>, carried: &mut Carried) -> Verdict {
        if active.units.is_empty() {
            return clean();
        }
        self.notes.waf.threshold = self.engine.settings.threshold;
        gate.wanted.collect(self.facts, &mut carried.has, &mut carried.values);
        let mut hits = Vec::new();
        let exhausted = self.find(gate, &active, carried, &mut hits).err();
        hits.sort_unstable();
        let verdict = self.weigh(gate, &hits, carried);
        let Some(exhausted) = exhausted else { return verdict };
        if let Exhausted::Expression { whose, text: Some(text) } = exhausted {
            self.gave_up(gate, whose, text, &carried.values);
        }
        match verdict {
            Verdict::Pass(_) => self.refuse(Builtin::WafBudget, exhausted.why()).unwrap_or(verdict),
            Verdict::Deny(_) | Verdict::Answer(_) => verdict,
        }
    }

    /// Finds the links that match, each with the first text on which it does. The further links of a
    /// chain are looked for only where its first one was found.
    fn find(
        &self,
        gate: &Gate,
        active: &Active<'_>,
        carried: &mut Carried,
        hits: &mut Vec<Hit>,
    ) -> Result<(), Exhausted> {
        self.pass(gate, active, gate.heads(active), carried, hits)?;
        let followers = gate.followers(hits.iter().map(|hit| hit.link));
        if followers.is_empty() { Ok(()) } else { self.pass(gate, active, followers, carried, hits) }
    }

    /// Looks at every text for the units that are left to find.
    fn pass(
        &self,
        gate: &Gate,
        active: &Active<'_>,
        mut left: Bits,
        carried: &mut Carried,
        hits: &mut Vec<Hit>,
    ) -> Result<(), Exhausted> {
        let Carried { values, scratch, spent, .. } = carried;
        let mut budget = Budget(self.engine.settings.budget.checked_sub(*spent).ok_or(Exhausted::Budget)?);
        let mut wanted = Bits::default();
        for at in 0..values.len() {
            let Some(value) = values.get(at) else { break };
            if gate.sight.blind(value.kind) {
                continue;
            }
            gate.sight.units(value, values, &left, &mut wanted);
            if wanted.is_empty() {
                continue;
            }
            let done =
                gate.matcher.run(values.text(value), &mut wanted, scratch, &mut budget, |unit, judged| {
                    if left.contains(unit)
                        && gate.sight.sees(unit, value, values)
                        && !active.excludes(unit, value, values)
                    {
                        judged?;
                        let link = gate.link_of(unit);
                        gate.units_of(link).for_each(|unit| left.take(unit));
                        hits.push(Hit { link, unit, text: at });
                    }
                    Ok(())
                });
            *spent = self.engine.settings.budget - budget.0;
            done.map_err(|exhausted| exhausted.on(at))?;
        }
        Ok(())
    }

    /// Reads the matches in policy order.
    fn weigh(&mut self, gate: &Gate, hits: &[Hit], carried: &mut Carried) -> Verdict {
        let mut refusal: Option<Denial> = None;
        for matched in matched_rules(gate, hits) {
            let rule = matched.rule;
            let alone = rule.mode.in_shadow(self.facts.now);
            self.record(gate, &matched, alone, &carried.values);
            let reason = match (rule.action, alone) {
                (Action::Deny, _) => Some(Reason::WafMatch),
                (Action::Score(score), true) => {
                    carried.shadow_scores.push((rule.written, score));
                    None
                }
                (Action::Score(score), false) => self.score(score, carried),
                (Action::Log | Action::Pass, _) => None,
            };
            let outcome = match (reason, alone || self.shadow, rule.action) {
                (Some(reason), true, _) => {
                    self.notes.shadow.push(ShadowHit { rule: rule.written.into(), reason });
                    StepOutcome::ShadowDeny(reason)
                }
                (Some(_), false, _) if refusal.is_some() => StepOutcome::AlsoMatched,
                (Some(reason), false, _) => {
                    refusal =
                        Some(Denial { stage: self.stage, rule: rule.written.into(), reason, until: None });
                    StepOutcome::Deny(reason)
                }
                (None, _, Action::Score(score)) => StepOutcome::Score(score),
                (None, ..) => StepOutcome::Note,
            };
            self.step(gate, &matched, outcome, &carried.values);
        }
        self.weigh_shadow_scores(carried);
        refusal.map_or_else(clean, Verdict::Deny)
    }

    /// Adds a score; says whether the sum reaches the threshold by it.
    fn score(&mut self, score: u32, carried: &mut Carried) -> Option<Reason> {
        let threshold = self.engine.settings.threshold;
        let before = carried.sum;
        carried.sum = before.saturating_add(score);
        if !self.shadow {
            self.notes.waf.score = carried.sum;
        }
        (before < threshold && carried.sum >= threshold).then_some(Reason::WafScore)
    }

    /// Records the rules in shadow whose scores would make the difference.
    fn weigh_shadow_scores(&mut self, carried: &mut Carried) {
        let threshold = self.engine.settings.threshold;
        let (sum, notes) = (carried.sum, &mut *self.notes);
        carried.shadow_scores.retain(|(written, score)| {
            let decisive =
                *score >= threshold || (sum < threshold && sum.saturating_add(*score) >= threshold);
            if decisive {
                notes.shadow.push(ShadowHit { rule: RuleRef::Written(*written), reason: Reason::WafScore });
            }
            !decisive
        });
    }

    /// Records the rule whose expression gave up, so that it is known which one, and on what.
    fn gave_up(&mut self, gate: &Gate, unit: usize, text: usize, values: &Values) {
        let rule = gate.rule_of(gate.link_of(unit));
        let (Some(rule), Some(value)) = (rule, values.get(text)) else { return };
        let shadow = self.shadow || rule.mode.in_shadow(self.facts.now);
        let entry = self.recorder.entry(rule, None, value, values, shadow);
        self.notes.waf.matched.push(WafMatch { score: 0, msg: GAVE_UP.to_owned(), ..entry });
        if let Some(trace) = self.trace.as_deref_mut() {
            let note = format!("{}: {GAVE_UP}", values.show(value));
            trace.rule(self.stage, rule.written, StepOutcome::Note, note);
        }
    }

    /// A refusal by a built-in rule; in shadow only recorded.
    fn refuse(&mut self, rule: Builtin, why: &str) -> Option<Verdict> {
        let denial = Denial::builtin(self.stage, rule);
        let outcome = if self.shadow {
            StepOutcome::ShadowDeny(denial.reason)
        } else {
            StepOutcome::Deny(denial.reason)
        };
        if let Some(trace) = self.trace.as_deref_mut() {
            trace.rule(self.stage, rule, outcome, why);
        }
        if self.shadow {
            self.notes.shadow.push(ShadowHit { rule: rule.into(), reason: denial.reason });
            return None;
        }
        Some(Verdict::Deny(denial))
    }

    fn record(&mut self, gate: &Gate, matched: &Matched<'_>, alone: bool, values: &Values) {
        let Some((unit, value)) =
            matched.hits.first().and_then(|hit| Some((hit.unit, values.get(hit.text)?)))
        else {
            return;
        };
        let rule = matched.rule;
        let unit = gate.matcher.units().get(unit);
        let entry = self.recorder.entry(rule, unit, value, values, alone || self.shadow);
        self.notes.waf.matched.push(entry);
    }

    fn step(&mut self, gate: &Gate, matched: &Matched<'_>, outcome: StepOutcome, values: &Values) {
        let Some(trace) = self.trace.as_deref_mut() else { return };
        let links = matched.hits.iter().filter_map(|hit| {
            Some(self.recorder.steps(gate.matcher.units().get(hit.unit)?, values.get(hit.text)?, values))
        });
        let note = links.collect::<Vec<_>>().join("; and ");
        trace.rule(self.stage, matched.rule.written, outcome, note);
    }
}

fn clean() -> Verdict {
    Verdict::Pass(Builtin::WafClean.into())
}

/// The rules of which every link matched, in policy order. `hits` is sorted by link.
fn matched_rules<'a>(gate: &'a Gate, hits: &'a [Hit]) -> impl Iterator<Item = Matched<'a>> {
    let mut rest = hits;
    std::iter::from_fn(move || {
        loop {
            let link = rest.first()?.link;
            let rule = gate.rule_of(link)?;
            let end = rest.partition_point(|hit| hit.link < rule.first + rule.links);
            let hits;
            (hits, rest) = rest.split_at(end);
            if hits.len() == rule.links {
                return Some(Matched { rule, hits });
            }
        }
    })
}
