//! One link of a rule: on what it is asked, and whether that is what it demands.

use std::borrow::Cow;

use regex_automata::meta;

use super::Exclusion;
use super::expand::{Shown, scalar};
use super::parts::{Asked, Link, LinkTest, Number};
use super::run::{Course, Hit, Judge};
use super::state::{Held, MatchedText, Name, Transaction};
use crate::policy::waf::budget::{Budget, Exhausted, GaveUp};
use crate::policy::waf::operators::OperatorKind;
use crate::policy::waf::values::Value;

impl Judge<'_, '_> {
    /// Asks a link. Each match is noted, and does what the link says, before the next is looked for.
    pub(super) fn link(
        &self,
        link: &Link,
        number: usize,
        hits: Option<&[Hit]>,
        before: &[MatchedText],
        score: &mut i64,
        course: &mut Course<'_>,
    ) -> Result<bool, Exhausted> {
        let mut matched = false;
        if link.is_unconditional() {
            course.transaction.matched = before.to_vec();
            self.effects(link, number, score, course);
            return Ok(true);
        }
        if let Some(view) = &link.view
            && view.may_see_any(&course.transaction.values)
        {
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
                let judged = self.judge(link, text, course.transaction, &mut course.budget);
                let found = match judged {
                    Ok(Some(found)) => found,
                    Ok(None) => continue,
                    Err(GaveUp) => return Err(course.gave_up(number, Name::Value(at))),
                };
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
        if course.transaction.hidden.is_empty() && course.exclusions.is_empty() {
            return false;
        }
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
            let judged = self.judge(link, &text.text, course.transaction, &mut course.budget);
            let judged = judged.map_err(|GaveUp| course.gave_up(number, text.name))?;
            let Some(found) = judged else { continue };
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
    fn judge(
        &self,
        link: &Link,
        text: &[u8],
        transaction: &Transaction,
        budget: &mut Budget,
    ) -> Result<Option<Vec<u8>>, GaveUp> {
        let mut now = Cow::Borrowed(text);
        if link.multi_match && self.holds(link, &now, transaction, budget)? {
            return Ok(Some(now.into_owned()));
        }
        for transform in &link.transforms {
            if let Some(changed) = transform.apply(&now) {
                now = changed.into();
                if link.multi_match && self.holds(link, &now, transaction, budget)? {
                    return Ok(Some(now.into_owned()));
                }
            }
        }
        let holds = !link.multi_match && self.holds(link, &now, transaction, budget)?;
        Ok(holds.then(|| now.into_owned()))
    }

    fn holds(
        &self,
        link: &Link,
        text: &[u8],
        transaction: &Transaction,
        budget: &mut Budget,
    ) -> Result<bool, GaveUp> {
        Ok(match &link.test {
            LinkTest::Always => true,
            LinkTest::Fixed(test) => test.judge(text, budget)?,
            LinkTest::Number { kind, with, negated } => {
                compare(*kind, super::state::number(text), self.number(with, transaction)) != *negated
            }
            LinkTest::Text { kind, with, negated } => {
                let with = self.scene(transaction, Shown::Whole).text(with);
                contains(*kind, text, &with) != *negated
            }
        })
    }

    pub(super) fn number(&self, number: &Number, transaction: &Transaction) -> i64 {
        match number {
            Number::Fixed(number) => *number,
            Number::Text(text) => self.scene(transaction, Shown::Whole).number(text),
        }
    }
}

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
        _ => false,
    }
}
