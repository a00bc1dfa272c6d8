//! How much a refusal tells, and to whom.

mod raw;

pub use raw::{LevelWord, RawContact, RawDisclosure, StageWord};

use super::compile::Compile;
use crate::decision::Stage;
use crate::facts::Facts;

/// How much a caller is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing: the answer of an unrouted path.
    Silent,
    /// Status, request id, stage.
    Id,
    /// The rule, the reason, and what would help.
    #[default]
    Rule,
    /// Everything.
    Full,
}

/// The compiled `[[disclosure]]` entries.
#[derive(Clone, Debug, Default)]
pub struct Disclosure {}

impl Disclosure {
    /// Compiles the entries.
    pub fn compile(_raw: &[RawDisclosure], _cx: &mut Compile<'_>) -> Disclosure {
        Disclosure {}
    }

    /// The level for this caller; the first matching entry decides. `stage`: where the request was
    /// refused, none for an allow. A selector whose fact is unknown does not match.
    pub fn level(&self, _facts: &Facts<'_>, _stage: Option<Stage>) -> Level {
        Level::Rule
    }
}
