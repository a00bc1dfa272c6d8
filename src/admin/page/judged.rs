//! A recorded request, judged again: by the policy that decided it where that is to be had, and what
//! changed before it was refused. As `portcullis why` tells it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use crate::admin::AdminState;
use crate::admin::oracle::Again;
use crate::audit::Line;
use crate::config::{Setup, load};
use crate::decision::{Builtin, Stage, Version};
use crate::policy::World;
use crate::state::{Accepted, Entry, NameLine, RuleLine, sources};

/// A request that was judged again.
pub(super) struct Judged {
    /// The policy that judged.
    pub(super) setup: Arc<Setup>,
    pub(super) by: JudgedBy,
    pub(super) again: Result<Again, String>,
    /// What the policy in force says, where that is another than the one that decided.
    pub(super) now: Option<Value>,
    /// The change before it that may be the cause.
    pub(super) change: Option<Change>,
    /// The oldest policy that refused it, where no change is the cause.
    pub(super) since: Option<Value>,
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

/// A change that may be the cause, as `portcullis why --format json` has it.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    policy: String,
    at: Timestamp,
    seconds_before: i64,
    /// The same in words.
    age: String,
    trigger: String,
    by: Option<String>,
    rules: Vec<RuleLine>,
    definitions: Vec<NameLine>,
    /// What the policy before said of this very request.
    before: Option<String>,
    allowed_by: Option<String>,
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
    let accepted: Vec<Accepted> = state
        .installer
        .chronicle()
        .entries(|entries| entries.iter().filter_map(Entry::accepted).cloned().collect());
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
    let (mut change, mut since) = (None, None);
    if let Some((line, decided)) = line.as_ref().zip(decided).filter(|(line, _)| &*line.decision == "deny")
        && let Some(at) = line.at()
        && let Ok(again) = &again
    {
        let before = Before { state, world: &world, record, accepted: &accepted, at };
        if Builtin::by_name(&line.rule).is_none() {
            change = before.of_rule(&line.rule);
        } else if again.as_recorded.is_none() && by != JudgedBy::Other {
            (change, since) = before.ask(decided, &again.document);
        }
    }
    Judged { setup, by, again, now, change, since }
}

/// A policy of the history, compiled as it was then; none if it cannot be.
fn compile(state: &AdminState, accepted: &Accepted) -> Option<Setup> {
    let folder = state.installer.current().load().settings.state_dir.clone()?;
    let sources = sources(&folder, accepted).ok()?;
    let mut setup = load::recall(sources, accepted.at).setup?;
    setup.policy.version = accepted.version();
    Some(setup)
}

/// What was in force before a request came.
struct Before<'a> {
    state: &'a AdminState,
    world: &'a World,
    record: &'a [u8],
    accepted: &'a [Accepted],
    at: Timestamp,
}

impl Before<'_> {
    /// The last change of a written rule.
    fn of_rule(&self, rule: &str) -> Option<Change> {
        self.accepted.iter().rev().filter(|accepted| accepted.at <= self.at).find_map(|accepted| {
            let difference = accepted.difference.as_ref()?;
            let rules: Vec<RuleLine> =
                difference.rules.iter().filter(|line| *line.rule == *rule).cloned().collect();
            (!rules.is_empty()).then(|| Change { rules, ..self.change(accepted) })
        })
    }

    /// The change since which the request is refused, or the oldest policy that is known to refuse it. A
    /// built-in rule has no text that could change, so the policies are asked one by one.
    fn ask(&self, decided: Version, refused: &Value) -> (Option<Change>, Option<Value>) {
        let begin = Instant::now();
        let is_it = |kept: &Accepted| kept.version() == decided && kept.at <= self.at;
        let Some(last) = self.accepted.iter().rposition(is_it) else { return (None, None) };
        let Some((mut since, older)) = self.accepted.get(..=last).and_then(<[Accepted]>::split_last) else {
            return (None, None);
        };
        let known = |since: &Accepted, first: bool| {
            let policy = since.version().to_string();
            (None, Some(json!({ "policy": policy, "at": since.at, "since_the_first": first })))
        };
        for before in older.iter().rev() {
            let asked = Some(before).filter(|_| begin.elapsed() < PATIENCE);
            let setup = asked.and_then(|before| compile(self.state, before));
            let again = setup.and_then(|setup| self.state.oracle.again(&setup, self.world, self.record).ok());
            let Some(again) = again else { return known(since, false) };
            let rule = again.document["rule"]["name"].as_str().unwrap_or("").to_owned();
            let (words, allowed_by) = match again.document["decision"].as_str() {
                Some("allow") => (format!("let this request pass, by {rule}"), Some(rule)),
                _ if place(&again.document) > place(refused) => {
                    (format!("let this request come as far as {rule}"), None)
                }
                _ => {
                    since = before;
                    continue;
                }
            };
            let kind = match refused["stage"].as_str() {
                Some("route") => "route ",
                Some("authn") => "authn",
                _ => "",
            };
            let mut change = self.change(since);
            if let Some(difference) = &since.difference {
                let by = |line: &&RuleLine| Some(&*line.rule) == allowed_by.as_deref();
                change.rules = difference.rules.iter().filter(by).cloned().collect();
                let of_kind = |line: &&NameLine| !kind.is_empty() && line.name.starts_with(kind);
                change.definitions = difference.definitions.iter().filter(of_kind).cloned().collect();
            }
            (change.before, change.allowed_by) = (Some(words), allowed_by);
            return (Some(change), None);
        }
        let forgot = |entries: &[Entry]| entries.iter().any(|entry| matches!(entry, Entry::Earlier { .. }));
        known(since, !self.state.installer.chronicle().entries(forgot))
    }

    fn change(&self, accepted: &Accepted) -> Change {
        let age = self.at.duration_since(accepted.at);
        Change {
            policy: accepted.version().to_string(),
            at: accepted.at,
            seconds_before: age.as_secs(),
            age: words(age),
            trigger: accepted.trigger.clone(),
            by: accepted.by.clone(),
            rules: Vec::new(),
            definitions: Vec::new(),
            before: None,
            allowed_by: None,
        }
    }
}

/// How far a refused request came.
fn place(document: &Value) -> Option<usize> {
    let stage = document["stage"].as_str()?;
    Stage::ALL.iter().position(|other| other.name() == stage)
}

fn words(age: SignedDuration) -> String {
    match age.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86400),
    }
}
