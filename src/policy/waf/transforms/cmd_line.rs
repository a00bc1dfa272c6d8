//! `cmd_line`

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Undoes the ways in which shells let a command be written so that it does not look like one.
    ///
    /// *Changes*: `\`, `"`, `'` and `^` are deleted; `,` and `;` become blanks; runs of blanks become
    /// one blank; blanks before `/` and `(` are deleted; letters become lower case.
    /// *Example*: `C^AT  /e"t"c/passwd` becomes `cat/etc/passwd`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "cmd_line",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"\\\"'^,; \t\n\x0b\x0c\rABCDEFGHIJKLMNOPQRSTUVWXYZ")),
        yields: Some(ByteSet::of(b" abcdefghijklmnopqrstuvwxyz")),
    };
}

/// What a byte is to a command line; all others are what they become.
const GONE: u8 = 0;
const BLANK: u8 = 1;
const TIGHT: u8 = 2;

/// By byte.
const MEANING: [u8; 256] = {
    let mut meaning = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        meaning[byte] = match byte as u8 {
            b'\\' | b'"' | b'\'' | b'^' => GONE,
            b',' | b';' | b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' => BLANK,
            b'/' | b'(' => TIGHT,
            _ => 3,
        };
        byte += 1;
    }
    meaning
};

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    output.reserve(input.len() + 1);
    let mut rest = input;
    let mut blank = false;
    while let Some(first) = rest.first() {
        match MEANING[usize::from(*first)] {
            GONE => rest = &rest[1..],
            BLANK => {
                blank = true;
                rest = &rest[1..];
            }
            meaning => {
                if std::mem::take(&mut blank) && meaning != TIGHT {
                    output.push(b' ');
                }
                let word = rest.iter().take_while(|byte| MEANING[usize::from(**byte)] >= TIGHT).count();
                output.extend_from_slice(&rest[..word]);
                rest = &rest[word..];
            }
        }
    }
    if blank {
        output.push(b' ');
    }
    output[start..].make_ascii_lowercase();
    output[start..] != *input
}
