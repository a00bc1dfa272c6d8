//! What one pass over the header fields finds: framing, expectations, odd names, repetitions.
//!
//! The pass only reports; the intake gate refuses, since a route may accept some of it.

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Version};

/// Findings about the header section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The protocol version they came with.
    pub version: Version,
    /// How many fields there are, repetitions counted.
    pub count: usize,
    /// Content-Length and Transfer-Encoding cannot be read in exactly one way (RFC 9112 section 6.3).
    pub framing_conflict: bool,
    /// The size of the head as HTTP/1.1 would write it, in bytes; told of HTTP/2 alone, for else the parser has
    /// measured it.
    pub head: u64,
    /// The length of the body as declared.
    pub length: Length,
    /// What the Expect field asks for.
    pub expect: Expect,
    /// A field that may stand once stands more than once.
    pub duplicate: Option<HeaderName>,
    /// Some name has a `_` or `.`.
    pub odd_names: bool,
    /// Which names there may be.
    pub names: Names,
}

/// Which names there may be, as a filter: most names that are not there are known by one look not to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names(u64);

impl Names {
    #[inline]
    fn bit(name: &str) -> u64 {
        let first = name.as_bytes().first().copied().unwrap_or(0);
        // So that hardly any of the usual names share a bit with one that is asked for.
        1 << ((name.len() + usize::from(first) * 29) % 64)
    }

    /// Whether there may be a field of this name; if not, there is none.
    #[inline]
    pub fn may_have(self, name: &HeaderName) -> bool {
        self.0 & Names::bit(name.as_str()) != 0
    }
}

/// The declared length of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Length {
    /// Nothing declared: no body in HTTP/1.1, unknown in HTTP/2.
    #[default]
    None,
    /// Content-Length.
    Bytes(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// The Expect field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Absent.
    #[default]
    None,
    /// `100-continue`.
    Continue,
    /// Anything else.
    Other,
}

/// A colon, a blank, and the end of the line.
const SEPARATORS: usize = 4;

impl Fields {
    /// One pass over the fields of a request.
    pub fn scan(method: &Method, version: Version, headers: &HeaderMap) -> Fields {
        let mut fields = Fields { version, count: headers.len(), ..Fields::default() };
        for name in headers.keys() {
            let name = name.as_str();
            fields.odd_names |= is_odd_name(name);
            fields.names.0 |= Names::bit(name);
        }
        if version == Version::HTTP_2 {
            let sizes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + SEPARATORS);
            fields.head = sizes.map(|size| size as u64).sum();
        }
        if headers.len() != headers.keys_len() {
            fields.duplicate =
                SINGLETONS.iter().find(|name| headers.get_all(*name).iter().nth(1).is_some()).cloned();
        }
        fields.read_framing(method, version, headers);
        fields.read_expect(headers);
        fields
    }

    fn read_framing(&mut self, method: &Method, version: Version, headers: &HeaderMap) {
        if ![header::CONTENT_LENGTH, header::TRANSFER_ENCODING].iter().any(|name| self.names.may_have(name)) {
            return;
        }
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        let (length, coding) = (lengths.next(), codings.next());
        if lengths.next().is_some() || codings.next().is_some() || (length.is_some() && coding.is_some()) {
            self.framing_conflict = true;
            return;
        }
        if let Some(length) = length {
            match decimal(length.as_bytes()) {
                Some(length) => self.length = Length::Bytes(length),
                None => self.framing_conflict = true,
            }
        }
        if let Some(coding) = coding {
            // RFC 9112 section 6.1: only HTTP/1.1 has it, and `chunked` alone is the one value whose
            // meaning no reader disputes.
            let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && version == Version::HTTP_11;
            self.framing_conflict |= !chunked || method == Method::TRACE;
            self.length = Length::Chunked;
        }
    }

    fn read_expect(&mut self, headers: &HeaderMap) {
        if !self.names.may_have(&header::EXPECT) {
            return;
        }
        let mut values = headers.get_all(header::EXPECT).iter();
        self.expect = match (values.next(), values.next()) {
            (None, _) => Expect::None,
            (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Expect::Continue,
            _ => Expect::Other,
        };
    }
}

/// A Content-Length (RFC 9110 section 8.6): `^[0-9]+$` that fits 64 bits. Not `str::parse`, which takes
/// a sign.
pub fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Whether a field name has a `_` or `.`, eight letters at a time: names are short and many, and a
/// call for each would cost more than the look.
#[inline]
pub fn is_odd_name(name: &str) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    // The lowest byte that is zero gets its high bit; those above may get it by mistake, but only
    // where there is a zero below.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let odd = |word: u64| zero(word ^ (ONES * b'_' as u64)) | zero(word ^ (ONES * b'.' as u64)) != 0;
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    let last = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    words.iter().any(|word| odd(u64::from_le_bytes(*word))) || odd(last)
}

/// A field name as backends fold it: CGI and WSGI take `_` for `-`, some take `.` too.
pub fn fold_name(name: &str) -> String {
    name.chars().map(|c| if matches!(c, '_' | '.') { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Fields of which RFC 9110 allows one, and whose second value somebody downstream might read.
/// Host, the framing fields and credentials have rules of their own.
const SINGLETONS: [HeaderName; 13] = [
    header::CONTENT_TYPE,
    header::CONTENT_DISPOSITION,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::ORIGIN,
    header::REFERER,
    header::USER_AGENT,
    header::RANGE,
    header::IF_RANGE,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::MAX_FORWARDS,
    header::SEC_WEBSOCKET_KEY,
];

/// Of one hop only: RFC 9110 section 7.6.1, and what older clients use for the same.
pub const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// From clients: what only the gateway may say, and what changes the request behind its back.
pub const REQUEST_ONLY: &[&str] = &[
    "cf-connecting-ip",
    "client-ip",
    "content-length",
    "expect",
    "fastly-client-ip",
    "forwarded",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-status",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-original-path",
    "x-forwarded",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-portcullis-decision",
    "x-portcullis-policy",
    "x-portcullis-reason",
    "x-portcullis-roles",
    "x-portcullis-rule",
    "x-portcullis-shadow",
    "x-portcullis-subject",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(fields: &[(&'static str, &'static str)]) -> Fields {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        Fields::scan(&Method::POST, Version::HTTP_11, &headers)
    }

    #[test]
    fn one_length_or_chunked_is_clear_framing() {
        assert_eq!(scan(&[("content-length", "42")]).length, Length::Bytes(42));
        assert_eq!(scan(&[("transfer-encoding", "CHUNKED")]).length, Length::Chunked);
        assert!(!scan(&[("content-length", "0")]).framing_conflict);
    }

    #[test]
    fn anything_else_is_a_conflict() {
        for fields in [
            &[("content-length", "1"), ("transfer-encoding", "chunked")][..],
            &[("content-length", "1"), ("content-length", "1")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", ",chunked")],
            &[("transfer-encoding", "identity")],
            &[("content-length", "+1")],
            &[("content-length", "")],
            &[("content-length", "1, 1")],
            &[("content-length", "99999999999999999999999")],
        ] {
            assert!(scan(fields).framing_conflict, "{fields:?}");
        }
    }

    #[test]
    fn transfer_encoding_belongs_to_http_1_1_alone() {
        let mut headers = HeaderMap::new();
        headers.insert("transfer-encoding", http::HeaderValue::from_static("chunked"));
        assert!(Fields::scan(&Method::POST, Version::HTTP_10, &headers).framing_conflict);
        assert!(Fields::scan(&Method::POST, Version::HTTP_2, &headers).framing_conflict);
    }

    #[test]
    fn repeated_singletons_and_odd_names_are_found() {
        assert_eq!(
            scan(&[("content-type", "a/b"), ("content-type", "a/b")]).duplicate,
            Some(header::CONTENT_TYPE)
        );
        assert_eq!(scan(&[("accept", "a"), ("accept", "b")]).duplicate, None);
        assert!(
            scan(&[("x_a", "")]).odd_names
                && scan(&[("x.a", "")]).odd_names
                && !scan(&[("x-a", "")]).odd_names
        );
        assert_eq!(fold_name("X_Auth.Roles"), "x-auth-roles");
        for length in 0..20 {
            let plain = "/".repeat(length);
            assert!(!is_odd_name(&plain), "{length}");
            for (at, odd) in (0..length).flat_map(|at| [(at, "_"), (at, ".")]) {
                let mut name = plain.clone();
                name.replace_range(at..at + 1, odd);
                assert!(is_odd_name(&name), "{name}");
            }
        }
    }

    #[test]
    fn only_100_continue_may_be_expected() {
        assert_eq!(scan(&[("expect", "100-Continue")]).expect, Expect::Continue);
        assert_eq!(scan(&[("expect", "y 100-continue")]).expect, Expect::Other);
        assert_eq!(scan(&[("expect", "100-continue"), ("expect", "100-continue")]).expect, Expect::Other);
    }
}
