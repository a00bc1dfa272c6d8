//! The rules of a phase, one after the other.

use std::sync::Arc;

use regex_automata::meta;

use super::body::Processor;
use super::build::{Asked, Changed, Done, Link, LinkTest, Number, Place_, ProgramRule, TextPiece};
use super::expand::{Scene, Shown, scalar};
use super::state::{CAPTURES, Held, MatchedText, Name, Scored, Transaction, full_name};
use super::{Exclusion, PhaseProgram, Program, fill};
use crate::decision::{Builtin, Written};
use crate::facts::{Body, Facts};
use crate::policy::waf::bits::Bits;
use crate::policy::waf::body::{Bounds, Unreadable};
use crate::policy::waf::bytes::legible;
use crate::policy::waf::ir::{Action, Allowed, Phase};
use crate::policy::waf::matcher::{Budget, Exhausted};
use crate::policy::waf::operators::OperatorKind;
use crate::policy::waf::record::Recorder;
use crate::policy::waf::seclang::EngineMode;
use crate::policy::waf::values::Value;

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
    /// Whether the budget is used up.
    pub(in crate::policy::waf) exhausted: bool,
}

/// What judging a phase needs.
pub(in crate::policy::waf) struct Judge<'a, 'f> {
    pub(in crate::policy::waf) program: &'a Program,
    pub(in crate::policy::waf) facts: Option<&'a Facts<'f>>,
    pub(in crate::policy::waf) recorder: Recorder<'a>,
    pub(in crate::policy::waf) budget: u64,
}

/// Where a rule was found: by position, and on which text.
type Hit = (usize, usize);

/// What changes while a phase runs.
struct Course<'t> {
    transaction: &'t mut Transaction,
    budget: Budget,
    judged: Judged,
    /// The exclusions of TOML that count for this request.
    exclusions: Vec<usize>,
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
            return Judged { exhausted: true, ..Judged::default() };
        };
        let exclusions = self.exclusions();
        let mut course = Course { transaction, budget: Budget(left), judged: Judged::default(), exclusions };
        let done = self.run(program, &mut course);
        let left = course.budget.0;
        let mut judged = course.judged;
        judged.exhausted = done.is_err();
        transaction.spent = self.budget - left;
        if transaction.allowed == Some(Allowed::Phase) {
            transaction.allowed = None;
        }
        judged
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
        let Some((matcher, sight)) = &program.matcher else { return Ok(hits) };
        let Transaction { values, scratch, .. } = &mut *course.transaction;
        let mut wanted = Bits::default();
        for at in 0..values.len() {
            let Some(value) = values.get(at) else { break };
            if sight.blind(value.kind) {
                continue;
            }
            sight.units(value, values, &mut wanted);
            wanted.keep(&program.wanted);
            if wanted.is_empty() {
                continue;
            }
            matcher.run(values.text(value), &wanted, scratch, &mut course.budget, |unit| {
                if sight.sees(unit, value, values) {
                    hits.push((program.position_of.get(unit).copied().unwrap_or(usize::MAX), at));
                }
            })?;
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
            if first.is_none() {
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
            LinkTest::Number { kind: OperatorKind::Ge | OperatorKind::Gt, with, .. } => Some(match with {
                Number::Fixed(number) => *number,
                Number::Text(text) => self.scene(transaction, Shown::Whole).number(text),
            }),
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

    fn scene<'s>(&'s self, transaction: &'s Transaction, shown: Shown) -> Scene<'s, 's> {
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

    /// Asks a link. Each match is noted, and does what the link says, before the next is looked for.
    fn link(
        &self,
        link: &Link,
        number: usize,
        hits: Option<&[Hit]>,
        before: &[MatchedText],
        score: &mut i64,
        course: &mut Course<'_>,
    ) -> Result<bool, Exhausted> {
        let mut matched = false;
        if matches!(link.test, LinkTest::Always) && link.view.is_none() && link.asked.is_empty() {
            course.transaction.matched = before.to_vec();
            self.effects(link, number, score, course);
            return Ok(true);
        }
        if let Some(view) = &link.view {
            let count = hits.map_or(course.transaction.values.len(), <[Hit]>::len);
            for index in 0..count {
                let at = hits.map_or(index, |hits| hits.get(index).map_or(usize::MAX, |(_, text)| *text));
                let values = &course.transaction.values;
                let Some(value) = values.get(at).copied() else { continue };
                if !view.sees(&value, values) || self.is_hidden(number, &value, course) {
                    continue;
                }
                let text = values.text(&value);
                course.budget.take_times(text.len(), link.weight())?;
                let Some(found) = self.judge(link, text, course.transaction) else { continue };
                let secret = self.recorder.is_secret(&value, values);
                matched = true;
                let found = MatchedText { name: Name::Value(at), text: found, secret };
                self.note(link, number, found, score, course);
            }
        }
        for asked in &link.asked {
            matched |= self.asked(link, asked, number, before, score, course)?;
        }
        Ok(matched)
    }

    /// Whether something keeps a text from a rule.
    fn is_hidden(&self, number: usize, value: &Value, course: &Course<'_>) -> bool {
        let values = &course.transaction.values;
        let controls = course.transaction.hidden.iter();
        let written = course.exclusions.iter().filter_map(|at| self.program.exclusions.get(*at));
        let keeps = |exclusion: &Exclusion| {
            exclusion.rules.contains(number)
                && exclusion.texts.as_ref().is_some_and(|texts| texts.sees(value, values))
        };
        controls.filter(|hidden| hidden.rules.contains(number)).any(|hidden| hidden.texts.sees(value, values))
            || written.filter(|exclusion| exclusion.texts.is_some()).any(keeps)
    }

    /// Looks at variables.
    fn asked(
        &self,
        link: &Link,
        asked: &Asked,
        number: usize,
        before: &[MatchedText],
        score: &mut i64,
        course: &mut Course<'_>,
    ) -> Result<bool, Exhausted> {
        let mut texts: Vec<MatchedText> = Vec::new();
        let plain = |name: Name, text: Vec<u8>| MatchedText { name, text, secret: false };
        // Numbers are what is asked by far the most, and mostly in vain: that needs no text.
        let refuses = |number: i64, course: &Course<'_>| match &link.test {
            LinkTest::Number { kind, with, negated } if link.transforms.is_empty() => {
                compare(*kind, number, self.number(with, course.transaction)) == *negated
            }
            _ => false,
        };
        match asked {
            Asked::Slot(slot) => {
                let hidden = &course.transaction.hidden;
                let kept = hidden.iter().any(|one| one.rules.contains(number) && one.slots.contains(slot));
                let held = course.transaction.read(*slot);
                if kept || !held.is_set() || refuses(held.number(), course) {
                    return Ok(false);
                }
                let mut text = Vec::new();
                held.append_to(&mut text);
                texts.push(plain(Name::Slot(*slot), text));
            }
            Asked::Slots(collection, expression) => {
                for (name, held) in self.members(collection, expression.as_deref(), course) {
                    let mut text = Vec::new();
                    held.append_to(&mut text);
                    texts.push(plain(name, text));
                }
            }
            Asked::Matched => texts.extend(before.iter().cloned()),
            Asked::LastMatched => texts.extend(before.last().cloned()),
            Asked::MatchedNames | Asked::LastMatchedName => {
                let last = matches!(asked, Asked::LastMatchedName);
                let first = if last { before.len().saturating_sub(1) } else { 0 };
                for one in before.iter().skip(first) {
                    let mut text = Vec::new();
                    self.scene(course.transaction, Shown::Whole).name(one.name, &mut text);
                    texts.push(MatchedText { text, ..one.clone() });
                }
            }
            Asked::Scalar(name) => {
                let mut text = Vec::new();
                scalar(name, course.transaction, self.facts, &mut text);
                texts.push(plain(Name::Scalar(name), text));
            }
            Asked::Count(_) | Asked::CountTexts(_) => {
                let count = match asked {
                    Asked::Count(all) => all.iter().map(|asked| self.count(asked, before, course)).sum(),
                    Asked::CountTexts(view) => {
                        let values = &course.transaction.values;
                        let all = (0..values.len()).filter_map(|at| values.get(at));
                        all.filter(|value| view.sees(value, values)).count()
                    }
                    _ => 0,
                };
                if refuses(count as i64, course) {
                    return Ok(false);
                }
                texts.push(plain(Name::None, count.to_string().into_bytes()));
            }
        }
        let mut matched = false;
        for text in texts {
            course.budget.take_times(text.text.len(), link.weight())?;
            let Some(found) = self.judge(link, &text.text, course.transaction) else { continue };
            matched = true;
            self.note(link, number, MatchedText { text: found, ..text }, score, course);
        }
        Ok(matched)
    }

    /// The variables of a collection that are set, and whose names fit.
    fn members<'s>(
        &'s self,
        collection: &str,
        expression: Option<&'s meta::Regex>,
        course: &'s Course<'_>,
    ) -> impl Iterator<Item = (Name, &'s Held)> {
        let prefix = format!("{collection}.");
        let transaction = &*course.transaction;
        let known = self.program.slots.names.iter().enumerate();
        let known = known.map(|(slot, name)| (Name::Slot(slot), &**name, transaction.read(slot)));
        let named = transaction.named.iter().enumerate();
        let named = named.map(|(at, (name, held))| (Name::Named(at), name.as_str(), held));
        known.chain(named).filter(|(_, _, held)| held.is_set()).filter_map(move |(name, full, held)| {
            let short = full.strip_prefix(&prefix)?;
            expression.is_none_or(|expression| expression.is_match(short)).then_some((name, held))
        })
    }

    fn count(&self, asked: &Asked, before: &[MatchedText], course: &Course<'_>) -> usize {
        match asked {
            Asked::Slot(slot) => usize::from(course.transaction.read(*slot).is_set()),
            Asked::Slots(collection, expression) => {
                self.members(collection, expression.as_deref(), course).count()
            }
            Asked::Matched | Asked::MatchedNames => before.len(),
            Asked::LastMatched | Asked::LastMatchedName => before.len().min(1),
            Asked::Scalar(_) => 1,
            Asked::Count(_) | Asked::CountTexts(_) => 0,
        }
    }

    /// The text behind the transformations, if it is what the link demands.
    fn judge(&self, link: &Link, text: &[u8], transaction: &Transaction) -> Option<Vec<u8>> {
        let mut now = std::borrow::Cow::Borrowed(text);
        if link.multi_match && self.holds(link, &now, transaction) {
            return Some(now.into_owned());
        }
        for transform in &link.transforms {
            if let Some(changed) = transform.apply(&now) {
                now = changed.into();
                if link.multi_match && self.holds(link, &now, transaction) {
                    return Some(now.into_owned());
                }
            }
        }
        (!link.multi_match && self.holds(link, &now, transaction)).then(|| now.into_owned())
    }

    fn holds(&self, link: &Link, text: &[u8], transaction: &Transaction) -> bool {
        match &link.test {
            LinkTest::Always => true,
            LinkTest::Fixed(test) => test.matches(text),
            LinkTest::Number { kind, with, negated } => {
                compare(*kind, super::state::number(text), self.number(with, transaction)) != *negated
            }
            LinkTest::Text { kind, with, negated } => {
                let with = self.scene(transaction, Shown::Whole).text(with);
                contains(*kind, text, &with) != *negated
            }
        }
    }

    fn number(&self, number: &Number, transaction: &Transaction) -> i64 {
        match number {
            Number::Fixed(number) => *number,
            Number::Text(text) => self.scene(transaction, Shown::Whole).number(text),
        }
    }

    /// Notes a match, and does what it does.
    fn note(
        &self,
        link: &Link,
        number: usize,
        matched: MatchedText,
        score: &mut i64,
        course: &mut Course<'_>,
    ) {
        if link.capture {
            capture(link, &matched.text, course.transaction);
        }
        course.transaction.matched.push(matched);
        self.effects(link, number, score, course);
    }

    fn effects(&self, link: &Link, number: usize, score: &mut i64, course: &mut Course<'_>) {
        for done in &link.effects {
            match done {
                Done::Set { slot, change, scores } => {
                    self.set(slot, change, *scores, number, score, course.transaction)
                }
                Done::RemoveRules(rules) => {
                    if course.transaction.removed.is_empty() {
                        course.transaction.removed = Bits::none(self.program.rules.len());
                    }
                    course.transaction.removed.add(rules);
                }
                Done::Hide(hidden) => course.transaction.hidden.push(Arc::clone(hidden)),
                Done::Processor(processor) => course.transaction.body.processor = Some(*processor),
                Done::ForceBody(on) => course.transaction.body.forced = *on,
                Done::RequestBody(on) => course.transaction.body.refused_access = !on,
                Done::Engine(mode) => match mode {
                    EngineMode::On => course.transaction.detection_only = false,
                    EngineMode::DetectionOnly => course.transaction.detection_only = true,
                    EngineMode::Off => course.transaction.off = true,
                },
            }
        }
    }

    fn set(
        &self,
        slot: &Place_,
        change: &Changed,
        scores: bool,
        number: usize,
        score: &mut i64,
        transaction: &mut Transaction,
    ) {
        let slot = match slot {
            Place_::Slot(slot) => Ok(*slot),
            Place_::Named(collection, name) => {
                let name = self.scene(transaction, Shown::Whole).text(name);
                let full = full_name(collection, &String::from_utf8_lossy(&name));
                self.program.slots.find(&full).ok_or(full)
            }
        };
        let old = match &slot {
            Ok(slot) => transaction.read(*slot),
            Err(full) => {
                let known = transaction.named.iter().find(|(name, _)| name == full);
                known.map_or(&Held::Nothing, |(_, held)| held)
            }
        };
        let scene = self.scene(transaction, Shown::Whole);
        let new = match change {
            Changed::Unset => Held::Nothing,
            Changed::Value(text) => match text.0.as_slice() {
                [TextPiece::Fixed(text)] => Held::Fixed(Arc::clone(text)),
                [TextPiece::Slot(other)] => transaction.read(*other).clone(),
                _ => Held::Text(scene.text(text)),
            },
            Changed::Add(text) => {
                let amount = scene.number(text);
                if scores {
                    *score += amount;
                    let rule = self.program.rules.get(number);
                    if let Some(rule) = rule.filter(|rule| rule.logged && amount > 0) {
                        let of_response = transaction.response.status != 0;
                        let scored =
                            Scored { rule: rule.written, paranoia: rule.paranoia, amount, of_response };
                        let new = Held::Number(old.number().saturating_add(amount));
                        transaction.scores.push(scored);
                        return put(slot, new, transaction);
                    }
                }
                Held::Number(old.number().saturating_add(amount))
            }
            Changed::Subtract(text) => Held::Number(old.number().saturating_sub(scene.number(text))),
        };
        put(slot, new, transaction);
    }
}

fn put(slot: Result<usize, String>, new: Held, transaction: &mut Transaction) {
    match slot {
        Ok(slot) => transaction.write(slot, new),
        Err(full) => {
            let full_up = transaction.named.len() >= MAX_NAMED;
            match transaction.named.iter_mut().find(|(name, _)| *name == full) {
                Some((_, held)) => *held = new,
                // A request must not make us remember without bound.
                None if full_up => {}
                None => transaction.named.push((full, new)),
            }
        }
    }
}

/// How many variables one request may name that no rule names.
const MAX_NAMED: usize = 4096;

fn compare(kind: OperatorKind, mine: i64, with: i64) -> bool {
    match kind {
        OperatorKind::Eq => mine == with,
        OperatorKind::Ge => mine >= with,
        OperatorKind::Gt => mine > with,
        OperatorKind::Le => mine <= with,
        OperatorKind::Lt => mine < with,
        _ => false,
    }
}

/// Operators whose argument is known only now.
fn contains(kind: OperatorKind, text: &[u8], with: &[u8]) -> bool {
    match kind {
        OperatorKind::Equals => text == with,
        OperatorKind::Contains => memchr::memmem::find(text, with).is_some(),
        OperatorKind::StartsWith => text.starts_with(with),
        OperatorKind::EndsWith => text.ends_with(with),
        OperatorKind::Within => memchr::memmem::find(with, text).is_some(),
        OperatorKind::ContainsAnyNocase => {
            let text = text.to_ascii_lowercase();
            let with = with.to_ascii_lowercase();
            let mut phrases = with.split(u8::is_ascii_whitespace).filter(|phrase| !phrase.is_empty());
            phrases.any(|phrase| memchr::memmem::find(&text, phrase).is_some())
        }
        _ => false,
    }
}

/// Keeps what an operator found, as `TX:0` and so on.
fn capture(link: &Link, text: &[u8], transaction: &mut Transaction) {
    let LinkTest::Fixed(test) = &link.test else {
        transaction.write(0, Held::Text(text.to_vec()));
        return;
    };
    let groups = test.groups(text);
    for number in 0..CAPTURES {
        let held = match groups.get(number) {
            Some(Some(group)) => Held::Text(group.clone()),
            _ => Held::Nothing,
        };
        transaction.write(number, held);
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
