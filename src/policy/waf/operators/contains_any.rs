//! `contains_any`

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::waf::documented::documented;
use crate::policy::waf::needs::Needs;

documented! {
    /// One of several texts.
    ///
    /// *Matches*: values in which any of the texts stands anywhere. Case matters; put `lowercase`
    /// before it where it should not.
    /// *Argument*: an array of texts, or `{ file = "words.txt" }` with one a line; `#` begins a comment line.
    /// *Example*: `{ contains_any = ["/etc/passwd", "/etc/shadow"] }`
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "contains_any",
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
        let needs = Needs::any_of(list.iter().map(|word| word.as_bytes()));
        Ok(Op { words: automaton(list, false)?, needs })
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

/// Looks for all texts of a list at once.
pub(super) fn automaton(list: &[Box<str>], nocase: bool) -> Result<AhoCorasick, OperatorProblem> {
    if list.iter().any(|word| word.is_empty()) {
        return Err(OperatorProblem::bad("a text of the list is empty, so every value would match", ""));
    }
    let words = list.iter().map(|word| word.as_bytes());
    // A table costs about 256 bytes a byte of the list, and a quarter of the work.
    let size: usize = list.iter().map(|word| word.len()).sum();
    let kind = (size <= MAX_TABLE_TEXT).then_some(AhoCorasickKind::DFA);
    let built = AhoCorasick::builder().kind(kind).ascii_case_insensitive(nocase).build(words);
    built.map_err(|_| OperatorProblem::bad("the list is too long", ""))
}

/// How many bytes of words may go into a table.
const MAX_TABLE_TEXT: usize = 16 << 10;
