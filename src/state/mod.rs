//! What outlives a request and a process: the history of the policies that were in force, and bans.
//!
//! Everything is kept in one folder (`[server] state_dir`). Only the gateway writes; commands read the
//! folder while it does. Nothing in it is a secret of somebody's, but it tells how the gateway is
//! configured, so only its owner may read it.

mod bans;
pub(crate) mod cause;
mod collections;
mod entry;
mod history;
mod lock;
mod log;
mod rise;
#[cfg(test)]
mod tests;
mod texts;

pub(crate) use bans::{Ban, BanBook, WIDEST};
pub use collections::Collections;
pub(crate) use entry::named;
pub use entry::{
    Accepted, CellLine, ChangeLine, DifferenceLine, Entry, Jump, NameLine, Refused, RuleLine, StoredFile,
};
pub use history::{Attempt, History, Limits, Origin};
pub use rise::{Counts, Watch};

use std::io;
use std::path::{Path, PathBuf};

use crate::policy::source::Sources;

/// The history in a folder, the oldest entry first, without changing anything there.
pub fn read(folder: &Path) -> io::Result<Vec<Entry>> {
    log::read(&log_path(folder)).map(|found| found.entries)
}

/// The texts of a generation, as they were when it was accepted. Keys and other secret files are not
/// among them.
pub fn sources(folder: &Path, accepted: &Accepted) -> io::Result<Sources> {
    texts::Texts::at(folder).sources(&accepted.files)
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("history.log")
}
