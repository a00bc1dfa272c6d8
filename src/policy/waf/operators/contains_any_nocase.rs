//! `contains_any_nocase`

use std::ops::Range;

use aho_corasick::AhoCorasick;

use super::contains_any::automaton;
use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::documented::documented;
use crate::policy::waf::needs::Needs;

documented! {
    /// One of several texts, in capitals or not.
    ///
    /// *Matches*: values in which any of the texts stands anywhere; A to Z are the same as a to z.
    /// *Argument*: an array of texts, or `{ file = "words.txt" }` with one a line; `#` begins a comment line.
    /// *Example*: `{ contains_any_nocase = ["sqlmap", "nikto"] }`
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "contains_any_nocase",
        doc: DOC,
        argument: ArgumentKind::Words,
    };
}

/// Texts to look for.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op {
    words: AhoCorasick,
    needs: Needs,
}

impl Operate for Op {
    fn build(argument: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        let list = argument.some_words()?;
        let needs = Needs::any_of_nocase(list.iter().map(|word| word.as_bytes()));
        Ok(Op { words: automaton(list, true)?, needs })
    }

    fn matches(&self, value: &[u8]) -> bool {
        self.words.is_match(value)
    }

    fn find(&self, value: &[u8]) -> Option<Range<usize>> {
        self.words.find(value).map(|found| found.range())
    }

    fn needs(&self) -> Needs {
        self.needs.clone()
    }
}
