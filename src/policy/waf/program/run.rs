//! The rules of a phase, one after the other.

use std::sync::Arc;

use super::body::Processor;
use super::expand::{Scene, Shown};
use super::parts::{LinkTest, ProgramRule};
use super::state::{Name, Transaction};
use super::{PhaseProgram, Program, fill};
use crate::decision::{Builtin, Written};
use crate::facts::{Body, Facts};
use crate::policy::waf::bits::Bits;
use crate::policy::waf::body::{Bounds, Unreadable};
use crate::policy::waf::budget::{Budget, Exhausted, GAVE_UP};
use crate::policy::waf::bytes::legible;
use crate::policy::waf::ir::{Action, Allowed, Phase};
use crate::policy::waf::operators::OperatorKind;
use crate::policy::waf::record::Recorder;
use crate::policy::waf::seclang::EngineMode;

/// A rule that matched.
#[derive(Debug)]
pub(in crate::policy::waf) struct Fired {
    pub(in crate::policy::waf) rule: Written,
    pub(in crate::policy::waf) target: String,
    pub(in crate::policy::waf) score: u32,
    pub(in crate::policy::waf) msg: String,
    pub(in crate::policy::waf) data: String,
}

/// What came of a phase.
#[derive(Debug, Default)]
pub(in crate::policy::waf) struct Judged {
    /// The rules that matched and are recorded.
    pub(in crate::policy::waf) fired: Vec<Fired>,
    /// The rule to name, where the request is to be refused, and whether by its score.
    pub(in crate::policy::waf) refused: Option<(Written, bool)>,
    /// Why not everything was looked at, where it was not.
    pub(in crate::policy::waf) exhausted: Option<Exhausted>,
}

/// What judging a phase needs.
pub(in crate::policy::waf) struct Judge<'a, 'f> {
    pub(in crate::policy::waf) program: &'a Program,
    pub(in crate::policy::waf) facts: Option<&'a Facts<'f>>,
    pub(in crate::policy::waf) recorder: Recorder<'a>,
    pub(in crate::policy::waf) budget: u64,
}

/// Where a rule was found: by position, and on which text.
pub(super) type Hit = (usize, usize);

/// What changes while a phase runs.
pub(super) struct Course<'t> {
    pub(super) transaction: &'t mut Transaction,
    pub(super) budget: Budget,
    pub(super) judged: Judged,
    /// The exclusions of TOML that count for this request.
    pub(super) exclusions: Vec<usize>,
    /// On what an expression gave up.
    pub(super) gave_up_on: Name,
}

impl Course<'_> {
    /// An expression of a rule gave up.
    pub(super) fn gave_up(&mut self, rule: usize, on: Name) -> Exhausted {
        self.gave_up_on = on;
        Exhausted::Expression { whose: rule, text: None }
    }
}

impl Program {
    /// Runs the program without a request; by phase, the positions that it comes past.
    pub(super) fn rehearse(&self) -> Vec<Bits> {
        let mut transaction = Transaction::default();
        let none = Recorder { data_limit: 0, credentials: &[] };
        let judge = Judge { program: self, facts: None, recorder: none, budget: u64::MAX };
        self.phases
            .iter()
            .map(|phase| {
                let mut reached = Bits::none(phase.rules.len());
                let mut course = Course {
                    transaction: &mut transaction,
                    budget: Budget(u64::MAX),
                    judged: Judged::default(),
                    exclusions: Vec::new(),
                    gave_up_on: Name::None,
                };
                let mut at = 0;
                while at < phase.rules.len() {
                    reached.insert(at);
                    // A rehearsal has no budget to exceed.
                    at = judge.position(phase, at, &[], &mut course).unwrap_or(at + 1);
                    course.transaction.allowed = None;
                }
                reached
            })
            .collect()
    }
}

impl Judge<'_, '_> {
    /// Runs the phase of a request's head.
    pub(in crate::policy::waf) fn head(&self, facts: &Facts<'_>, transaction: &mut Transaction) -> Judged {
        self.start(facts, transaction);
        self.phase(Phase::RequestHead, transaction)
    }

    fn start(&self, facts: &Facts<'_>, transaction: &mut Transaction) {
        if std::mem::replace(&mut transaction.started, true) {
            return;
        }
        transaction.initial = Arc::clone(&self.program.initial);
        fill::head(facts, &mut transaction.values);
        transaction.body.processor = Processor::of(facts.headers);
    }

    /// Reads the body, if there is one, and runs its phase.
    pub(in crate::policy::waf) fn body(
        &self,
        facts: &Facts<'_>,
        bounds: &Bounds,
        transaction: &mut Transaction,
    ) -> (Judged, Option<Unreadable>) {
        self.start(facts, transaction);
        let mut unreadable = None;
        if let Body::Whole(bytes) = facts.body
            && !bytes.is_empty()
            && self.program.settings.request_body
            && !transaction.body.refused_access
        {
            transaction.spent = transaction.spent.saturating_add(bytes.len() as u64);
            let Transaction { values, body, .. } = &mut *transaction;
            unreadable = super::body::read(facts.headers, bytes, bounds, values, body).err();
            if transaction.body.error.is_some() && !self.program.minds_errors {
                unreadable = unreadable.or(Some(Unreadable {
                    rule: Builtin::BodyMalformed,
                    why: transaction.body.error.unwrap_or_default(),
                }));
            }
        }
        transaction.body.args_size = fill::args_size(&transaction.values);
        (self.phase(Phase::RequestBody, transaction), unreadable)
    }

    /// Runs a phase.
    pub(in crate::policy::waf) fn phase(&self, phase: Phase, transaction: &mut Transaction) -> Judged {
        let Some(program) = self.program.phases.get(phase as usize - 1) else { return Judged::default() };
        let over = match transaction.allowed {
            Some(Allowed::Everything) => phase < Phase::Logging,
            Some(Allowed::Request) => phase <= Phase::RequestBody,
            Some(Allowed::Phase) | None => false,
        };
        if program.rules.is_empty() || over || transaction.off {
            return Judged::default();
        }
        let Some(left) = self.budget.checked_sub(transaction.spent) else {
            return Judged { exhausted: Some(Exhausted::Budget), ..Judged::default() };
        };
        let exclusions = self.exclusions();
        let (budget, judged, gave_up_on) = (Budget(left), Judged::default(), Name::None);
        let mut course = Course { transaction, budget, judged, exclusions, gave_up_on };
        let exhausted = self.run(program, &mut course).err();
        let (left, gave_up_on) = (course.budget.0, course.gave_up_on);
        let mut judged = course.judged;
        judged.exhausted = exhausted;
        if let Some(Exhausted::Expression { whose, .. }) = exhausted {
            judged.fired.extend(self.gave_up(whose, gave_up_on, transaction));
        }
        transaction.spent = self.budget - left;
        if transaction.allowed == Some(Allowed::Phase) {
            transaction.allowed = None;
        }
        judged
    }

    /// What the record says of a rule whose expression gave up.
    fn gave_up(&self, rule: usize, on: Name, transaction: &Transaction) -> Option<Fired> {
        let rule = self.program.rules.get(rule)?.written;
        let mut target = Vec::new();
        self.scene(transaction, Shown::Record(self.recorder.data_limit)).name(on, &mut target);
        let (target, msg) = (legible(&target), GAVE_UP.to_owned());
        Some(Fired { rule, target, score: 0, msg, data: String::new() })
    }

    fn exclusions(&self) -> Vec<usize> {
        let Some(facts) = self.facts else { return Vec::new() };
        let all = self.program.exclusions.iter().enumerate();
        all.filter(|(_, exclusion)| exclusion.scope.matches(facts.target, facts.route))
            .map(|(at, _)| at)
            .collect()
    }

    fn run(&self, program: &PhaseProgram, course: &mut Course<'_>) -> Result<(), Exhausted> {
        let hits = self.find(program, course)?;
        let (mut at, mut next_hit) = (0, 0);
        loop {
            while hits.get(next_hit).is_some_and(|(position, _)| *position < at) {
                next_hit += 1;
            }
            let always = program.always.partition_point(|position| *position < at);
            let stop = match (program.always.get(always), hits.get(next_hit)) {
                (Some(always), Some((hit, _))) => (*always).min(*hit),
                (Some(only), None) => *only,
                (None, Some((only, _))) => *only,
                (None, None) => return Ok(()),
            };
            let here = &hits[next_hit..];
            let here = &here[..here.partition_point(|(position, _)| *position <= stop)];
            let here = here.strip_prefix_before(stop);
            at = self.position(program, stop, here, course)?;
            if course.transaction.allowed.is_some() || course.transaction.off {
                return Ok(());
            }
            if course.judged.refused.is_some() && !self.only_detects(course) {
                return Ok(());
            }
        }
    }

    fn only_detects(&self, course: &Course<'_>) -> bool {
        self.program.settings.engine == EngineMode::DetectionOnly || course.transaction.detection_only
    }

    /// Finds the heads that the matcher looks for, on every text on which they match.
    fn find(&self, program: &PhaseProgram, course: &mut Course<'_>) -> Result<Vec<Hit>, Exhausted> {
        let mut hits: Vec<Hit> = Vec::new();
        let mut gave_up: Option<Hit> = None;
        let Some((matcher, sight)) = &program.matcher else { return Ok(hits) };
        let Transaction { values, scratch, .. } = &mut *course.transaction;
        let mut wanted = Bits::default();
        for at in 0..values.len() {
            let Some(value) = values.get(at) else { break };
            if sight.blind(value.kind) {
                continue;
            }
            sight.units(value, values, &program.wanted, &mut wanted);
            if wanted.is_empty() {
                continue;
            }
            let position_of = |unit: usize| program.position_of.get(unit).copied().unwrap_or(usize::MAX);
            let done =
                matcher.run(values.text(value), &mut wanted, scratch, &mut course.budget, |unit, judged| {
                    if sight.sees(unit, value, values) {
                        let hit = (position_of(unit), at);
                        hits.push(hit);
                        // The rule may be removed or its text kept from it: it is asked again in its turn.
                        gave_up = gave_up.or(judged.is_err().then_some(hit));
                    }
                    Ok(())
                });
            if let Err(exhausted) = done {
                // What has used up most of it is worth more than that it is used up.
                let Some((position, at)) = gave_up else { return Err(exhausted) };
                let rule = program.rules.get(position).copied().unwrap_or(usize::MAX);
                return Err(course.gave_up(rule, Name::Value(at)));
            }
        }
        hits.sort_unstable();
        hits.dedup();
        Ok(hits)
    }

    /// Asks the rule at a position; gives the position to go on at.
    fn position(
        &self,
        phase: &PhaseProgram,
        position: usize,
        hits: &[Hit],
        course: &mut Course<'_>,
    ) -> Result<usize, Exhausted> {
        let Some(number) = phase.rules.get(position).copied() else { return Ok(position + 1) };
        let Some(rule) = self.program.rules.get(number) else { return Ok(position + 1) };
        let switched_off = course.exclusions.iter().filter_map(|at| self.program.exclusions.get(*at));
        let mut switched_off = switched_off.filter(|exclusion| exclusion.texts.is_none());
        if course.transaction.removed.contains(number) || switched_off.any(|one| one.rules.contains(number)) {
            return Ok(position + 1);
        }
        match self.rule(rule, number, hits, course)? {
            true => Ok(rule.skip.unwrap_or(position + 1)),
            false => Ok(position + 1),
        }
    }

    /// Asks a rule; says whether it matched as a whole.
    fn rule(
        &self,
        rule: &ProgramRule,
        number: usize,
        hits: &[Hit],
        course: &mut Course<'_>,
    ) -> Result<bool, Exhausted> {
        let mut score = 0;
        let mut first: Option<Name> = None;
        for (at, link) in rule.links.iter().enumerate() {
            let hits = (at == 0 && !hits.is_empty()).then_some(hits);
            let before = std::mem::take(&mut course.transaction.matched);
            let matched = self.link(link, number, hits, &before, &mut score, course)?;
            if !matched {
                course.transaction.matched = before;
                return Ok(false);
            }
            // What an action without a condition finds matched is another rule's.
            if first.is_none() && !link.is_unconditional() {
                first = course.transaction.matched.first().map(|matched| matched.name);
            }
        }
        if let Some(allowed) = rule.allow {
            course.transaction.allowed = Some(allowed);
        }
        if rule.logged {
            self.record(rule, first, score, course);
        }
        if rule.action == Action::Deny && course.judged.refused.is_none() {
            course.judged.refused = Some(self.blamed(rule, course));
        }
        Ok(true)
    }

    /// The rule to name for a refusal: where the refusing one only weighs what others found, the one
    /// at which the sum of the scores reached what it demands.
    fn blamed(&self, rule: &ProgramRule, course: &Course<'_>) -> (Written, bool) {
        let transaction = &*course.transaction;
        let wanted = rule.links.first().and_then(|head| match &head.test {
            LinkTest::Number { kind: OperatorKind::Ge | OperatorKind::Gt, with, .. } => {
                Some(self.number(with, transaction))
            }
            _ => None,
        });
        let (true, Some(wanted)) = (rule.is_summary(), wanted) else { return (rule.written, false) };
        let level = self.program.slots.find("tx.blocking_paranoia_level");
        let level = level.map_or(i64::MAX, |slot| transaction.read(slot).number());
        let of_response = self.is_of_response(rule);
        let mut sum = 0;
        let mut last = None;
        for scored in &transaction.scores {
            if scored.of_response == of_response && i64::from(scored.paranoia) <= level {
                last = Some(scored.rule);
                sum += scored.amount;
                if sum >= wanted {
                    break;
                }
            }
        }
        last.map_or((rule.written, false), |rule| (rule, true))
    }

    fn is_of_response(&self, rule: &ProgramRule) -> bool {
        let later = self.program.phases.iter().skip(Phase::RequestBody as usize);
        later
            .flat_map(|phase| &phase.rules)
            .any(|number| self.program.rules.get(*number).is_some_and(|other| std::ptr::eq(other, rule)))
    }

    pub(super) fn scene<'s>(&'s self, transaction: &'s Transaction, shown: Shown) -> Scene<'s, 's> {
        Scene { transaction, slots: &self.program.slots, facts: self.facts, shown }
    }

    fn record(&self, rule: &ProgramRule, first: Option<Name>, score: i64, course: &mut Course<'_>) {
        let transaction = &*course.transaction;
        let scene = self.scene(transaction, Shown::Record(self.recorder.data_limit));
        let msg = legible(&scene.text(&rule.msg));
        let data = match &rule.data {
            Some(data) if self.recorder.data_limit > 0 => legible(&scene.text(data)),
            _ => String::new(),
        };
        let mut target = Vec::new();
        scene.name(first.unwrap_or_default(), &mut target);
        let target = legible(&target);
        let score = u32::try_from(score).unwrap_or(0);
        course.judged.fired.push(Fired { rule: rule.written, target, score, msg, data });
    }
}

trait Cut {
    fn strip_prefix_before(&self, position: usize) -> &Self;
}

impl Cut for [Hit] {
    fn strip_prefix_before(&self, position: usize) -> &[Hit] {
        &self[self.partition_point(|(here, _)| *here < position)..]
    }
}
