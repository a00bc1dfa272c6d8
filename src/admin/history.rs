//! `/api/history`: the policies that were in force, those that were refused, and what came of them.

use serde::Serialize;

use super::AdminState;
use crate::state::Entry;

#[derive(Serialize)]
pub(super) struct HistoryBody {
    /// The newest first.
    history: Vec<Entry>,
}

/// The newest entries. An older one that is asked for by its generation is found among them too, since
/// the history is bounded.
pub(super) fn history(state: &AdminState) -> HistoryBody {
    let shown = |entry: &&Entry| entry.at().is_some();
    let newest = |entries: &[Entry]| entries.iter().rev().filter(shown).take(MOST).cloned().collect();
    HistoryBody { history: state.installer.chronicle().entries(newest) }
}

/// More is for the command, which reads the files.
const MOST: usize = 200;
