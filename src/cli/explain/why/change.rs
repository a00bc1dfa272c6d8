//! What changed before a request was refused, as far as the history tells.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cli::policies::Past;
use crate::policy::scope::PathPattern;
use crate::state::{Accepted, CellLine, DifferenceLine, RuleLine};

/// A change that may be the cause.
#[derive(Debug, Serialize)]
pub(super) struct ChangeFound {
    /// The policy that brought it, as `7-3f9a2c1d`.
    pub(super) policy: String,
    /// When it was accepted.
    pub(super) at: Timestamp,
    /// How long before the request, in seconds.
    pub(super) seconds_before: i64,
    /// What asked for it, and who.
    pub(super) trigger: String,
    pub(super) by: Option<String>,
    /// What it changed about the deciding rule.
    pub(super) rules: Vec<RuleLine>,
    /// What it took from the caller's roles, for this method and path.
    pub(super) lost: Vec<CellLine>,
}

/// The last change before a request that touched its deciding rule, or took what it asks for from a
/// role of the caller.
pub(super) fn look(
    past: &Past,
    rule: &str,
    method: &str,
    segments: &[&str],
    roles: &[&str],
    at: Timestamp,
) -> Option<ChangeFound> {
    past.accepted().rev().filter(|accepted| accepted.at <= at).find_map(|accepted| {
        let difference = accepted.difference.as_ref()?;
        let rules: Vec<RuleLine> =
            difference.rules.iter().filter(|line| *line.rule == *rule).cloned().collect();
        let lost = lost(difference, method, segments, roles);
        (!rules.is_empty() || !lost.is_empty()).then(|| found(accepted, rules, lost, at))
    })
}

fn found(accepted: &Accepted, rules: Vec<RuleLine>, lost: Vec<CellLine>, at: Timestamp) -> ChangeFound {
    ChangeFound {
        policy: accepted.version().to_string(),
        at: accepted.at,
        seconds_before: at.duration_since(accepted.at).as_secs(),
        trigger: accepted.trigger.clone(),
        by: accepted.by.clone(),
        rules,
        lost,
    }
}

/// What roles lost of a request. A role that the caller has by inheritance has lines of its own.
fn lost(difference: &DifferenceLine, method: &str, segments: &[&str], roles: &[&str]) -> Vec<CellLine> {
    let covers = |line: &CellLine| {
        let pattern = PathPattern::parse(&line.path);
        pattern.is_ok_and(|pattern| pattern.matches(segments.iter().copied()))
    };
    let lost = difference.cells.iter().filter(|line| {
        line.change == "lost"
            && line.methods.iter().any(|known| **known == *method)
            && roles.iter().any(|role| **role == *line.role)
            && covers(line)
    });
    let mut lost: Vec<CellLine> = lost.cloned().collect();
    // The most exact pattern is the one that speaks of this path.
    lost.sort_by_key(|line| std::cmp::Reverse((line.path.matches('/').count(), !line.path.contains('*'))));
    lost.dedup_by(|a, b| a.role == b.role);
    lost
}

impl ChangeFound {
    /// How long before, in words.
    pub(super) fn before(&self) -> String {
        let age = SignedDuration::from_secs(self.seconds_before);
        match age.as_secs() {
            seconds @ 0..120 => format!("{seconds} s"),
            seconds @ 120..7200 => format!("{} min", seconds / 60),
            seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
            seconds => format!("{} days", seconds / 86400),
        }
    }
}
