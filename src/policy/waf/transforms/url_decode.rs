//! `url_decode`

use super::{TransformInfo, hex_value};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Decodes percent-encoding once more.
    ///
    /// *Changes*: `%XX` becomes the byte, `+` a space. A `%` that no two hexadecimal digits follow
    /// stays. Query, form and path values have been decoded once before any transformation.
    /// *Example*: `%3Cscript%3e` becomes `<script>`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "url_decode",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"%+")),
        yields: None,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    decode_form(input, output)
}

/// Decodes a value as forms are encoded; says whether anything changed. The parser of queries and
/// forms uses it too, so that a rule and the parser cannot disagree.
pub(in crate::policy::waf) fn decode_form(input: &[u8], output: &mut Vec<u8>) -> bool {
    let mut rest = input;
    let mut changed = false;
    while let Some(at) = next_mark(rest) {
        output.extend_from_slice(&rest[..at]);
        let (byte, length) = match (rest[at], rest.get(at + 1), rest.get(at + 2)) {
            (b'+', _, _) => (b' ', 1),
            (_, Some(high), Some(low)) => match (hex_value(*high), hex_value(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            _ => (b'%', 1),
        };
        changed |= length == 3 || byte == b' ';
        output.push(byte);
        rest = &rest[at + length..];
    }
    output.extend_from_slice(rest);
    changed
}

/// Where the next `%` or `+` stands. In forms they stand close together, in most other texts nowhere.
#[inline]
pub(super) fn next_mark(text: &[u8]) -> Option<usize> {
    const NEAR: usize = 16;
    let is_mark = |byte: &u8| matches!(byte, b'%' | b'+');
    let far = || memchr::memchr2(b'%', b'+', text.get(NEAR..)?).map(|at| at + NEAR);
    text.iter().take(NEAR).position(is_mark).or_else(far)
}
