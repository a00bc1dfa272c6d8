//! `within`

use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::documented::documented;

documented! {
    /// A part of a text.
    ///
    /// *Matches*: values that stand somewhere in the argument, the empty one included. Case matters.
    /// *Argument*: a text.
    /// *Example*: `{ within = "GET HEAD POST" }`
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "within",
        doc: DOC,
        argument: ArgumentKind::Text,
    };
}

/// The text that values are looked for in.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op(Box<[u8]>);

impl Operate for Op {
    fn build(argument: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        Ok(Op(argument.some_text()?.as_bytes().into()))
    }

    fn matches(&self, value: &[u8]) -> bool {
        memchr::memmem::find(&self.0, value).is_some()
    }
}
