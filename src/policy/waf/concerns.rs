//! Whether any rule is about a request at all: for replay, which has no texts to show to rules and must
//! know whether one would have looked.

use super::Waf;
use super::ir::Action;
use crate::decision::Written;
use crate::facts::Facts;
use crate::policy::mode::Mode;
use crate::policy::scope::Scope;

/// What a rule of the engine is about, and whether it takes part in refusals.
#[derive(Clone, Copy, Debug)]
pub struct RuleReach<'p> {
    /// The requests.
    pub scope: &'p Scope,
    /// Whether a match may refuse, or add to a score that does, now or later.
    pub refuses: bool,
}

/// The gates at which some rule looks at a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Concerns {
    /// Its head.
    pub head: bool,
    /// Its body, or what rules about bodies see of the head.
    pub body: bool,
}

impl Waf {
    /// What a rule is about; none for rules of a program, which depend on each other.
    pub fn reach(&self, rule: Written) -> Option<RuleReach<'_>> {
        let own = self.meant.get(..self.own)?;
        let (_, found) = own.iter().find(|(written, _)| *written == rule)?;
        let refuses = match found.action {
            // A shadow with an end is none behind it.
            Action::Deny | Action::Score(_) => !matches!(found.mode, Mode::Off | Mode::Shadow(None)),
            Action::Log | Action::Pass => false,
        };
        Some(RuleReach { scope: &found.scope, refuses })
    }

    /// Which gates have rules that look at this request. Whatever they would see, no others do.
    pub fn concerns(&self, facts: &Facts<'_>) -> Concerns {
        if self.program.is_some() {
            // A program decides by itself what it looks at, and when.
            return Concerns { head: true, body: true };
        }
        let Some(engine) = &self.engine else { return Concerns::default() };
        let [head, body] = [&engine.head, &engine.body]
            .map(|gate| !gate.rules.is_empty() && !gate.heads(&gate.active(facts)).is_empty());
        Concerns { head, body }
    }
}
