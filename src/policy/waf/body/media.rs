//! `Content-Type`, read strictly (RFC 9110 section 8.3.1): what two readers could take for different
//! types is no type.

/// A content type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MediaType {
    essence: String,
    charset: Option<String>,
    boundary: Option<String>,
}

/// A character set whose texts are judged. All of them agree with ASCII where rules look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    /// UTF-8, and ASCII within it.
    Utf8,
    /// ISO 8859-1.
    Latin1,
}

impl Charset {
    pub(super) fn by_name(name: &str) -> Option<Charset> {
        match name.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" | "us-ascii" | "ascii" => Some(Charset::Utf8),
            "iso-8859-1" | "latin1" => Some(Charset::Latin1),
            _ => None,
        }
    }
}

impl MediaType {
    pub(super) fn parse(raw: &[u8]) -> Option<MediaType> {
        let text = std::str::from_utf8(raw).ok()?;
        let (essence, mut rest) = text.find(';').map_or((text, ""), |at| text.split_at(at));
        let (kind, subtype) = essence.trim_end_matches([' ', '\t']).split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let essence = format!("{kind}/{subtype}").to_ascii_lowercase();
        let mut media = MediaType { essence, charset: None, boundary: None };
        while let Some(after) = rest.strip_prefix(';') {
            rest = after.trim_start_matches([' ', '\t']);
            if rest.is_empty() || rest.starts_with(';') {
                continue;
            }
            let (name, tail) = rest.split_once('=')?;
            // RFC 2231 spells a parameter a second way (`boundary*`, `boundary*0`), which some readers
            // prefer and others do not know.
            if !is_token(name) || name.contains('*') {
                return None;
            }
            let value;
            (value, rest) = parameter_value(tail)?;
            rest = rest.trim_start_matches([' ', '\t']);
            let slot = match name.to_ascii_lowercase().as_str() {
                "charset" => &mut media.charset,
                "boundary" => &mut media.boundary,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        rest.is_empty().then_some(media)
    }

    /// Type and subtype, in small letters.
    pub(super) fn essence(&self) -> &str {
        &self.essence
    }

    /// Whether the subtype ends so (RFC 6838 section 4.2.8).
    pub(super) fn has_suffix(&self, suffix: &str) -> bool {
        self.essence.ends_with(suffix)
    }

    pub(super) fn charset(&self) -> Option<&str> {
        self.charset.as_deref()
    }

    /// The boundary of a multipart type, if it is one (RFC 2046 section 5.1.1).
    pub(super) fn boundary(&self) -> Option<&[u8]> {
        let boundary = self.boundary.as_deref()?.as_bytes();
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
        let good =
            (1..=70).contains(&boundary.len()) && boundary.iter().all(fits) && !boundary.ends_with(b" ");
        good.then_some(boundary)
    }
}

/// The value at the beginning, a token or a quoted string, and what follows it.
pub(super) fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return is_token(value).then(|| (value.to_owned(), rest));
    };
    let (value, rest) = quoted.split_once('"')?;
    // A backslash escapes for some readers and stands for itself for others.
    if value.contains('\\') || value.chars().any(|c| c.is_control()) {
        return None;
    }
    let follows = rest.trim_start_matches([' ', '\t']);
    (follows.is_empty() || follows.starts_with(';')).then(|| (value.to_owned(), rest))
}

/// Whether a text is a token of RFC 9110 section 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_with_their_parameters() {
        let Some(media) = MediaType::parse(b"Multipart/Form-Data ; Charset=\"UTF-8\"; boundary=a-b;") else {
            panic!("a media type")
        };
        assert_eq!((media.essence(), media.charset()), ("multipart/form-data", Some("UTF-8")));
        assert_eq!(media.boundary(), Some(&b"a-b"[..]));
        assert!(MediaType::parse(b"application/ld+json").is_some_and(|media| media.has_suffix("+json")));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_type() {
        for raw in [
            &b"text"[..],
            b"/json",
            b"text/",
            b"application/x-www-form-urlencoded;/json",
            b"application/json, text/plain",
            b"text/plain text/html",
            b"multipart/form-data; boundary=a; boundary=b",
            b"multipart/form-data; boundary=\"a\\\"b\"",
            b"multipart/form-data; boundary=\"a\"b",
            b"multipart/form-data; boundary",
            b"text/plain; charset=",
            b"text/plain; charset=utf-8; charset=utf-7",
            b"text/plain\x00",
            b"text/plain; a=\"b",
        ] {
            assert_eq!(MediaType::parse(raw), None, "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn odd_boundaries_are_none() {
        for boundary in [&b"\"\""[..], b"\"a \"", b"\"<a>\"", &[b'a'; 71]] {
            let raw = [b"multipart/form-data; boundary=", boundary].concat();
            assert_eq!(MediaType::parse(&raw).and_then(|media| media.boundary().map(<[u8]>::to_vec)), None);
        }
    }
}
