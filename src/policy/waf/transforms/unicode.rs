//! What the decoders share: how a code point becomes the bytes that a rule looks for.

/// Appends a code point. Full-width forms become the ASCII characters that lenient readers take them
/// for, and so do the quotes and brackets that databases and file systems fold to ASCII ("best fit").
/// What is no character becomes its low byte.
pub(super) fn push(code: u32, output: &mut Vec<u8>) {
    let folded = match code {
        0..=0xff => Some(code as u8),
        0xff01..=0xff5e => Some((code - 0xff00 + 0x20) as u8),
        0x2018..=0x201b | 0x2032 | 0x02b9 | 0x02bc | 0x02c8 => Some(b'\''),
        0x201c..=0x201f | 0x2033 | 0x02ba => Some(b'"'),
        0x2039 | 0x2329 | 0x3008 => Some(b'<'),
        0x203a | 0x232a | 0x3009 => Some(b'>'),
        0x2044 | 0x2215 => Some(b'/'),
        0x2216 => Some(b'\\'),
        0x2010..=0x2015 => Some(b'-'),
        _ => None,
    };
    match (folded, char::from_u32(code)) {
        (Some(byte), _) => output.push(byte),
        (None, Some(character)) => output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        (None, None) => output.push(code as u8),
    }
}
