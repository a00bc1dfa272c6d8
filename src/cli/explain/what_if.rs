//! What follows from the same request with something changed, side by side with the one that was asked
//! about: which fact decides.

use std::net::IpAddr;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::cli::files::is_stdin;
use crate::decision::{Builtin, Decision, Outcome, Reason, RuleRef, Stage};
use crate::facts::Identity;
use crate::policy::Policy;

/// What is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The client has this address, and is the other end of the connection.
    Ip(IpAddr),
    /// Who asks also has these roles.
    Roles(Vec<String>),
    /// Both.
    Both(IpAddr, Vec<String>),
    /// The client has this address, and shows this bearer token.
    Shown(IpAddr, TokenFrom),
    /// This bearer token is shown.
    Token(TokenFrom),
    /// It is asked at this time.
    At(Timestamp),
    /// This policy judges; its name as a whole phrase: `the policy new.toml`, `the current files`.
    Policy(String),
}

/// Of the subject of a sentence.
enum Number {
    One,
    Several,
}

/// Where a token came from. What it is stands nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenFrom {
    File(PathBuf),
    /// It came with the question: the number of it, and of how many.
    Question(usize, usize),
}

impl TokenFrom {
    /// In a document.
    pub(super) fn name(&self) -> String {
        match self {
            TokenFrom::File(file) => file.to_string_lossy().into_owned(),
            TokenFrom::Question(number, _) => number.to_string(),
        }
    }
}

/// A changed request and what becomes of it.
#[derive(Debug)]
pub(super) struct Variation {
    pub(super) change: Change,
    pub(super) said: Said,
    /// What follows from the comparison.
    pub(super) conclusion: String,
}

/// What a policy says of a request, in names: so what different policies say can be compared.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) rule: String,
    /// The refusal, if it is one.
    pub(super) refused: Option<(Stage, Reason)>,
    /// The status of an answer that is not the upstream's.
    pub(super) status: Option<u16>,
    /// Refused by a rule that somebody wrote, or by a ban.
    by: By,
    /// Who asks, or says to be.
    subject: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Ban,
    Builtin,
    Written,
}

impl Said {
    pub(super) fn new(policy: &Policy, decision: &Decision, identity: Option<&Identity>) -> Said {
        let (refused, status) = match &decision.outcome {
            Outcome::Allow(_) => (None, decision.own_status()),
            Outcome::Deny(denial) => (Some((denial.stage, denial.reason)), Some(denial.status())),
        };
        let by = match decision.rule() {
            RuleRef::Builtin(Builtin::Banned) => By::Ban,
            RuleRef::Builtin(_) => By::Builtin,
            RuleRef::Written(_) => By::Written,
        };
        let subject = match identity {
            Some(Identity::Valid(who)) => Some(who.holder.subject.to_string()),
            Some(Identity::Invalid(problem)) => {
                problem.claimed.as_ref().map(|claimed| claimed.subject.to_string())
            }
            Some(Identity::Nobody) | None => None,
        };
        Said { rule: policy.rules.name(decision.rule()).to_owned(), refused, status, by, subject }
    }
}

impl Change {
    /// The change in a few words: `from 192.0.2.7`.
    pub(super) fn short(&self) -> String {
        match self {
            Change::Ip(ip) => format!("from {ip}"),
            Change::Both(ip, names) => format!("from {ip} {}", Change::Roles(names.clone()).words()),
            Change::Shown(ip, from) => format!("from {ip} {}", Change::Token(from.clone()).words()),
            _ => self.words(),
        }
    }

    /// The change in words: `with the address 192.0.2.7`.
    pub(super) fn words(&self) -> String {
        let roles = |roles: &[String]| {
            let word = if roles.len() == 1 { "role" } else { "roles" };
            format!("the {word} {}", roles.join(" and "))
        };
        match self {
            Change::Ip(ip) => format!("with the address {ip}"),
            Change::Roles(names) => format!("with {}", roles(names)),
            Change::Both(ip, names) => format!("with the address {ip} and {}", roles(names)),
            Change::Shown(ip, from) => {
                let token = Change::Token(from.clone()).words();
                format!("with the address {ip} and {}", token.trim_start_matches("with "))
            }
            Change::Token(TokenFrom::Question(_, 1)) => "with the given token".to_owned(),
            Change::Token(TokenFrom::Question(number, _)) => format!("with the given token {number}"),
            Change::Token(TokenFrom::File(file)) if is_stdin(file) => {
                "with the token from standard input".to_owned()
            }
            Change::Token(TokenFrom::File(file)) => format!("with the token in {}", file.to_string_lossy()),
            Change::At(at) => format!("at {at}"),
            Change::Policy(name) => format!("by {name}"),
        }
    }

    /// What is different, as the subject of a sentence that says that it is not all; and whether that is
    /// several things. Together with another change it may be.
    fn alone(&self) -> (&'static str, Number) {
        match self {
            Change::Ip(_) => ("this address alone", Number::One),
            Change::Roles(roles) if roles.len() == 1 => ("this role alone", Number::One),
            Change::Roles(_) => ("these roles alone", Number::Several),
            Change::Both(..) | Change::Shown(..) => ("both together", Number::Several),
            Change::Token(_) => ("this token alone", Number::One),
            Change::At(_) => ("this time alone", Number::One),
            Change::Policy(_) => ("this policy alone", Number::One),
        }
    }

    fn helps_not(&self) -> String {
        match self.alone() {
            (what, Number::One) => format!("{what} does not help"),
            (what, Number::Several) => format!("{what} do not help"),
        }
    }

    fn is_not_enough(&self) -> String {
        match self.alone() {
            (what, Number::One) => format!("{what} is not enough"),
            (what, Number::Several) => format!("{what} are not enough"),
        }
    }

    fn matters(&self) -> &'static str {
        match self {
            Change::Ip(_) => "the address matters",
            Change::Roles(_) => "the role matters",
            Change::Both(..) => "address and role together matter",
            Change::Shown(..) => "address and credential together matter",
            Change::Token(_) => "the credential matters",
            Change::At(_) => "the time matters",
            Change::Policy(_) => "the policy matters",
        }
    }

    pub(super) fn ip(&self) -> Option<IpAddr> {
        match self {
            Change::Ip(ip) | Change::Both(ip, _) | Change::Shown(ip, _) => Some(*ip),
            _ => None,
        }
    }

    pub(super) fn roles(&self) -> &[String] {
        match self {
            Change::Roles(roles) | Change::Both(_, roles) => roles,
            _ => &[],
        }
    }
}

/// What follows from comparing a changed request with the one that was asked about. Of one that is refused
/// as before it follows that this value does not help, and not that the fact does not matter: another may.
pub(super) fn conclude(base: &Said, changed: &Said, change: &Change) -> String {
    let rule = &changed.rule;
    let place = |stage: Stage| Stage::ALL.iter().position(|other| *other == stage);
    let ending = match (base.refused, changed.refused) {
        (Some(refused), None) => format!("allowed, so {}", decisive(base, refused, changed, change)),
        (Some(one), Some(other)) if base.rule == *rule && one.1 == other.1 => {
            format!("still refused by {rule}, so {}", change.helps_not())
        }
        (Some((before, _)), Some((stage, reason))) if place(stage) < place(before) => {
            format!("refused earlier, by {rule} ({reason}), so {}", change.helps_not())
        }
        (Some(_), Some((_, reason))) => {
            format!("refused by {rule} ({reason}), so {}", change.is_not_enough())
        }
        (None, Some((_, reason))) => format!("refused by {rule} ({reason}), so {}", change.matters()),
        (None, None) => format!("allowed as well, by {rule}"),
    };
    format!("{}: {ending}", change.words())
}

/// What a refusal came from that this change undoes.
fn decisive(base: &Said, (stage, reason): (Stage, Reason), changed: &Said, change: &Change) -> String {
    let rule = &base.rule;
    let unknown = stage == Stage::Authn || reason == Reason::CredentialsMissing;
    match change {
        Change::Both(..) | Change::Shown(..) => "it takes both".to_owned(),
        Change::Ip(_) if base.by == By::Ban => "it is the ban of the address".to_owned(),
        Change::Ip(_) if stage == Stage::Ip => format!("it is the network rule {rule}"),
        Change::Ip(_) => format!("{rule} depends on the address"),
        Change::Roles(_) if unknown => "what it lacks is a valid credential with this role".to_owned(),
        Change::Roles(_) if base.by == By::Written => format!("{rule} depends on the role"),
        Change::Roles(_) => "it is the missing role".to_owned(),
        Change::Token(_) if reason == Reason::CredentialsMissing => "it is the missing credential".to_owned(),
        Change::Token(_) if stage == Stage::Authn => "it is the credential".to_owned(),
        Change::Token(_) if base.subject.is_some() && base.subject == changed.subject => {
            "it is what the credential says of the same subject".to_owned()
        }
        Change::Token(_) => "it is who asks".to_owned(),
        Change::At(_) => "it is the time".to_owned(),
        Change::Policy(_) => "it is the policy".to_owned(),
    }
}
