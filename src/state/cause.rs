//! What changed before a request was refused, as far as the history tells. `portcullis why`, the page and
//! the API all ask here.
//!
//! A rule that somebody wrote has a text, so its last change before the request is looked up, and the policy
//! before that is asked whether it did otherwise. A rule that is built in has none: the policies that are
//! kept are asked one by one, from the one that decided on backwards, until one lets the request come
//! further. What they say is asked of the caller, who can compile them.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::entry::{Accepted, CellLine, DifferenceLine, NameLine, RuleLine};
use crate::decision::{Stage, Version};
use crate::policy::scope::{HostPattern, PathPattern};

/// A refused request, as it is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal<'a> {
    /// The rule that refused it.
    pub(crate) rule: &'a str,
    /// Its gate.
    pub(crate) stage: Stage,
    /// When.
    pub(crate) at: Timestamp,
    /// The policy that did.
    pub(crate) decided: Option<Version>,
    /// What was asked for.
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) segments: &'a [&'a str],
    /// Who asked: all roles, with those that are inherited, and the subject if there is one.
    pub(crate) roles: &'a [&'a str],
    pub(crate) subject: Option<&'a str>,
    /// The source of the credential that was believed.
    pub(crate) source: Option<&'a str>,
    /// Whether some grant is about it, for other roles.
    pub(crate) by_roles: bool,
    /// The route that was to serve it.
    pub(crate) route: Option<&'a str>,
}

impl Refusal<'_> {
    /// Whether the gate that refused goes by a definition.
    fn goes_by(&self, line: &NameLine) -> bool {
        match self.stage {
            Stage::Route => line.name.starts_with("route "),
            // A route says for itself whether somebody must be shown.
            Stage::Authn => is_authn(line) || line.name.starts_with("route "),
            Stage::Rbac => self.is_of_role(line),
            _ => false,
        }
    }

    /// What a policy changed of whether somebody is looked for, of a request of nobody in particular: no record
    /// holds a credential that nobody read, so nobody knows what the policy before would have said of it.
    fn of_unread<'k>(&self, kept: &'k Accepted) -> Vec<&'k NameLine> {
        let nobody = self.subject.is_none() && matches!(self.stage, Stage::Authn | Stage::Rbac);
        let has = |line: &NameLine, keys: &[&str]| line.keys.iter().any(|key| keys.contains(&&*key.key));
        let unread = |line: &&NameLine| match line.name.strip_prefix("route ") {
            Some(route) => Some(route) == self.route && has(line, &["authn"]),
            None => line.name.starts_with("authn.") && (line.change == "removed" || has(line, &["header"])),
        };
        self.lately(kept).filter(|line| nobody && unread(line)).collect()
    }

    /// What a policy changed of how the client's address is found: with what it would have been before is in no
    /// record.
    fn of_address<'k>(&self, kept: &'k Accepted) -> Vec<&'k NameLine> {
        let keys = ["trusted_proxies", "client_address"];
        let proxies = |line: &&NameLine| {
            *line.name == *"[server]" && line.keys.iter().any(|key| keys.contains(&&*key.key))
        };
        self.lately(kept).filter(|line| self.stage == Stage::Ip && proxies(line)).collect()
    }

    /// The definitions that a policy changed not long before.
    fn lately<'k>(&self, kept: &'k Accepted) -> impl Iterator<Item = &'k NameLine> {
        let recent = self.at.duration_since(kept.at) <= LATELY;
        let difference = kept.difference.as_ref().filter(|_| recent);
        difference.into_iter().flat_map(|difference| &difference.definitions)
    }

    /// A change of which nobody knows what the policy before it said.
    fn untold(&self, kept: &Accepted, definitions: Vec<&NameLine>) -> Option<Cause> {
        (!definitions.is_empty()).then(|| Cause {
            change: Some(Change {
                definitions: definitions.into_iter().cloned().collect(),
                ..change(kept, self.at)
            }),
            since: None,
        })
    }

    /// Whether a definition says what a role of the caller inherits.
    fn is_of_role(&self, line: &NameLine) -> bool {
        let role = line.name.strip_prefix("role ");
        role.is_some_and(|name| self.roles.contains(&name))
    }

    /// What a policy changed of the source that brought the roles by which the request was refused.
    fn of_source<'k>(&self, kept: &'k Accepted) -> Vec<&'k NameLine> {
        let source = self.source.filter(|_| self.stage == Stage::Rbac);
        let own = |line: &&NameLine| {
            let id = line.name.strip_prefix("authn.").and_then(|name| name.split_once(' '));
            id.is_some_and(|(_, id)| Some(id) == source)
        };
        let definitions = kept.difference.as_ref().map(|difference| &difference.definitions);
        definitions.into_iter().flatten().filter(own).collect()
    }
}

/// What a policy says of the same request.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// It may pass, by this rule.
    Allowed(String),
    /// It is refused at this gate, by this rule.
    Refused(Stage, String),
    /// It comes past the gate in question; what is said of it then depends on who asks, which is in no record.
    Further,
}

impl Says {
    /// Whether the request comes further than to a gate.
    fn is_further(&self, gate: Stage) -> bool {
        match self {
            Says::Allowed(_) | Says::Further => true,
            Says::Refused(stage, _) => place(*stage) > place(gate),
        }
    }

    /// Whether it is refused by this rule.
    fn is_by(&self, wanted: &str) -> bool {
        matches!(self, Says::Refused(_, rule) if **rule == *wanted)
    }

    /// What was done with a request that was refused at a gate later.
    fn words(&self, gate: Stage) -> String {
        match self {
            Says::Allowed(rule) => format!("let this request pass, by {rule}"),
            Says::Refused(_, rule) if self.is_further(gate) => {
                format!("let this request come as far as {rule}")
            }
            Says::Refused(_, rule) => format!("refused this request too, by {rule}"),
            Says::Further => {
                "let this request come past this gate; what it would have said then depends on who asked, which is in no record".to_owned()
            }
        }
    }

    fn allowed_by(self) -> Option<String> {
        match self {
            Says::Allowed(rule) => Some(rule),
            Says::Refused(..) | Says::Further => None,
        }
    }
}

/// A change that may be the cause, as `portcullis why --format json` and the API have it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Change {
    /// The policy that brought it, as `7-3f9a2c1d`.
    pub(crate) policy: String,
    /// When it was accepted.
    pub(crate) at: Timestamp,
    /// How long before the request, in seconds.
    pub(crate) seconds_before: i64,
    /// The same in words.
    pub(crate) age: String,
    /// What asked for it, and who.
    pub(crate) trigger: String,
    pub(crate) by: Option<String>,
    /// What it changed about the deciding rule, or about the one that let the request pass before.
    pub(crate) rules: Vec<RuleLine>,
    /// What it took from the caller, for this method, host and path.
    pub(crate) lost: Vec<CellLine>,
    /// What it changed of that kind of thing besides rules, such as routes.
    pub(crate) definitions: Vec<NameLine>,
    /// What the policy before said of this very request, where that was asked.
    pub(crate) before: Option<String>,
    /// The rule by which it let it pass, if it did.
    pub(crate) allowed_by: Option<String>,
}

/// The oldest policy that is known to have refused a request.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Since {
    pub(crate) policy: String,
    pub(crate) at: Timestamp,
    /// Whether there was none before it. Else the one before was not asked.
    pub(crate) since_the_first: bool,
}

/// What is found: a change, or since when it was so, or nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cause {
    pub(crate) change: Option<Change>,
    pub(crate) since: Option<Since>,
}

/// The last change before a request that touched the rule that somebody wrote and that refused it, unless the
/// policy before that refused the request by it too: then the one before, and so on. `accepted`, `whole` and
/// `says` as in [`of_builtin`]; a change before which nobody can be asked is told without an answer.
pub(crate) fn of_rule(
    accepted: &[&Accepted],
    whole: bool,
    refused: &Refusal<'_>,
    mut says: impl FnMut(&Accepted) -> Option<Says>,
) -> Cause {
    let mut from_it_on = accepted.iter().rev().filter(|accepted| accepted.at <= refused.at).peekable();
    let mut known = None;
    while let Some(kept) = from_it_on.next() {
        let Some(mut found) = touched(kept, refused) else {
            match refused.untold(kept, refused.of_address(kept)) {
                Some(cause) => return cause,
                None => continue,
            }
        };
        let Some(before) = from_it_on.peek() else { return Cause { change: Some(found), since: None } };
        let said = says(before);
        if said.as_ref().is_some_and(|said| said.is_by(refused.rule)) {
            known = Some(*before);
            continue;
        }
        found.before = said.as_ref().map(|said| said.words(refused.stage));
        found.allowed_by = said.and_then(Says::allowed_by);
        return Cause { change: Some(found), since: None };
    }
    let Some(known) = known else { return Cause::default() };
    // Those that did not touch the rule were not asked.
    let since_the_first = whole && accepted.first().is_some_and(|first| first.generation == known.generation);
    let since = Since { policy: known.version().to_string(), at: known.at, since_the_first };
    Cause { change: None, since: Some(since) }
}

/// What a policy changed about the rule that refused a request, if it did.
fn touched(kept: &Accepted, refused: &Refusal<'_>) -> Option<Change> {
    let difference = kept.difference.as_ref()?;
    let rules = lines(difference, refused.rule);
    if rules.is_empty() {
        return None;
    }
    let mut lost = lost(difference, refused);
    // What was taken otherwise is no cause: the rule stands before all grants.
    lost.retain(|line| line.rules.iter().any(|rule| **rule == *refused.rule));
    // Which addresses a network that it names has now, or no longer, and the like.
    let named = |line: &&NameLine| rules.iter().any(|rule| rule.because.contains(&line.name));
    // What the rule means by a role changes with what other roles inherit.
    let inherits = |line: &&NameLine| refused.stage == Stage::Rbac && refused.is_of_role(line);
    let is_told = |line: &NameLine| !(line.addresses.is_empty() && line.keys.is_empty());
    let told = |line: &&NameLine| (named(line) || inherits(line)) && is_told(line);
    let definitions = difference.definitions.iter().filter(told).cloned().collect();
    Some(Change { rules, lost, definitions, ..change(kept, refused.at) })
}

/// Since when a request is refused by a rule that is built in. `accepted`: the policies that were in force,
/// the oldest first; `whole`: there were none before them. `says`: what one of them says of the request, if
/// it can be asked and there is time, and whether another source of credentials brought the roles then.
pub(crate) fn of_builtin(
    accepted: &[&Accepted],
    whole: bool,
    refused: &Refusal<'_>,
    mut says: impl FnMut(&Accepted, bool) -> Option<Says>,
) -> Cause {
    let decided = |kept: &&&Accepted| Some(kept.version()) == refused.decided && kept.at <= refused.at;
    let mut from_it_on = accepted.iter().rev().skip_while(|kept| !decided(kept));
    let Some(mut since) = from_it_on.next() else { return Cause::default() };
    let known = |since: &Accepted, since_the_first| Cause {
        since: Some(Since { policy: since.version().to_string(), at: since.at, since_the_first }),
        change: None,
    };
    let mut other_source = false;
    for before in from_it_on {
        other_source |= !refused.of_source(since).is_empty();
        let Some(said) = says(before, other_source) else {
            let cause = refused.untold(since, refused.of_source(since)).filter(|_| refused.by_roles);
            return cause.unwrap_or_else(|| known(since, false));
        };
        if !said.is_further(refused.stage) {
            if let Some(cause) = refused.untold(since, refused.of_unread(since)) {
                return cause;
            }
            since = before;
            continue;
        }
        let (words, allowed) = (said.words(refused.stage), said.allowed_by());
        let mut found = change(since, refused.at);
        if let Some(difference) = &since.difference {
            found.rules = allowed.as_deref().map(|rule| lines(difference, rule)).unwrap_or_default();
            if refused.stage == Stage::Rbac {
                found.lost = lost(difference, refused);
            }
            let of_gate = |line: &&NameLine| refused.goes_by(line);
            found.definitions = difference.definitions.iter().filter(of_gate).cloned().collect();
            found.definitions.extend(refused.of_source(since).into_iter().cloned());
        }
        (found.before, found.allowed_by) = (Some(words), allowed);
        return Cause { change: Some(found), since: None };
    }
    known(since, whole)
}

/// The last change of who may come in, for a credential that was not believed: what it was is in no record, so
/// no policy can be asked. One of long ago is none.
pub(crate) fn of_credential(accepted: &[&Accepted], refused: &Refusal<'_>) -> Cause {
    let before = accepted.iter().rev().filter(|kept| kept.at <= refused.at);
    let recent = before.take_while(|kept| refused.at.duration_since(kept.at) <= RECENT);
    let change = recent.into_iter().find_map(|kept| {
        let definitions: Vec<NameLine> =
            kept.difference.as_ref()?.definitions.iter().filter(|line| is_authn(line)).cloned().collect();
        (!definitions.is_empty()).then(|| Change { definitions, ..change(kept, refused.at) })
    });
    Cause { change, since: None }
}

/// A change of longer ago is not taken for the cause of what it may have changed.
const LATELY: SignedDuration = SignedDuration::from_hours(24);

const RECENT: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Change {
    /// Whether it accounts for what was refused from this time on, whoever asked: the policy before let
    /// such a request pass, or none was counted before the change.
    pub(crate) fn explains(&self, from: Timestamp) -> bool {
        let asked = self.before.is_some();
        self.allowed_by.is_some() || !self.lost.is_empty() || (asked && self.at >= from)
    }
}

fn place(stage: Stage) -> Option<usize> {
    Stage::ALL.iter().position(|other| *other == stage)
}

/// Whether a definition says who is believed: a source, or what `[authn]` says itself.
fn is_authn(line: &NameLine) -> bool {
    line.name.starts_with("authn.") || *line.name == *"[authn]"
}

fn change(accepted: &Accepted, at: Timestamp) -> Change {
    let age = at.duration_since(accepted.at);
    Change {
        policy: accepted.version().to_string(),
        at: accepted.at,
        seconds_before: age.as_secs(),
        age: words(age),
        trigger: accepted.trigger.clone(),
        by: accepted.by.clone(),
        rules: Vec::new(),
        lost: Vec::new(),
        definitions: Vec::new(),
        before: None,
        allowed_by: None,
    }
}

fn words(age: SignedDuration) -> String {
    match age.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86400),
    }
}

fn lines(difference: &DifferenceLine, rule: &str) -> Vec<RuleLine> {
    difference.rules.iter().filter(|line| *line.rule == *rule).cloned().collect()
}

/// What was taken from who asked, of what was asked for: for each role the line that speaks of it most
/// exactly. A role that the caller has by inheritance has lines of its own.
fn lost(difference: &DifferenceLine, refused: &Refusal<'_>) -> Vec<CellLine> {
    let of_path = |line: &&CellLine| {
        let pattern = PathPattern::parse(&line.path);
        pattern.is_ok_and(|pattern| pattern.matches(refused.segments.iter().copied()))
    };
    let lost = difference.cells.iter().filter(|line| {
        line.change == "lost"
            && line.methods.iter().any(|known| **known == *refused.method)
            && refused.roles.iter().any(|role| **role == *line.role)
            && line.is_about(refused.subject) == Some(true)
            && host(line, refused.host).is_some()
    });
    let mut lost: Vec<&CellLine> = lost.filter(of_path).collect();
    // The most exact pattern is the one that speaks of this path, and what is said of the caller by name is
    // said of nobody else.
    lost.sort_by_key(|line| {
        let exactness = (line.path.matches('/').count(), !line.path.contains('*'));
        std::cmp::Reverse((exactness, host(line, refused.host), !line.subjects.is_empty()))
    });
    let mut kept: Vec<CellLine> = Vec::new();
    for line in lost {
        if kept.iter().all(|known| known.role != line.role) {
            kept.push(line.clone());
        }
    }
    kept
}

/// Whether a line is about a host, and if so whether it says it by name.
fn host(line: &CellLine, host: &str) -> Option<bool> {
    let named = |known: &str| HostPattern::parse(known).is_some_and(|pattern| pattern.matches(host));
    match line.hosts.is_empty() || line.hosts.iter().any(|known| named(known)) {
        true => Some(true),
        // The hosts that neither policy names.
        false => line.hosts.iter().any(|known| **known == *"*").then_some(false),
    }
}
