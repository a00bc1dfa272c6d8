//! Bodies: which parser reads one, and what cannot be read.
//!
//! The content type alone decides. A body that is not what its type says, or whose type cannot be
//! read in exactly one way, is refused by name: an origin that is more lenient would see something
//! that no rule has seen. A type that no parser knows, and a body without one, are looked at raw.

pub(super) mod form;
mod json;
mod media;
mod multipart;
mod xml;

use http::{HeaderMap, header};

use self::media::{Charset, MediaType};
pub(super) use self::xml::{resolve, unescape};
use super::targets::Collection;
use super::values::Values;
use crate::decision::Builtin;

/// Bounds of the bodies that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Bytes.
    pub(super) limit: u64,
    /// Nesting of JSON and XML.
    pub(super) depth: u32,
    /// Fields, values, parts.
    pub(super) fields: u32,
}

/// Why a body cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// The built-in rule that refuses it.
    pub(super) rule: Builtin,
    /// What was found, for the trace.
    pub(super) why: &'static str,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { limit: 128 * 1024, depth: 32, fields: 1000 }
    }
}

impl Unreadable {
    const fn malformed(why: &'static str) -> Unreadable {
        Unreadable { rule: Builtin::BodyMalformed, why }
    }

    pub(super) const fn too_large(why: &'static str) -> Unreadable {
        Unreadable { rule: Builtin::BodyTooLarge, why }
    }

    const fn charset(why: &'static str) -> Unreadable {
        Unreadable { rule: Builtin::BodyCharset, why }
    }
}

/// Adds the texts of a body, which is not empty.
pub(super) fn read(
    headers: &HeaderMap,
    body: &[u8],
    bounds: &Bounds,
    values: &mut Values,
) -> Result<(), Unreadable> {
    for coding in headers.get_all(header::CONTENT_ENCODING) {
        let coding = coding.as_bytes().trim_ascii();
        if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
            return Err(Unreadable { rule: Builtin::BodyEncoding, why: "it has a Content-Encoding" });
        }
    }
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (first, second) = (types.next(), types.next());
    if second.is_some() {
        return Err(Unreadable::malformed("it has several content types"));
    }
    let raw = first.map_or(&[][..], |value| value.as_bytes().trim_ascii());
    if raw.is_empty() {
        values.single(Collection::Body, body);
        return Ok(());
    }
    let media = MediaType::parse(raw).ok_or(Unreadable::malformed("its content type cannot be read"))?;
    let charset = match media.charset() {
        None => None,
        Some(name) => Some(
            Charset::by_name(name)
                .ok_or(Unreadable::charset("its character set is not UTF-8, ASCII or Latin-1"))?,
        ),
    };
    let is = |names: &[&str]| names.contains(&media.essence());
    if is(&["application/x-www-form-urlencoded"]) {
        form::read(body, bounds, values)
    } else if is(&["multipart/form-data"]) {
        let boundary =
            media.boundary().ok_or(Unreadable::malformed("its content type has no usable boundary"))?;
        multipart::read(body, boundary, bounds, values)
    } else if is(&["application/json", "text/json", "application/csp-report"]) || media.has_suffix("+json") {
        json::read(body, bounds, values)
    } else if is(&["application/xml", "text/xml", "application/xml-external-parsed-entity"])
        || media.has_suffix("+xml")
    {
        xml::read(body, charset, bounds, values)
    } else {
        values.single(Collection::Body, body);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
