//! `css_decode`

use super::{TransformInfo, hex_number, is_blank, unicode};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Decodes the escapes of CSS.
    ///
    /// *Changes*: `\` and one to six hexadecimal digits, with the blank behind them; `\` before a
    /// line feed disappears; any other `\` disappears and the character behind it stays.
    /// *Example*: `ja\76 ascript` becomes `javascript`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "css_decode",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"\\")),
        yields: None,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    let mut rest = input;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'\\' {
            output.push(*first);
            continue;
        }
        match hex_number(tail, 6) {
            (_, 0) => match tail.split_first() {
                Some((b'\n', after)) => rest = after,
                Some((other, after)) => {
                    output.push(*other);
                    rest = after;
                }
                None => output.push(b'\\'),
            },
            (number, digits) => {
                unicode::push(number, output);
                rest = &tail[digits..];
                if rest.first().is_some_and(|byte| is_blank(*byte)) {
                    rest = &rest[1..];
                }
            }
        }
    }
    output[start..] != *input
}
