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
    if !input.iter().fold(false, |any, byte| any | matches!(byte, b'%' | b'+')) {
        output.extend_from_slice(input);
        return false;
    }
    let mut rest = input;
    let mut changed = false;
    while let Some(at) = memchr::memchr(b'%', rest) {
        changed |= spaced(&rest[..at], output);
        let (byte, length) = match (rest.get(at + 1), rest.get(at + 2)) {
            (Some(high), Some(low)) => match (hex_value(*high), hex_value(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            _ => (b'%', 1),
        };
        changed |= length == 3;
        output.push(byte);
        rest = &rest[at + length..];
    }
    spaced(rest, output) || changed
}

/// Appends a stretch without `%`, in which `+` is a space; says whether there was one.
pub(super) fn spaced(text: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    output.extend_from_slice(text);
    let mut any = false;
    for byte in output.get_mut(start..).unwrap_or_default() {
        any |= *byte == b'+';
        *byte = if *byte == b'+' { b' ' } else { *byte };
    }
    any
}
