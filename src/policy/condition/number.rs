//! Numbers in conditions: compared exactly, whole or not.

use std::cmp::Ordering;
use std::fmt;

/// A number of a claim or a literal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(i128),
    /// Finite.
    Float(f64),
}

impl Number {
    /// A literal.
    pub(super) fn parse(text: &str) -> Option<Number> {
        match text.parse::<i128>() {
            Ok(whole) => Some(Number::Whole(whole)),
            Err(_) => text.parse::<f64>().ok().filter(|float| float.is_finite()).map(Number::Float),
        }
    }

    pub(super) fn from_json(number: &serde_json::Number) -> Option<Number> {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        whole.map(Number::Whole).or_else(|| number.as_f64().map(Number::Float))
    }

    /// A point in time as tokens give it: seconds since 1970.
    pub(super) fn as_time(self) -> Option<jiff::Timestamp> {
        match self {
            Number::Whole(seconds) => jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok(),
            Number::Float(seconds) => jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64).ok(),
        }
    }

    /// Not by way of one type: above 2^53 a whole number and a float next to it would be equal.
    pub(super) fn compare(self, other: Number) -> Ordering {
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => a.cmp(&b),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Number::Whole(a), Number::Float(b)) => whole_and_float(a, b),
            (Number::Float(a), Number::Whole(b)) => whole_and_float(b, a).reverse(),
        }
    }
}

fn whole_and_float(whole: i128, float: f64) -> Ordering {
    // The conversion saturates, and whole numbers come from 64 bits or a short literal.
    let floor = float.floor();
    match whole.cmp(&(floor as i128)) {
        Ordering::Equal if float > floor => Ordering::Less,
        order => order,
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Whole(whole) => write!(f, "{whole}"),
            Number::Float(float) => write!(f, "{float}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_and_floats_are_compared_exactly() {
        let check = |a: &str, b: &str, want: Ordering| {
            let (Some(a), Some(b)) = (Number::parse(a), Number::parse(b)) else { panic!("numbers") };
            assert_eq!((a.compare(b), b.compare(a)), (want, want.reverse()), "{a} {b}");
        };
        check("1", "1.0", Ordering::Equal);
        check("1", "1.5", Ordering::Less);
        check("-1", "-1.5", Ordering::Greater);
        check("9007199254740993", "9007199254740992.0", Ordering::Greater);
        check("18446744073709551615", "1e300", Ordering::Less);
        check("-9", "-1e300", Ordering::Greater);
    }
}
