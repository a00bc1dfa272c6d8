//! `remove_whitespace`

use super::{TransformInfo, WIDE_BLANKS, blank_length};
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
        deletes: true,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
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
    output.len() - start != input.len()
}
