//! A checked condition, and what it comes to.
//!
//! Three outcomes. A comparison whose value is absent, doubled or of another type is an
//! [`Truth::Error`], and an error is neither true nor false: `not` keeps it. `and` and `or` give a
//! definite outcome only where it does not depend on the part in error: `false and error` is false,
//! `true or error` is true, whatever the missing value might have been, and in either order. So
//! `has claims.x and claims.x == "y"` is plain false without the claim, while nothing is ever true
//! *because* a value was withheld, nor false because of it.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::fact::{Fact, Unknown, Value};
use crate::facts::Facts;
use crate::policy::network::AddressList;

/// What a condition comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// A value that the outcome depends on is absent, doubled or of another type.
    Error,
}

#[derive(Clone, Debug)]
pub(super) enum Expression {
    All(Box<[Expression]>),
    Any(Box<[Expression]>),
    Not(Box<Expression>),
    Has(Fact),
    Compare {
        left: Operand,
        order: Order,
        right: Operand,
    },
    /// `startsWith`, `endsWith`.
    Affix {
        text: Operand,
        affix: Operand,
        side: Side,
    },
    /// In a list of constants, all of one type.
    OneOf {
        item: Operand,
        list: Box<[Value<'static>]>,
    },
    /// In an array that the token brings.
    Member {
        item: Operand,
        array: Fact,
    },
    /// The client's address in networks.
    Within(AddressList),
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    Constant(Value<'static>),
    Fact(Fact),
    /// A segment of the path, by its number among the names that the condition uses.
    Path(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Start,
    End,
}

impl From<bool> for Truth {
    fn from(value: bool) -> Truth {
        if value { Truth::True } else { Truth::False }
    }
}

impl Order {
    /// Whether it asks for equality, which texts and truth values have too.
    pub(super) fn is_equality(self) -> bool {
        matches!(self, Order::Equal | Order::NotEqual)
    }

    pub(super) fn holds(self, ordering: Ordering) -> bool {
        match self {
            Order::Equal => ordering.is_eq(),
            Order::NotEqual => ordering.is_ne(),
            Order::Less => ordering.is_lt(),
            Order::LessOrEqual => ordering.is_le(),
            Order::Greater => ordering.is_gt(),
            Order::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Operand {
    /// The value in a request. `positions`: the segments that the named ones stand for.
    fn read<'a>(&'a self, facts: &Facts<'a>, positions: &[u16]) -> Result<Value<'a>, Unknown> {
        match self {
            Operand::Constant(value) => Ok(value.borrowed()),
            Operand::Fact(fact) => fact.read(facts),
            Operand::Path(number) => segment(*number, facts, positions),
        }
    }
}

/// The segment that a named one stands for.
pub(super) fn segment<'a>(number: usize, facts: &Facts<'a>, positions: &[u16]) -> Result<Value<'a>, Unknown> {
    let position = positions.get(number).ok_or(Unknown::Absent)?;
    let segment = facts.target.segments().nth(usize::from(*position)).ok_or(Unknown::Absent)?;
    Ok(Value::Text(Cow::Borrowed(segment)))
}

impl Expression {
    /// What the condition comes to for a request.
    pub(super) fn evaluate(&self, facts: &Facts<'_>, positions: &[u16]) -> Truth {
        match self {
            Expression::All(parts) => combine(parts, Truth::False, facts, positions).unwrap_or(Truth::True),
            Expression::Any(parts) => combine(parts, Truth::True, facts, positions).unwrap_or(Truth::False),
            Expression::Not(inner) => match inner.evaluate(facts, positions) {
                Truth::True => Truth::False,
                Truth::False => Truth::True,
                Truth::Error => Truth::Error,
            },
            Expression::Has(fact) => Truth::from(fact.read(facts) != Err(Unknown::Absent)),
            Expression::Within(networks) => Truth::from(networks.contains(facts.client.ip)),
            Expression::Compare { left, order, right } => {
                Truth::of(compare(left, *order, right, facts, positions))
            }
            Expression::Affix { text, affix, side } => {
                let texts = (text.read(facts, positions), affix.read(facts, positions));
                let (Ok(Value::Text(text)), Ok(Value::Text(affix))) = texts else { return Truth::Error };
                Truth::from(match side {
                    Side::Start => text.starts_with(&*affix),
                    Side::End => text.ends_with(&*affix),
                })
            }
            Expression::OneOf { item, list } => {
                let Ok(item) = item.read(facts, positions) else { return Truth::Error };
                let mut found = Some(false);
                for constant in list {
                    found = found.zip(item.equals(constant)).map(|(found, equal)| found || equal);
                }
                Truth::of(found)
            }
            Expression::Member { item, array } => {
                let (Ok(item), Ok(Value::Array(array))) = (item.read(facts, positions), array.read(facts))
                else {
                    return Truth::Error;
                };
                // An array with an element of another type is itself of another type, also if the
                // item is in it.
                let mut found = Some(false);
                for element in array {
                    let equal = Value::from_json(element).and_then(|element| item.equals(&element));
                    found = found.zip(equal).map(|(found, equal)| found || equal);
                }
                Truth::of(found)
            }
        }
    }
}

/// The parts up to the first that decides alone; if none does, an error among them. `None`: all
/// parts are definite and none decides.
fn combine(parts: &[Expression], decides: Truth, facts: &Facts<'_>, positions: &[u16]) -> Option<Truth> {
    let mut error = None;
    for part in parts {
        match part.evaluate(facts, positions) {
            truth if truth == decides => return Some(truth),
            Truth::Error => error = Some(Truth::Error),
            _ => {}
        }
    }
    error
}

fn compare(
    left: &Operand,
    order: Order,
    right: &Operand,
    facts: &Facts<'_>,
    positions: &[u16],
) -> Option<bool> {
    let (left, right) = (left.read(facts, positions).ok()?, right.read(facts, positions).ok()?);
    if order.is_equality() {
        return left.equals(&right).map(|equal| equal == (order == Order::Equal));
    }
    left.compare(&right).map(|ordering| order.holds(ordering))
}

impl Truth {
    fn of(value: Option<bool>) -> Truth {
        value.map_or(Truth::Error, Truth::from)
    }
}

impl Value<'_> {
    fn borrowed(&self) -> Value<'_> {
        match self {
            Value::Text(text) => Value::Text(Cow::Borrowed(text)),
            Value::Number(number) => Value::Number(*number),
            Value::Bool(value) => Value::Bool(*value),
            Value::Time(time) => Value::Time(*time),
            Value::Array(items) => Value::Array(items),
            Value::Object => Value::Object,
        }
    }

    /// Whether both are equal; none if they are of different types, or of one that is not compared.
    pub(super) fn equals(&self, other: &Value<'_>) -> Option<bool> {
        match (self, other) {
            (Value::Text(a), Value::Text(b)) => Some(a == b),
            (Value::Bool(a), Value::Bool(b)) => Some(a == b),
            _ => self.compare(other).map(Ordering::is_eq),
        }
    }

    /// The order of numbers and times. A claim beside a time is read as tokens write times: in
    /// seconds since 1970, or as text.
    pub(super) fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => Some(a.compare(*b)),
            (Value::Time(a), b) => Some(a.cmp(&b.as_time()?)),
            (a, Value::Time(b)) => Some(a.as_time()?.cmp(b)),
            _ => None,
        }
    }

    fn as_time(&self) -> Option<jiff::Timestamp> {
        match self {
            Value::Time(time) => Some(*time),
            Value::Number(number) => number.as_time(),
            Value::Text(text) => text.parse().ok(),
            Value::Bool(_) | Value::Array(_) | Value::Object => None,
        }
    }
}
