//! `lt`

use super::number;
use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::documented::documented;

documented! {
    /// A number below this.
    ///
    /// *Matches*: values that are decimal numbers below the argument. A value that is no number
    /// does not match.
    /// *Argument*: an integer.
    /// *Example*: `{ lt = 0 }`
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "lt",
        doc: DOC,
        argument: ArgumentKind::Number,
    };
}

/// The number to compare with.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op(i64);

impl Operate for Op {
    fn build(argument: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        number::argument(argument).map(Op)
    }

    fn matches(&self, value: &[u8]) -> bool {
        number::read(value).is_some_and(|number| number < self.0)
    }
}
