//! `contains`

use std::ops::Range;

use memchr::memmem::Finder;

use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::documented::documented;
use crate::policy::waf::needs::Needs;

documented! {
    /// A text.
    ///
    /// *Matches*: values in which the text stands anywhere. Case matters; put `lowercase` before it
    /// where it should not.
    /// *Argument*: the text, not empty.
    /// *Example*: `{ contains = "../" }`
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "contains",
        doc: DOC,
        argument: ArgumentKind::Text,
    };
}

/// A text to look for.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op(Finder<'static>);

impl Operate for Op {
    fn build(argument: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        Ok(Op(Finder::new(argument.some_text()?).into_owned()))
    }

    fn matches(&self, value: &[u8]) -> bool {
        self.0.find(value).is_some()
    }

    fn find(&self, value: &[u8]) -> Option<Range<usize>> {
        self.0.find(value).map(|at| at..at + self.0.needle().len())
    }

    fn needs(&self) -> Needs {
        Needs::any_of([self.0.needle()])
    }
}
