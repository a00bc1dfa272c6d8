//! `lowercase`

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Makes the letters A to Z small.
    ///
    /// *Changes*: ASCII letters only.
    /// *Example*: `UNION Select` becomes `union select`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "lowercase",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")),
        yields: Some(ByteSet::of(b"abcdefghijklmnopqrstuvwxyz")),
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    output.extend_from_slice(input);
    output[start..].make_ascii_lowercase();
    output[start..] != *input
}
