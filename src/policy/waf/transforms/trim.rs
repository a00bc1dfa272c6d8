//! `trim`

use super::{BLANKS, TransformInfo};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Deletes blanks at both ends.
    ///
    /// *Changes*: values that begin or end with a blank.
    /// *Example*: `  x ` becomes `x`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "trim",
        doc: DOC,
        apply,
        triggers: Some(BLANKS),
        yields: Some(ByteSet::EMPTY),
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let inner = |byte: &u8| !BLANKS.contains(*byte);
    let start = input.iter().position(inner).unwrap_or(input.len());
    let end = input.iter().rposition(inner).map_or(start, |at| at + 1);
    output.extend_from_slice(&input[start..end]);
    end - start != input.len()
}
