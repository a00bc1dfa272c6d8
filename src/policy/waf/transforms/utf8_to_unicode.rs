//! `utf8_to_unicode`

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Writes characters beyond ASCII as `%uXXXX`, for `url_decode_uni` to bring down to ASCII.
    ///
    /// *Changes*: whole characters of UTF-8 beyond ASCII; those written with more bytes than they need
    /// become what lenient decoders make of them, with their first byte behind it; other bytes stay.
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
    let mut rest = input;
    while let Some(chunk) = rest.utf8_chunks().next() {
        for character in chunk.valid().chars() {
            match u8::try_from(character) {
                Ok(byte @ 0..0x80) => output.push(byte),
                _ => {
                    changed = true;
                    push(u32::from(character), output);
                }
            }
        }
        rest = &rest[chunk.valid().len()..];
        let length = match overlong(rest) {
            Some((character, first, length)) => {
                changed = true;
                push(character, output);
                output.push(first);
                length
            }
            None => {
                output.extend_from_slice(chunk.invalid());
                chunk.invalid().len()
            }
        };
        rest = &rest[length..];
    }
    changed
}

fn push(character: u32, output: &mut Vec<u8>) {
    output.extend_from_slice(format!("%u{character:04x}").as_bytes());
}

/// A character that is written with more bytes than it needs: what lenient decoders make of it, its
/// first byte, and its length.
fn overlong(text: &[u8]) -> Option<(u32, u8, usize)> {
    let [first, tail @ ..] = text else { return None };
    let (bits, more, least) = match first {
        0xc0..=0xdf => (first & 0x1f, 1, 0x80),
        0xe0..=0xef => (first & 0x0f, 2, 0x800),
        0xf0..=0xf7 => (first & 0x07, 3, 0x1_0000),
        _ => return None,
    };
    let tail = tail.get(..more)?;
    let continues = tail.iter().all(|byte| byte & 0xc0 == 0x80);
    let character = tail.iter().fold(u32::from(bits), |all, byte| all << 6 | u32::from(byte & 0x3f));
    (continues && character < least).then_some((character, *first, more + 1))
}
