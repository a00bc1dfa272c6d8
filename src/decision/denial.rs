//! What a gate says, and what all gates together decided.

use jiff::Timestamp;

use super::{Builtin, Notes, Reason, RuleRef, Stage, Version};

/// What one gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Nothing against it; the rule that let it through, or the built-in name for "no rule spoke".
    Pass(RuleRef),
    /// Refused.
    Deny(Denial),
    /// Neither: the gateway itself is asked, and answers. No later gate is.
    Answer(Builtin),
}

/// A refusal. Cannot exist without the rule that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The gate that refused.
    pub stage: Stage,
    /// The rule that made it.
    pub rule: RuleRef,
    /// The kind of cause; the status comes from its table.
    pub reason: Reason,
    /// When the refusal ends by itself, if that is known (a token not yet valid, a grant that begins, or a deny
    /// that ends where the request would be allowed then).
    pub until: Option<Timestamp>,
}

impl Denial {
    /// The refusal of a built-in rule, with the reason its table gives.
    pub fn builtin(stage: Stage, builtin: Builtin) -> Denial {
        Denial { stage, rule: builtin.into(), reason: builtin.info().reason, until: None }
    }

    /// The same refusal with another reason than the table's.
    pub fn because(self, reason: Reason) -> Denial {
        Denial { reason, ..self }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        self.reason.info().status
    }

    /// Whether the same request may succeed later without anyone changing the policy.
    pub fn temporary(&self) -> bool {
        self.until.is_some() || self.reason.info().temporary
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It may pass; the rule is the grant that allows it, or by which the gateway answers itself.
    Allow(RuleRef),
    /// It was refused.
    Deny(Denial),
}

impl Outcome {
    /// The status of an answer that the gateway gives without asking the upstream.
    pub fn own_status(&self) -> Option<u16> {
        match self {
            Outcome::Deny(denial) => Some(denial.status()),
            Outcome::Allow(RuleRef::Builtin(rule)) => rule.own_status(),
            Outcome::Allow(RuleRef::Written(_)) => None,
        }
    }
}

/// What all gates together decided, and by which policy.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Allowed or refused, with the rule.
    pub outcome: Outcome,
    /// What the record always needs.
    pub notes: Notes,
    /// The policy that judged.
    pub policy: Version,
}

impl Decision {
    /// The status of an answer that the gateway gives without asking the upstream.
    pub fn own_status(&self) -> Option<u16> {
        self.outcome.own_status()
    }

    /// The deciding rule.
    pub fn rule(&self) -> RuleRef {
        match self.outcome {
            Outcome::Allow(rule) => rule,
            Outcome::Deny(denial) => denial.rule,
        }
    }
}
