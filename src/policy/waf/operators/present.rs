//! `present`

use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::documented::documented;

documented! {
    /// Anything.
    ///
    /// *Matches*: every value, the empty one too: the target is there.
    /// *Argument*: `true`.
    /// *Example*: `targets = ["header:x-debug"]` with `match = { present = true }`
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "present",
        doc: DOC,
        argument: ArgumentKind::Nothing,
    };
}

/// Anything.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op;

impl Operate for Op {
    fn build(_: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        Ok(Op)
    }

    fn matches(&self, _: &[u8]) -> bool {
        true
    }
}
