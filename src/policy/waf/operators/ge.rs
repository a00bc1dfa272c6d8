//! `ge`

use super::number;
use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::documented::documented;

documented! {
    /// A number of at least this.
    ///
    /// *Matches*: values that are decimal numbers of at least the argument. A value that is no number
    /// does not match.
    /// *Argument*: an integer.
    /// *Example*: `{ ge = 100 }`
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "ge",
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
        number::read(value).is_some_and(|number| number >= self.0)
    }
}
