//! `replace_comments`

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Replaces comments of C and SQL by a space.
    ///
    /// *Changes*: `/* … */`; one that is never closed ends with the value.
    /// *Example*: `union/**/select` becomes `union select`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "replace_comments",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"/")),
        yields: Some(ByteSet::of(b" ")),
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let mut rest = input;
    let mut changed = false;
    while let Some(open) = memchr::memmem::find(rest, b"/*") {
        changed = true;
        output.extend_from_slice(&rest[..open]);
        output.push(b' ');
        rest = &rest[open + 2..];
        rest = memchr::memmem::find(rest, b"*/").map_or(&[][..], |close| &rest[close + 2..]);
    }
    output.extend_from_slice(rest);
    changed
}
