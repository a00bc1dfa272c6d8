//! Enforce, shadow, off: how much a rule counts.

use jiff::Timestamp;

use super::decode::{Moment, table, words};
use super::diagnostic::At;

words! {
    /// How much a rule counts.
    pub enum ModeWord {
        /// It refuses.
        Enforce = "enforce",
        /// It is judged and recorded, and refuses nobody.
        Shadow = "shadow",
        /// It is not judged. Single rules only.
        Off = "off",
    }
}

table! {
    /// The mode keys of a rule, stage or route.
    pub struct RawMode as "a mode" {
        /// `enforce` (default), `shadow` (judged and recorded, refuses nobody), `off` (single rules only).
        opt mode: At<ModeWord>,
        /// When the shadow ends; after that the rule enforces.
        opt shadow_until: At<Moment>,
    }
}

/// How much a rule counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It refuses.
    #[default]
    Enforce,
    /// It is judged and recorded, until this time if one is given.
    Shadow(Option<Timestamp>),
    /// It is not judged.
    Off,
}

impl Mode {
    /// Whether it is in shadow now.
    #[inline]
    pub fn in_shadow(self, now: Timestamp) -> bool {
        match self {
            Mode::Enforce | Mode::Off => false,
            Mode::Shadow(None) => true,
            Mode::Shadow(Some(until)) => now < until,
        }
    }
}

impl From<&RawMode> for Mode {
    fn from(raw: &RawMode) -> Mode {
        match raw.mode.as_ref().map(|mode| mode.value) {
            None | Some(ModeWord::Enforce) => Mode::Enforce,
            Some(ModeWord::Off) => Mode::Off,
            Some(ModeWord::Shadow) => Mode::Shadow(raw.shadow_until.as_ref().map(|until| until.value.0)),
        }
    }
}
