//! Transformations: what is undone to a value before an operator looks at it.
//!
//! One file each; both front ends and `explain` know them from the table here. A transformation is a
//! plain function from bytes to bytes: it never fails, and text that it does not understand stays.

mod base64_decode;
mod base64_decode_lenient;
mod cmd_line;
mod compress_whitespace;
mod css_decode;
mod escape_seq_decode;
mod hex_decode;
mod hex_encode;
mod html_entity_decode;
mod js_decode;
mod length;
mod lowercase;
mod normalise_path;
mod normalise_path_win;
mod remove_comments;
mod remove_comments_char;
mod remove_nulls;
mod remove_whitespace;
mod replace_comments;
mod sha1;
mod sql_comments;
mod trim;
mod unicode;
mod unicode_nfkc;
mod uppercase;
mod url_decode;
mod url_decode_uni;
mod utf8_to_unicode;

use super::bytes::ByteSet;

pub(super) use self::url_decode::decode_form;

/// An entry of the table of transformations.
#[derive(Debug)]
pub struct TransformInfo {
    /// The name in `transforms`.
    pub name: &'static str,
    /// What it does, for people.
    pub doc: &'static str,
    /// Appends the result to the output and says whether it differs from the input; when it does
    /// not, the output is not to be used.
    pub apply: fn(&[u8], &mut Vec<u8>) -> bool,
    /// A value that has none of these bytes stays as it is; `None`: any value may change.
    pub triggers: Option<ByteSet>,
    /// The bytes that the result may have though the value has none of them; `None`: any.
    pub yields: Option<ByteSet>,
}

macro_rules! transforms {
    ($($variant:ident = $file:ident,)+) => {
        /// A transformation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Transform { $(#[doc = concat!("`", stringify!($file), "`")] $variant,)+ }

        impl Transform {
            /// Every transformation.
            pub const ALL: &'static [Transform] = &[$(Transform::$variant,)+];

            /// Its entry.
            pub const fn info(self) -> &'static TransformInfo {
                match self { $(Transform::$variant => &$file::INFO,)+ }
            }
        }
    };
}

transforms! {
    Base64Decode = base64_decode,
    Base64DecodeLenient = base64_decode_lenient,
    CmdLine = cmd_line,
    CompressWhitespace = compress_whitespace,
    CssDecode = css_decode,
    EscapeSeqDecode = escape_seq_decode,
    HexDecode = hex_decode,
    HexEncode = hex_encode,
    HtmlEntityDecode = html_entity_decode,
    JsDecode = js_decode,
    Length = length,
    Lowercase = lowercase,
    NormalisePath = normalise_path,
    NormalisePathWin = normalise_path_win,
    RemoveComments = remove_comments,
    RemoveCommentsChar = remove_comments_char,
    RemoveNulls = remove_nulls,
    RemoveWhitespace = remove_whitespace,
    ReplaceComments = replace_comments,
    Sha1 = sha1,
    SqlComments = sql_comments,
    Trim = trim,
    UnicodeNfkc = unicode_nfkc,
    Uppercase = uppercase,
    UrlDecode = url_decode,
    UrlDecodeUni = url_decode_uni,
    Utf8ToUnicode = utf8_to_unicode,
}

impl Transform {
    /// The transformation of this name.
    pub fn by_name(name: &str) -> Option<Transform> {
        Transform::ALL.iter().copied().find(|transform| transform.info().name == name)
    }

    /// The transformed value, or `None` where it stays as it is.
    pub fn apply(self, input: &[u8]) -> Option<Vec<u8>> {
        let mut output = Vec::with_capacity(input.len());
        (self.info().apply)(input, &mut output).then_some(output)
    }
}

/// The bytes that count as blanks: those of C's `isspace`.
const BLANK_BYTES: &[u8] = b" \t\n\x0b\x0c\r";
const BLANKS: ByteSet = ByteSet::of(BLANK_BYTES);

/// The same and the first byte of the no-break space in UTF-8 (C2 A0).
const WIDE_BLANKS: ByteSet = ByteSet::of(b" \t\n\x0b\x0c\r\xc2");

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// How many bytes the blank at the beginning has, the no-break space of UTF-8 included; 0: none.
fn blank_length(input: &[u8]) -> usize {
    match input {
        [0xc2, 0xa0, ..] => 2,
        [first, ..] if is_blank(*first) => 1,
        _ => 0,
    }
}

fn hex_value(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// The number that the hexadecimal digits at the beginning stand for, at most `most` of them, and
/// how many they are.
fn hex_number(input: &[u8], most: usize) -> (u32, usize) {
    let digits = input.iter().take(most).map_while(|byte| hex_value(*byte));
    digits.fold((0, 0), |(number, count), digit| (number << 4 | u32::from(digit), count + 1))
}

#[cfg(test)]
mod tests;
