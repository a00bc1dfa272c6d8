//! `remove_comments`

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Deletes comments.
    ///
    /// *Changes*: `/* … */` and `<!-- … -->` disappear; at `--` and `#` the value ends, and at a comment that
    /// is never closed it ends with a space.
    /// *Example*: `un/* x */ion -- y` becomes `union `.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "remove_comments",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"/<-#")),
        yields: None,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    let mut rest = input;
    while let Some((first, tail)) = rest.split_first() {
        let close: &[u8] = match rest {
            [b'/', b'*', ..] => b"*/",
            [b'<', b'!', b'-', b'-', ..] => b"-->",
            [b'-', b'-', ..] | [b'#', ..] => break,
            _ => {
                output.push(*first);
                rest = tail;
                continue;
            }
        };
        match memchr::memmem::find(&rest[2..], close) {
            Some(end) => rest = &rest[2 + end + close.len()..],
            None => {
                output.push(b' ');
                break;
            }
        }
    }
    output[start..] != *input
}
