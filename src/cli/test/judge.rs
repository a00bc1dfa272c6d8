//! One case against one policy.

use jiff::Timestamp;

use super::cases::Case;
use super::raw::{OutcomeWord, RawNeeds};
use crate::cli::layout::list;
use crate::decision::{Decision, Denial, Outcome, RuleRef, Stage, StepOutcome, Trace};
use crate::facts::{Body, Identity};
use crate::policy::diagnostic::At;
use crate::policy::rbac::Unmet;
use crate::policy::{Admitted, Policy, Sample, World};

/// What became of a case.
#[derive(Debug)]
pub struct Judged {
    /// What the policy decided: `deny 403 by rbac/default-deny (no_matching_grant)`.
    pub got: String,
    /// What was expected, in the same form.
    pub expected: String,
    /// How the request came through the gates.
    pub trail: String,
    /// Every expectation that was not met; none: the case passed.
    pub problems: Vec<String>,
}

/// Judges the request of a case, and compares.
pub fn judge(case: &Case, policy: &Policy, world: &World, now: Timestamp) -> Judged {
    let sample = case.sample(policy, now);
    let mut trace = Trace::default();
    let decision = policy.decide(&sample, world, Some(&mut trace));
    let admitted = policy.admit_sample(&sample);
    let route = policy.route(admitted.route).map(|route| &*route.name);
    let mut problems = Vec::new();
    let sent = sent_status(&decision, &admitted, &sample, policy, world);
    compare(case, &decision, route, sent, policy, &mut problems);
    hits(case, &decision, policy, &mut problems);
    silence(case, &decision, &trace, policy, &mut problems);
    if let Some(needs) = &case.expect.needs {
        let identity = policy.identify_sample(admitted.route, &sample, world);
        let facts = policy.facts(&admitted, &sample.headers, &identity, &Body::Absent, sample.now);
        let nearest = match &decision.outcome {
            Outcome::Deny(denial) => policy.rbac.nearest_to(denial, &facts),
            Outcome::Allow(_) => policy.rbac.nearest(&facts),
        };
        let unmet = nearest.first().map_or(&[][..], |near| &near.unmet);
        problems.extend(compare_needs(needs, unmet, policy));
    }
    Judged {
        got: words(&decision, policy),
        expected: expected(case),
        trail: trail(&decision, policy),
        problems,
    }
}

/// The status that the caller sees of a refusal, by its level of disclosure.
fn sent_status(
    decision: &Decision,
    admitted: &Admitted,
    sample: &Sample,
    policy: &Policy,
    world: &World,
) -> Option<u16> {
    let Outcome::Deny(denial) = &decision.outcome else { return None };
    let early = matches!(denial.stage, Stage::Intake | Stage::Ip | Stage::Route | Stage::Waf);
    let identity = match early {
        // Nobody has looked at the credential by then.
        true => Identity::Nobody,
        false => policy.identify_sample(admitted.route, sample, world),
    };
    let facts = policy.facts(admitted, &sample.headers, &identity, &Body::Absent, sample.now);
    Some(policy.disclosure.level(&facts, Some(denial.stage)).sent_status(denial))
}

/// Outcome, rule, stage, reason, status and route.
fn compare(
    case: &Case,
    decision: &Decision,
    route: Option<&str>,
    sent: Option<u16>,
    policy: &Policy,
    problems: &mut Vec<String>,
) {
    let expect = &case.expect;
    let denial = match &decision.outcome {
        Outcome::Deny(denial) => Some(denial),
        Outcome::Allow(_) => None,
    };
    let outcome = if denial.is_some() { OutcomeWord::Deny } else { OutcomeWord::Allow };
    let of = |get: &dyn Fn(&Denial) -> String| denial.map_or("none".to_owned(), get);
    let pairs = [
        ("outcome", expect.outcome.map(|want| want.word().to_owned()), outcome.word().to_owned()),
        (
            "rule",
            expect.rule.as_ref().map(|want| want.value.clone()),
            policy.rules.name(decision.rule()).to_owned(),
        ),
        (
            "stage",
            expect.stage.map(|want| want.word().to_owned()),
            of(&|denial| denial.stage.name().to_owned()),
        ),
        (
            "reason",
            expect.reason.as_ref().map(|want| want.value.clone()),
            of(&|denial| denial.reason.to_string()),
        ),
        (
            "status",
            expect.status.map(|want| want.to_string()),
            decision.own_status().map_or("none".to_owned(), |status| status.to_string()),
        ),
        (
            "sent_status",
            expect.sent_status.map(|want| want.to_string()),
            sent.map_or("none".to_owned(), |sent| sent.to_string()),
        ),
        ("route", expect.route.as_ref().map(|want| want.value.clone()), route.unwrap_or("none").to_owned()),
    ];
    for (what, want, got) in pairs {
        if let Some(want) = want.filter(|want| *want != got) {
            problems.push(format!("{what}: expected {want}, got {got}"));
        }
    }
}

/// WAF matches and shadow hits.
fn hits(case: &Case, decision: &Decision, policy: &Policy, problems: &mut Vec<String>) {
    let matched: Vec<&str> =
        decision.notes.waf.matched.iter().map(|matched| policy.rules.name(matched.rule)).collect();
    let shadow: Vec<&str> = decision.notes.shadow.iter().map(|hit| policy.rules.name(hit.rule)).collect();
    let has = |names: &[&str], rule: &At<String>| names.contains(&rule.as_str());
    for rule in case.expect.matched.iter().filter(|rule| !has(&matched, rule)) {
        problems.push(format!("matched: {} did not match", rule.value));
    }
    for rule in case.expect.not_matched.iter().filter(|rule| has(&matched, rule)) {
        problems.push(format!("not_matched: {} matched", rule.value));
    }
    for rule in case.expect.shadow.iter().filter(|rule| !has(&shadow, rule)) {
        problems.push(format!("shadow: {} was not hit", rule.value));
    }
}

/// Rules that must not fire.
fn silence(case: &Case, decision: &Decision, trace: &Trace, policy: &Policy, problems: &mut Vec<String>) {
    for name in &case.not_rules {
        let Some(rule) = policy.rules.by_name(name) else { continue };
        if let Some(how) = fired(rule, decision, trace) {
            problems.push(format!("not_rules: {} {how}", name.value));
        }
    }
}

/// How a rule fired, if it did.
fn fired(rule: RuleRef, decision: &Decision, trace: &Trace) -> Option<&'static str> {
    if decision.rule() == rule {
        return Some("decided");
    }
    if decision.notes.shadow.iter().any(|hit| hit.rule == rule) {
        return Some("was hit in shadow");
    }
    let matched = decision.notes.waf.matched.iter().any(|matched| matched.rule == rule);
    let traced = trace.steps.iter().filter(|step| step.rule == Some(rule)).any(|step| match step.outcome {
        StepOutcome::Deny(_)
        | StepOutcome::ShadowDeny(_)
        | StepOutcome::Score(_)
        | StepOutcome::AlsoMatched => true,
        StepOutcome::Note | StepOutcome::Pass | StepOutcome::Unmet => false,
    });
    (matched || traced).then_some("matched")
}

fn compare_needs(needs: &RawNeeds, unmet: &[Unmet], policy: &Policy) -> Vec<String> {
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    let wanted = |names: &[At<String>]| sorted(names.iter().map(|name| name.value.clone()).collect());
    let (mut roles, mut scopes) = (Vec::new(), Vec::new());
    for unmet in unmet {
        match unmet {
            Unmet::Roles(any) => roles.extend(any.iter().map(|role| policy.roles.name(*role).to_owned())),
            Unmet::Scopes(all) => scopes.extend(all.iter().map(ToString::to_string)),
            Unmet::Subject | Unmet::Condition | Unmet::NotYet(_) | Unmet::Expired(_) => {}
        }
    }
    let mut problems = Vec::new();
    for (what, want, got) in
        [("roles", wanted(&needs.roles), sorted(roles)), ("scopes", wanted(&needs.scopes), sorted(scopes))]
    {
        if want != got {
            let show =
                |names: &[String]| if names.is_empty() { "none".to_owned() } else { list(names, ", ") };
            problems.push(format!("needs.{what}: expected {}, got {}", show(&want), show(&got)));
        }
    }
    problems
}

fn words(decision: &Decision, policy: &Policy) -> String {
    let rule = policy.rules.name(decision.rule());
    match &decision.outcome {
        Outcome::Allow(_) => format!("allow by {rule}"),
        Outcome::Deny(denial) => format!("deny {} by {rule} ({})", denial.status(), denial.reason),
    }
}

fn expected(case: &Case) -> String {
    let expect = &case.expect;
    let mut words: Vec<String> = Vec::new();
    words.extend(expect.outcome.map(|outcome| outcome.word().to_owned()));
    words.extend(expect.status.map(|status| status.to_string()));
    words.extend(expect.rule.as_ref().map(|rule| format!("by {}", rule.value)));
    words.extend(expect.stage.map(|stage| format!("at {}", stage.word())));
    words.extend(expect.reason.as_ref().map(|reason| format!("({})", reason.value)));
    words.extend(expect.route.as_ref().map(|route| format!("on route {}", route.value)));
    words.join(" ")
}

fn trail(decision: &Decision, policy: &Policy) -> String {
    let mut parts = Vec::new();
    for stage in Stage::ALL {
        match &decision.outcome {
            Outcome::Deny(denial) if denial.stage == stage => {
                parts.push(format!("{} refused", stage.gate()));
                break;
            }
            Outcome::Allow(_) | Outcome::Deny(_) => parts.push(format!("{} pass", stage.gate())),
        }
    }
    parts.extend(
        decision
            .notes
            .shadow
            .iter()
            .map(|hit| format!("in shadow {} ({})", policy.rules.name(hit.rule), hit.reason)),
    );
    parts.extend(
        decision
            .notes
            .waf
            .matched
            .iter()
            .map(|matched| format!("matched {} on {}", policy.rules.name(matched.rule), matched.target)),
    );
    parts.join(" · ")
}
