//! What changed before a recorded request was refused: the record's part of the question, and what the
//! policies that were in force before say of it.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::super::account::Account;
use super::super::asked::Asked;
use super::super::settled::{Settled, unknowable};
use super::hour::unlooked;
use super::retold::refuses_as_well;
use crate::admin::Earlier;
use crate::audit::{Line, Recalled};
use crate::decision::{Builtin, Outcome, Stage};
use crate::facts::{Body, Holder, Identity};
use crate::policy::rbac::{Access, Blind};
use crate::policy::{Caller, Policy, World};
use crate::state::Accepted;
use crate::state::cause::{self, Cause, Refusal, Says};

/// Looks. `settled`: what was taken from the record, where judging again did not come to it; then other
/// policies would know no better.
pub(in crate::cli::explain) fn look(
    earlier: &Earlier<'_>,
    world: &World,
    line: &Line<'_>,
    (asked, recalled): (&Asked, &Recalled),
    account: &Account<'_>,
    settled: Option<&Settled>,
) -> Cause {
    let stage = Stage::ALL.into_iter().find(|stage| stage.name() == &*line.stage);
    let Some(stage) = stage.filter(|_| &*line.decision == "deny") else { return Cause::default() };
    let (mut roles, subject): (Vec<&str>, Option<&str>) = match &account.identity {
        Some(Identity::Valid(who)) => {
            let policy = account.policy();
            let roles = who.roles.iter().map(|role| policy.roles.name(role));
            (roles.chain(undeclared(policy, &who.holder)).collect(), Some(&*who.holder.subject))
        }
        _ => {
            let subject = recalled.holder.as_ref().map(|holder| &*holder.subject);
            (asked.roles.iter().map(String::as_str).collect(), subject)
        }
    };
    roles.push("anyone");
    let holder = match &asked.caller {
        Caller::Assumed(holder) => Some(holder),
        Caller::FromHeaders => None,
    };
    let target = &account.admitted.target;
    let segments: Vec<&str> = target.segments().collect();
    let refused = Refusal {
        rule: &line.rule,
        stage,
        at: recalled.now,
        decided: line.policy(),
        method: recalled.method.as_str(),
        host: target.host(),
        segments: &segments,
        roles: &roles,
        subject,
        source: holder.map(|holder| &*holder.source),
        by_roles: !account.nearest.is_empty(),
        route: line.route.as_deref(),
    };
    // With what its source would not let it bring.
    let unfiltered = holder.map(|holder| counting(holder, holder.ignored_roles.iter().map(|role| &**role)));
    // With the roles that no longer counted since the policy did not declare them.
    let declared = holder.map(|holder| counting(holder, undeclared(account.policy(), holder)));
    // Where it cannot be found out anew what was decided, other policies know no better.
    let known = unknowable(line).is_none() && settled.is_none();
    let unlooked = unlooked(line);
    let begin = Instant::now();
    let says = |before: &Accepted, other_source: bool| {
        // A policy that no longer compiles, perhaps since a key of it is gone, cannot be asked.
        let kept = Some(before).filter(|_| begin.elapsed() < earlier.patience);
        let setup = kept.and_then(earlier.compile)?;
        if !known {
            let as_well = refuses_as_well(account.setup, &setup, line);
            return as_well.then(|| Says::Refused(stage, line.rule.to_string()));
        }
        if !recalled.has_subject && depends_on_subject(&setup.policy, world, asked, recalled.now) {
            return None;
        }
        let caller = if other_source { unfiltered.as_ref() } else { declared.as_ref() };
        let caller = caller.unwrap_or(&asked.caller);
        let decision = match &asked.hidden {
            Some(hidden) => hidden.whatever(&setup.policy, world, (&asked.request, caller), recalled.now)?,
            None => {
                let sample = asked.request.clone().sample(&setup.policy, recalled.now, caller.clone());
                setup.policy.decide(&sample, world, None)
            }
        };
        // Which roles that source would have brought is in no record.
        if other_source && matches!(decision.outcome, Outcome::Deny(_)) {
            return None;
        }
        let rule = setup.policy.rules.name(decision.rule()).to_owned();
        Some(match decision.outcome {
            Outcome::Allow(_) => Says::Allowed(rule),
            Outcome::Deny(denial) if unlooked && denial.stage.looks_at_caller() => Says::Further,
            Outcome::Deny(denial) => Says::Refused(denial.stage, rule),
        })
    };
    match Builtin::by_name(&line.rule) {
        None => cause::of_rule(earlier.accepted, earlier.whole, &refused, |before| says(before, false)),
        Some(_) if known => cause::of_builtin(earlier.accepted, earlier.whole, &refused, says),
        // What a source or its keys were changed to may be why somebody is believed no longer.
        Some(
            Builtin::KeyUnknown
            | Builtin::Password
            | Builtin::Signature
            | Builtin::Issuer
            | Builtin::Audience
            | Builtin::Revoked,
        ) => cause::of_credential(earlier.accepted, &refused),
        Some(_) => Cause::default(),
    }
}

/// The caller with roles that did not count.
fn counting<'r>(holder: &Holder, roles: impl Iterator<Item = &'r str>) -> Caller {
    let mut counting = holder.clone();
    counting.roles.extend(roles.map(Box::from));
    Caller::Assumed(Arc::new(counting))
}

/// The roles of a credential that a policy does not declare. A record does not tell them from those that the
/// source may not bring, but of those a policy declares each.
fn undeclared<'h>(policy: &Policy, holder: &'h Holder) -> impl Iterator<Item = &'h str> {
    holder.ignored_roles.iter().map(|role| &**role).filter(|role| policy.roles.get(role).is_none())
}

/// Whether what a policy says depends on who asks, beyond the roles: a rule may name a subject of which only a
/// hash is kept, and a condition may look at it.
fn depends_on_subject(policy: &Policy, world: &World, asked: &Asked, now: Timestamp) -> bool {
    let sample = asked.request.clone().sample(policy, now, asked.caller.clone());
    let admitted = policy.admit_sample(&sample);
    let identity = policy.identify_sample(admitted.route, &sample, world);
    let facts = policy.facts(&admitted, &sample.headers, &identity, &Body::Absent, now);
    policy.rbac.outlook(&facts, Blind { holder: true, conditions: true, ..Blind::NOT }).access()
        == Access::Sometimes
}
