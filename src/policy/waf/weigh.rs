//! What a phase of a SecLang program found, as notes, trace and verdict.
//!
//! The record lists every rule that matched and is to be recorded. The rule that a refusal names is
//! the one at which the sum of the scores reached the threshold, and not the one that adds them up.

use super::body::Unreadable;
use super::program::{Judged, Program, Transaction};
use super::seclang::EngineMode;
use crate::decision::{
    Builtin, Denial, Notes, Reason, ShadowHit, Stage, StepOutcome, Trace, Verdict, WafMatch,
};

/// What weighing needs.
pub(super) struct Weigh<'a> {
    pub(super) stage: Stage,
    /// Whether the stage or the route is in shadow.
    pub(super) shadow: bool,
    pub(super) notes: &'a mut Notes,
    pub(super) trace: Option<&'a mut Trace>,
}

impl Weigh<'_> {
    pub(super) fn weigh(
        mut self,
        judged: Judged,
        unreadable: Option<Unreadable>,
        program: &Program,
        transaction: &Transaction,
    ) -> Verdict {
        let only_detects = program.settings.engine == EngineMode::DetectionOnly || transaction.only_detects();
        self.shadow |= only_detects;
        self.notes.waf.threshold = self.notes.waf.threshold.max(program.threshold(transaction));
        let refused = judged.refused;
        let mut named = false;
        for fired in judged.fired {
            let decisive = refused.filter(|(rule, _)| *rule == fired.rule && !named);
            let outcome = match decisive {
                Some((_, by_score)) => {
                    named = true;
                    self.refusal(reason(by_score))
                }
                None if fired.score > 0 => StepOutcome::Score(fired.score),
                None => StepOutcome::Note,
            };
            if let Some(trace) = self.trace.as_deref_mut() {
                let shown = if fired.msg.is_empty() { "matches" } else { &*fired.msg };
                trace.rule(self.stage, fired.rule, outcome, format!("{}: {shown}", fired.target));
            }
            if !self.shadow {
                self.notes.waf.score = self.notes.waf.score.saturating_add(fired.score);
            }
            self.notes.waf.matched.push(WafMatch {
                rule: fired.rule.into(),
                target: fired.target,
                score: fired.score,
                shadow: self.shadow,
                data: fired.data,
                msg: fired.msg,
            });
        }
        if let Some(unreadable) = unreadable
            && let Some(verdict) = self.refuse(unreadable.rule, unreadable.why)
        {
            return verdict;
        }
        if let Some((rule, by_score)) = refused {
            let reason = reason(by_score);
            if let (false, Some(trace)) = (named, self.trace.as_deref_mut()) {
                let outcome =
                    if self.shadow { StepOutcome::ShadowDeny(reason) } else { StepOutcome::Deny(reason) };
                trace.rule(self.stage, rule, outcome, "its score reached the threshold");
            }
            if !self.shadow {
                return Verdict::Deny(Denial { stage: self.stage, rule: rule.into(), reason, until: None });
            }
            self.notes.shadow.push(ShadowHit { rule: rule.into(), reason });
        }
        if let Some(exhausted) = judged.exhausted
            && let Some(verdict) = self.refuse(Builtin::WafBudget, exhausted.why())
        {
            return verdict;
        }
        Verdict::Pass(Builtin::WafClean.into())
    }

    fn refusal(&self, reason: Reason) -> StepOutcome {
        if self.shadow { StepOutcome::ShadowDeny(reason) } else { StepOutcome::Deny(reason) }
    }

    /// A refusal by a built-in rule; in shadow only recorded.
    fn refuse(&mut self, rule: Builtin, why: &str) -> Option<Verdict> {
        let denial = Denial::builtin(self.stage, rule);
        let outcome = self.refusal(denial.reason);
        if let Some(trace) = self.trace.as_deref_mut() {
            trace.rule(self.stage, rule, outcome, why);
        }
        if self.shadow {
            self.notes.shadow.push(ShadowHit { rule: rule.into(), reason: denial.reason });
            return None;
        }
        Some(Verdict::Deny(denial))
    }
}

fn reason(by_score: bool) -> Reason {
    if by_score { Reason::WafScore } else { Reason::WafMatch }
}
