//! `base64_decode`

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{TransformInfo, is_blank};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Decodes a value that is Base64 as a whole.
    ///
    /// *Changes*: values of at least four characters of the standard or the URL alphabet, with or
    /// without padding; blanks between them are passed over. Anything else stays.
    /// *Example*: `PHNjcmlwdD4=` becomes `<script>`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "base64_decode",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")),
        yields: None,
    };
}

/// Padding may be absent, and the last character may have bits that stand for nothing: lenient
/// decoders take both, and it is them we must see through.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let padded = input.iter().rposition(|byte| *byte != b'=' && !is_blank(*byte)).map_or(0, |at| at + 1);
    let body = &input[..padded];
    let in_alphabet = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_') || is_blank(*byte)
    };
    if body.len() < 4 || !body.iter().all(in_alphabet) {
        return false;
    }
    let mut text = Vec::with_capacity(body.len());
    text.extend(body.iter().filter(|byte| !is_blank(**byte)).map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    }));
    if text.len() % 4 == 1 {
        // One character too many stands for nothing; lenient decoders drop it.
        text.pop();
    }
    text.len() >= 4 && ENGINE.decode_vec(&text, output).is_ok()
}
