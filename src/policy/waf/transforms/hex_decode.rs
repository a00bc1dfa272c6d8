//! `hex_decode`

use super::{TransformInfo, hex_value};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Decodes a value that is a hexadecimal number as a whole.
    ///
    /// *Changes*: values of an even number of hexadecimal digits, with `0x` before them or not.
    /// Anything else stays.
    /// *Example*: `0x3c7363726970743e` becomes `<script>`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "hex_decode",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"0123456789abcdefABCDEF")),
        yields: None,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let digits = input.strip_prefix(b"0x").or_else(|| input.strip_prefix(b"0X")).unwrap_or(input);
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return false;
    }
    let value = |byte: u8| hex_value(byte).unwrap_or(0);
    output.extend(digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])));
    true
}
