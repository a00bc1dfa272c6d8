//! What the numeric operators share.

use super::{Argument, OperatorProblem};

/// A value as a number: decimal digits with an optional sign and blanks around. Anything else is no
/// number and matches no numeric operator.
pub(super) fn read(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value.trim_ascii()).ok()?.parse().ok()
}

/// The number that an operator compares with.
pub(super) fn argument(argument: &Argument) -> Result<i64, OperatorProblem> {
    match argument {
        Argument::Number(number) => Ok(*number),
        _ => Err(OperatorProblem::wrong_argument()),
    }
}
