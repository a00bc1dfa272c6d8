//! The account of a decision as a JSON document.
//!
//! A stable form: fields are added, not renamed or removed. Absent is null; lists are always there.
//!
//! | field | |
//! | --- | --- |
//! | `decision` | `allow` or `deny` |
//! | `sent_status`, `disclosure` | what the caller sees of it: the status, and the `level` with the place `at` of the entry that gives it |
//! | `status`, `stage`, `reason`, `detail`, `temporary`, `until` | of a refusal |
//! | `rule_until` | when the deny that refused ends, where the request would be refused then all the same |
//! | `rule` | the deciding rule: `name`, `at` (`file:line`), `builtin`, `text` (its lines), and its author's `reason`, `remediation`, `contact` |
//! | `causes`, `check` | the likely causes in order, and where to look |
//! | `nearest` | grants that nearly allowed it: `rule`, `at`, and what is `unmet`, with what it `needs`; of a `when` also what of it `fails`, by `part` and `facts` |
//! | `ways_out` | of a refusal by a written rule of ip or rbac, what takes the request out of its reach, a sentence each |
//! | `request`, `client`, `identity` | the facts that were judged; where a record keeps the address only in part, `ip` is that, and `stands_for_it` the address that was judged |
//! | `stages` | each gate: `passage` (`passed`, `refused`, `not_reached`) and its `steps` |
//! | `waf`, `shadow` | as in the decision log |
//! | `what_if` | each `change`, in words and as its own `ip`, `roles`, `token` (a file, or its number in the question), `at` or `policy`, with its `decision`, `status`, `stage`, `rule`, `reason`, and a `conclusion` |
//! | `curl`, `curl_notes`, `assumed` | how to make the request, and what nobody stated |

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::account::{Account, Passage};
use super::help::exits;
use super::what_if::{Change, Variation};
use crate::decision::{Outcome, RuleRef, Stage, Step, Written};
use crate::facts::{Derivation, Identity};
use crate::policy::condition::Unheld;
use crate::policy::rbac::Unmet;

#[derive(Serialize)]
pub(super) struct Document<'a> {
    #[serde(flatten)]
    verdict: Verdict<'a>,
    detail: Option<&'static str>,
    temporary: bool,
    until: Option<Timestamp>,
    rule_until: Option<Timestamp>,
    sent_status: Option<u16>,
    disclosure: Value,
    policy: String,
    causes: Vec<Cow<'static, str>>,
    check: Option<&'static str>,
    nearest: Vec<Near<'a>>,
    ways_out: Vec<String>,
    request: Value,
    client: Value,
    identity: Value,
    stages: Vec<Gate<'a>>,
    waf: Value,
    shadow: Vec<Value>,
    what_if: Vec<Value>,
    curl: String,
    curl_notes: &'a [String],
    assumed: &'a [String],
}

#[derive(Serialize)]
struct Verdict<'a> {
    decision: &'static str,
    status: Option<u16>,
    stage: Option<&'static str>,
    reason: Option<&'static str>,
    rule: Rule<'a>,
}

#[derive(Serialize)]
struct Rule<'a> {
    name: &'a str,
    at: Option<&'a str>,
    builtin: bool,
    text: Vec<String>,
    reason: Option<&'a str>,
    remediation: Option<&'a str>,
    contact: Option<&'a str>,
}

#[derive(Serialize)]
struct Near<'a> {
    rule: &'a str,
    at: &'a str,
    unmet: Vec<Value>,
}

#[derive(Serialize)]
struct Gate<'a> {
    stage: &'static str,
    passage: &'static str,
    steps: Vec<StepLine<'a>>,
}

#[derive(Serialize)]
struct StepLine<'a> {
    outcome: &'static str,
    rule: Option<&'a str>,
    at: Option<&'a str>,
    reason: Option<&'static str>,
    score: Option<u32>,
    note: &'a str,
}

/// The document of a decision.
pub(super) fn document<'a>(account: &'a Account<'a>) -> Document<'a> {
    let denial = account.denial();
    let reason = denial.map(|denial| denial.reason.info());
    Document {
        verdict: verdict(account),
        detail: reason.map(|reason| reason.detail),
        temporary: denial.is_some_and(|denial| denial.temporary()),
        until: denial.and_then(|denial| denial.until),
        rule_until: account.ends_in_vain(),
        sent_status: account.sent_status(),
        disclosure: json!({ "level": account.level.0.name(), "at": account.level.1 }),
        // The files have no generation; that is given when a policy is installed.
        policy: format!("{:08x}", account.decision.policy.hash),
        causes: account.causes(),
        check: reason.map(|reason| reason.check),
        nearest: nearest(account),
        ways_out: exits(account),
        request: request(account),
        client: client(account),
        identity: identity(account),
        stages: Stage::ALL.map(|stage| gate(account, stage)).into(),
        waf: waf(account),
        shadow: shadow(account),
        what_if: account.what_if.iter().map(changed).collect(),
        curl: account.curl.line(),
        curl_notes: &account.curl.notes,
        assumed: account.assumed,
    }
}

fn verdict<'a>(account: &Account<'a>) -> Verdict<'a> {
    let decision = &account.decision;
    let rule = decision.rule();
    let info = account.info(rule);
    let rule = Rule {
        name: account.name(rule),
        at: info.map(|info| &*info.at),
        builtin: matches!(rule, RuleRef::Builtin(_)),
        text: account.rule_text(rule).into_iter().map(|(_, line)| line).collect(),
        reason: info.and_then(|info| info.reason.as_deref()),
        remediation: info.and_then(|info| info.remediation.as_deref()),
        contact: info.and_then(|info| info.contact.as_deref()),
    };
    match decision.outcome {
        Outcome::Allow(_) => {
            Verdict { decision: "allow", status: decision.own_status(), stage: None, reason: None, rule }
        }
        Outcome::Deny(denial) => Verdict {
            decision: "deny",
            status: Some(denial.status()),
            stage: Some(denial.stage.name()),
            reason: Some(denial.reason.info().code),
            rule,
        },
    }
}

fn nearest<'a>(account: &Account<'a>) -> Vec<Near<'a>> {
    let policy = account.policy();
    let unmet = |rule: Written, unmet: &Unmet| match unmet {
        Unmet::Roles(roles) => {
            let names: Vec<&str> = roles.iter().map(|role| policy.roles.name(*role)).collect();
            json!({ "unmet": "roles", "needs": names })
        }
        Unmet::Scopes(scopes) => json!({ "unmet": "scopes", "needs": scopes }),
        Unmet::Subject => json!({ "unmet": "subject" }),
        Unmet::Condition => match account.unheld(rule) {
            Some(Unheld { text, parts }) => {
                let fails = parts.iter().map(|part| json!({ "part": part.text, "facts": part.seen }));
                json!({ "unmet": "when", "needs": text, "fails": fails.collect::<Vec<_>>() })
            }
            None => json!({ "unmet": "when" }),
        },
        Unmet::NotYet(from) => json!({ "unmet": "from", "needs": from }),
        Unmet::Expired(until) => json!({ "unmet": "until", "needs": until }),
    };
    let near = account.nearest.iter().map(|near| {
        let rule = policy.rules.get(near.rule);
        Near {
            rule: &rule.name,
            at: &rule.at,
            unmet: near.unmet.iter().map(|lack| unmet(near.rule, lack)).collect(),
        }
    });
    near.collect()
}

fn request(account: &Account<'_>) -> Value {
    let target = &account.admitted.target;
    let route = account.policy().route(account.admitted.route);
    json!({
        "method": target.method.as_str(),
        "scheme": target.scheme.as_str(),
        "host": target.host(),
        "path": target.path(),
        "query": target.query(),
        "unreadable": target.error.as_ref().map(|error| &error.shown),
        "route": route.map(|route| &route.name),
        "time": account.sample.now,
    })
}

fn client(account: &Account<'_>) -> Value {
    let client = &account.admitted.client;
    let trusted: Vec<String> = match &client.via {
        Derivation::Peer | Derivation::Unreadable => Vec::new(),
        Derivation::Header { trusted, .. } => trusted.iter().map(ToString::to_string).collect(),
    };
    json!({
        "ip": account.origin(),
        "stands_for_it": account.hidden.map(|_| client.ip),
        "peer": account.hidden.is_none().then_some(client.peer),
        "via": client.via(),
        "trusted_hops": trusted,
        "words": account.client_words(),
    })
}

fn identity(account: &Account<'_>) -> Value {
    let Some(identity) = &account.identity else { return Value::Null };
    let problem = match identity {
        Identity::Invalid(problem) => Some(&*problem.note),
        Identity::Nobody | Identity::Valid(_) => None,
    };
    let who = identity.who();
    let holder = who.map(|who| &who.holder);
    let roles = |who: &std::sync::Arc<crate::facts::Who>| {
        who.roles.iter().map(|role| account.policy().roles.name(role).to_owned()).collect::<Vec<_>>()
    };
    json!({
        "state": identity.state().name(),
        "source": holder.map(|holder| &holder.source),
        "subject": holder.map(|holder| &holder.subject),
        "roles": who.map(roles).unwrap_or_default(),
        "scopes": holder.map(|holder| holder.scopes.clone()).unwrap_or_default(),
        "ignored_roles": holder.map(|holder| holder.ignored_roles.clone()).unwrap_or_default(),
        "undeclared_roles": who.map(|who| who.undeclared.clone()).unwrap_or_default(),
        "expires_at": holder.and_then(|holder| holder.expires_at),
        "problem": problem,
    })
}

fn gate<'a>(account: &'a Account<'a>, stage: Stage) -> Gate<'a> {
    let passage = match account.passage(stage) {
        Passage::Passed => "passed",
        Passage::Refused => "refused",
        Passage::NotReached => "not_reached",
    };
    let stage_name = match stage {
        Stage::WafBody => "waf_body",
        other => other.name(),
    };
    Gate { stage: stage_name, passage, steps: account.steps(stage).map(|line| step(account, line)).collect() }
}

fn step<'a>(account: &Account<'a>, step: &'a Step) -> StepLine<'a> {
    let (outcome, reason, score) = step.outcome.told();
    StepLine {
        outcome,
        rule: step.rule.map(|rule| account.name(rule)),
        at: step.rule.and_then(|rule| account.info(rule)).map(|info| &*info.at),
        reason: reason.map(|reason| reason.info().code),
        score,
        note: &step.note,
    }
}

fn waf(account: &Account<'_>) -> Value {
    let waf = &account.decision.notes.waf;
    let matched = waf.matched.iter().map(|matched| {
        json!({
            "rule": account.name(matched.rule),
            "target": matched.target,
            "score": matched.score,
            "shadow": matched.shadow,
            "msg": matched.msg,
            "data": matched.data,
        })
    });
    json!({
        "score": waf.score,
        "threshold": waf.threshold,
        "body": waf.body.name(),
        "matched": matched.collect::<Vec<_>>(),
    })
}

fn shadow(account: &Account<'_>) -> Vec<Value> {
    let hits = account.decision.notes.shadow.iter();
    hits.map(|hit| json!({ "rule": account.name(hit.rule), "reason": hit.reason.info().code })).collect()
}

fn changed(variation: &Variation) -> Value {
    let Variation { change, said, conclusion } = variation;
    let (mut ip, mut roles, mut token, mut at, mut policy) = (None, &[][..], None, None, None);
    match change {
        Change::Ip(own) => ip = Some(own),
        Change::Roles(own) => roles = own,
        Change::Both(address, own) => (ip, roles) = (Some(address), own),
        Change::Shown(address, from) => (ip, token) = (Some(address), Some(from.name())),
        Change::Token(from) => token = Some(from.name()),
        Change::At(own) => at = Some(own),
        Change::Policy(own) => policy = Some(own),
    }
    json!({
        "change": change.words(),
        "ip": ip,
        "roles": roles,
        "token": token,
        "at": at,
        "policy": policy,
        "decision": if said.refused.is_some() { "deny" } else { "allow" },
        "status": said.status,
        "stage": said.refused.map(|(stage, _)| stage.name()),
        "rule": said.rule,
        "reason": said.refused.map(|(_, reason)| reason.info().code),
        "conclusion": conclusion,
    })
}
