//! `compress_whitespace`

use super::{TransformInfo, WIDE_BLANKS, blank_length};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Makes every run of blanks a single space.
    ///
    /// *Changes*: space, tab, line feed, carriage return, vertical tab, form feed, and the
    /// no-break space of UTF-8.
    /// *Example*: tab, line feed and two spaces between two words become one space.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "compress_whitespace",
        doc: DOC,
        apply,
        triggers: Some(WIDE_BLANKS),
        yields: Some(ByteSet::of(b" ")),
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    let mut rest = input;
    while let Some((first, tail)) = rest.split_first() {
        match blank_length(rest) {
            0 => {
                output.push(*first);
                rest = tail;
            }
            _ => {
                output.push(b' ');
                while let length @ 1.. = blank_length(rest) {
                    rest = &rest[length..];
                }
            }
        }
    }
    output[start..] != *input
}
