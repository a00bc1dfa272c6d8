//! `html_entity_decode`

use htmlize::{Context, unescape_bytes_in};

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Decodes the character references of HTML as browsers do.
    ///
    /// *Changes*: named references and decimal and hexadecimal ones, with or without `;` where
    /// HTML allows it. What is no reference stays.
    /// *Example*: `&lt;img src=&#x78;` becomes `<img src=x`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "html_entity_decode",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"&")),
        yields: None,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let decoded = unescape_bytes_in(input, Context::General);
    output.extend_from_slice(&decoded);
    *decoded != *input
}
