//! `escape_seq_decode`

use super::{TransformInfo, hex_number};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Decodes the escapes of C strings, which shells know too.
    ///
    /// *Changes*: `\a \b \f \n \r \t \v \\ \? \' \"`, `\xHH` and octal numbers of up to three digits; any other
    /// `\` disappears and the character behind it stays. A `\` at the very end stays.
    /// *Example*: `\x63at` becomes `cat`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "escape_seq_decode",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"\\")),
        yields: None,
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    let mut rest = input;
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail.split_first()) {
            (b'\\', Some((kind, after))) => escape(*kind, tail, after, output),
            _ => {
                output.push(*first);
                tail
            }
        };
    }
    output[start..] != *input
}

/// Decodes what stands behind a backslash; returns what follows.
fn escape<'a>(kind: u8, tail: &'a [u8], after: &'a [u8], output: &mut Vec<u8>) -> &'a [u8] {
    if matches!(kind, b'x' | b'X')
        && let (number, 2) = hex_number(after, 2)
    {
        output.push(number as u8);
        return &after[2..];
    }
    if (b'0'..=b'7').contains(&kind) {
        let digits = tail.iter().take(3).take_while(|byte| (b'0'..=b'7').contains(*byte));
        let (number, length) = digits
            .fold((0u32, 0), |(number, length), digit| (number * 8 + u32::from(digit - b'0'), length + 1));
        output.push(number as u8);
        return &tail[length..];
    }
    output.push(match kind {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        other => other,
    });
    after
}
