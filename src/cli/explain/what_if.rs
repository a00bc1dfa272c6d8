//! The same request with something changed, to tell which fact decides.

use std::net::IpAddr;

use jiff::Timestamp;

use super::asked::{Asked, SOMEBODY};
use crate::cli::request::Person;
use crate::config::Setup;
use crate::decision::{Decision, Outcome, Stage};
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
}

/// A changed request and what becomes of it.
#[derive(Debug)]
pub(super) struct Variation {
    pub(super) change: Change,
    pub(super) decision: Decision,
    /// What follows from the comparison.
    pub(super) conclusion: String,
}

impl Change {
    /// The change in a few words: `from 192.0.2.7`.
    pub(super) fn short(&self) -> String {
        match self {
            Change::Ip(ip) => format!("from {ip}"),
            Change::Roles(_) => self.words(),
            Change::Both(ip, names) => format!("from {ip} {}", Change::Roles(names.clone()).words()),
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
        }
    }

    fn ip(&self) -> Option<IpAddr> {
        match self {
            Change::Ip(ip) | Change::Both(ip, _) => Some(*ip),
            Change::Roles(_) => None,
        }
    }

    fn roles(&self) -> &[String] {
        match self {
            Change::Roles(roles) | Change::Both(_, roles) => roles,
            Change::Ip(_) => &[],
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
        let conclusion = conclude(policy, base, &decision, &change);
        Variation { change, decision, conclusion }
    };
    let mut variations: Vec<Variation> = ips.iter().copied().map(Change::Ip).map(judge).collect();
    variations.extend(roles.iter().map(|role| judge(Change::Roles(vec![role.clone()]))));
    let enough = |variation: &Variation| matches!(variation.decision.outcome, Outcome::Allow(_));
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

/// What follows from comparing a changed request with the one that was asked about.
pub(super) fn conclude(policy: &Policy, base: &Decision, changed: &Decision, change: &Change) -> String {
    let name = |decision: &Decision| policy.rules.name(decision.rule());
    let what = match change {
        Change::Ip(_) => "the address",
        Change::Roles(_) => "the role",
        Change::Both(..) => "address and role together",
    };
    let ending = match (&base.outcome, &changed.outcome) {
        (Outcome::Deny(denial), Outcome::Allow(_)) => match (change, denial.stage) {
            (Change::Both(..), _) => "allowed, so it takes both".to_owned(),
            (Change::Ip(_), Stage::Ip) => format!("allowed, so it is the network rule {}", name(base)),
            (Change::Roles(_), _) => "allowed, so it is the missing role".to_owned(),
            _ => format!("allowed, so {} depends on {what}", name(base)),
        },
        (Outcome::Deny(one), Outcome::Deny(other))
            if one.rule == other.rule && one.reason == other.reason =>
        {
            match change {
                Change::Ip(_) | Change::Roles(_) => {
                    format!("still refused by {}, so it is not {what}", name(base))
                }
                Change::Both(..) => format!("still refused by {}, so it is neither", name(base)),
            }
        }
        (Outcome::Deny(_), Outcome::Deny(denial)) => {
            let not_enough = match change {
                Change::Ip(_) | Change::Roles(_) => format!("{what} alone is not enough"),
                Change::Both(..) => "both together are not enough".to_owned(),
            };
            format!("refused by {} ({}), so {not_enough}", name(changed), denial.reason)
        }
        (Outcome::Allow(_), Outcome::Deny(denial)) => {
            format!("refused by {} ({}), so {what} matters", name(changed), denial.reason)
        }
        (Outcome::Allow(_), Outcome::Allow(_)) => format!("allowed as well, by {}", name(changed)),
    };
    format!("{}: {ending}", change.words())
}
