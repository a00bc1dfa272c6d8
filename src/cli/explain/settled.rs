//! What a record says was decided, where judging its request again cannot come to it: the text that a WAF
//! rule matched, a ban and a credential are in no record. The record outranks the new trail then.

use serde_json::Value;

use super::account::{Account, nearly};
use super::recorded::disbelieved;
use crate::audit::Line;
use crate::decision::{
    BodyInspection, Builtin, Decision, Denial, Notes, Outcome, Reason, RuleRef, ShadowHit, Stage,
    StepOutcome, WafMatch, WafNotes,
};
use crate::facts::{Body, Identity, Problem};
use crate::policy::{Policy, World};

/// A decision as it was recorded.
#[derive(Debug)]
pub(super) struct Settled {
    /// Why it cannot be found out again, as a sentence.
    pub(super) why: String,
    decision: Decision,
    /// The credential that was not believed.
    problem: Option<Problem>,
}

/// Why the decision of a record cannot be found out from it again; none if it can, as far as is known.
pub(super) fn unknowable(line: &Line<'_>) -> Option<String> {
    match (&*line.decision, &*line.stage) {
        ("deny", "ip") if *line.rule == *Builtin::Banned.info().name => {
            Some("A ban is no part of the policy, and is gone when it has ended.".to_owned())
        }
        ("deny", "waf") => {
            Some("The rules of the WAF looked at text of the request that no record keeps.".to_owned())
        }
        ("deny", "authn") => disbelieved(line).map(|what| format!("The credential, {what}, is not kept.")),
        ("deny", "intake") => Some("What made the request unintelligible is kept only in part.".to_owned()),
        _ => None,
    }
}

/// Whether judging again came to what was recorded.
fn agrees(line: &Line<'_>, account: &Account<'_>) -> bool {
    let rule = account.name(account.decision.rule());
    match (&account.decision.outcome, &*line.decision) {
        // That the upstream failed is no decision, and it failed only those that may pass.
        (Outcome::Allow(_), "error") => true,
        (Outcome::Allow(_), "allow") | (Outcome::Deny(_), "deny") => *line.rule == *rule,
        _ => false,
    }
}

/// The decision of a record, for a trail that comes to another one. `same`: the policy at hand is the one
/// that decided, so that nothing but a lack of facts can be the cause. None where the policy may be the
/// cause, or does not know the rule.
fn settle(line: &Line<'_>, policy: &Policy, same: bool) -> Option<Settled> {
    let why = match (unknowable(line), same) {
        (Some(why), _) => why,
        (None, true) => "The record does not tell everything that was looked at.".to_owned(),
        (None, false) => return None,
    };
    let rule = policy.rules.by_name(&line.rule)?;
    let notes = notes(line, policy);
    let outcome = match &*line.decision {
        "allow" => Outcome::Allow(rule),
        "deny" => Outcome::Deny(Denial {
            stage: stage(line, policy, rule, &notes.waf)?,
            rule,
            reason: line.reason.as_ref()?.parse().ok()?,
            until: line.until.as_ref().and_then(|until| until.parse().ok()),
        }),
        _ => return None,
    };
    let problem = match (outcome, rule) {
        (Outcome::Deny(denial), RuleRef::Builtin(rule)) if denial.stage == Stage::Authn => Some(Problem {
            reason: denial.reason,
            until: denial.until,
            ..Problem::new(rule, format!("as recorded, {}", denial.reason.info().title.to_lowercase()))
        }),
        _ => None,
    };
    let decision = Decision { outcome, notes, policy: policy.version };
    Some(Settled { why, decision, problem })
}

/// The gate. Both of the WAF have one name: the second comes after somebody may come in, and is the one
/// that reads bodies, and runs without one too.
fn stage(line: &Line<'_>, policy: &Policy, rule: RuleRef, waf: &WafNotes) -> Option<Stage> {
    let named = Stage::ALL.into_iter().find(|stage| stage.name() == &*line.stage)?;
    if named != Stage::Waf {
        return Some(named);
    }
    let known = line.identity().is_some_and(|identity| &*identity.state == "valid");
    let late = known || waf.body != BodyInspection::None || runs_late(policy, rule);
    Some(if late { Stage::WafBody } else { Stage::Waf })
}

/// Whether a rule runs at the second gate of the WAF, whatever a request has.
fn runs_late(policy: &Policy, rule: RuleRef) -> bool {
    match rule {
        RuleRef::Written(written) => policy.waf.runs_late(written),
        RuleRef::Builtin(_) => policy.rules.stage(rule) == Stage::WafBody,
    }
}

/// What the record lists of the WAF and of rules in shadow, as far as the policy knows the rules.
fn notes(line: &Line<'_>, policy: &Policy) -> Notes {
    let waf: Value = line.waf.and_then(|waf| serde_json::from_str(waf.get()).ok()).unwrap_or_default();
    let shadow: Value =
        line.shadow.and_then(|hits| serde_json::from_str(hits.get()).ok()).unwrap_or_default();
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let rule = |value: &Value| policy.rules.by_name(value["rule"].as_str()?);
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let matched = items(&waf["matched"]).into_iter().filter_map(|found| {
        Some(WafMatch {
            rule: rule(&found)?,
            target: text(&found["target"]),
            score: number(&found["score"]),
            shadow: found["shadow"].as_bool().unwrap_or(false),
            data: text(&found["data"]),
            msg: text(&found["msg"]),
        })
    });
    let hits = items(&shadow).into_iter().filter_map(|hit| {
        let reason: Reason = hit["reason"].as_str()?.parse().ok()?;
        Some(ShadowHit { rule: rule(&hit)?, reason })
    });
    let body = waf["body"].as_str().unwrap_or("");
    let known =
        [BodyInspection::Inspected, BodyInspection::Off, BodyInspection::Grpc, BodyInspection::Upgrade];
    Notes {
        personal: false,
        shadow: hits.collect(),
        waf: WafNotes {
            score: number(&waf["score"]),
            threshold: number(&waf["threshold"]),
            body: known.into_iter().find(|known| known.name() == body).unwrap_or_default(),
            matched: matched.collect(),
        },
    }
}

impl Account<'_> {
    /// Compares it with the record that its request came from, and where it cannot know better takes over
    /// what was recorded: whether it came to that by itself, and what was taken over. `same`: the policy at
    /// hand is the one that decided.
    pub(super) fn held_to(&mut self, line: &Line<'_>, same: bool) -> (bool, Option<Settled>) {
        if agrees(line, self) {
            return (true, None);
        }
        let settled = settle(line, self.policy(), same);
        if let Some(settled) = &settled {
            self.take_over(settled);
        }
        (false, settled)
    }

    /// The trail ends where the record says that it did.
    fn take_over(&mut self, settled: &Settled) {
        let place = |stage: Stage| Stage::ALL.iter().position(|other| *other == stage);
        self.curl.notes.push(format!("it is another request in what matters here: {}", settled.why));
        self.decision = settled.decision.clone();
        if let Outcome::Deny(denial) = settled.decision.outcome {
            self.trace.steps.retain(|step| place(step.stage) < place(denial.stage));
            let note = format!("as recorded, and not found out anew: {}", settled.why);
            self.trace.rule(denial.stage, denial.rule, StepOutcome::Deny(denial.reason), note);
            let at = |stage| place(stage).cmp(&place(denial.stage));
            self.identity = match at(Stage::Authn) {
                // The new trail may have ended before anybody was looked at.
                std::cmp::Ordering::Less => self.identity.take().or_else(|| {
                    Some(self.policy().identify_sample(self.admitted.route, &self.sample, &World::default()))
                }),
                std::cmp::Ordering::Equal => settled.problem.clone().map(Identity::Invalid),
                std::cmp::Ordering::Greater => None,
            };
        }
        let policy = self.policy();
        let known = self.identity.clone().unwrap_or(Identity::Nobody);
        let facts =
            policy.facts(&self.admitted, &self.sample.headers, &known, &Body::Absent, self.sample.now);
        let denial = match &settled.decision.outcome {
            Outcome::Deny(denial) => Some(denial),
            Outcome::Allow(_) => None,
        };
        let (nearest, mut unheld) = nearly(policy, denial, &facts);
        if let Some(hidden) = self.hidden {
            unheld.iter_mut().for_each(|(_, unheld)| hidden.hedge(unheld));
        }
        let level = policy.disclosure.level_at(&facts, denial.map(|denial| denial.stage));
        (self.nearest, self.unheld, self.level) = (nearest, unheld, level);
    }
}
