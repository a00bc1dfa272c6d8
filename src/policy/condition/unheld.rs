//! What of a condition does not hold for a request, and the facts that it is so by: for operators, and for
//! nobody else, since conditions name what others are asked for.

use super::expression::{Expression, Operand, Truth, segment};
use super::fact::Fact;
use super::parse::Tree;
use super::{Condition, Positions};
use crate::facts::Facts;

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheld {
    /// As it is written.
    pub text: String,
    /// Of what it joins by `and`, that which does not hold: all of it, if it joins nothing.
    pub parts: Vec<Part>,
}

/// A part of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// As it is written, but for spaces and brackets.
    pub text: String,
    /// What it looks at, each with its value: `claims.sub is "bob"`. Never a credential.
    pub seen: Vec<String>,
}

impl Condition {
    /// What of it does not hold; none if it does.
    #[cold]
    pub fn unheld(&self, facts: &Facts<'_>, positions: &Positions) -> Option<Unheld> {
        if self.evaluate(facts, positions) == Truth::True {
            return None;
        }
        let mut joined = Vec::new();
        self.expression.joined(&mut joined);
        let texts = self.parts.iter().map(|text| &**text);
        let parts = joined.into_iter().zip(texts);
        let parts = parts.filter(|(part, _)| part.evaluate(facts, &positions.0) != Truth::True);
        let parts =
            parts.map(|(part, text)| Part { text: text.to_owned(), seen: self.seen(part, facts, positions) });
        Some(Unheld { text: self.text().to_owned(), parts: parts.collect() })
    }

    /// What a part looks at, with the values in a request.
    pub(super) fn seen(&self, part: &Expression, facts: &Facts<'_>, positions: &Positions) -> Vec<String> {
        let mut seen: Vec<String> = Vec::new();
        let mut add = |text: String| {
            if !seen.contains(&text) {
                seen.push(text);
            }
        };
        part.each_sight(&mut |sight| match sight {
            Sight::Path(number) => {
                let name = self.names.get(number).map_or("?", |name| name);
                add(match segment(number, facts, &positions.0) {
                    Ok(value) => format!("path.{name} is {value}"),
                    Err(why) => format!("path.{name} is {why}"),
                });
            }
            Sight::Fact(fact) => add(match fact.read(facts) {
                Ok(_) if fact.is_secret() => format!("{fact} is not shown"),
                Ok(value) => format!("{fact} is {value}"),
                Err(why) => format!("{fact} is {why}"),
            }),
            Sight::Client => add(format!("client.ip is {}", facts.client.ip)),
        });
        seen
    }
}

/// Something that a condition looks at.
pub(super) enum Sight<'a> {
    Fact(&'a Fact),
    Path(usize),
    Client,
}

impl Expression {
    /// What it joins by `and`: itself, if it joins nothing.
    pub(super) fn joined<'a>(&'a self, into: &mut Vec<&'a Expression>) {
        match self {
            Expression::All(parts) => parts.iter().for_each(|part| part.joined(into)),
            other => into.push(other),
        }
    }

    /// Visits everything that is looked at, in the order in which it is written.
    pub(super) fn each_sight<'a>(&'a self, visit: &mut impl FnMut(Sight<'a>)) {
        let mut operand = |operand: &'a Operand| match operand {
            Operand::Constant(_) => {}
            Operand::Fact(fact) => visit(Sight::Fact(fact)),
            Operand::Path(number) => visit(Sight::Path(*number)),
        };
        match self {
            Expression::All(parts) | Expression::Any(parts) => {
                parts.iter().for_each(|part| part.each_sight(visit));
            }
            Expression::Not(inner) => inner.each_sight(visit),
            Expression::Has(fact) => visit(Sight::Fact(fact)),
            Expression::Compare { left, right, .. } => {
                operand(left);
                operand(right);
            }
            Expression::Affix { text, affix, .. } => {
                operand(text);
                operand(affix);
            }
            Expression::OneOf { item, .. } => operand(item),
            Expression::Member { item, array } => {
                operand(item);
                visit(Sight::Fact(array));
            }
            Expression::Within(_) => visit(Sight::Client),
        }
    }
}

/// The texts of what a condition joins by `and`, as [`Expression::joined`] has it.
pub(super) fn texts(tree: &Tree, text: &str) -> Box<[Box<str>]> {
    fn joined<'a>(tree: &'a Tree, into: &mut Vec<&'a Tree>) {
        match tree {
            Tree::All(parts) => parts.iter().for_each(|part| joined(part, into)),
            other => into.push(other),
        }
    }
    let mut parts = Vec::new();
    joined(tree, &mut parts);
    parts.into_iter().map(|part| written(part, text).into()).collect()
}

/// A part as it is written, with single spaces and no more brackets than it needs.
fn written(tree: &Tree, text: &str) -> String {
    let slice = |operand: &super::parse::Operand| text.get(operand.span.clone()).unwrap_or("?");
    let inner = |part: &Tree| match part {
        Tree::All(_) | Tree::Any(_) => format!("({})", written(part, text)),
        Tree::Not(_) | Tree::Has(_) | Tree::Relation(..) => written(part, text),
    };
    let join = |parts: &[Tree], word: &str| parts.iter().map(inner).collect::<Vec<_>>().join(word);
    match tree {
        Tree::All(parts) => join(parts, " and "),
        Tree::Any(parts) => join(parts, " or "),
        Tree::Not(part) => format!("not {}", inner(part)),
        Tree::Has(operand) => format!("has {}", slice(operand)),
        Tree::Relation(left, relation, right) => {
            format!("{} {} {}", slice(left), relation.word(), slice(right))
        }
    }
}
