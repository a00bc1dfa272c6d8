//! `detect_sqli`

use super::injection::{Detector, detects};
use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget, sql};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;
use crate::policy::waf::needs::Needs;

documented! {
    /// SQL injection, by the grammar of libinjection.
    ///
    /// *Matches*: values that read like the end of a string or number in a query and what attackers put
    /// behind it. It knows only the order of tokens, so short texts with quotes, comments or operators
    /// can look the same: use it with a score, not to refuse by itself.
    /// *Argument*: `true`.
    /// *Example*: `{ detect_sqli = true }` matches `1' OR '1'='1`.
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "detect_sqli",
        doc: DOC,
        argument: ArgumentKind::Nothing,
    };
}

/// SQL injection.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op;

impl Operate for Op {
    fn build(_: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        Ok(Op)
    }

    fn matches(&self, value: &[u8]) -> bool {
        detects::<Sqli>(value)
    }

    fn needs(&self) -> Needs {
        Needs { clauses: vec![word_bytes().complement()], min_len: MIN_LENGTH, ..Needs::default() }
    }

    fn weight(&self) -> u64 {
        WEIGHT
    }
}

/// The grammar asks no text shorter than this: a token alone is no attack, but for `{` and a back-tick.
const MIN_LENGTH: usize = 2;
/// What a byte costs, in steps: words are looked up, and a text is read up to five times, as the
/// beginning of a query and as the rest of a string in either kind of quotes.
const WEIGHT: u64 = 32;
struct Sqli;

impl Detector for Sqli {
    /// A text of letters, digits and `_` alone is at most a number and a word, and of the orders of two
    /// tokens that count as an attack all but a number and `union` have a comment; that one is let pass
    /// where there is nothing else.
    fn gate(text: &[u8]) -> bool {
        text.len() >= MIN_LENGTH && !text.iter().all(|byte| is_word(*byte))
    }

    fn ask(text: &[u8]) -> bool {
        sql::is_injection(text)
    }
}

/// Whether a byte is of a word and begins nothing else.
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || (byte >= 0x80 && byte != 0xa0)
}

fn word_bytes() -> ByteSet {
    (0..=u8::MAX).filter(|byte| is_word(*byte)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::injection::tests::{every_text, gate_holds, texts};
    use super::*;

    /// One or more of every class of tokens that the grammar has.
    pub(in crate::policy::waf::operators) const PIECES: [&str; 58] = [
        "1", "0x1f", "1e5", "1.5", ".", "a", "admin", "_x", "'", "\"", "`", "\\", "#", "--", "-- ", "/*",
        "*/", "/*!", "-", "+", "!", "~", "*", "/", "=", "<", "||", "&&", "::", ":", "(", ")", "{", "}", "[",
        "]", ",", ";", "?", "@", "@@x", "$", "$$", "\u{a0}", " ", "\n", "\0", "or ", "AND", "union ",
        "select", "from ", "group by", "like", "in", "null", "int", "sleep",
    ];

    #[test]
    fn the_gate_loses_nothing_of_any_order_of_tokens() {
        assert!(every_text(&PIECES, 3, gate_holds::<Sqli>) > 190_000);
        (0..=u8::MAX).for_each(|byte| gate_holds::<Sqli>(&[byte]));
    }

    #[test]
    fn no_word_of_the_language_is_an_attack_by_itself_or_behind_a_number() {
        let words: Vec<&str> = libinjectionrs::sqli::sqli_data::SQL_KEYWORDS
            .iter()
            .filter(|entry| entry.token_type != b'F' && entry.word.bytes().all(is_word))
            .map(|entry| entry.word)
            .collect();
        assert!(words.len() > 600);
        for word in words {
            for number in ["", "1", "0x", "0x1", "0b", "0b1", "1e", "1e5", "1d", "1f", "é", "a"] {
                gate_holds::<Sqli>(format!("{number}{word}").as_bytes());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_gate_loses_nothing(text in texts(PIECES.to_vec())) {
            gate_holds::<Sqli>(&text);
        }

        #[test]
        fn the_gate_loses_nothing_of_words(text in "[0-9a-zA-Z_éß]{0,12}") {
            gate_holds::<Sqli>(text.as_bytes());
        }
    }
}
