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
        triggers: Some(ByteSet::of(ALPHABET)),
        yields: None,
    };
}

/// By byte: its value, or [`NONE`].
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const NONE: u8 = 0xff;

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    let mut rest = input;
    while let Some((four, tail)) = rest.split_first_chunk::<4>() {
        let [a, b, c, d] = four.map(|byte| VALUES[usize::from(byte)]);
        if a | b | c | d == NONE {
            break;
        }
        output.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
        rest = tail;
    }
    // At most three bytes are left before the end or before the first that is not of the alphabet.
    let (mut bits, mut held) = (0u32, 0);
    for value in rest.iter().map(|byte| VALUES[usize::from(*byte)]).take_while(|value| *value != NONE) {
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            output.push((bits >> held) as u8);
        }
    }
    output.len() > start
}
