//! `base64_decode_lenient`

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Decodes Base64 as far as it goes.
    ///
    /// *Changes*: what stands before the first byte that is not of the alphabet is decoded, and the rest
    /// dropped; a value that does not begin with Base64 stays.
    /// *Example*: `PHNjcmlwdD4=!x` becomes `<script>`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "base64_decode_lenient",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")),
        yields: None,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let (mut bits, mut held, mut any) = (0u32, 0, false);
    for byte in input {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            output.push((bits >> held) as u8);
            any = true;
        }
    }
    any
}
