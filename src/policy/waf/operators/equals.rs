//! `equals`

use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::documented::documented;
use crate::policy::waf::needs::Needs;

documented! {
    /// A whole value.
    ///
    /// *Matches*: values that are this text, byte by byte.
    /// *Argument*: the text; empty for values that are empty.
    /// *Example*: `{ equals = "TRACE" }`
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "equals",
        doc: DOC,
        argument: ArgumentKind::Text,
    };
}

/// A whole value.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op(Box<[u8]>);

impl Operate for Op {
    fn build(argument: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        match argument {
            Argument::Text(text) => Ok(Op(text.as_bytes().into())),
            _ => Err(OperatorProblem::wrong_argument()),
        }
    }

    fn matches(&self, value: &[u8]) -> bool {
        *value == *self.0
    }

    fn needs(&self) -> Needs {
        Needs::any_of([&*self.0])
    }
}
