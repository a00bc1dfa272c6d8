//! The head of an answer, and what it says of its end.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use smallvec::SmallVec;

use super::Broken;
use crate::facts::decimal;

/// The first line of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
}

/// Where an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With its head.
    Head,
    /// After so many bytes.
    Bytes(u64),
    /// With the last chunk.
    Chunks,
    /// Where the server closes.
    Close,
}

/// The most fields of an answer.
const MOST_FIELDS: usize = 128;

/// Takes a head out of what has come, if all of it has. Its fields are added to those given.
pub(super) fn take(read: &mut BytesMut, fields: &mut HeaderMap) -> Result<Option<Head>, Broken> {
    let mut slots = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut places: SmallVec<[Place; 32]> = SmallVec::new();
    let (head, length) = {
        let mut response = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let length = match parser.parse_response_with_uninit_headers(&mut response, read, &mut slots) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Broken::Malformed),
        };
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        let version = match response.version {
            Some(1) => Version::HTTP_11,
            _ => Version::HTTP_10,
        };
        let place = |text: &[u8]| {
            let at = (text.as_ptr() as usize).saturating_sub(read.as_ptr() as usize);
            at..at + text.len()
        };
        let found = response.headers.iter();
        places.extend(found.map(|field| (place(field.name.as_bytes()), place(field.value))));
        (Head { status: status.ok_or(Broken::Malformed)?, version }, length)
    };
    let text = read.split_to(length).freeze();
    fields.reserve(places.len());
    for (name, value) in places {
        let name = text.get(name).and_then(|name| HeaderName::from_bytes(name).ok());
        let value = slice(&text, value).and_then(|value| HeaderValue::from_maybe_shared(value).ok());
        fields.append(name.ok_or(Broken::Malformed)?, value.ok_or(Broken::Malformed)?);
    }
    Ok(Some(head))
}

/// Where a field's name and value stand.
type Place = (Range<usize>, Range<usize>);

/// A value that is empty may lie nowhere in the text.
fn slice(text: &Bytes, place: Range<usize>) -> Option<Bytes> {
    if place.is_empty() {
        return Some(Bytes::new());
    }
    (place.end <= text.len()).then(|| text.slice(place))
}

/// Where the answer to this method ends (RFC 9112 section 6.3).
pub(super) fn end(method: &Method, head: &Head, fields: &HeaderMap) -> Result<End, Broken> {
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).iter();
    let (coding, length) = (codings.next(), lengths.next());
    let said_twice =
        codings.next().is_some() || lengths.next().is_some() || (coding.is_some() && length.is_some());
    if said_twice {
        return Err(Broken::Malformed);
    }
    let end = match (coding, length) {
        (Some(coding), _) => {
            let plain =
                coding.as_bytes().eq_ignore_ascii_case(b"chunked") && head.version == Version::HTTP_11;
            if !plain {
                return Err(Broken::Malformed);
            }
            End::Chunks
        }
        (None, Some(length)) => End::Bytes(decimal(length.as_bytes()).ok_or(Broken::Malformed)?),
        (None, None) => End::Close,
    };
    let bodiless =
        method == Method::HEAD || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(if bodiless { End::Head } else { end })
}

/// Whether the server keeps the connection behind this answer (RFC 9112 section 9.3).
pub(super) fn lasts(head: &Head, fields: &HeaderMap) -> bool {
    // What servers that keep it mostly say of it, if they say anything.
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"keep-alive");
    if head.version == Version::HTTP_11 && fields.get_all(header::CONNECTION).iter().all(plain) {
        return true;
    }
    let says = |word: &[u8]| {
        fields.get_all(header::CONNECTION).iter().any(|value| {
            value
                .as_bytes()
                .split(|byte| *byte == b',')
                .any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
        })
    };
    if head.version == Version::HTTP_11 { !says(b"close") } else { says(b"keep-alive") && !says(b"close") }
}
