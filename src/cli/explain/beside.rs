//! The same request with another token, at another time, or by another policy, beside the one that was
//! asked about.

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::account::Account;
use super::asked::Asked;
use crate::cli::layout::{fill_to, padded, printable};
use crate::cli::policies::Named;
use crate::cli::reply::{BAD, GOOD, STRONG, styled};
use crate::decision::Outcome;

/// What is different.
pub(super) enum Other {
    /// Whoever this token is for asks.
    Token(PathBuf, Asked),
    /// It is asked at this time.
    At(Timestamp),
    /// This policy judges.
    Policy(Box<Named>),
}

/// A changed request and what becomes of it.
pub(super) struct Beside {
    /// `with the token in new.txt`, `by the policy 6-3f9a2c1d`.
    words: String,
    allowed: bool,
    status: Option<u16>,
    rule: String,
    reason: Option<&'static str>,
    conclusion: String,
}

/// Judges the request again.
pub(super) fn judge(base: &Account<'_>, asked: &Asked, now: Timestamp, other: &Other) -> Beside {
    let words = match other {
        Other::Token(file, _) => format!("with the token in {}", file.to_string_lossy()),
        Other::At(at) => format!("at {at}"),
        Other::Policy(named) => format!("by the policy {}", named.name),
    };
    match other {
        Other::Token(_, asked) => {
            compare(words, base, &Account::new(base.setup, asked, now, &[], &[]), "who asks")
        }
        Other::At(at) => compare(words, base, &Account::new(base.setup, asked, *at, &[], &[]), "the time"),
        Other::Policy(named) => {
            compare(words, base, &Account::new(&named.setup, asked, now, &[], &[]), "the policy")
        }
    }
}

fn compare(words: String, base: &Account<'_>, other: &Account<'_>, what: &str) -> Beside {
    let rule = other.name(other.decision.rule());
    let reason = other.denial().map(|denial| denial.reason.info().code);
    let before = base.name(base.decision.rule());
    let ending = match (&base.decision.outcome, &other.decision.outcome) {
        (Outcome::Deny(_), Outcome::Allow(_)) => format!("allowed by {rule}, so it is {what}"),
        (Outcome::Allow(_), Outcome::Deny(_)) => {
            format!("refused by {rule} ({}), so {what} matters", reason.unwrap_or_default())
        }
        (Outcome::Deny(_), Outcome::Deny(_)) if rule == before => {
            format!("still refused by {rule}, so it is not {what}")
        }
        (Outcome::Deny(_), Outcome::Deny(_)) => {
            format!("refused by {rule} ({}), so {what} alone is not enough", reason.unwrap_or_default())
        }
        (Outcome::Allow(_), Outcome::Allow(_)) => format!("allowed as well, by {rule}"),
    };
    Beside {
        conclusion: format!("{words}: {ending}"),
        words,
        allowed: other.denial().is_none(),
        status: other.decision.own_status(),
        rule: rule.to_owned(),
        reason,
    }
}

/// For people.
pub(super) fn text(all: &[Beside]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut out = format!("\n{}\n", styled(STRONG, "Side by side"));
    let width = all.iter().map(|beside| beside.words.chars().count()).max().unwrap_or(0).min(40);
    for beside in all {
        let outcome = match beside.allowed {
            true => styled(GOOD, "allowed"),
            false => styled(BAD, "refused"),
        };
        let status = beside.status.map(|status| format!(" {status}")).unwrap_or_default();
        let words = padded(&printable(&beside.words), width);
        out.push_str(&format!("  {words}  {outcome}{status} {}\n", printable(&beside.rule)));
    }
    for beside in all {
        out.push_str(&fill_to("  ", "    ", &printable(&beside.conclusion)));
    }
    out
}

/// For programs.
pub(super) fn json(all: &[Beside]) -> Value {
    let lines = all.iter().map(|beside| {
        json!({
            "change": beside.words,
            "decision": if beside.allowed { "allow" } else { "deny" },
            "status": beside.status,
            "rule": beside.rule,
            "reason": beside.reason,
            "conclusion": beside.conclusion,
        })
    });
    lines.collect()
}
