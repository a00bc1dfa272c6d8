//! `unicode_nfkc`

use unicode_normalization::UnicodeNormalization;

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Brings characters of Unicode to their compatible form (NFKC).
    ///
    /// *Changes*: full-width, circled, superscript and similar characters of UTF-8 become the plain
    /// ones. Bytes that are no UTF-8 stay.
    /// *Example*: `＜script＞` in full-width characters becomes `<script>`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "unicode_nfkc",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::NON_ASCII),
        yields: None,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    for chunk in input.utf8_chunks() {
        for character in chunk.valid().nfkc() {
            output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        output.extend_from_slice(chunk.invalid());
    }
    output[start..] != *input
}
