//! SecLang's way to run rules: one after the other, each seeing what those before it have set.
//!
//! ```text
//! facts ── fill ──▶ values ── matcher ──▶ hits ── run ──▶ variables, matches, refusal
//! ```
//!
//! What rules look for in texts is found for all rules at once by the same matcher that serves TOML's
//! rules; then the rules are gone through in their order, and only those are stopped at that were
//! found, or that ask for something else than a text. Which rules are worth looking for at all is
//! known beforehand: the program is run once without a request when it is compiled, and rules that
//! it jumps over there (those of higher paranoia levels) are asked one by one should a request reach
//! them after all.

mod answer;
mod ask;
mod body;
mod build;
mod effects;
mod expand;
mod fill;
mod look_ahead;
mod parts;
mod recall;
mod run;
mod settled;
mod state;

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

pub(super) use self::build::build;
pub(super) use self::parts::ProgramRule;
pub(super) use self::run::{Judge, Judged};
pub(super) use self::state::{Transaction, number};
use super::bits::Bits;
use super::ir::Phase;
use super::matcher::Matcher;
use super::seclang::ScriptSettings;
use super::sight::{Sight, View};
use crate::policy::AnswerPlan;
use crate::policy::scope::Scope;

/// A SecLang program, ready to run.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) settings: ScriptSettings,
    /// All rules, in their order.
    pub(super) rules: Vec<ProgramRule>,
    phases: [PhaseProgram; 5],
    slots: state::Slots,
    /// The variables that every request starts with, by slot.
    initial: Arc<[state::Held]>,
    /// Exclusions that are written in TOML.
    exclusions: Vec<Exclusion>,
    /// Whether some rule asks whether the body could be read.
    minds_errors: bool,
}

/// The rules of a phase.
#[derive(Debug, Default)]
struct PhaseProgram {
    /// By position: the rule.
    rules: Vec<usize>,
    /// By position: whether the rule is stopped at, whatever was found.
    always: Vec<usize>,
    /// The heads that the matcher looks for.
    matcher: Option<(Matcher, Sight)>,
    /// By unit: the position of its rule.
    position_of: Vec<usize>,
    /// The units that are worth looking for.
    wanted: Bits,
}

/// Texts that are kept from rules, for some requests.
#[derive(Debug)]
pub(super) struct Exclusion {
    scope: Scope,
    /// By rule.
    rules: Bits,
    /// None: the rules do not run.
    texts: Option<Arc<View>>,
}

impl Program {
    /// Whether bodies of requests are read.
    pub(super) fn reads_bodies(&self) -> bool {
        self.settings.request_body && self.has(Phase::RequestBody)
    }

    /// Whether rules look at the bodies of answers.
    pub(super) fn reads_answers(&self) -> bool {
        self.settings.response_body && self.has(Phase::ResponseBody)
    }

    /// Whether rules look at answers, or at requests that were answered.
    pub(super) fn looks_at_answers(&self) -> bool {
        [Phase::ResponseHead, Phase::ResponseBody, Phase::Logging].into_iter().any(|phase| self.has(phase))
    }

    /// How much of an answer rules look at.
    pub(super) fn answer_plan(&self, status: StatusCode, headers: &HeaderMap) -> AnswerPlan {
        let kind = fill::content_type(headers);
        let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let listed = self.settings.response_types.iter().any(|listed| listed.as_bytes() == kind);
        let bodiless = status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        match self.reads_answers() && listed && !bodiless {
            true => AnswerPlan::Body(self.settings.response_limit.max(1)),
            false => AnswerPlan::Head,
        }
    }

    /// The score at which requests are refused, where the program has such a number.
    pub(super) fn threshold(&self, transaction: &Transaction) -> u32 {
        let slot = self.slots.find("tx.inbound_anomaly_score_threshold");
        slot.map_or(0, |slot| u32::try_from(transaction.read(slot).number()).unwrap_or(0))
    }

    /// Whether any rule asks who came before.
    pub(super) fn remembers(&self) -> bool {
        let mut effects = self.rules.iter().flat_map(|rule| &rule.links).flat_map(|link| &link.effects);
        effects.any(|done| matches!(done, parts::Done::Recall { .. }))
    }

    /// Whether any rule runs in a phase.
    pub(super) fn has(&self, phase: Phase) -> bool {
        self.phases.get(phase as usize - 1).is_some_and(|phase| !phase.rules.is_empty())
    }
}

#[cfg(test)]
mod tests;
