//! `ends_with`

use std::ops::Range;

use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::documented::documented;
use crate::policy::waf::needs::Needs;

documented! {
    /// An end.
    ///
    /// *Matches*: values that end with the text. Case matters.
    /// *Argument*: the text, not empty.
    /// *Example*: `{ ends_with = ".bak" }`
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "ends_with",
        doc: DOC,
        argument: ArgumentKind::Text,
    };
}

/// An end.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op(Box<[u8]>);

impl Operate for Op {
    fn build(argument: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        Ok(Op(argument.some_text()?.as_bytes().into()))
    }

    fn matches(&self, value: &[u8]) -> bool {
        value.ends_with(&self.0)
    }

    fn find(&self, value: &[u8]) -> Option<Range<usize>> {
        self.matches(value).then(|| value.len() - self.0.len()..value.len())
    }

    fn needs(&self) -> Needs {
        Needs::any_of([&*self.0])
    }
}
