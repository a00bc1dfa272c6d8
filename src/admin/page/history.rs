//! What changed: the policies that were in force, those that were refused, and what operators did.

use serde::Serialize;
use serde_json::{Value, json};

use crate::admin::AdminState;
use crate::state::Entry;

/// The document of `/api/history`.
#[derive(Serialize)]
pub(in crate::admin) struct History {
    /// Policies, the newest first.
    generations: Vec<Value>,
    /// Everything that happened to the policy, the newest first: accepted and refused policies with
    /// their differences and problems, and rules that refuse much more since.
    history: Vec<Entry>,
    /// Changes by operators, the newest first.
    changes: Vec<crate::admin::changes::Change>,
}

/// Everything that is known.
pub(in crate::admin) fn document(state: &AdminState) -> History {
    let status = state.installer.status();
    let rules = |generation: u64| (generation == status.version.generation).then_some(status.rules);
    let shown = |entry: &&Entry| entry.at().is_some();
    let newest = |entries: &[Entry]| entries.iter().rev().filter(shown).take(MOST).cloned().collect();
    let history: Vec<Entry> = state.installer.chronicle().entries(newest);
    let generations = history.iter().filter_map(Entry::accepted).map(|accepted| {
        json!({
            "generation": accepted.generation,
            "hash": accepted.hash,
            "installed_at": accepted.at,
            "trigger": accepted.trigger,
            "by": accepted.by,
            "rules": rules(accepted.generation),
        })
    });
    History { generations: generations.collect(), changes: state.changes.all(), history }
}

/// More is for the command, which reads the files.
const MOST: usize = 200;
