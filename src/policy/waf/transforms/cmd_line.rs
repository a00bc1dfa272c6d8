//! `cmd_line`

use super::{TransformInfo, is_blank};
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
        deletes: false,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    let mut blank = false;
    for byte in input {
        match byte {
            b'\\' | b'"' | b'\'' | b'^' => continue,
            b',' | b';' => blank = true,
            byte if is_blank(*byte) => blank = true,
            byte => {
                if blank && !matches!(byte, b'/' | b'(') {
                    output.push(b' ');
                }
                blank = false;
                output.push(byte.to_ascii_lowercase());
            }
        }
    }
    if blank {
        output.push(b' ');
    }
    output[start..] != *input
}
