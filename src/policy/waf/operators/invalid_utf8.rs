//! `invalid_utf8`

use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;
use crate::policy::waf::needs::Needs;

documented! {
    /// Bytes that are no UTF-8.
    ///
    /// *Matches*: values that are not valid UTF-8, such as overlong forms or Latin-1.
    /// *Argument*: `true`.
    /// *Example*: `{ invalid_utf8 = true }` matches the bytes C0 AF.
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "invalid_utf8",
        doc: DOC,
        argument: ArgumentKind::Nothing,
    };
}

/// Bytes that are no UTF-8.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op;

impl Operate for Op {
    fn build(_: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        Ok(Op)
    }

    fn matches(&self, value: &[u8]) -> bool {
        std::str::from_utf8(value).is_err()
    }

    fn needs(&self) -> Needs {
        Needs { clauses: vec![ByteSet::NON_ASCII], ..Needs::default() }
    }
}
