//! `regex`

mod backtrack;
mod linear;
mod trial;

use std::ops::Range;
use std::sync::Arc;

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, Look};

use self::backtrack::{Backtracker, Tree, Unread};
use self::linear::Linear;
pub use self::trial::{Trial, Tried};
use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::budget::{Budget, GaveUp};
use crate::policy::waf::documented::documented;
use crate::policy::waf::needs::Needs;

documented! {
    /// A regular expression.
    ///
    /// *Matches*: values in which it matches anywhere, in time linear in the value's length. With look-around,
    /// back-references, atomic groups or possessive repetition in steps that are counted: a request with a
    /// value that takes too many is refused as `waf/budget`.
    /// *Argument*: the expression, in the syntax of Rust's `regex` with these four added, over bytes: `\w`,
    /// `\b` and `(?i)` are about ASCII, and `.` matches a line feed too. A look-behind looks back by at most
    /// 255 bytes.
    /// *Example*: `{ regex = '''(?i)\bunion\s+select\b''' }`
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "regex",
        doc: DOC,
        argument: ArgumentKind::Text,
    };
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op {
    /// The whole of it for nearly all; of the others a relaxed form, without which they do not match.
    linear: Linear,
    hard: Option<Arc<Backtracker>>,
}

/// How many groups are ever asked for.
const MAX_GROUPS: usize = 10;

/// What to do about an expression that cannot be read.
pub(in crate::policy::waf) const SYNTAX_OF_TOML: &str = "the syntax is that of Rust's `regex`, with look-around, back-references and possessive repetition; write it \
     between ''' so that TOML leaves `\\` alone";

/// Reads an expression over bytes that the linear engines run.
pub(in crate::policy::waf) fn parse(pattern: &str) -> Result<Hir, OperatorProblem> {
    match read(pattern)? {
        Expression::Linear(hir) => Ok(hir),
        Expression::Hard(_) => Err(OperatorProblem::bad(
            "an expression that chooses by name has no look-around, back-references, atomic groups or possessive \
             repetition",
            "name the texts, or choose more of them by a simpler expression",
        )),
    }
}

/// Whether an expression asks for the begin or the end of the text.
pub(in crate::policy::waf) fn is_anchored(pattern: &str) -> bool {
    match read(pattern) {
        Ok(Expression::Linear(hir)) => {
            let looks = hir.properties().look_set();
            looks.contains(Look::Start) || looks.contains(Look::End)
        }
        Ok(Expression::Hard(tree)) => tree.is_anchored(),
        Err(_) => false,
    }
}

/// An expression, by the engine that runs it.
enum Expression {
    Linear(Hir),
    Hard(Tree),
}

/// Reads an expression for the engine that can run it.
fn read(pattern: &str) -> Result<Expression, OperatorProblem> {
    let read = linear(pattern);
    // To `regex-syntax` a possessive repetition is a repetition of a repetition.
    let may_be_hard = ["*+", "++", "?+", "}+"].iter().any(|sign| pattern.contains(sign));
    if let Ok(hir) = &read
        && !may_be_hard
    {
        return Ok(Expression::Linear(hir.clone()));
    }
    match (read, Tree::read(pattern)) {
        (_, Ok(tree)) if tree.hard => Ok(Expression::Hard(tree)),
        (_, Err(Unread { what, at, hard: true })) => Err(unreadable(&what, at)),
        (Ok(hir), _) => Ok(Expression::Linear(hir)),
        (Err((what, at)), _) => Err(unreadable(&what, at)),
    }
}

fn linear(pattern: &str) -> Result<Hir, (String, usize)> {
    let mut parser = ParserBuilder::new().utf8(false).unicode(false).dot_matches_new_line(true).build();
    parser.parse(pattern).map_err(|error| cause(&error))
}

/// What is wrong with an expression, and where.
fn cause(error: &regex_syntax::Error) -> (String, usize) {
    match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start.offset),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span().start.offset),
        _ => ("it cannot be read".to_owned(), 0),
    }
}

fn unreadable(what: &str, at: usize) -> OperatorProblem {
    OperatorProblem::bad(format!("this is not a regular expression: {what}, at byte {at}"), SYNTAX_OF_TOML)
}

impl Op {
    /// Operators that together match what this one matches, each with needs of its own.
    pub(in crate::policy::waf) fn alternatives(&self) -> Vec<Op> {
        match &self.hard {
            Some(_) => vec![self.clone()],
            None => self.linear.alternatives().into_iter().map(|linear| Op { linear, hard: None }).collect(),
        }
    }
}

impl Operate for Op {
    fn build(argument: &Argument, tables: &mut TableBudget) -> Result<Op, OperatorProblem> {
        let Argument::Text(pattern) = argument else { return Err(OperatorProblem::wrong_argument()) };
        match read(pattern)? {
            Expression::Linear(hir) => Ok(Op { linear: Linear::new(&hir, tables)?, hard: None }),
            Expression::Hard(tree) => {
                let relaxed = tree.relaxed();
                let hard = Some(Arc::new(Backtracker::new(&tree, &relaxed)?));
                Ok(Op { linear: Linear::new(&relaxed, tables)?, hard })
            }
        }
    }

    fn matches(&self, value: &[u8]) -> bool {
        self.judge(value, &mut Budget(u64::MAX)) == Ok(true)
    }

    #[inline]
    fn judge(&self, value: &[u8], budget: &mut Budget) -> Result<bool, GaveUp> {
        match (self.linear.matches(value), &self.hard) {
            (false, _) => Ok(false),
            (true, None) => Ok(true),
            (true, Some(hard)) => hard.judge(value, budget),
        }
    }

    fn find(&self, value: &[u8]) -> Option<Range<usize>> {
        match &self.hard {
            None => self.linear.find(value),
            Some(hard) => hard.groups(value).into_iter().next().flatten(),
        }
    }

    fn groups(&self, value: &[u8]) -> Vec<Option<Vec<u8>>> {
        let Some(hard) = &self.hard else { return self.linear.groups(value) };
        let text = |range: Range<usize>| value.get(range).map(<[u8]>::to_vec);
        hard.groups(value).into_iter().map(|range| range.and_then(text)).collect()
    }

    fn needs(&self) -> Needs {
        self.linear.needs().clone()
    }
}
