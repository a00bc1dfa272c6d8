//! `equals_any`

use std::collections::HashSet;
use std::sync::Arc;

use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::documented::documented;
use crate::policy::waf::needs::Needs;

documented! {
    /// One of several whole values.
    ///
    /// *Matches*: values that are one of these texts, byte by byte.
    /// *Argument*: an array of texts, or `{ file = "values.txt" }` with one a line; `#` begins a comment line.
    /// *Example*: `{ equals_any = ["GET", "HEAD", "POST"], not = true }`
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "equals_any",
        doc: DOC,
        argument: ArgumentKind::Words,
    };
}

/// Whole values.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op {
    values: Arc<HashSet<Box<[u8]>>>,
    needs: Needs,
}

impl Operate for Op {
    fn build(argument: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        let words = argument.some_words()?;
        let values: HashSet<Box<[u8]>> = words.iter().map(|word| word.as_bytes().into()).collect();
        Ok(Op { values: Arc::new(values), needs: Needs::any_of(words.iter().map(|word| word.as_bytes())) })
    }

    fn matches(&self, value: &[u8]) -> bool {
        self.values.contains(value)
    }

    fn needs(&self) -> Needs {
        self.needs.clone()
    }
}
