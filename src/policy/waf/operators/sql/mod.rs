//! SQL injection by the grammar of libinjection, without an allocation and in one pass a reading.
//!
//! A text is read as what stands in a query at the place of a number, and as the rest of a string in
//! single or double quotes: cut into tokens (`tokens`), whose kinds are looked up among the words of many
//! databases (`words`) and folded into at most five (`fold`). The letters of those five are the text's
//! fingerprint; which fingerprints are attacks is known from collections of them, with a few exceptions
//! for short ones (`verdict` below).
//!
//! The rules are those of libinjection (Nick Galbreath, BSD-3-Clause), and the tables are those of the crate
//! `libinjectionrs`; `tests/libinjection/run` compares the verdicts with those of the library (3.9.2).

mod fold;
mod token;
mod tokens;
mod words;

use self::fold::{Folded, fold};
use self::token::{Kind, Token};
use self::words::WORDS;

/// How a text is read.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// The quote that the text is taken to stand in.
    quote: Option<u8>,
    /// Whether comments are those of MySQL (`#`, and `--` only before a blank) or those of the standard.
    mysql: bool,
}

/// Whether a text is SQL injection.
pub(super) fn is_injection(text: &[u8]) -> bool {
    if text.is_empty() {
        return false;
    }
    let finds = |quote| {
        let (found, differs) = judge(text, Reading { quote, mysql: false });
        found || (differs && judge(text, Reading { quote, mysql: true }).0)
    };
    finds(None)
        || (text.contains(&b'\'') && finds(Some(b'\'')))
        || (text.contains(&b'"') && judge(text, Reading { quote: Some(b'"'), mysql: true }).0)
}

/// The verdict of one reading, and whether the other dialect may read the text differently.
fn judge(text: &[u8], reading: Reading) -> (bool, bool) {
    let folded = fold(text, reading);
    let fingerprint = folded.fingerprint();
    let found = WORDS.is_attack(fingerprint) && verdict(text, fingerprint, &folded);
    (found, folded.dialects_differ)
}

/// Whether a fingerprint that attacks have means one here: the short ones are met elsewhere, too.
fn verdict(text: &[u8], fingerprint: &[u8], folded: &Folded) -> bool {
    if fingerprint.len() > 1 && fingerprint.ends_with(b"c") && mentions_password(text) {
        return true;
    }
    match (fingerprint, folded.tokens()) {
        ([_, b'U'], _) => folded.read != 2,
        ([_, _], [first, second]) => verdict_on_two(text, first, second, folded),
        (b"sos" | b"s&s", [first, _, last]) => {
            // `…foo' + 'bar…`
            first.open == 0 && last.close == 0 && first.close == last.open
        }
        (b"s&n" | b"n&1" | b"1&1" | b"1&v" | b"1&s", _) if folded.read == 3 => false,
        ([_, _, _], [_, second, _]) if second.kind == Kind::Keyword => {
            // `INTO OUTFILE`, `INTO DUMPFILE`
            second.text().get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case(b"INTO"))
                && second.text().len() > 4
        }
        _ => true,
    }
}

/// Two tokens: the second is a comment.
fn verdict_on_two(text: &[u8], first: &Token, second: &Token, folded: &Folded) -> bool {
    let opens = second.text().first().copied();
    match first.kind {
        _ if opens == Some(b'#') => false,
        Kind::Bareword if second.kind == Kind::Comment && opens != Some(b'/') => false,
        Kind::Number if second.kind == Kind::Comment && opens == Some(b'/') => true,
        Kind::Number if second.kind == Kind::Comment => {
            // Deliberately counted from the text's beginning, wherever the number stands: so does the
            // original. Bytes from 0x80 on are below the blank there.
            let rest = text.get(first.text().len()..).unwrap_or_default();
            folded.read > 2
                || rest.first().is_some_and(|byte| *byte <= b' ' || *byte >= 0x80)
                || rest.starts_with(b"/*")
                || rest.starts_with(b"--")
        }
        // A comment that has text in it is a dash in a sentence.
        _ => !(second.text().len() > 2 && opens == Some(b'-')),
    }
}

/// Servers do not log queries that mention this procedure, which attackers know.
fn mentions_password(text: &[u8]) -> bool {
    const NAME: &[u8] = b"sp_password";
    text.windows(NAME.len()).any(|window| window.eq_ignore_ascii_case(NAME))
}

#[cfg(test)]
mod tests;
