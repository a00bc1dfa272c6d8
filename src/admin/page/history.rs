//! What changed: the policies that were in force, those that were refused, and what operators did.

use serde::Serialize;

use crate::admin::AdminState;
use crate::state::{Entry, Jump};

/// The document of `/api/history`.
#[derive(Serialize)]
pub(in crate::admin) struct History {
    /// Everything that happened to the policy, the newest first: accepted and refused policies with
    /// their differences and problems, and rules that refuse much more since.
    history: Vec<Entry>,
    /// Changes by operators, the newest first.
    changes: Vec<crate::admin::changes::Change>,
}

/// Everything that is known.
pub(in crate::admin) fn document(state: &AdminState) -> History {
    let shown = |entry: &&Entry| entry.at().is_some();
    let newest = |entries: &[Entry]| entries.iter().rev().filter(shown).take(MOST).cloned().collect();
    History { history: state.installer.chronicle().entries(newest), changes: state.changes.all() }
}

/// The last rule that refuses much more since the policy in force is there.
pub(super) fn jump(state: &AdminState) -> Option<Jump> {
    let version = state.installer.status().version.to_string();
    state.installer.chronicle().entries(|entries| {
        let newest = entries.iter().rev().find_map(|entry| match entry {
            Entry::Jump(jump) => Some(jump),
            Entry::Accepted(_) | Entry::Refused(_) | Entry::Earlier { .. } => None,
        });
        newest.filter(|jump| jump.policy == version).cloned()
    })
}

/// More is for the command, which reads the files.
const MOST: usize = 200;
