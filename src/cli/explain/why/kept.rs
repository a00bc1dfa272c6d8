//! A trail that the gateway kept when it decided, since an operator had asked for trails.

use crate::cli::explain::account::Account;
use crate::cli::records::KeptStep;
use crate::decision::{Outcome, Stage, Step, StepOutcome};
use crate::policy::{Policy, World};

/// The steps; none if the policy at hand does not know all that they are about, so that it cannot be told
/// where they stand.
pub(super) fn steps(kept: &[KeptStep], policy: &Policy) -> Option<Vec<Step>> {
    let mut late = false;
    let read = kept.iter().map(|step| {
        let mut step = read(step, policy)?;
        late |= matches!(step.stage, Stage::Authn | Stage::Rbac);
        // Both gates of the WAF have one name, and the one behind the others is the second.
        if late && step.stage == Stage::Waf {
            step.stage = Stage::WafBody;
        }
        Some(step)
    });
    read.collect()
}

fn read(kept: &KeptStep, policy: &Policy) -> Option<Step> {
    let reason = match &kept.reason {
        Some(reason) => Some(reason.parse().ok()?),
        None => None,
    };
    let rule = match &kept.rule {
        Some(rule) => Some(policy.rules.by_name(rule)?),
        None => None,
    };
    Some(Step {
        stage: Stage::ALL.into_iter().find(|stage| stage.name() == kept.stage)?,
        rule,
        outcome: StepOutcome::read(&kept.outcome, reason, kept.score)?,
        note: kept.note.clone(),
    })
}

impl Account<'_> {
    /// Takes over the steps that were kept, and with them at which gate it ended.
    pub(super) fn keep(&mut self, steps: Vec<Step>) {
        if let Outcome::Deny(denial) = &mut self.decision.outcome {
            let refused =
                |step: &&Step| step.rule == Some(denial.rule) && matches!(step.outcome, StepOutcome::Deny(_));
            if let Some(step) = steps.iter().find(refused) {
                denial.stage = step.stage;
            }
        }
        if steps.iter().any(|step| step.stage == Stage::Authn) && self.identity.is_none() {
            let policy = self.policy();
            self.identity =
                Some(policy.identify_sample(self.admitted.route, &self.sample, &World::default()));
        }
        self.trace.steps = steps;
    }
}
