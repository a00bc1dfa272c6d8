//! What of a refusal a caller may see: made once for its level, and all that is ever written.
//!
//! The renderers and the header writer take a [`View`] and never the refusal, so a field above the
//! level cannot be shown by mistake: it is not there.

use http::StatusCode;
use jiff::Timestamp;
use uuid::Uuid;

use super::words::{Detail, Hint, Hints, Needs};
use super::{Refusal, status};
use crate::decision::{Change, Denial, Notes, Reason, RuleRef, Stage, Version};
use crate::facts::{Client, Identity};
use crate::policy::Policy;
use crate::policy::disclosure::Level;
use crate::policy::rbac::{Nearest, Unmet};
use crate::policy::rules::RuleInfo;

/// A refusal as a caller of some level sees it.
pub(super) struct View<'a> {
    /// The status of the answer (a gRPC answer carries it translated).
    pub status: StatusCode,
    /// Its phrase.
    pub title: &'static str,
    /// `deny` or `error`.
    pub decision: &'static str,
    /// The gate that refused.
    pub stage: Stage,
    /// The value of `x-request-id`.
    pub request_id: &'a str,
    /// The name of this decision.
    pub decision_id: Uuid,
    /// When it was made.
    pub now: Timestamp,
    /// The path that the caller asked for; none if it could not be read.
    pub path: Option<&'a str>,
    /// From level `rule` on.
    pub rule: Option<RuleView<'a>>,
    /// At level `full`.
    pub full: Option<FullView<'a>>,
}

/// What level `rule` adds.
pub(super) struct RuleView<'a> {
    /// The rule, by the name that is for this caller.
    pub rule: &'a str,
    /// The same as a value that lives as long as the program, if the rule is a built-in one.
    pub builtin: Option<&'static str>,
    /// The kind of cause.
    pub reason: Reason,
    /// The policy that judged.
    pub policy: VersionText,
    /// Whether the same request may succeed later.
    pub temporary: bool,
    /// When the refusal ends, if that is known.
    pub until: Option<Timestamp>,
    /// Seconds after which trying again makes sense.
    pub retry_after: Option<u64>,
    /// Why the rule exists, in the words of its author.
    pub author: Option<&'a str>,
    /// What the caller can do, in the words of the rule's author.
    pub remediation: Option<&'a str>,
    /// What the nearest grant needs; only for a verified caller.
    pub needs: Option<Needs<'a>>,
    /// Whom to ask.
    pub contact: Option<&'a str>,
}

/// What level `full` adds.
pub(super) struct FullView<'a> {
    /// For the names of rules and roles.
    pub policy: &'a Policy,
    /// Who asked.
    pub identity: &'a Identity,
    /// The nearest grants.
    pub nearest: &'a [Nearest],
    /// Where the rule stands.
    pub rule_at: Option<&'a str>,
    /// The last change of the rule.
    pub change: Option<Change>,
    /// The address that was judged.
    pub client: &'a Client,
    /// Shadow hits and WAF matches.
    pub notes: &'a Notes,
}

impl<'a> View<'a> {
    /// The view of a level; none at `silent`.
    pub(super) fn new(refusal: &Refusal<'a>) -> Option<View<'a>> {
        let Refusal { policy, facts, denial, notes, level, .. } = *refusal;
        let (rule, full) = match level {
            Level::Silent => return None,
            Level::Id => (false, false),
            Level::Rule => (true, false),
            Level::Full => (true, true),
        };
        let info = match denial.rule {
            RuleRef::Written(written) => Some(policy.rules.get(written)),
            RuleRef::Builtin(_) => None,
        };
        Some(View {
            status: status(denial),
            title: denial.reason.info().title,
            decision: if denial.stage == Stage::Fault { "error" } else { "deny" },
            stage: denial.stage,
            request_id: refusal.request_id.to_str().unwrap_or(""),
            decision_id: refusal.decision_id,
            now: facts.now,
            path: facts.target.error.is_none().then(|| facts.target.path()),
            rule: rule.then(|| RuleView::new(refusal, info, full)),
            full: full.then(|| FullView {
                policy,
                identity: facts.identity,
                nearest: refusal.nearest,
                rule_at: info.map(|info| &*info.at),
                change: refusal.change,
                client: facts.client,
                notes,
            }),
        })
    }

    /// What happened, one sentence.
    pub(super) fn detail(&self) -> Detail<'_> {
        match &self.rule {
            None if self.stage == Stage::Fault => Detail::Text("The request could not be served."),
            None => Detail::Text("The request was refused."),
            Some(RuleView { author: Some(author), .. }) => Detail::Text(author),
            Some(RuleView { needs: Some(needs), .. }) => Detail::Nearest(needs),
            Some(RuleView { reason, .. }) => Detail::Text(reason.info().detail),
        }
    }

    /// What the caller can do.
    pub(super) fn hints(&self) -> Hints<'_> {
        let mut hints = Hints::new();
        let Some(view) = &self.rule else { return hints };
        hints.extend(view.remediation.map(Hint::Text));
        hints.extend(view.needs.as_ref().map(Hint::Need));
        if hints.is_empty() {
            hints.extend(super::words::advice(view.reason).map(Hint::Text));
        }
        hints.extend(view.until.map(Hint::After));
        hints
    }
}

impl<'a> RuleView<'a> {
    fn new(refusal: &Refusal<'a>, info: Option<&'a RuleInfo>, full: bool) -> RuleView<'a> {
        let Refusal { policy, facts, denial, .. } = *refusal;
        let builtin = match denial.rule {
            RuleRef::Builtin(builtin) => Some(builtin.info().name),
            RuleRef::Written(_) => None,
        };
        // Where no rule refused, the author of the nearest grant knows best, and tells those whom its
        // role or scope would be told.
        let grant = refusal.nearest.first().filter(|_| info.is_none() && facts.identity.who().is_some());
        let words = info.or_else(|| grant.map(|nearest| policy.rules.get(nearest.rule)));
        RuleView {
            rule: shown_name(policy, denial.rule, full),
            builtin,
            reason: denial.reason,
            policy: VersionText::new(policy.version),
            temporary: denial.temporary(),
            until: denial.until,
            retry_after: retry_after(denial, facts.now),
            author: info.and_then(|info| info.reason.as_deref()),
            remediation: words.and_then(|info| info.remediation.as_deref()),
            needs: facts.identity.who().and_then(|_| needs(refusal)),
            contact: words.and_then(|info| info.contact.as_deref()).or(policy.contact.as_deref()),
        }
    }
}

/// The name of a rule for a caller: its public one, unless everything may be known.
pub(super) fn shown_name(policy: &Policy, rule: RuleRef, full: bool) -> &str {
    match rule {
        RuleRef::Builtin(builtin) => builtin.info().name,
        RuleRef::Written(written) => {
            let info = policy.rules.get(written);
            info.public_name.as_deref().filter(|_| !full).unwrap_or(&info.name)
        }
    }
}

/// What the single nearest grant lacks, where the reason says that it is one thing.
fn needs<'a>(refusal: &Refusal<'a>) -> Option<Needs<'a>> {
    let Refusal { policy, denial, nearest, .. } = *refusal;
    nearest.first()?.unmet.iter().find_map(|unmet| match (denial.reason, unmet) {
        (Reason::RoleMissing, Unmet::Roles(roles)) => Some(Needs::Roles(&policy.roles, roles)),
        (Reason::ScopeMissing, Unmet::Scopes(scopes)) => Some(Needs::Scopes(scopes)),
        _ => None,
    })
}

/// Seconds until trying again makes sense: the end of the refusal if it is known, a guess for a 503.
fn retry_after(denial: &Denial, now: Timestamp) -> Option<u64> {
    match denial.until {
        // Rounded up: a client that comes back on time must not come too early.
        Some(until) => {
            let left = until.as_nanosecond().saturating_sub(now.as_nanosecond()).max(1);
            u64::try_from((left + 999_999_999) / 1_000_000_000).ok()
        }
        None if denial.status() == 503 => Some(RETRY_SOON),
        None => None,
    }
}

/// Long enough for a restart or a key fetch, short enough to be worth waiting for.
const RETRY_SOON: u64 = 5;

/// A version as text, made once for header and body and without the machinery of formatting.
pub(super) struct VersionText {
    /// INVARIANT: ASCII from `start` on.
    bytes: [u8; VersionText::LONGEST],
    start: usize,
}

impl VersionText {
    /// Twenty digits, a hyphen, eight hexadecimal digits.
    const LONGEST: usize = 29;

    /// The text of a version: what its `Display` writes.
    pub(super) fn new(version: Version) -> VersionText {
        let mut text = VersionText { bytes: [0; VersionText::LONGEST], start: VersionText::LONGEST };
        for shift in 0..8 {
            let digit = version.hash >> (4 * shift) & 0xf;
            text.push(char::from_digit(digit, 16));
        }
        text.push(Some('-'));
        let mut generation = version.generation;
        loop {
            text.push(char::from_digit((generation % 10) as u32, 10));
            generation /= 10;
            if generation == 0 {
                return text;
            }
        }
    }

    /// Puts an ASCII character in front.
    fn push(&mut self, c: Option<char>) {
        if let (Some(c), Some(start)) = (c, self.start.checked_sub(1)) {
            self.bytes[start] = c as u8;
            self.start = start;
        }
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.start..]).unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_written_as_it_is_displayed() {
        for (generation, hash) in [(0, 0), (7, 0x3f9a_2c1d), (u64::MAX, u32::MAX), (10, 0x0a)] {
            let version = Version { generation, hash };
            assert_eq!(VersionText::new(version).as_str(), version.to_string());
        }
    }
}
