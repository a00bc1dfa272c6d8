//! `bytes_outside`

use std::ops::Range;

use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;
use crate::policy::waf::needs::Needs;

documented! {
    /// A byte outside of ranges.
    ///
    /// *Matches*: values with a byte that is in none of the ranges.
    /// *Argument*: an array of bytes and ranges in decimal, ends included.
    /// *Example*: `{ bytes_outside = ["9", "10", "13", "32-126", "128-255"] }` matches control bytes.
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "bytes_outside",
        doc: DOC,
        argument: ArgumentKind::Bytes,
    };
}

/// The bytes that match.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op(ByteSet);

impl Operate for Op {
    fn build(argument: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        match argument {
            Argument::Bytes(set) if set.complement().is_empty() => {
                Err(OperatorProblem::bad("the ranges hold every byte, so no value would match", ""))
            }
            Argument::Bytes(set) => Ok(Op(set.complement())),
            _ => Err(OperatorProblem::wrong_argument()),
        }
    }

    fn matches(&self, value: &[u8]) -> bool {
        value.iter().any(|byte| self.0.contains(*byte))
    }

    fn find(&self, value: &[u8]) -> Option<Range<usize>> {
        value.iter().position(|byte| self.0.contains(*byte)).map(|at| at..at + 1)
    }

    fn needs(&self) -> Needs {
        Needs { clauses: vec![self.0], min_len: 1, ..Needs::default() }
    }
}
