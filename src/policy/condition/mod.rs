//! `when`: a small typed language for conditions on a request.
//!
//! `claims.sub == path.id`, `client.ip in office and not (method in ["PUT", "DELETE"])`. No loops,
//! calls or patterns. Names and types are checked when the policy is loaded. A value that is
//! absent, doubled or of another type makes the condition an error; a rule that allows then takes
//! it as unmet and a rule that forbids as met, so that nothing is gained by withholding a value.

mod check;
mod contradiction;
mod expression;
mod fact;
mod lexer;
mod number;
mod parse;
mod query;
#[cfg(test)]
mod tests;
mod unheld;

pub use contradiction::Never;
pub use expression::Truth;
pub use fact::{Fact, Seen};
pub use unheld::{Part, Unheld};

use std::ops::Range;

use http::header;

use self::check::Checker;
use self::expression::Expression;
use self::unheld::Sight;
use super::compile::Compile;
use super::diagnostic::{At, Place};
use super::network::AddressList;
use super::scope::PathPattern;
use super::source::Sources;
use crate::facts::Facts;

/// A compiled condition.
#[derive(Clone, Debug)]
pub struct Condition {
    text: Box<str>,
    expression: Expression,
    /// The named segments that it looks at.
    names: Box<[Box<str>]>,
    /// Everything else that it looks at, each once.
    facts: Box<[Fact]>,
    /// What it joins by `and`, as it is written.
    parts: Box<[Box<str>]>,
}

/// The segments that the names in a condition stand for, under one path pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(Vec<u16>);

impl Positions {
    /// Where no segment is named.
    pub const fn none() -> Positions {
        Positions(Vec::new())
    }
}

/// Something wrong with the text of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    /// Where, in bytes of the text.
    span: Range<usize>,
    message: String,
    help: Option<String>,
}

impl Problem {
    fn new(span: Range<usize>, message: String) -> Problem {
        Problem { span, message, help: None }
    }

    fn help(self, help: impl Into<String>) -> Problem {
        Problem { help: Some(help.into()), ..self }
    }
}

impl Condition {
    /// Reads and checks a condition. `paths`: the patterns of the rule it stands in. `None` if
    /// there are problems, which are reported where they stand.
    pub fn compile(text: &At<String>, paths: &[PathPattern], cx: &mut Compile<'_>) -> Option<Condition> {
        let place = places(text, cx.sources);
        let tree = match parse::parse(&text.value) {
            Ok(tree) => tree,
            Err(problem) => {
                check::report(vec![problem], &place, cx.diagnostics);
                return None;
            }
        };
        let mut checker = Checker { cx, paths, place: &place, names: Vec::new(), problems: Vec::new() };
        let expression = checker.check(&tree);
        let Checker { names, problems, .. } = checker;
        check::report(problems, &place, cx.diagnostics);
        let expression = expression?;
        let mut facts = Vec::new();
        expression.each_fact(&mut |fact| {
            if !facts.contains(fact) {
                facts.push(fact.clone());
            }
        });
        Some(Condition {
            text: text.value.as_str().into(),
            expression,
            names: names.into(),
            facts: facts.into(),
            parts: unheld::texts(&tree, &text.value),
        })
    }

    /// Where the named segments are in a request that this pattern covers.
    pub fn positions(&self, pattern: Option<&PathPattern>) -> Positions {
        let position = |name: &str| pattern.and_then(|pattern| pattern.position(name));
        // A pattern has at most 64 segments, so a position that is none is none in every request.
        let narrow =
            |position: Option<usize>| position.and_then(|at| u16::try_from(at).ok()).unwrap_or(u16::MAX);
        Positions(self.names.iter().map(|name| narrow(position(name))).collect())
    }

    /// Whether it looks at segments of the path.
    pub fn uses_path(&self) -> bool {
        !self.names.is_empty()
    }

    /// What it comes to for a request.
    #[inline]
    pub fn evaluate(&self, facts: &Facts<'_>, positions: &Positions) -> Truth {
        self.expression.evaluate(facts, &positions.0)
    }

    /// What it comes to whatever the unknown facts are (which the facts must lack); none if that
    /// depends on them. `client`: whether the client's address is unknown.
    pub fn evaluate_blind(
        &self,
        facts: &Facts<'_>,
        positions: &Positions,
        unknown: &dyn Fn(&Fact) -> bool,
        client: bool,
    ) -> Option<Truth> {
        let present = |fact: &Fact| self.expression.asks_for_presence(fact);
        let client = client && self.expression.uses_client();
        if client || self.facts.iter().any(|fact| unknown(fact) && present(fact)) {
            return None;
        }
        // An outcome is definite only where it does not depend on what is absent.
        match self.evaluate(facts, positions) {
            Truth::Error if self.facts.iter().any(unknown) => None,
            truth => Some(truth),
        }
    }

    /// Whether it looks at the client's address.
    pub fn uses_client(&self) -> bool {
        self.expression.uses_client()
    }

    /// Whether it looks at what is of this client: its address, or cookies. So it is of no use to caches, which do
    /// not know it (RFC 9111 section 3.5 has only `Authorization`).
    pub fn is_personal(&self) -> bool {
        let cookie = |fact: &Fact| fact.header().is_some_and(|name| *name == header::COOKIE);
        self.uses_client() || self.facts.iter().any(cookie)
    }

    /// The lists that it compares the client's address with.
    pub fn address_lists(&self) -> Vec<&AddressList> {
        let mut found = Vec::new();
        self.expression.address_lists(&mut found);
        found
    }

    /// The facts it looks at, each once; of claims, headers and query parameters the record keeps
    /// the values.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// The condition as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The condition with the values it sees in a request, for a trace.
    pub fn explain(&self, facts: &Facts<'_>, positions: &Positions) -> String {
        let seen = self.seen(&self.expression, facts, positions);
        format!("`{}`: {}", self.text, seen.join(", "))
    }
}

impl Expression {
    /// Visits every fact that is looked at.
    fn each_fact(&self, visit: &mut impl FnMut(&Fact)) {
        self.each_sight(&mut |sight| {
            if let Sight::Fact(fact) = sight {
                visit(fact);
            }
        });
    }

    /// Whether the bare presence of a fact is asked for.
    fn asks_for_presence(&self, fact: &Fact) -> bool {
        match self {
            Expression::All(parts) | Expression::Any(parts) => {
                parts.iter().any(|part| part.asks_for_presence(fact))
            }
            Expression::Not(inner) => inner.asks_for_presence(fact),
            Expression::Has(asked) => asked == fact,
            Expression::Compare { .. }
            | Expression::Affix { .. }
            | Expression::OneOf { .. }
            | Expression::Member { .. }
            | Expression::Within(_) => false,
        }
    }

    fn uses_client(&self) -> bool {
        let mut found = Vec::new();
        self.address_lists(&mut found);
        !found.is_empty()
    }

    fn address_lists<'a>(&'a self, found: &mut Vec<&'a AddressList>) {
        match self {
            Expression::All(parts) | Expression::Any(parts) => {
                parts.iter().for_each(|part| part.address_lists(found));
            }
            Expression::Not(inner) => inner.address_lists(found),
            Expression::Within(list) => found.push(list),
            Expression::Has(_)
            | Expression::Compare { .. }
            | Expression::Affix { .. }
            | Expression::OneOf { .. }
            | Expression::Member { .. } => {}
        }
    }
}

/// From a stretch of the condition to where it stands in the file. TOML texts have one or three
/// quotes before them and may have escapes in them; where the text in the file is not letter by
/// letter the value, the place is that of the whole value.
fn places(text: &At<String>, sources: &Sources) -> impl Fn(&Range<usize>) -> Place + use<> {
    let whole = text.place;
    let written =
        sources.get(whole.file).and_then(|source| source.text.get(whole.start as usize..whole.end as usize));
    let begins = written.and_then(|written| {
        let quotes = if written.starts_with("\"\"\"") || written.starts_with("'''") { 3 } else { 1 };
        let inner = written.get(quotes..)?;
        // A line break right behind three quotes is not part of the value.
        let skipped = match quotes {
            3 if inner.starts_with("\r\n") => 2,
            3 if inner.starts_with('\n') => 1,
            _ => 0,
        };
        inner.get(skipped..)?.starts_with(&text.value).then_some(quotes + skipped)
    });
    let length = text.value.len();
    move |span| match begins {
        Some(begins) => Place {
            file: whole.file,
            start: whole.start + (begins + span.start.min(length)) as u32,
            end: whole.start + (begins + span.end.min(length)) as u32,
        },
        None => whole,
    }
}
