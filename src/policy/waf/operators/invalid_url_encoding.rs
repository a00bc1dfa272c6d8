//! `invalid_url_encoding`

use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;
use crate::policy::waf::needs::Needs;

documented! {
    /// A `%` that encodes nothing.
    ///
    /// *Matches*: values with a `%` that no two hexadecimal digits follow.
    /// *Argument*: `true`.
    /// *Example*: `targets = ["line"]` with `match = { invalid_url_encoding = true }`
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "invalid_url_encoding",
        doc: DOC,
        argument: ArgumentKind::Nothing,
    };
}

/// A `%` that encodes nothing.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op;

impl Operate for Op {
    fn build(_: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        Ok(Op)
    }

    fn matches(&self, value: &[u8]) -> bool {
        memchr::memchr_iter(b'%', value).any(|at| {
            !value.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
    }

    fn needs(&self) -> Needs {
        Needs { clauses: vec![ByteSet::of(b"%")], ..Needs::default() }
    }
}
