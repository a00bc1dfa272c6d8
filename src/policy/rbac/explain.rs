//! What each rule that the walk reached made of the request, for a trace.

use super::Rbac;
use super::rule::{Caller, Kind, Lacks, Rule};
use crate::decision::{Builtin, Reason, RuleRef, Stage, StepOutcome, Trace, Verdict};
use crate::facts::{Facts, RoleId};
use crate::policy::condition::{Positions, Truth};

/// How many rules a trace shows.
const MAX_STEPS: usize = 100;

impl Rbac {
    /// One step for each rule that the walk reached, in policy order, and one for the default deny.
    #[cold]
    pub(super) fn explain(&self, facts: &Facts<'_>, verdict: &Verdict, trace: &mut Trace) {
        let caller = Caller::new(facts);
        let mut steps: Vec<(u32, StepOutcome, String)> = Vec::new();
        let mut reached = self.table.reach(facts);
        for entry in reached.nearest_first().flat_map(|place| self.table.members(place)) {
            let Some(rule) = self.rules.get(entry.rule as usize) else { continue };
            let (outcome, note) = self.step(rule, self.table.positions(entry), &caller, facts, verdict);
            steps.push((entry.rule, outcome, note));
        }
        // A rule with several patterns that match is shown by the one with which it did most.
        steps.sort_by_key(|(rule, outcome, _)| (*rule, *outcome == StepOutcome::Unmet));
        steps.dedup_by_key(|(rule, ..)| *rule);
        let (deciding, others): (Vec<_>, Vec<_>) = steps
            .into_iter()
            .partition(|(_, outcome, _)| matches!(outcome, StepOutcome::Deny(_) | StepOutcome::Pass));
        let left_out = others.len().saturating_sub(MAX_STEPS);
        let mut shown: Vec<_> = deciding.into_iter().chain(others.into_iter().take(MAX_STEPS)).collect();
        shown.sort_by_key(|(rule, ..)| *rule);
        for (rule, outcome, note) in shown {
            if let Some(rule) = self.rules.get(rule as usize) {
                trace.rule(Stage::Rbac, rule.written, outcome, note);
            }
        }
        if left_out > 0 {
            trace.note(Stage::Rbac, format!("{left_out} more rules are about this path and are not shown"));
        }
        if let Verdict::Deny(denial) = verdict
            && denial.rule == RuleRef::from(Builtin::DefaultDeny)
        {
            let note = match denial.reason {
                Reason::CredentialsMissing => "no grant allows this, and nobody was shown",
                Reason::NoMatchingGrant => "no grant allows this",
                _ => "no grant allows this; the nearest lacks one thing",
            };
            trace.rule(Stage::Rbac, Builtin::DefaultDeny, StepOutcome::Deny(denial.reason), note);
        }
    }

    fn step(
        &self,
        rule: &Rule,
        positions: &Positions,
        caller: &Caller<'_>,
        facts: &Facts<'_>,
        verdict: &Verdict,
    ) -> (StepOutcome, String) {
        let mut why = Vec::new();
        if !rule.methods.contains(&facts.target.method) {
            why.push(format!("it is about {}", rule.methods));
        }
        if let Some(role) = rule.except.iter().find(|role| caller.has_role(**role)) {
            why.push(format!("the role {} is exempt", self.role(*role)));
        }
        let lacks = rule.lacks(caller, facts, positions);
        let condition = rule.condition(facts, positions);
        for kind in [Lacks::ROLES, Lacks::SCOPES, Lacks::SUBJECT, Lacks::NOT_YET, Lacks::EXPIRED] {
            if lacks.contains(kind) {
                why.push(self.lack(rule, kind));
            }
        }
        let explained = rule.condition.as_ref().map(|condition| condition.explain(facts, positions));
        let met = match rule.kind {
            Kind::Grant => condition == Truth::True,
            Kind::Deny(_) => condition != Truth::False,
        };
        if !why.is_empty() || !met {
            if !met {
                why.extend(explained);
            }
            return (StepOutcome::Unmet, why.join("; "));
        }
        let reason = if condition == Truth::Error { Reason::ConditionError } else { Reason::DeniedByRule };
        let named = match verdict {
            Verdict::Pass(named) => *named,
            Verdict::Deny(denial) => denial.rule,
            Verdict::Answer(rule) => (*rule).into(),
        };
        let outcome = match rule.kind {
            Kind::Deny(mode) if mode.in_shadow(facts.now) => StepOutcome::ShadowDeny(reason),
            _ if named != RuleRef::from(rule.written) => StepOutcome::AlsoMatched,
            Kind::Deny(_) => StepOutcome::Deny(reason),
            Kind::Grant => StepOutcome::Pass,
        };
        let mut note = vec![self.concerned(rule, caller)];
        note.extend(explained);
        (outcome, note.join("; "))
    }

    /// What is wanting, in words.
    fn lack(&self, rule: &Rule, kind: Lacks) -> String {
        let any = |names: Vec<&str>| names.join(" or ");
        match kind {
            Lacks::ROLES => {
                format!(
                    "the role {} is missing",
                    any(rule.roles.iter().map(|role| self.role(*role)).collect())
                )
            }
            Lacks::SCOPES => {
                let scopes: Vec<&str> = rule.scopes.iter().map(|scope| &**scope).collect();
                let all = if rule.kind == Kind::Grant { scopes.join(" and ") } else { any(scopes) };
                format!("the scope {all} is missing")
            }
            Lacks::SUBJECT => "it is about other subjects".to_owned(),
            Lacks::NOT_YET => match rule.from {
                Some(from) => format!("it begins at {from}"),
                None => String::new(),
            },
            _ => match rule.until {
                Some(until) => format!("it ended at {until}"),
                None => String::new(),
            },
        }
    }

    /// What a deny is not about, in the words of what it says.
    pub(super) fn exits(&self, rule: &Rule) -> Vec<String> {
        let any =
            |roles: &[RoleId]| roles.iter().map(|role| self.role(*role)).collect::<Vec<_>>().join(" or ");
        let mut exits = Vec::new();
        if !rule.roles.is_empty() {
            exits.push(format!("It is only about holders of the role {}.", any(&rule.roles)));
        }
        if !rule.scopes.is_empty() {
            exits.push(format!("It is only about tokens with the scope {}.", rule.scopes.join(" or ")));
        }
        if !rule.subjects.is_empty() {
            exits.push("It is only about certain subjects.".to_owned());
        }
        if !rule.except.is_empty() {
            exits.push(format!("Holders of the role {} are exempt.", any(&rule.except)));
        }
        if let Some(condition) = &rule.condition {
            exits.push(format!("It does not apply where `{}` is false.", condition.text()));
        }
        exits
    }

    /// Why the rule is about this caller.
    fn concerned(&self, rule: &Rule, caller: &Caller<'_>) -> String {
        let role = rule.roles.iter().find(|role| caller.has_role(**role));
        match (role, caller.holder) {
            (Some(role), _) => format!("for the role {}", self.role(*role)),
            (None, Some(holder)) if !rule.subjects.is_empty() => {
                format!("for the subject {}", holder.subject.escape_debug())
            }
            (None, _) if !rule.scopes.is_empty() => "for the scopes of the token".to_owned(),
            (None, _) if !rule.except.is_empty() => {
                let exempt: Vec<&str> = rule.except.iter().map(|role| self.role(*role)).collect();
                format!("for everybody who lacks the role {}", exempt.join(" or "))
            }
            (None, _) => "for everybody".to_owned(),
        }
    }

    fn role(&self, role: RoleId) -> &str {
        self.role_names.get(usize::from(role.0)).map_or("?", |name| name)
    }
}
