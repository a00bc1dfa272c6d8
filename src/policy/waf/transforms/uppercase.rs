//! `uppercase`

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Makes the letters a to z capitals.
    ///
    /// *Changes*: ASCII letters only.
    /// *Example*: `select` becomes `SELECT`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "uppercase",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"abcdefghijklmnopqrstuvwxyz")),
        yields: Some(ByteSet::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")),
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    output.extend_from_slice(input);
    output[start..].make_ascii_uppercase();
    output[start..] != *input
}
