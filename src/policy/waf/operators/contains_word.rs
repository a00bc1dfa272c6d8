//! `contains_word`

use std::ops::Range;

use memchr::memmem::Finder;

use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::documented::documented;
use crate::policy::waf::needs::Needs;

documented! {
    /// A word.
    ///
    /// *Matches*: values in which the text stands with no letter, digit or `_` right before or
    /// behind it.
    /// *Argument*: the text, not empty.
    /// *Example*: `{ contains_word = "exec" }` matches `exec(x)` and not `executive`.
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "contains_word",
        doc: DOC,
        argument: ArgumentKind::Text,
    };
}

/// A word to look for.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op(Finder<'static>);

impl Operate for Op {
    fn build(argument: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        Ok(Op(Finder::new(argument.some_text()?).into_owned()))
    }

    fn matches(&self, value: &[u8]) -> bool {
        self.find(value).is_some()
    }

    fn find(&self, value: &[u8]) -> Option<Range<usize>> {
        let inner =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let mut places = self.0.find_iter(value).map(|at| at..at + self.0.needle().len());
        places.find(|place| !inner(value[..place.start].last()) && !inner(value.get(place.end)))
    }

    fn needs(&self) -> Needs {
        Needs::any_of([self.0.needle()])
    }
}
