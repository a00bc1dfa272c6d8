//! Conditions that can never hold, whatever is asked.
//!
//! Looked for among what is said of one single thing, a claim or a segment or the time, by comparisons
//! with constants that are joined by `and`: such as two texts that it has to be at once, or a time before
//! an earlier one. Nothing else is found, and what is found is so: where a condition is true, each of what
//! it joins is true for the same value.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::Condition;
use super::expression::{Expression, Operand, Order, Side};
use super::fact::{Fact, Value};

/// Why a condition never holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Never {
    /// What it says of this thing cannot be all true.
    Contradiction(String),
    /// It asks for a time that is over.
    Over(Timestamp),
}

impl Condition {
    /// Why it is not true of any request from now on, if that can be told.
    pub fn never_true(&self, now: Timestamp) -> Option<Never> {
        self.never(&self.expression, now, &|_| true)
    }

    /// Why it is false of every request from now on, and no value that is absent can make it an error.
    pub fn always_false(&self, now: Timestamp) -> Option<Never> {
        // What every request has, and always of the same type.
        let known = |thing: Thing<'_>| matches!(thing, Thing::Fact(Fact::Now | Fact::Method | Fact::Host));
        self.never(&self.expression, now, &known)
    }

    /// `of`: the things whose contradictions count.
    fn never(
        &self,
        expression: &Expression,
        now: Timestamp,
        of: &dyn Fn(Thing<'_>) -> bool,
    ) -> Option<Never> {
        match expression {
            Expression::Any(parts) => {
                let mut never = parts.iter().map(|part| self.never(part, now, of));
                let first = never.next()??;
                never.all(|other| other.is_some()).then_some(first)
            }
            Expression::All(_) => {
                let mut joined = Vec::new();
                expression.joined(&mut joined);
                self.contradiction(&joined, now, of).or_else(|| {
                    let any = joined.iter().filter(|part| matches!(part, Expression::Any(_)));
                    any.filter_map(|part| self.never(part, now, of)).next()
                })
            }
            one => self.contradiction(&[one], now, of),
        }
    }

    fn contradiction(
        &self,
        joined: &[&Expression],
        now: Timestamp,
        of: &dyn Fn(Thing<'_>) -> bool,
    ) -> Option<Never> {
        let said: Vec<(Thing<'_>, Said<'_>)> = joined.iter().filter_map(|part| Said::of(part)).collect();
        let mut seen: Vec<Thing<'_>> = Vec::new();
        for (thing, _) in &said {
            if seen.contains(thing) || !of(*thing) {
                continue;
            }
            seen.push(*thing);
            let of_it: Vec<Said<'_>> =
                said.iter().filter(|(other, _)| other == thing).map(|(_, said)| *said).collect();
            if contradict(&of_it) {
                return Some(Never::Contradiction(self.name(*thing)));
            }
            if *thing == Thing::Fact(&Fact::Now)
                && let Some(end) = ended(&of_it, now)
            {
                return Some(Never::Over(end));
            }
        }
        None
    }

    fn name(&self, thing: Thing<'_>) -> String {
        match thing {
            Thing::Fact(fact) => fact.to_string(),
            Thing::Path(number) => format!("path.{}", self.names.get(number).map_or("?", |name| name)),
        }
    }
}

/// What a comparison with constants is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing<'a> {
    Fact(&'a Fact),
    Path(usize),
}

/// What is said of it.
#[derive(Clone, Copy, Debug)]
enum Said<'a> {
    Present(bool),
    Is(Order, &'a Value<'static>),
    /// In the list, or in none of it.
    Among(&'a [Value<'static>], bool),
    Begins(&'a str),
    Ends(&'a str),
}

impl<'a> Said<'a> {
    /// What a part says of one thing; none if it is about several, or not about constants.
    fn of(part: &'a Expression) -> Option<(Thing<'a>, Said<'a>)> {
        match part {
            Expression::Has(fact) => Some((Thing::Fact(fact), Said::Present(true))),
            Expression::Compare { left, order, right } => match (left, right) {
                (thing, Operand::Constant(value)) => Some((Thing::of(thing)?, Said::Is(*order, value))),
                (Operand::Constant(value), thing) => {
                    Some((Thing::of(thing)?, Said::Is(mirrored(*order), value)))
                }
                _ => None,
            },
            Expression::OneOf { item, list } => Some((Thing::of(item)?, Said::Among(list, true))),
            Expression::Affix { text, affix: Operand::Constant(Value::Text(affix)), side } => {
                let said = match side {
                    Side::Start => Said::Begins(affix),
                    Side::End => Said::Ends(affix),
                };
                Some((Thing::of(text)?, said))
            }
            Expression::Not(inner) => {
                let (thing, said) = Said::of(inner)?;
                let not = match said {
                    Said::Present(present) => Said::Present(!present),
                    Said::Is(order, value) => Said::Is(negated(order), value),
                    Said::Among(list, among) => Said::Among(list, !among),
                    Said::Begins(_) | Said::Ends(_) => return None,
                };
                Some((thing, not))
            }
            _ => None,
        }
    }

    /// Whether it is true of a value.
    fn holds(self, of: &Value<'_>) -> bool {
        let text = |of: &Value<'_>, holds: &dyn Fn(&str) -> bool| match of {
            Value::Text(text) => holds(text),
            _ => false,
        };
        match self {
            Said::Present(present) => present,
            Said::Is(Order::Equal, value) => of.equals(value) == Some(true),
            Said::Is(Order::NotEqual, value) => of.equals(value) == Some(false),
            Said::Is(order, value) => of.compare(value).is_some_and(|ordering| order.holds(ordering)),
            Said::Among(list, among) => {
                let equal: Option<Vec<bool>> = list.iter().map(|value| of.equals(value)).collect();
                equal.is_some_and(|equal| equal.contains(&true) == among)
            }
            Said::Begins(affix) => text(of, &|text| text.starts_with(affix)),
            Said::Ends(affix) => text(of, &|text| text.ends_with(affix)),
        }
    }

    /// The values that it leaves, if they are few.
    fn only(self) -> Option<&'a [Value<'static>]> {
        match self {
            Said::Is(Order::Equal, value) => Some(std::slice::from_ref(value)),
            Said::Among(list, true) => Some(list),
            _ => None,
        }
    }
}

impl<'a> Thing<'a> {
    fn of(operand: &'a Operand) -> Option<Thing<'a>> {
        match operand {
            Operand::Constant(_) => None,
            Operand::Fact(fact) => Some(Thing::Fact(fact)),
            Operand::Path(number) => Some(Thing::Path(*number)),
        }
    }
}

/// The order as it is seen from the other side.
fn mirrored(order: Order) -> Order {
    match order {
        Order::Equal => Order::Equal,
        Order::NotEqual => Order::NotEqual,
        Order::Less => Order::Greater,
        Order::LessOrEqual => Order::GreaterOrEqual,
        Order::Greater => Order::Less,
        Order::GreaterOrEqual => Order::LessOrEqual,
    }
}

/// What is true where the order is false, both values being there.
fn negated(order: Order) -> Order {
    match order {
        Order::Equal => Order::NotEqual,
        Order::NotEqual => Order::Equal,
        Order::Less => Order::GreaterOrEqual,
        Order::LessOrEqual => Order::Greater,
        Order::Greater => Order::LessOrEqual,
        Order::GreaterOrEqual => Order::Less,
    }
}

/// Whether no value makes all of it true.
fn contradict(said: &[Said<'_>]) -> bool {
    let absent = said.iter().any(|said| matches!(said, Said::Present(false)));
    // What compares a value is true only where there is one.
    if absent && said.iter().any(|said| !matches!(said, Said::Present(false))) {
        return true;
    }
    // A value that equals a constant compares as the constant does.
    if let Some(only) = said.iter().find_map(|said| said.only()) {
        return !only.iter().any(|value| said.iter().all(|said| said.holds(value)));
    }
    let later = |at: usize| said.iter().skip(at + 1);
    said.iter().enumerate().any(|(at, one)| later(at).any(|other| clash(*one, *other)))
}

/// Whether no value makes both true.
fn clash(one: Said<'_>, other: Said<'_>) -> bool {
    match (one, other) {
        (Said::Begins(a), Said::Begins(b)) => !a.starts_with(b) && !b.starts_with(a),
        (Said::Ends(a), Said::Ends(b)) => !a.ends_with(b) && !b.ends_with(a),
        (Said::Is(one, a), Said::Is(other, b)) => {
            let (low, high) = match (is_upper(one), is_upper(other)) {
                (Some(false), Some(true)) => ((one, a), (other, b)),
                (Some(true), Some(false)) => ((other, b), (one, a)),
                _ => return false,
            };
            let strict = low.0 == Order::Greater || high.0 == Order::Less;
            match low.1.compare(high.1) {
                Some(Ordering::Greater) => true,
                Some(Ordering::Equal) => strict,
                Some(Ordering::Less) | None => false,
            }
        }
        _ => false,
    }
}

/// Whether an order is a bound from above, or from below.
fn is_upper(order: Order) -> Option<bool> {
    match order {
        Order::Less | Order::LessOrEqual => Some(true),
        Order::Greater | Order::GreaterOrEqual => Some(false),
        Order::Equal | Order::NotEqual => None,
    }
}

/// The time until which it was true of the time, if that is over.
fn ended(said: &[Said<'_>], now: Timestamp) -> Option<Timestamp> {
    said.iter().find_map(|said| match said {
        Said::Is(Order::Less | Order::LessOrEqual | Order::Equal, Value::Time(end)) if *end < now => {
            Some(*end)
        }
        _ => None,
    })
}
