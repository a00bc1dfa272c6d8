//! `hex_encode`

use super::TransformInfo;
use crate::policy::waf::documented::documented;

documented! {
    /// Writes every byte as two hexadecimal digits.
    ///
    /// *Changes*: every value that is not empty.
    /// *Example*: `<a` becomes `3c61`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "hex_encode",
        doc: DOC,
        apply,
        triggers: None,
        yields: None,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| DIGITS[usize::from(half)];
    output.extend(input.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    !input.is_empty()
}
