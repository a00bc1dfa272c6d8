//! `js_decode`

use super::{TransformInfo, hex_number, unicode};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Decodes the escapes of JavaScript strings.
    ///
    /// *Changes*: `\uHHHH`, `\u{H…}`, `\xHH`, octal numbers up to `\377`, `\a \b \f \n \r \t \v`; any other
    /// `\` disappears and the character behind it stays. A `\` at the very end stays.
    /// *Example*: `\u003cscript\x3e` becomes `<script>`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "js_decode",
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
        rest = match first {
            b'\\' => escape(tail, output),
            other => {
                output.push(*other);
                tail
            }
        };
    }
    output[start..] != *input
}

/// Decodes what stands behind a backslash; returns what follows.
fn escape<'a>(input: &'a [u8], output: &mut Vec<u8>) -> &'a [u8] {
    let Some((first, tail)) = input.split_first() else {
        output.push(b'\\');
        return input;
    };
    match first {
        b'u' => {
            if let Some(braced) = tail.strip_prefix(b"{")
                && let (number, digits @ 1..) = hex_number(braced, 6)
                && braced.get(digits) == Some(&b'}')
            {
                unicode::push(number, output);
                return &braced[digits + 1..];
            }
            if let (number, 4) = hex_number(tail, 4) {
                return surrogates(number, &tail[4..], output);
            }
        }
        b'x' => {
            if let (number, 2) = hex_number(tail, 2) {
                output.push(number as u8);
                return &tail[2..];
            }
        }
        b'0'..=b'7' => {
            let most = if *first <= b'3' { 3 } else { 2 };
            let digits = input.iter().take(most).take_while(|byte| (b'0'..=b'7').contains(*byte));
            let (number, length) = digits.fold((0u32, 0), |(number, length), digit| {
                (number * 8 + u32::from(digit - b'0'), length + 1)
            });
            output.push(number as u8);
            return &input[length..];
        }
        _ => {}
    }
    output.push(match first {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        other => *other,
    });
    tail
}

/// A code unit of `\uHHHH`, put together with a second one where both make one character.
fn surrogates<'a>(high: u32, rest: &'a [u8], output: &mut Vec<u8>) -> &'a [u8] {
    if (0xd800..0xdc00).contains(&high)
        && let Some(second) = rest.strip_prefix(b"\\u")
        && let (low @ 0xdc00..0xe000, 4) = hex_number(second, 4)
    {
        unicode::push(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), output);
        return &second[4..];
    }
    unicode::push(high, output);
    rest
}
