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
    Accepted, AddressLine, CellLine, ChangeLine, DifferenceLine, Entry, Jump, KeyLine, NameLine, Refused,
    RuleLine, StoredFile,
};
pub use history::{Attempt, History, Limits, Origin};
pub use rise::{Counts, Watch};

use std::io;
use std::path::{Path, PathBuf};

use crate::policy::source::Sources;

/// What a folder has of the history.
#[derive(Debug, Default)]
pub struct Kept {
    /// The entries that can be read, the oldest first.
    pub entries: Vec<Entry>,
    /// Lines of the file that are damaged, by their numbers, counted from one.
    pub damaged: Vec<usize>,
    /// How much of a last entry is there that was never written to its end, in bytes.
    pub torn: u64,
}

/// The history in a folder, without changing anything there.
pub fn read(folder: &Path) -> io::Result<Kept> {
    let found = log::read(&log_path(folder))?;
    Ok(Kept { torn: found.length - found.whole, entries: found.entries, damaged: found.bad })
}

/// The file of the history in a folder.
pub fn history_file(folder: &Path) -> PathBuf {
    log_path(folder)
}

/// The texts of a generation, as they were when it was accepted. Keys and other secret files are not
/// among them.
pub fn sources(folder: &Path, accepted: &Accepted) -> io::Result<Sources> {
    texts::Texts::at(folder).sources(&accepted.files)
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("history.log")
}
