//! The decision log read back: one record by its id, the records of a time, or all of them.
//!
//! Reads what the gateway writes while it does, and what was put aside, also compressed by others.
//! Records are borrowed from the bytes they stand in, so that a day of them can be read in seconds.

mod files;
mod find;
mod line;
mod packed;
mod request;
#[cfg(test)]
mod tests;
mod waf;

pub use files::{End, Flaw, LogFile, Progress, Torn, files};
pub use find::{Found, Place, find, time_of};
pub use line::{ClientLine, IdentityLine, Line, PolicyLine, Text};
pub use request::{Recalled, Values, is_cut, is_hash, is_never_recorded};
pub use waf::{Match, WafRefusal, excluding};
