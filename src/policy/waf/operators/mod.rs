//! Operators: how a value is judged once it has been transformed.
//!
//! One file each; both front ends and `explain` know them from the table here.

mod bytes_outside;
mod contains;
mod contains_any;
mod contains_any_nocase;
mod contains_word;
mod detect_sqli;
mod detect_xss;
mod ends_with;
mod eq;
mod equals;
mod equals_any;
mod ge;
mod gt;
mod injection;
mod invalid_url_encoding;
mod invalid_utf8;
mod ip_match;
mod le;
mod lt;
mod number;
mod present;
pub(super) mod regex;
mod sql;
mod starts_with;
mod within;
mod xss;

use std::ops::Range;

use ipnet::IpNet;

use super::budget::{Budget, GaveUp};
use super::bytes::ByteSet;
use super::needs::Needs;
use crate::policy::code::Code;

pub(super) use self::regex::{SYNTAX_OF_TOML, is_anchored, parse};
pub use self::regex::{Trial, Tried};

/// An entry of the table of operators.
#[derive(Debug)]
pub struct OperatorInfo {
    /// The key in `match`.
    pub name: &'static str,
    /// What it matches, for people.
    pub doc: &'static str,
    /// What stands behind the key.
    pub argument: ArgumentKind,
}

/// What an operator takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    /// Only `true`.
    Nothing,
    /// A string.
    Text,
    /// An array of strings, or `{ file = "…" }` with one a line.
    Words,
    /// An integer.
    Number,
    /// An array of byte ranges such as `"32-126"`.
    Bytes,
    /// An array of addresses, networks and names of networks.
    Networks,
}

/// What an operator compares with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    Nothing,
    /// A text.
    Text(Box<str>),
    /// Several texts.
    Words(Box<[Box<str>]>),
    /// A number.
    Number(i64),
    /// Bytes.
    Bytes(ByteSet),
    /// Addresses.
    Networks(Box<[IpNet]>),
}

/// Why an operator cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorProblem {
    /// What kind of problem.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: &'static str,
}

/// How much may be spent on tables that make matching fast. What does not fit is matched without.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableBudget(pub(super) usize);

/// What an operator does.
trait Operate: Sized {
    /// Makes it.
    fn build(argument: &Argument, tables: &mut TableBudget) -> Result<Self, OperatorProblem>;

    /// Whether a value matches.
    fn matches(&self, value: &[u8]) -> bool;

    /// The same where it may take more steps than its weight says: they are taken from the budget, and
    /// where they do not suffice it is not known whether the value matches.
    #[inline]
    fn judge(&self, value: &[u8], _: &mut Budget) -> Result<bool, GaveUp> {
        Ok(self.matches(value))
    }

    /// Where a value matches; called only for the record. The whole value, where no part stands out.
    fn find(&self, value: &[u8]) -> Option<Range<usize>> {
        self.matches(value).then_some(0..value.len())
    }

    /// What was found in a value: the whole, then its groups. Called only for the record, and where a
    /// rule keeps it.
    fn groups(&self, value: &[u8]) -> Vec<Option<Vec<u8>>> {
        self.find(value).and_then(|range| Some(Some(value.get(range)?.to_vec()))).into_iter().collect()
    }

    /// What a value must have before it can match.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// The work of judging a value, in steps for each of its bytes.
    fn weight(&self) -> u64 {
        1
    }
}

macro_rules! operators {
    ($($variant:ident = $file:ident,)+) => {
        /// The name of an operator.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum OperatorKind { $(#[doc = concat!("`", stringify!($file), "`")] $variant,)+ }

        impl OperatorKind {
            /// Every operator.
            pub const ALL: &'static [OperatorKind] = &[$(OperatorKind::$variant,)+];

            /// Its entry.
            pub const fn info(self) -> &'static OperatorInfo {
                match self { $(OperatorKind::$variant => &$file::INFO,)+ }
            }

            /// Makes the operator with its argument.
            pub(super) fn build(
                self,
                argument: &Argument,
                tables: &mut TableBudget,
            ) -> Result<Operator, OperatorProblem> {
                Ok(match self {
                    $(OperatorKind::$variant => Operator::$variant(Operate::build(argument, tables)?),)+
                })
            }
        }

        /// An operator with its argument, ready to judge.
        #[derive(Clone, Debug)]
        pub(super) enum Operator { $($variant($file::Op),)+ }

        impl Operator {
            /// Whether a value matches; what that takes beyond its weight is taken from the budget.
            #[inline]
            pub(super) fn judge(&self, value: &[u8], budget: &mut Budget) -> Result<bool, GaveUp> {
                match self { $(Operator::$variant(op) => op.judge(value, budget),)+ }
            }

            /// Where a value matches.
            pub(super) fn find(&self, value: &[u8]) -> Option<Range<usize>> {
                match self { $(Operator::$variant(op) => op.find(value),)+ }
            }

            /// What was found in a value: the whole, then its groups.
            pub(super) fn groups(&self, value: &[u8]) -> Vec<Option<Vec<u8>>> {
                match self { $(Operator::$variant(op) => op.groups(value),)+ }
            }

            /// What a value must have before it can match.
            pub(super) fn needs(&self) -> Needs {
                match self { $(Operator::$variant(op) => op.needs(),)+ }
            }

            /// The work of judging a value, in steps for each of its bytes.
            pub(super) fn weight(&self) -> u64 {
                match self { $(Operator::$variant(op) => op.weight(),)+ }
            }
        }
    };
}

operators! {
    BytesOutside = bytes_outside,
    Contains = contains,
    ContainsAny = contains_any,
    ContainsAnyNocase = contains_any_nocase,
    ContainsWord = contains_word,
    DetectSqli = detect_sqli,
    DetectXss = detect_xss,
    EndsWith = ends_with,
    Eq = eq,
    Equals = equals,
    EqualsAny = equals_any,
    Ge = ge,
    Gt = gt,
    InvalidUrlEncoding = invalid_url_encoding,
    InvalidUtf8 = invalid_utf8,
    IpMatch = ip_match,
    Le = le,
    Lt = lt,
    Present = present,
    Regex = regex,
    StartsWith = starts_with,
    Within = within,
}

impl OperatorProblem {
    fn bad(message: impl Into<String>, help: &'static str) -> OperatorProblem {
        OperatorProblem { code: Code::BadValue, message: message.into(), help }
    }

    /// An expression becomes too large.
    pub(super) fn too_large(_: impl std::error::Error) -> OperatorProblem {
        OperatorProblem {
            code: Code::Limit,
            message: "this expression is too large once it is compiled".to_owned(),
            help: "make its counted repetitions smaller, or split it",
        }
    }

    /// The argument is of another kind than the operator takes: the front end must have let it pass.
    fn wrong_argument() -> OperatorProblem {
        OperatorProblem::bad("the operator takes another kind of argument", "")
    }
}

impl Argument {
    /// A text that is not empty.
    fn some_text(&self) -> Result<&str, OperatorProblem> {
        match self {
            Argument::Text(text) if text.is_empty() => Err(OperatorProblem::bad(
                "the text is empty, so every value would match",
                "use `present = true` to match every value",
            )),
            Argument::Text(text) => Ok(text),
            _ => Err(OperatorProblem::wrong_argument()),
        }
    }

    /// Words, at least one, none of them empty.
    fn some_words(&self) -> Result<&[Box<str>], OperatorProblem> {
        match self {
            Argument::Words(words) if words.is_empty() => {
                Err(OperatorProblem::bad("the list is empty, so no value would match", ""))
            }
            Argument::Words(words) => Ok(words),
            _ => Err(OperatorProblem::wrong_argument()),
        }
    }
}

#[cfg(test)]
mod tests;
