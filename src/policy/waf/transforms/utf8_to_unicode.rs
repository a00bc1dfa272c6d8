//! `utf8_to_unicode`

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Writes characters beyond ASCII as `%uXXXX`, for `url_decode_uni` to bring down to ASCII.
    ///
    /// *Changes*: whole characters of UTF-8 beyond ASCII; bytes that are none stay.
    /// *Example*: `＜` (full-width) becomes `%uff1c`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "utf8_to_unicode",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::NON_ASCII),
        yields: None,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let mut changed = false;
    for chunk in input.utf8_chunks() {
        for character in chunk.valid().chars() {
            match u8::try_from(character) {
                Ok(byte @ 0..0x80) => output.push(byte),
                _ => {
                    changed = true;
                    output.extend_from_slice(format!("%u{:04x}", u32::from(character)).as_bytes());
                }
            }
        }
        output.extend_from_slice(chunk.invalid());
    }
    changed
}
