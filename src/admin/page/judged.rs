//! A recorded request, judged again: by the policy that decided it where that is to be had, and what
//! changed before it was refused. As `portcullis why` tells it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::admin::AdminState;
use crate::admin::explain::compile;
use crate::admin::oracle::{Again, Earlier};
use crate::audit::Line;
use crate::config::Setup;
use crate::policy::World;
use crate::state::cause::Cause;
use crate::state::{Accepted, Entry};

/// A request that was judged again.
pub(super) struct Judged {
    /// The policy that judged.
    pub(super) setup: Arc<Setup>,
    pub(super) by: JudgedBy,
    pub(super) again: Result<Again, String>,
    /// What the policy in force says, where that is another than the one that decided.
    pub(super) now: Option<Value>,
    /// The change before it that may be the cause, or the oldest policy that refused it.
    pub(super) cause: Cause,
}

/// The policy that judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum JudgedBy {
    /// The one that decided, from the history.
    Kept,
    /// The one that decided, which is in force.
    InForce,
    /// The one in force, since the one that decided is not to be had.
    Other,
}

/// Whoever looks at a page waits no longer for the answers of older policies.
const PATIENCE: Duration = Duration::from_secs(1);

/// Judges the request of a record. It may compile policies, so it belongs aside.
pub(super) fn judge(state: &AdminState, record: &[u8]) -> Judged {
    let (current, snapshot) = (state.installer.setup(), state.installer.current().load_full());
    // Who is banned now says nothing of then.
    let world = World { bans: None, ..snapshot.world.clone() };
    let line = Line::parse(record).ok();
    let decided = line.as_ref().and_then(Line::policy);
    let (accepted, whole) = state.installer.chronicle().entries(|entries| {
        let accepted: Vec<Accepted> = entries.iter().filter_map(Entry::accepted).cloned().collect();
        (accepted, !entries.iter().any(|entry| matches!(entry, Entry::Earlier { .. })))
    });
    let in_force = decided.is_some_and(|decided| decided.hash == current.policy.version.hash);
    let kept = decided.filter(|_| !in_force).and_then(|decided| {
        let kept = accepted.iter().rev();
        let same = kept.clone().find(|kept| kept.version() == decided);
        // Another process may have counted otherwise.
        let same = same.or_else(|| kept.clone().find(|kept| kept.version().hash == decided.hash));
        compile(state, same?).map(Arc::new)
    });
    let (setup, by) = match kept {
        Some(kept) => (kept, JudgedBy::Kept),
        None if in_force => (Arc::clone(&current), JudgedBy::InForce),
        None => (Arc::clone(&current), JudgedBy::Other),
    };
    let again = state.oracle.again(&setup, &world, record);
    let now = match by {
        JudgedBy::InForce => None,
        JudgedBy::Kept => state.oracle.again(&current, &world, record).ok(),
        JudgedBy::Other => again.as_ref().ok().cloned(),
    };
    // What was taken over from the record is no answer of the policy in force.
    let now = now.filter(|now| now.as_recorded.is_none()).map(|now| {
        let rule = &now.document["rule"]["name"];
        let policy = current.policy.version.to_string();
        json!({ "policy": policy, "decision": now.document["decision"], "rule": rule })
    });
    let history: Vec<&Accepted> = accepted.iter().collect();
    let earlier =
        Earlier { accepted: &history, whole, patience: PATIENCE, compile: &|kept| compile(state, kept) };
    let cause = state.oracle.cause(&setup, &world, record, &earlier);
    Judged { setup, by, again, now, cause }
}
