//! The canonical path: made once, judged and forwarded.
//!
//! Promise: two spellings that a lenient reader could take for the same resource have the same
//! canonical form, or are refused. The form is RFC 3986 section 6.2.2 (unreserved characters
//! decoded, hexadecimal digits in upper case, dot segments removed) plus merged slashes. What
//! cannot be made unambiguous that way (encoded slashes, backslashes, `;` parameters) is reported
//! as [`Irregular`], for the intake gate to refuse unless the route accepts it.

#[cfg(test)]
mod tests;

use smallvec::{SmallVec, smallvec};

use super::hash::hash_within;
use crate::decision::Builtin;

/// A canonical path, without its text (which the target keeps together with the query).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The whole path after one decoding; `None` when it equals the canonical text.
    decoded: Option<Box<str>>,
    /// One before the first segment and one behind each, in the decoded text.
    cuts: SmallVec<[Cut; INLINE_CUTS]>,
    /// Whether the path ends in a slash (the root does).
    trailing_slash: bool,
    irregular: Irregular,
}

/// A place in a decoded path at which a segment ends: at its slash, or at the end of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// How many bytes lie before it.
    pub at: u32,
    /// The hashes of the segments before it, each at its place, summed up: those of the segments
    /// between two cuts come to the difference of their sums.
    pub sum: u64,
}

/// A path of so many segments and one takes no memory from the heap.
const INLINE_CUTS: usize = 11;

/// What a path has that two readers might understand differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Irregular {
    /// `%2F` inside a segment.
    pub encoded_slash: bool,
    /// `\`, plain or encoded.
    pub backslash: bool,
    /// `;`, plain or encoded, behind a name.
    pub path_parameters: bool,
    /// Empty segments; merged unless asked to keep them.
    pub double_slash: bool,
}

/// A path that has no canonical form: the built-in rule that refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathError(pub Builtin);

/// The root.
impl Default for Path {
    fn default() -> Path {
        Path {
            decoded: None,
            cuts: smallvec![Cut::default()],
            trailing_slash: true,
            irregular: Irregular::default(),
        }
    }
}

impl Path {
    /// The decoded path, given the canonical text it was made with.
    pub fn decoded<'a>(&'a self, canonical: &'a str) -> &'a str {
        self.decoded.as_deref().unwrap_or(canonical)
    }

    /// The decoded segments, given the canonical text the path was made with.
    pub fn segments<'a>(&'a self, canonical: &'a str) -> impl ExactSizeIterator<Item = &'a str> + Clone {
        let text = self.decoded(canonical);
        // A cut lies before the slash of the segment behind it.
        let between = move |cuts: &[Cut; 2]| text.get(cuts[0].at as usize + 1..cuts[1].at as usize);
        self.cuts.array_windows().map(move |cuts| between(cuts).unwrap_or(""))
    }

    /// Where the segments end: one cut before the first, and one behind each.
    #[inline]
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// Whether the path ends in a slash.
    pub fn trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// What two readers might understand differently.
    pub fn irregular(&self) -> Irregular {
        self.irregular
    }

    /// Makes the canonical form. `None` for the text: the raw text is canonical already.
    pub fn parse(raw: &str, slashes: Slashes) -> Result<(Path, Option<String>), PathError> {
        match Path::scan(raw) {
            Some(path) => Ok((path, None)),
            None => Rewriter::run(raw, slashes),
        }
    }

    /// The common case: nothing to decode, resolve, merge or refuse. One look at each byte.
    fn scan(raw: &str) -> Option<Path> {
        let bytes = raw.as_bytes();
        if bytes.first() != Some(&b'/') {
            return None;
        }
        let mut cuts = Cuts::new(bytes);
        let mut start = 1;
        for (at, &byte) in bytes.iter().enumerate().skip(1) {
            match CLASS[usize::from(byte)] {
                Class::Plain => {}
                Class::Dot if at != start => {}
                Class::Slash if at != start => {
                    cuts.push(at);
                    start = at + 1;
                }
                _ => return None,
            }
        }
        let trailing_slash = start == bytes.len();
        if !trailing_slash {
            cuts.push(bytes.len());
        }
        Some(Path { decoded: None, cuts: cuts.cuts, trailing_slash, irregular: Irregular::default() })
    }
}

/// Cuts a decoded text into segments.
struct Cuts<'t> {
    text: &'t [u8],
    cuts: SmallVec<[Cut; INLINE_CUTS]>,
    last: Cut,
}

impl<'t> Cuts<'t> {
    fn new(text: &'t [u8]) -> Cuts<'t> {
        Cuts { text, cuts: smallvec![Cut::default()], last: Cut::default() }
    }

    /// Cuts behind a segment, given where it ends.
    #[inline]
    fn push(&mut self, at: usize) {
        let place = self.cuts.len() as u32 - 1;
        let hash = hash_within(place, self.text, self.last.at as usize + 1, at);
        self.last = Cut { at: at as u32, sum: self.last.sum.wrapping_add(hash) };
        self.cuts.push(self.last);
    }
}

/// What becomes of empty segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slashes {
    /// They are removed.
    Merge,
    /// They stay (a route with `accept = ["double-slash"]`).
    Keep,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// May stand in a path as it is: RFC 3986 pchar without `%`, `.` and `;`.
    Plain,
    Slash,
    Dot,
    Percent,
    Semicolon,
    Backslash,
    /// Printable, but not a pchar: stands encoded in the canonical form.
    Encode,
    /// Part of a UTF-8 sequence.
    High,
    /// Never in a path.
    Control,
}

const CLASS: [Class; 256] = {
    let mut table = [Class::Encode; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => Class::Plain,
            b'-' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'='
            | b':' | b'@' => Class::Plain,
            b'/' => Class::Slash,
            b'.' => Class::Dot,
            b'%' => Class::Percent,
            b';' => Class::Semicolon,
            b'\\' => Class::Backslash,
            0..=0x20 | 0x7f => Class::Control,
            0x80..=0xff => Class::High,
            _ => Class::Encode,
        };
        byte += 1;
    }
    table
};

/// Builds the canonical and the decoded text side by side, segment by segment.
struct Rewriter {
    canonical: String,
    decoded: String,
    /// Where each kept segment's slash stands: (in the decoded text, in the canonical text).
    starts: SmallVec<[(usize, usize); 12]>,
    irregular: Irregular,
}

impl Rewriter {
    fn run(raw: &str, slashes: Slashes) -> Result<(Path, Option<String>), PathError> {
        let Some(rest) = raw.strip_prefix('/') else { return Err(PathError(Builtin::BadTarget)) };
        let mut out = Rewriter {
            canonical: String::with_capacity(raw.len() + 8),
            decoded: String::with_capacity(raw.len()),
            starts: SmallVec::new(),
            irregular: Irregular::default(),
        };
        let mut trailing_slash = false;
        let mut parts = rest.split('/').peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            trailing_slash = last;
            let start = (out.decoded.len(), out.canonical.len());
            out.segment(part)?;
            match &out.decoded[start.0 + 1..] {
                "" => {
                    out.irregular.double_slash |= !last;
                    if last || slashes == Slashes::Merge {
                        out.cut(start);
                    } else {
                        out.starts.push(start);
                    }
                }
                "." => out.cut(start),
                ".." => {
                    let to = out.starts.pop().unwrap_or((0, 0));
                    out.cut(to);
                }
                _ => {
                    out.starts.push(start);
                    trailing_slash = false;
                }
            }
        }
        let mut cuts = Cuts::new(out.decoded.as_bytes());
        let ends = out.starts.iter().skip(1).map(|&(at, _)| at).chain([out.decoded.len()]);
        ends.take(out.starts.len()).for_each(|end| cuts.push(end));
        let cuts = cuts.cuts;
        let trailing_slash = trailing_slash || out.starts.is_empty();
        if trailing_slash {
            out.canonical.push('/');
            out.decoded.push('/');
        }
        let decoded = (out.decoded != out.canonical).then(|| out.decoded.into_boxed_str());
        let path = Path { decoded, cuts, trailing_slash, irregular: out.irregular };
        Ok((path, Some(out.canonical).filter(|canonical| canonical != raw)))
    }

    fn cut(&mut self, (decoded, canonical): (usize, usize)) {
        self.decoded.truncate(decoded);
        self.canonical.truncate(canonical);
    }

    /// Appends `/` and one segment, decoded once and checked.
    fn segment(&mut self, raw: &str) -> Result<(), PathError> {
        let mut decoded: SmallVec<[u8; 64]> = SmallVec::new();
        self.canonical.push('/');
        let mut bytes = raw.bytes();
        while let Some(byte) = bytes.next() {
            let (byte, encoded) = match CLASS[usize::from(byte)] {
                Class::Percent => {
                    let digits = (bytes.next().and_then(hex), bytes.next().and_then(hex));
                    let (Some(high), Some(low)) = digits else { return Err(PathError(Builtin::BadPercent)) };
                    (high << 4 | low, true)
                }
                Class::Control => return Err(PathError(Builtin::BadTarget)),
                _ => (byte, false),
            };
            decoded.push(byte);
            match CLASS[usize::from(byte)] {
                Class::Control if byte == 0 => return Err(PathError(Builtin::Nul)),
                // `%20` is a space in a name; every other control byte has no business in a path.
                Class::Control if byte != b' ' => return Err(PathError(Builtin::BadTarget)),
                Class::Slash => self.irregular.encoded_slash = true,
                Class::Backslash => self.irregular.backslash = true,
                Class::Semicolon => self.irregular.path_parameters = true,
                _ => {}
            }
            // Unreserved characters stand decoded; the others stay as they came, except that what
            // is no pchar is encoded.
            let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
            let plain = !matches!(
                CLASS[usize::from(byte)],
                Class::Encode | Class::High | Class::Control | Class::Percent
            );
            if unreserved || (!encoded && plain) {
                self.canonical.push(char::from(byte));
            } else {
                self.canonical.push('%');
                self.canonical.push(char::from(HEX[usize::from(byte >> 4)]));
                self.canonical.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
        let Ok(decoded) = std::str::from_utf8(&decoded) else { return Err(PathError(Builtin::BadUtf8)) };
        check_parts(decoded)?;
        self.decoded.push('/');
        self.decoded.push_str(decoded);
        Ok(())
    }
}

/// No opt-out covers these: a reader that cuts at `;`, or takes `%2F` or `\` for a slash, would see
/// a dot segment (or nothing before the `;`) here. CVE-2026-73511, CVE-2021-29492.
fn check_parts(segment: &str) -> Result<(), PathError> {
    let is_dots = |part: &str| matches!(part, "." | "..");
    let before_parameters = |part: &str| part.split(';').next().unwrap_or("").len();
    if segment.contains(';') && matches!(&segment[..before_parameters(segment)], "" | "." | "..") {
        return Err(PathError(Builtin::PathParameters));
    }
    for (separator, rule) in [('/', Builtin::EncodedSlash), ('\\', Builtin::Backslash)] {
        if segment.contains(separator)
            && segment.split(['/', '\\']).any(|part| is_dots(&part[..before_parameters(part)]))
        {
            return Err(PathError(rule));
        }
    }
    Ok(())
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
