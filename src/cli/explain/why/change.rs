//! What changed before a request was refused, as far as the history tells.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cli::policies::Past;
use crate::config::Setup;
use crate::decision::Version;
use crate::policy::scope::PathPattern;
use crate::state::{Accepted, CellLine, DifferenceLine, NameLine, RuleLine};

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
    /// What it changed of that kind of thing besides rules, such as routes.
    pub(super) definitions: Vec<NameLine>,
    /// What the policy before said of this very request, where that was asked.
    pub(super) before: Option<String>,
    /// The rule by which it let it pass, if it did.
    pub(super) allowed_by: Option<String>,
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

/// Since when a request is refused that a built-in rule refused, by asking the policies that are kept one
/// by one, from the one that decided on backwards.
#[derive(Debug)]
pub(super) enum Since {
    /// The policy before this one let it pass.
    Change(Box<ChangeFound>),
    /// Every policy that is kept refused it, from this one on.
    Ever(Kept),
    /// From this one on. The one before cannot be asked, or it took too long.
    AtLeast(Kept),
}

/// A policy of the history.
#[derive(Debug, Serialize)]
pub(super) struct Kept {
    pub(super) policy: String,
    pub(super) at: Timestamp,
}

/// What a policy says of a request that another refuses.
pub(super) enum Says {
    /// It may pass, by this rule.
    Allowed(String),
    /// It comes past the gate that refused; by this rule no further.
    Further(String),
    /// No more than the other.
    Refused,
}

/// Asks. `says`: what a policy says of the request. `kind`: the definitions that matter begin so.
#[allow(clippy::too_many_arguments, reason = "one call, and every one of them is another fact")]
pub(super) fn ask(
    past: &Past,
    decided: Version,
    at: Timestamp,
    method: &str,
    segments: &[&str],
    roles: &[&str],
    kind: &str,
    says: impl Fn(&Setup) -> Says,
) -> Option<Since> {
    let begin = Instant::now();
    let accepted: Vec<&Accepted> = past.accepted().collect();
    let last = accepted.iter().rposition(|kept| kept.version() == decided && kept.at <= at)?;
    let mut since = accepted.get(last)?;
    let kept = |since: &Accepted| Kept { policy: since.version().to_string(), at: since.at };
    for before in accepted.get(..last)?.iter().rev() {
        // A policy that no longer compiles, perhaps since a key of it is gone, cannot be asked.
        let Some(setup) =
            Some(before).filter(|_| begin.elapsed() < PATIENCE).and_then(|kept| past.compile(kept).ok())
        else {
            return Some(Since::AtLeast(kept(since)));
        };
        let (words, allowed) = match says(&setup) {
            Says::Allowed(rule) => (format!("let this request pass, by {rule}"), Some(rule)),
            Says::Further(rule) => (format!("let this request come as far as {rule}"), None),
            Says::Refused => {
                since = before;
                continue;
            }
        };
        let difference = since.difference.as_ref();
        let by = |line: &&RuleLine| Some(&*line.rule) == allowed.as_deref();
        let rules = difference.iter().flat_map(|found| found.rules.iter().filter(by)).cloned().collect();
        let lost = difference.map(|found| lost(found, method, segments, roles)).unwrap_or_default();
        let of_kind = |line: &&NameLine| !kind.is_empty() && line.name.starts_with(kind);
        let definitions = difference.iter().flat_map(|found| found.definitions.iter().filter(of_kind));
        let mut change = found(since, rules, lost, at);
        change.definitions = definitions.cloned().collect();
        (change.before, change.allowed_by) = (Some(words), allowed);
        return Some(Since::Change(Box::new(change)));
    }
    Some(match past.forgot_some() {
        true => Since::AtLeast(kept(since)),
        false => Since::Ever(kept(since)),
    })
}

/// Nobody on the phone waits longer.
const PATIENCE: Duration = Duration::from_secs(3);

fn found(accepted: &Accepted, rules: Vec<RuleLine>, lost: Vec<CellLine>, at: Timestamp) -> ChangeFound {
    ChangeFound {
        definitions: Vec::new(),
        before: None,
        allowed_by: None,
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
    /// Whether it accounts for what was refused from this time on, whoever asked: the policy before let
    /// such a request pass, or none was counted before the change.
    pub(super) fn explains(&self, from: Timestamp) -> bool {
        self.allowed_by.is_some() || !self.lost.is_empty() || self.at >= from
    }

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
