//! The words every room speaks: where a request is judged, by which rule, and why.
//!
//! Plain values, no behaviour that could differ between the server and the command line.
//! Everything else in the crate imports this room; it imports none.

mod builtin;
mod denial;
mod notes;
mod reason;
mod rule;
mod stage;
mod trace;
mod version;

pub use builtin::{Builtin, BuiltinInfo, Kind};
pub use denial::{Decision, Denial, Outcome, Verdict};
pub use notes::{BodyInspection, Notes, ShadowHit, WafMatch, WafNotes};
pub use reason::{Reason, ReasonInfo};
pub use rule::{RuleRef, Written};
pub use stage::Stage;
pub use trace::{Step, StepOutcome, Trace};
pub use version::{Change, NotAVersion, Version};
