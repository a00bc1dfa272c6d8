//! What the gateway itself says to an upstream: where a request comes from, who asks, by which grant.
//!
//! It is kept as the lines that HTTP/1.1 has of it, beside the client's fields, from which the same names
//! were removed. So most requests need no place for it among those.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Fields of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Added {
    // INVARIANT: each line is a name, a colon, a space, a value that a `HeaderValue` may have, CR and LF.
    lines: Vec<u8>,
}

/// What stands in the head of a request beside the client's fields.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside<'a> {
    /// The Host; absent: the one among the fields.
    pub(super) host: Option<&'a HeaderValue>,
    /// What the gateway says.
    pub(super) added: Option<&'a Added>,
}

/// More than most requests need.
const ROOM: usize = 512;

impl Added {
    /// Nothing, with room for what there mostly is.
    pub(crate) fn new() -> Added {
        Added { lines: Vec::with_capacity(ROOM) }
    }

    /// Says something.
    pub(crate) fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.line(name, value.as_bytes());
    }

    /// The same, of a text that is no value yet. One that cannot be a value is left out.
    pub(crate) fn put_text(&mut self, name: &HeaderName, text: &[u8]) {
        // All of it at once, and not up to the first that is not: texts are short, and nearly all are plain.
        if text.iter().fold(true, |plain, byte| plain & (b' '..=b'~').contains(byte)) {
            self.line(name, text);
        } else if let Ok(value) = HeaderValue::from_bytes(text) {
            self.put(name, &value);
        }
    }

    fn line(&mut self, name: &HeaderName, value: &[u8]) {
        let name = name.as_str().as_bytes();
        self.lines.reserve(name.len() + value.len() + 4);
        self.lines.extend_from_slice(name);
        self.lines.extend_from_slice(b": ");
        self.lines.extend_from_slice(value);
        self.lines.extend_from_slice(b"\r\n");
    }

    /// The lines of a head.
    pub(super) fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Name and value of each.
    fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.lines.split(|byte| *byte == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = line.iter().position(|byte| *byte == b':')?;
            let value = line.get(colon + 2..)?;
            Some((HeaderName::from_bytes(line.get(..colon)?).ok()?, HeaderValue::from_bytes(value).ok()?))
        })
    }

    /// Puts them among the client's fields, for those who write these.
    pub(super) fn insert_into(&self, headers: &mut HeaderMap) {
        for (name, value) in self.fields() {
            headers.insert(name, value);
        }
    }

    /// Removes what others say under the same names.
    pub(crate) fn displace(&self, headers: &mut HeaderMap) {
        for (name, _) in self.fields() {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn what_is_said_is_the_same_as_lines_and_as_fields() {
        let mut added = Added::new();
        added.put(&header::FORWARDED, &HeaderValue::from_static("for=\"[::1]:5\""));
        added.put_text(&header::VIA, b"");
        added.put_text(&header::FROM, "caf\u{e9}".as_bytes());
        assert_eq!(added.lines(), b"forwarded: for=\"[::1]:5\"\r\nvia: \r\nfrom: caf\xc3\xa9\r\n");
        let mut headers = HeaderMap::new();
        headers.insert(header::VIA, HeaderValue::from_static("theirs"));
        added.insert_into(&mut headers);
        assert_eq!(headers.len(), 3);
        assert!(headers["forwarded"] == "for=\"[::1]:5\"" && headers["via"].is_empty());
        added.displace(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn no_text_ends_its_line() {
        let mut added = Added::new();
        for text in [&b"a\r\nx: y"[..], b"a\n", b"\r", b"\0", b"\x7f"] {
            added.put_text(&header::VIA, text);
        }
        assert_eq!(added, Added::default());
    }
}
