//! What is known of a program before any request comes: rules whose verdict is the same for all of them.
//!
//! A rule set begins by giving its variables their defaults, and asks at every turn whether a level is
//! switched on. That is the same for every request, so it is found out once: the program is followed
//! along all its paths with the values that are certain there. What all paths agree on at the beginning
//! is where requests start from; rules that then do nothing, whatever the request, are not stopped at.

use std::sync::Arc;

use super::Program;
use super::parts::{Asked, Assigned, Changed, Done, Link, LinkTest, Number, ProgramRule, Text, TextPiece};
use super::run::{Course, Judge, Judged};
use super::state::{CAPTURES, Held, Name, Transaction};
use crate::policy::waf::bits::Bits;
use crate::policy::waf::budget::Budget;
use crate::policy::waf::ir::Action;
use crate::policy::waf::memory::Kept;
use crate::policy::waf::record::Recorder;

/// What is known of a program.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// The variables that every request starts with, by slot.
    pub(super) initial: Arc<[Held]>,
    /// By phase: the positions that do nothing, whatever the request.
    pub(super) idle: Vec<Bits>,
}

/// What may keep rules from running.
struct Doubts<'a> {
    /// Rules that do not run for some requests.
    always: Bits,
    /// What rules that came before may have removed, each time together.
    removed: Vec<&'a Bits>,
}

impl<'a> Doubts<'a> {
    /// Takes in what a rule may do.
    fn add(&mut self, rule: &'a ProgramRule) {
        for done in rule.links.iter().flat_map(|link| &link.effects) {
            match done {
                Done::RemoveRules(rules) => self.removed.push(rules),
                Done::Hide(hidden) if !hidden.slots.is_empty() => self.always.add(&hidden.rules),
                _ => {}
            }
        }
    }

    /// Whether a rule that matches and jumps over others may be counted on: where it is removed, all
    /// that it would have jumped over is too.
    fn spare(&self, rule: usize, jumped: Option<&[usize]>) -> bool {
        let removers = self.removed.iter().filter(|removed| removed.contains(rule));
        let whole = |removed: &&Bits| jumped.unwrap_or_default().iter().all(|rule| removed.contains(*rule));
        let jumps = jumped.is_some_and(|jumped| !jumped.is_empty());
        !self.always.contains(rule) && removers.clone().all(|removed| jumps && whole(removed))
    }
}

/// The variables at a place of the program, by slot; none: they depend on the request.
type Known = Vec<Option<Held>>;

/// What a rule does, as far as it is known.
enum Verdict {
    /// It depends on the request.
    Open,
    No,
    /// It matches, and leaves these variables.
    Yes(Known),
}

impl Program {
    /// Follows the program along all its paths.
    pub(super) fn settle(&self) -> Settled {
        let mut settled = Settled::default();
        // Who asks what another rule has matched must find that rule's matches.
        if self.rules.iter().any(asks_for_others_matches) {
            settled.idle = self.phases.iter().map(|phase| Bits::none(phase.rules.len())).collect();
            return settled;
        }
        let mut doubts = Doubts { always: self.switched_off(), removed: Vec::new() };
        let mut known: Known = vec![Some(Held::Nothing); self.slots.names.len()];
        known.iter_mut().take(CAPTURES).for_each(|capture| *capture = None);
        // What requests before this one have left is not known.
        let kept = self.slots.names.iter().zip(&mut known).filter(|(name, _)| Kept::of(name).is_some());
        kept.for_each(|(_, held)| *held = None);
        let mut prefix = true;
        for (index, phase) in self.phases.iter().enumerate() {
            let end = phase.rules.len();
            let mut arriving: Vec<Option<Known>> = vec![None; end + 1];
            if index > 0 {
                // All phases but the first may be left out.
                arriving[end] = Some(known.clone());
            }
            arrive(&mut arriving, 0, known.clone());
            let mut verdicts = Vec::with_capacity(end);
            for at in 0..end {
                let Some(here) = arriving[at].take() else {
                    verdicts.push(None);
                    continue;
                };
                let number = phase.rules[at];
                let Some(rule) = self.rules.get(number) else { continue };
                let next = rule.skip.unwrap_or(at + 1);
                let verdict = match self.verdict(rule, number, &here) {
                    Verdict::Yes(_) if ends(rule) || !doubts.spare(number, phase.rules.get(at + 1..next)) => {
                        Verdict::Open
                    }
                    verdict => verdict,
                };
                match &verdict {
                    Verdict::No => arrive(&mut arriving, at + 1, here),
                    Verdict::Yes(after) => {
                        if rule.logged && std::mem::take(&mut prefix) {
                            settled.initial = values(&here);
                        }
                        arrive(&mut arriving, next, after.clone());
                    }
                    Verdict::Open => {
                        if std::mem::take(&mut prefix) {
                            settled.initial = values(&here);
                        }
                        doubts.add(rule);
                        let after = self.after(rule, here);
                        if ends(rule) {
                            arrive(&mut arriving, end, after.clone());
                        }
                        arrive(&mut arriving, next, after.clone());
                        arrive(&mut arriving, at + 1, after);
                    }
                }
                verdicts.push(Some((verdict, prefix)));
            }
            let reached = |at: usize| verdicts.get(at).is_some_and(Option::is_some);
            let mut idle = Bits::none(end);
            for (at, verdict) in verdicts.iter().enumerate() {
                let Some(rule) = self.rules.get(phase.rules[at]) else { continue };
                let does_nothing = match verdict {
                    None | Some((Verdict::No, _)) => true,
                    Some((Verdict::Open, _)) => false,
                    Some((Verdict::Yes(_), prefix)) => {
                        let plain = !rule.logged && rule.links.iter().all(|link| link.effects.is_empty());
                        *prefix || plain && rule.skip.is_none_or(|skip| !(at + 1..skip).any(reached))
                    }
                };
                if does_nothing {
                    idle.insert(at);
                }
            }
            settled.idle.push(idle);
            known = arriving.pop().flatten().unwrap_or_default();
            if std::mem::take(&mut prefix) {
                settled.initial = values(&known);
            }
        }
        settled
    }

    /// The rules that exclusions of TOML switch off for some requests.
    fn switched_off(&self) -> Bits {
        let mut rules = Bits::none(self.rules.len());
        let exclusions = self.exclusions.iter().filter(|exclusion| exclusion.texts.is_none());
        exclusions.for_each(|exclusion| rules.add(&exclusion.rules));
        rules
    }

    fn verdict(&self, rule: &ProgramRule, number: usize, known: &Known) -> Verdict {
        let mut transaction = Transaction::default();
        let values = known.iter().enumerate().filter_map(|(slot, held)| Some((slot, held.clone()?)));
        values.for_each(|(slot, held)| transaction.write(slot, held));
        let none = Recorder { data_limit: 0, credentials: &[] };
        let judge = Judge { program: self, facts: None, recorder: none, budget: u64::MAX };
        let mut course = Course {
            transaction: &mut transaction,
            budget: Budget(u64::MAX),
            judged: Judged::default(),
            exclusions: Vec::new(),
            gave_up_on: Name::None,
        };
        let mut effects = false;
        for link in &rule.links {
            if !is_known(link, known) {
                return Verdict::Open;
            }
            let before = std::mem::take(&mut course.transaction.matched);
            match judge.link(link, number, None, &before, &mut 0, &mut course) {
                Ok(true) => effects |= !link.effects.is_empty(),
                // What the links before have set stays.
                Ok(false) if effects => return Verdict::Open,
                Ok(false) => return Verdict::No,
                Err(_) => return Verdict::Open,
            }
        }
        let after = known
            .iter()
            .enumerate()
            .map(|(slot, held)| held.as_ref().map(|_| course.transaction.read(slot).clone()));
        Verdict::Yes(after.collect())
    }

    /// What is left of what is known behind a rule whose verdict is not.
    fn after(&self, rule: &ProgramRule, mut known: Known) -> Known {
        for done in rule.links.iter().flat_map(|link| &link.effects) {
            let Done::Set { slot, .. } = done else { continue };
            match slot {
                Assigned::Slot(slot) => {
                    if let Some(held) = known.get_mut(*slot) {
                        *held = None;
                    }
                }
                Assigned::Named(collection, name) => {
                    let fixed = match name.0.first() {
                        Some(TextPiece::Fixed(text)) => String::from_utf8_lossy(text).to_ascii_lowercase(),
                        _ => String::new(),
                    };
                    let prefix = format!("{collection}.{fixed}");
                    let named = self.slots.names.iter().zip(&mut known);
                    named.filter(|(name, _)| name.starts_with(&prefix)).for_each(|(_, held)| *held = None);
                }
            }
        }
        known
    }
}

fn values(known: &Known) -> Arc<[Held]> {
    known.iter().map(|held| held.clone().unwrap_or_default()).collect()
}

/// A path arrives at a position: what it does not agree on with others is not known there.
fn arrive(arriving: &mut [Option<Known>], at: usize, known: Known) {
    let Some(there) = arriving.get_mut(at) else { return };
    match there {
        None => *there = Some(known),
        Some(there) => {
            for (mine, theirs) in there.iter_mut().zip(&known) {
                if mine != theirs {
                    *mine = None;
                }
            }
        }
    }
}

/// Whether the phase may end at a rule.
fn ends(rule: &ProgramRule) -> bool {
    let switches = |done: &Done| matches!(done, Done::Engine(_));
    rule.allow.is_some()
        || rule.action == Action::Deny
        || rule.links.iter().flat_map(|link| &link.effects).any(switches)
}

/// Whether a rule looks at what the rule before it matched.
fn asks_for_others_matches(rule: &ProgramRule) -> bool {
    let Some(head) = rule.links.first() else { return false };
    let own = |asked: &Asked| matches!(asked, Asked::Slot(_) | Asked::Slots(..) | Asked::Scalar(_));
    let foreign = head.asked.iter().any(|asked| match asked {
        Asked::Count(all) => !all.iter().all(own),
        Asked::CountTexts(_) => false,
        asked => !own(asked),
    });
    let shows = |text: &Text| {
        text.0.iter().any(|piece| matches!(piece, TextPiece::LastMatched | TextPiece::LastMatchedName))
    };
    let set = |done: &Done| match done {
        Done::Set { slot, change, .. } => {
            let name = matches!(slot, Assigned::Named(_, name) if shows(name));
            name || match change {
                Changed::Value(text) | Changed::Add(text) | Changed::Subtract(text) => shows(text),
                Changed::Unset => false,
            }
        }
        _ => false,
    };
    let demands = match &head.test {
        LinkTest::Text { with, .. } | LinkTest::Number { with: Number::Text(with), .. } => shows(with),
        LinkTest::Always | LinkTest::Fixed(_) | LinkTest::Number { .. } => false,
    };
    let unconditional = head.is_unconditional();
    foreign
        || demands
        || unconditional && (shows(&rule.msg) || rule.data.as_ref().is_some_and(shows))
        || unconditional && rule.links.iter().flat_map(|link| &link.effects).any(set)
}

/// Whether all that a link asks and sets is known.
fn is_known(link: &Link, known: &Known) -> bool {
    let slot = |slot: &usize| known.get(*slot).is_some_and(Option::is_some);
    let text = |text: &Text| {
        text.0.iter().all(|piece| match piece {
            TextPiece::Fixed(_) => true,
            TextPiece::Slot(at) => slot(at),
            _ => false,
        })
    };
    let asked = |asked: &Asked| match asked {
        Asked::Slot(at) => slot(at),
        Asked::Count(all) => all.iter().all(|asked| matches!(asked, Asked::Slot(at) if slot(at))),
        _ => false,
    };
    let test = match &link.test {
        LinkTest::Always | LinkTest::Fixed(_) | LinkTest::Number { with: Number::Fixed(_), .. } => true,
        LinkTest::Number { with: Number::Text(with), .. } | LinkTest::Text { with, .. } => text(with),
    };
    let set = |done: &Done| match done {
        Done::Set { slot: Assigned::Slot(at), change, .. } => match change {
            Changed::Unset => slot(at),
            Changed::Value(with) | Changed::Add(with) | Changed::Subtract(with) => slot(at) && text(with),
        },
        _ => false,
    };
    link.view.is_none()
        && !link.capture
        && test
        && link.asked.iter().all(asked)
        && link.effects.iter().all(set)
}
