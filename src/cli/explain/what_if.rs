//! The same request with something changed, side by side with the one that was asked about, to tell which
//! fact decides.

use std::net::IpAddr;
use std::path::PathBuf;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use jiff::Timestamp;

use super::account::Account;
use super::asked::{Asked, SOMEBODY};
use crate::cli::files::is_stdin;
use crate::cli::policies::Named;
use crate::cli::request::Person;
use crate::config::Setup;
use crate::decision::{Builtin, Decision, Outcome, Reason, RuleRef, Stage};
use crate::facts::Identity;
use crate::policy::{Caller, Policy, World};

/// What is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The client has this address, and is the other end of the connection.
    Ip(IpAddr),
    /// Who asks also has these roles.
    Roles(Vec<String>),
    /// Both.
    Both(IpAddr, Vec<String>),
    /// This bearer token is shown.
    Token(TokenFrom),
    /// It is asked at this time.
    At(Timestamp),
    /// This policy judges; its name as a whole phrase: `the policy new.toml`, `the current files`.
    Policy(String),
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

    fn of(account: &Account<'_>) -> Said {
        Said::new(account.policy(), &account.decision, account.identity.as_ref())
    }
}

impl Change {
    /// The change in a few words: `from 192.0.2.7`.
    pub(super) fn short(&self) -> String {
        match self {
            Change::Ip(ip) => format!("from {ip}"),
            Change::Both(ip, names) => format!("from {ip} {}", Change::Roles(names.clone()).words()),
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

    /// What is different, as the subject of a sentence that says that it `help`s or not.
    fn helps_not(&self) -> &'static str {
        match self {
            Change::Ip(_) => "this address does not help",
            Change::Roles(roles) if roles.len() == 1 => "this role does not help",
            Change::Roles(_) => "these roles do not help",
            Change::Both(..) => "both together do not help",
            Change::Token(_) => "this token does not help",
            Change::At(_) => "this time does not help",
            Change::Policy(_) => "this policy does not help",
        }
    }

    fn is_not_enough(&self) -> &'static str {
        match self {
            Change::Ip(_) => "this address alone is not enough",
            Change::Roles(roles) if roles.len() == 1 => "this role alone is not enough",
            Change::Roles(_) => "these roles alone are not enough",
            Change::Both(..) => "both together are not enough",
            Change::Token(_) => "this token alone is not enough",
            Change::At(_) => "this time alone is not enough",
            Change::Policy(_) => "this policy alone is not enough",
        }
    }

    fn matters(&self) -> &'static str {
        match self {
            Change::Ip(_) => "the address matters",
            Change::Roles(_) => "the role matters",
            Change::Both(..) => "address and role together matter",
            Change::Token(_) => "the credential matters",
            Change::At(_) => "the time matters",
            Change::Policy(_) => "the policy matters",
        }
    }

    fn ip(&self) -> Option<IpAddr> {
        match self {
            Change::Ip(ip) | Change::Both(ip, _) => Some(*ip),
            _ => None,
        }
    }

    fn roles(&self) -> &[String] {
        match self {
            Change::Roles(roles) | Change::Both(_, roles) => roles,
            _ => &[],
        }
    }
}

/// Judges the request once for each address and each role, and once for all of them together where
/// none alone is enough.
#[allow(clippy::too_many_arguments, reason = "one call, and every one of them is another fact")]
pub(super) fn vary(
    setup: &Setup,
    world: &World,
    asked: &Asked,
    now: Timestamp,
    base: &Decision,
    identity: Option<&Identity>,
    ips: &[IpAddr],
    roles: &[String],
) -> Vec<Variation> {
    let policy = &setup.policy;
    let base = Said::new(policy, base, identity);
    let judge = |change: Change| {
        let mut request = asked.request.clone();
        if let Some(ip) = change.ip() {
            request.ip = ip;
            request.peer = None;
            request.headers.remove("x-forwarded-for");
            request.headers.remove("forwarded");
        }
        let caller = with_roles(&asked.caller, identity, change.roles());
        let decision = policy.decide(&request.sample(policy, now, caller), world, None);
        let said = Said::new(policy, &decision, None);
        let conclusion = conclude(&base, &said, &change);
        Variation { change, said, conclusion }
    };
    let mut variations: Vec<Variation> = ips.iter().copied().map(Change::Ip).map(judge).collect();
    variations.extend(roles.iter().map(|role| judge(Change::Roles(vec![role.clone()]))));
    let enough = |variation: &Variation| variation.said.refused.is_none();
    if !variations.iter().any(enough) {
        match (ips, roles) {
            ([], [_, _, ..]) => variations.push(judge(Change::Roles(roles.to_vec()))),
            (ips, [_, ..]) => {
                variations.extend(ips.iter().map(|ip| judge(Change::Both(*ip, roles.to_vec()))));
            }
            (_, []) => {}
        }
    }
    variations
}

/// Who asks, with more roles.
pub(super) fn with_roles(caller: &Caller, identity: Option<&Identity>, roles: &[String]) -> Caller {
    if roles.is_empty() {
        return caller.clone();
    }
    let holder = match (caller, identity) {
        (Caller::Assumed(holder), _) => holder.clone(),
        (Caller::FromHeaders, Some(Identity::Valid(who))) => who.holder.clone(),
        (Caller::FromHeaders, _) => {
            let person = Person { subject: SOMEBODY.to_owned(), roles: roles.to_vec(), ..Person::default() };
            return person.caller();
        }
    };
    let mut holder = (*holder).clone();
    holder.roles.extend(roles.iter().map(|role| role.as_str().into()));
    Caller::Assumed(holder.into())
}

/// What the request is compared with besides: whatever changes more than a fact of it.
pub(super) enum Other {
    /// Whoever this token is for asks.
    Token(TokenFrom, Box<Asked>),
    /// It is asked at this time.
    At(Timestamp),
    /// This policy judges.
    Policy(Box<Named>),
}

impl Other {
    /// The request with this bearer token instead of whoever asks.
    pub(super) fn token(from: TokenFrom, token: &[u8], asked: &Asked) -> Result<Other, String> {
        let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat());
        let mut request = asked.request.clone();
        let value = value.map_err(|_| "the secret cannot stand in a header field".to_owned())?;
        request.headers.insert(AUTHORIZATION, value);
        let asked = Asked {
            request,
            caller: Caller::FromHeaders,
            body: asked.body.clone(),
            key_header: None,
            assumed: Vec::new(),
            roles: Vec::new(),
            warnings: Vec::new(),
        };
        Ok(Other::Token(from, Box::new(asked)))
    }
}

/// Judges the request again.
pub(super) fn beside(
    base: &Account<'_>,
    world: &World,
    asked: &Asked,
    now: Timestamp,
    other: &Other,
) -> Variation {
    let judged = |setup, asked, now| Account::judged(setup, world, asked, now, &[], &[]);
    let (change, account) = match other {
        Other::Token(from, asked) => (Change::Token(from.clone()), judged(base.setup, asked, now)),
        Other::At(at) => (Change::At(*at), judged(base.setup, asked, *at)),
        Other::Policy(named) => (Change::Policy(named.phrase()), judged(&named.setup, asked, now)),
    };
    let said = Said::of(&account);
    let conclusion = conclude(&Said::of(base), &said, &change);
    Variation { change, said, conclusion }
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
        Change::Both(..) => "it takes both".to_owned(),
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
