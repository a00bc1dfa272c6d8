//! The engine for the few expressions that need look-around, back-references, atomic groups or possessive
//! repetition: PCRE's way of matching, over bytes, with every step counted.
//!
//! It is asked only where the [relaxed](Node::relaxed) expression matches, which the linear engines say.
//! What it takes is bounded by the steps it may take for one text, and by what is left of the request's
//! budget; where that is not enough it gives up, which is neither a match nor none.
//!
//! Deliberately not `fancy-regex`: that bounds how often it goes back, and neither what lies between (a
//! round of `(?:(?=.*x).)*` looks at the whole text and never goes back) nor its stack of a million
//! frames, which it keeps. The tests compare the two.

mod machine;
mod program;
mod read;
#[cfg(test)]
mod tests;
mod tree;

use std::ops::Range;

use regex_syntax::hir::{Hir, Look};

use self::machine::Machine;
use self::program::{Program, Unfit};
pub(super) use self::tree::{Tree, Unread};
use super::super::OperatorProblem;
use super::MAX_GROUPS;
use crate::policy::code::Code;
use crate::policy::waf::budget::{Budget, GaveUp};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::needs;

/// An expression, ready to run.
#[derive(Clone, Debug)]
pub(super) struct Backtracker {
    program: Program,
    /// The bytes that a match may begin with, where it cannot be empty.
    starts: Option<ByteSet>,
    /// Whether a match can only begin where the text does.
    anchored: bool,
}

/// How many steps one text may take. A step takes 1 to 6 ns, so that this is some 18 ms at worst; 128 KiB of
/// prose or JSON take a third of it with the greediest of CRS 3's expressions (942130, 942260).
const STEPS: u64 = 3 << 20;
/// What a step takes of the request's budget, whose unit is a table's look at a byte.
const COST: u64 = 4;
/// The most that one text may take of a request's budget: twice, where it matches.
pub(super) const MOST: u64 = STEPS * COST * 2;

impl Tree {
    /// What the linear engines are asked first.
    pub(super) fn relaxed(&self) -> Hir {
        self.root.relaxed()
    }

    /// Whether it asks for the begin or the end of the text.
    pub(super) fn is_anchored(&self) -> bool {
        self.root.is_anchored()
    }
}

impl Backtracker {
    pub(super) fn new(tree: &Tree, relaxed: &Hir) -> Result<Backtracker, OperatorProblem> {
        let program = Program::new(tree).map_err(|unfit| match unfit {
            Unfit::TooLarge => OperatorProblem {
                code: Code::Limit,
                message: "this expression is too large once it is compiled".to_owned(),
                help: "make its counted repetitions smaller, or split it",
            },
            Unfit::Behind => OperatorProblem::bad(
                "a look-behind of this expression looks back by more than 255 bytes",
                "give its repetitions an upper bound, and let it have no back-reference",
            ),
            Unfit::Unicode => OperatorProblem::bad(
                "this expression is about characters beyond ASCII, which does not go with look-around",
                "write the bytes that it is about: `\\xc3\\xa9`",
            ),
        })?;
        let (starts, empty) = needs::first(relaxed);
        let anchored = relaxed.properties().look_set_prefix().contains(Look::Start);
        Ok(Backtracker { program, starts: starts.filter(|_| !empty), anchored })
    }

    /// Whether a text matches; the steps are taken from the budget.
    pub(super) fn judge(&self, text: &[u8], budget: &mut Budget) -> Result<bool, GaveUp> {
        let most = STEPS.min(budget.0 / COST);
        let mut machine = Machine::new(&self.program, text, most);
        let found = self.search(text, &mut machine);
        let spent = (most - machine.left) * COST;
        // Where it matches, the same is done once more for the record, or for what it captures.
        let times = if found == Ok(true) { 2 } else { 1 };
        budget.0 = budget.0.saturating_sub(spent * times);
        found
    }

    /// The places of the groups in a text that matches.
    pub(super) fn groups(&self, text: &[u8]) -> Vec<Option<Range<usize>>> {
        let mut machine = Machine::new(&self.program, text, STEPS);
        match self.search(text, &mut machine) {
            Ok(true) => {
                (0..self.program.groups.min(MAX_GROUPS)).map(|number| machine.group(number)).collect()
            }
            Ok(false) | Err(GaveUp) => Vec::new(),
        }
    }

    fn search(&self, text: &[u8], machine: &mut Machine<'_, '_>) -> Result<bool, GaveUp> {
        // Positions are kept in 32 bits.
        if u32::try_from(text.len()).is_err() {
            return Err(GaveUp);
        }
        let mut at = 0;
        loop {
            if let Some(starts) = &self.starts {
                let rest = text.get(at..).unwrap_or_default();
                let Some(passed) = rest.iter().position(|byte| starts.contains(*byte)) else {
                    return Ok(false);
                };
                machine.pass(passed)?;
                at += passed;
            }
            if self.anchored && at > 0 {
                return Ok(false);
            }
            if machine.matches_at(at)? {
                return Ok(true);
            }
            if at == text.len() {
                return Ok(false);
            }
            at += 1;
        }
    }
}
