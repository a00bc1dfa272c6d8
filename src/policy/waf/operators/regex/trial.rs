//! An expression by itself, without a rule around it: for those who try the engines from outside.

use std::ops::Range;

use super::super::{Argument, Operate, OperatorProblem, TableBudget};
use super::Op;
use super::backtrack::MOST;
use crate::policy::waf::budget::Budget;

/// An expression that is tried by itself.
#[derive(Clone, Debug)]
pub struct Trial(Op);

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Whether it matches; nothing where the steps did not suffice.
    pub matches: Option<bool>,
    /// What it took of the budget beyond what every text takes.
    pub spent: u64,
}

impl Trial {
    /// The most that one text may take.
    pub const MOST: u64 = MOST;

    /// Reads and compiles an expression.
    pub fn new(pattern: &str) -> Result<Trial, OperatorProblem> {
        let argument = Argument::Text(pattern.into());
        Op::build(&argument, &mut TableBudget(1 << 20)).map(Trial)
    }

    /// Whether it is run in steps that are counted.
    pub fn is_counted(&self) -> bool {
        self.0.hard.is_some()
    }

    /// Judges a text with a budget.
    pub fn judge(&self, text: &[u8], budget: u64) -> Tried {
        let mut left = Budget(budget);
        let matches = self.0.judge(text, &mut left).ok();
        Tried { matches, spent: budget - left.0 }
    }

    /// Where a text matches.
    pub fn find(&self, text: &[u8]) -> Option<Range<usize>> {
        self.0.find(text)
    }
}
