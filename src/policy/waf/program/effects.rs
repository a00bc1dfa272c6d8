//! What a match does: captures, variables, scores, and controls.

use std::sync::Arc;

use super::expand::Shown;
use super::parts::{Assigned, Changed, Done, Link, LinkTest, TextPiece};
use super::run::{Course, Judge};
use super::state::{CAPTURES, Held, MatchedText, Scored, Transaction, full_name};
use crate::policy::waf::bits::Bits;
use crate::policy::waf::seclang::EngineMode;

impl Judge<'_, '_> {
    /// Notes a match, and does what it does.
    pub(super) fn note(
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

    pub(super) fn effects(&self, link: &Link, number: usize, score: &mut i64, course: &mut Course<'_>) {
        for done in &link.effects {
            match done {
                Done::Set { slot, change, scores } => {
                    self.set(slot, change, *scores, number, score, course.transaction)
                }
                Done::Recall { kept, key } => self.recall(*kept, key, course.transaction),
                Done::Expire { kept, name, seconds } => self.expire(*kept, name, seconds, course.transaction),
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
        slot: &Assigned,
        change: &Changed,
        scores: bool,
        number: usize,
        score: &mut i64,
        transaction: &mut Transaction,
    ) {
        let slot = match slot {
            Assigned::Slot(slot) => Ok(*slot),
            Assigned::Named(collection, name) => {
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
        let counted = matches!(change, Changed::Add(_) | Changed::Subtract(_));
        let added = counted.then(|| new.number().saturating_sub(old.number()));
        let full = match &slot {
            Ok(slot) => self.program.slots.names.get(*slot).map(|name| &**name),
            Err(full) => Some(full.as_str()),
        };
        let new = match full {
            Some(full) if transaction.memory.is_some() => self.remember(full, new, added, transaction),
            Some(_) | None => new,
        };
        put(slot, new, transaction);
    }
}

pub(super) fn put(slot: Result<usize, String>, new: Held, transaction: &mut Transaction) {
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
