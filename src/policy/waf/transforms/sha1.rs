//! `sha1`

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::TransformInfo;
use crate::policy::waf::documented::documented;

documented! {
    /// Replaces a value by its SHA-1 digest, as 20 bytes. For names and sampling; it proves nothing.
    ///
    /// *Changes*: every value.
    /// *Example*: `transforms = ["sha1", "hex_encode"]` gives a text of 40 digits.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "sha1",
        doc: DOC,
        apply,
        triggers: None,
        yields: None,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    output.extend_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, input).as_ref());
    true
}
