//! Every step of a decision, for `explain` and for nobody else.
//!
//! A trace is asked for (`Some(&mut Trace)`) or not made at all: one that is off costs a branch.

use super::{Reason, RuleRef, Stage};

/// The steps of one decision, in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One rule that was looked at, or one thing that a gate found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The gate.
    pub stage: Stage,
    /// The rule looked at; none for a plain finding such as the derived client address.
    pub rule: Option<RuleRef>,
    /// What became of it.
    pub outcome: StepOutcome,
    /// The facts behind the outcome, one sentence, for the operator.
    pub note: String,
}

/// What became of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// A finding, not a rule.
    Note,
    /// The rule applied and let the request pass.
    Pass,
    /// The rule applied and refuses.
    Deny(Reason),
    /// The rule is in shadow and would refuse.
    ShadowDeny(Reason),
    /// The rule covers this request but one of its conditions is unmet.
    Unmet,
    /// The rule applied and added to a score.
    Score(u32),
    /// Also matched, but another rule had already decided.
    AlsoMatched,
}

impl StepOutcome {
    /// As documents have it: its name, and with which reason or score.
    pub const fn told(self) -> (&'static str, Option<Reason>, Option<u32>) {
        match self {
            StepOutcome::Note => ("note", None, None),
            StepOutcome::Pass => ("pass", None, None),
            StepOutcome::Deny(reason) => ("deny", Some(reason), None),
            StepOutcome::ShadowDeny(reason) => ("would_deny", Some(reason), None),
            StepOutcome::Unmet => ("unmet", None, None),
            StepOutcome::Score(score) => ("score", None, Some(score)),
            StepOutcome::AlsoMatched => ("also_matched", None, None),
        }
    }

    /// What a document says; none if that is no outcome.
    pub fn read(name: &str, reason: Option<Reason>, score: Option<u32>) -> Option<StepOutcome> {
        let all = [
            Some(StepOutcome::Note),
            Some(StepOutcome::Pass),
            reason.map(StepOutcome::Deny),
            reason.map(StepOutcome::ShadowDeny),
            Some(StepOutcome::Unmet),
            score.map(StepOutcome::Score),
            Some(StepOutcome::AlsoMatched),
        ];
        all.into_iter().flatten().find(|outcome| outcome.told().0 == name)
    }
}

impl Trace {
    /// Notes a finding.
    pub fn note(&mut self, stage: Stage, note: impl Into<String>) {
        self.steps.push(Step { stage, rule: None, outcome: StepOutcome::Note, note: note.into() });
    }

    /// Notes what became of a rule.
    pub fn rule(
        &mut self,
        stage: Stage,
        rule: impl Into<RuleRef>,
        outcome: StepOutcome,
        note: impl Into<String>,
    ) {
        self.steps.push(Step { stage, rule: Some(rule.into()), outcome, note: note.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_an_outcome_is_read_as_it() {
        let reason = Reason::DeniedByRule;
        for outcome in [
            StepOutcome::Note,
            StepOutcome::Pass,
            StepOutcome::Deny(reason),
            StepOutcome::ShadowDeny(reason),
            StepOutcome::Unmet,
            StepOutcome::Score(7),
            StepOutcome::AlsoMatched,
        ] {
            let (name, reason, score) = outcome.told();
            assert_eq!(StepOutcome::read(name, reason, score), Some(outcome));
        }
        assert_eq!(StepOutcome::read("deny", None, None), None);
        assert_eq!(StepOutcome::read("else", Some(reason), Some(1)), None);
    }
}
