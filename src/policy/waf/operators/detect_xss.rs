//! `detect_xss`

use super::injection::{Detector, detects};
use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget, xss};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;
use crate::policy::waf::needs::Needs;

documented! {
    /// Cross-site scripting, by the grammar of libinjection.
    ///
    /// *Matches*: values with an element, attribute or comment that runs script or loads something, read
    /// as text of a page and as the rest of an attribute in each kind of quotes. Markup of editors is
    /// among it (`style`, `<link`), and some text that is none, such as `style=guide`.
    /// *Argument*: `true`.
    /// *Example*: `{ detect_xss = true }` matches `" onfocus=alert(1)`.
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "detect_xss",
        doc: DOC,
        argument: ArgumentKind::Nothing,
    };
}

/// Cross-site scripting.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op;

impl Operate for Op {
    fn build(_: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        Ok(Op)
    }

    fn matches(&self, value: &[u8]) -> bool {
        detects::<Xss>(value)
    }

    fn needs(&self) -> Needs {
        Needs { clauses: vec![ByteSet::of(b"<=")], min_len: MIN_LENGTH, ..Needs::default() }
    }

    fn weight(&self) -> u64 {
        WEIGHT
    }
}

/// The shortest attack is a comment with a back-tick.
const MIN_LENGTH: usize = 3;
/// What a byte costs, in steps: the text is read five times.
const WEIGHT: u64 = 16;

struct Xss;

impl Detector for Xss {
    /// What counts is an element, a comment or the value of an attribute: something stands behind a
    /// `<`, or there is a `=`.
    fn gate(text: &[u8]) -> bool {
        let opens = |pair: &[u8]| matches!(pair, [b'<', next] if next.is_ascii_alphabetic() || b"!/?%\0".contains(next));
        text.len() >= MIN_LENGTH && (memchr::memchr(b'=', text).is_some() || text.windows(2).any(opens))
    }

    fn ask(text: &[u8]) -> bool {
        xss::is_injection(text)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::injection::tests::{every_text, gate_holds, texts};
    use super::*;

    /// One or more of every class of tokens that the grammar has.
    pub(in crate::policy::waf::operators) const PIECES: [&str; 36] = [
        "<",
        ">",
        "/",
        "=",
        "'",
        "\"",
        "`",
        " ",
        "\0",
        "!",
        "?",
        "%",
        "-",
        "--",
        "[if",
        "]]>",
        "[CDATA[",
        "doctype",
        "a",
        "svg",
        "script",
        "xml",
        "xmlns",
        "xlink:href",
        "onload",
        "style",
        "href",
        "to",
        "attributename",
        "javascript:",
        "data",
        "&#106;",
        "import",
        "entity",
        "\u{e9}",
        "1",
    ];

    #[test]
    fn the_gate_loses_nothing_of_any_order_of_tokens() {
        assert!(every_text(&PIECES, 3, gate_holds::<Xss>) > 45_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_gate_loses_nothing(text in texts(PIECES.to_vec())) {
            gate_holds::<Xss>(&text);
        }
    }
}
