//! `length`

use super::TransformInfo;
use crate::policy::waf::documented::documented;

documented! {
    /// Replaces a value by its length in bytes, as a decimal number.
    ///
    /// *Changes*: every value.
    /// *Example*: `transforms = ["length"]` with `match = { gt = 100 }`: longer than 100 bytes.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "length",
        doc: DOC,
        apply,
        triggers: None,
        yields: None,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    output.extend_from_slice(input.len().to_string().as_bytes());
    true
}
