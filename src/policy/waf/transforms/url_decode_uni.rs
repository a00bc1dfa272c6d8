//! `url_decode_uni`

use super::url_decode::spaced;
use super::{TransformInfo, hex_number, unicode};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Decodes percent-encoding once more, the `%uXXXX` of IIS included.
    ///
    /// *Changes*: as `url_decode`; `%uXXXX` becomes the character, full-width forms the plain one.
    /// *Example*: `%u003cscript%uff1e` becomes `<script>`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "url_decode_uni",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"%+")),
        yields: None,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    let mut rest = input;
    while let Some(at) = memchr::memchr(b'%', rest) {
        spaced(&rest[..at], output);
        let tail = &rest[at + 1..];
        rest = match tail {
            [b'u' | b'U', digits @ ..] if hex_number(digits, 4).1 == 4 => {
                unicode::push(hex_number(digits, 4).0, output);
                &digits[4..]
            }
            _ => match hex_number(tail, 2) {
                (byte, 2) => {
                    output.push(byte as u8);
                    &tail[2..]
                }
                _ => {
                    output.push(b'%');
                    tail
                }
            },
        };
    }
    spaced(rest, output);
    output[start..] != *input
}
