//! What changed: the policies that were in force, and what operators did.

use serde::Serialize;
use serde_json::{Value, json};

use crate::admin::AdminState;

/// The document of `/api/history`.
#[derive(Serialize)]
pub(in crate::admin) struct History {
    /// Policies, the newest first.
    generations: Vec<Value>,
    /// Changes by operators, the newest first.
    changes: Vec<crate::admin::changes::Change>,
}

/// Everything that is known.
pub(in crate::admin) fn document(state: &AdminState) -> History {
    let status = state.installer.status();
    let running = json!({
        "generation": status.version.generation,
        "hash": format!("{:08x}", status.version.hash),
        "installed_at": status.installed_at,
        "rules": status.rules,
    });
    History { generations: vec![running], changes: state.changes.all() }
}
