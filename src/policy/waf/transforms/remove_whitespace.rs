//! `remove_whitespace`

use super::{BLANK_BYTES, TransformInfo, WIDE_BLANKS, blank_length};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Deletes all blanks.
    ///
    /// *Changes*: the same blanks as `compress_whitespace`.
    /// *Example*: `java script :` becomes `javascript:`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "remove_whitespace",
        doc: DOC,
        apply,
        triggers: Some(WIDE_BLANKS),
        yields: Some(ByteSet::EMPTY),
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    output.reserve(input.len());
    match memchr::memchr(0xc2, input) {
        None => narrow(input, output),
        Some(_) => wide(input, output),
    }
    output.len() - start != input.len()
}

/// How many bytes are looked at together.
const CHUNK: usize = 32;

/// By byte: 1 where it stays.
const STAYS: [u8; 256] = {
    let mut stays = [1; 256];
    let mut at = 0;
    while at < BLANK_BYTES.len() {
        stays[BLANK_BYTES[at] as usize] = 0;
        at += 1;
    }
    stays
};

/// Without the no-break space. Every byte is written, and the next one over it where it is a blank: texts
/// have so many that a branch would often be guessed wrong.
fn narrow(input: &[u8], output: &mut Vec<u8>) {
    for chunk in input.chunks(CHUNK) {
        let mut kept = [0; CHUNK];
        let mut count = 0;
        for byte in chunk {
            kept[count % CHUNK] = *byte;
            count += usize::from(STAYS[usize::from(*byte)]);
        }
        output.extend_from_slice(kept.get(..count).unwrap_or_default());
    }
}

fn wide(input: &[u8], output: &mut Vec<u8>) {
    let mut rest = input;
    while let Some((first, tail)) = rest.split_first() {
        match blank_length(rest) {
            0 => {
                output.push(*first);
                rest = tail;
            }
            length => rest = &rest[length..],
        }
    }
}
