//! `remove_nulls`

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Deletes NUL bytes.
    ///
    /// *Changes*: values with a NUL.
    /// *Example*: `<scr`, NUL, `ipt>` becomes `<script>`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "remove_nulls",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"\0")),
        yields: Some(ByteSet::EMPTY),
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    output.extend(input.iter().filter(|byte| **byte != 0));
    output.len() - start != input.len()
}
