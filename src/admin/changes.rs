//! What operators changed, and who it was: in the process's own log, and the last of it for the page.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use super::access::Caller;

/// The last changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    kept: Mutex<VecDeque<Change>>,
}

/// One change.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Change {
    at: Timestamp,
    who: String,
    what: String,
}

/// How many are kept.
const MOST: usize = 500;

impl Changes {
    /// Records a change.
    pub(super) fn note(&self, caller: &Caller, what: impl Into<String>) {
        let change = Change { at: Timestamp::now(), who: caller.to_string(), what: what.into() };
        tracing::info!(who = change.who, what = change.what, "an operator changed something");
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MOST {
            kept.pop_back();
        }
        kept.push_front(change);
    }

    /// The changes, the newest first.
    pub(super) fn all(&self) -> Vec<Change> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
