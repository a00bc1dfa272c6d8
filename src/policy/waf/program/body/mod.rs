//! Bodies as SecLang's rules expect them: read as far as they go, with what is wrong noted for rules
//! to judge, where TOML's rules have them refused.

mod entities;
mod json;
mod multipart;
mod xml;

use http::{HeaderMap, header};

pub(super) use self::multipart::Parts;
use crate::decision::Builtin;
use crate::policy::waf::body::{Bounds, Unreadable, form};
use crate::policy::waf::targets::Collection;
use crate::policy::waf::values::Values;

/// Which parser reads the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Processor {
    UrlEncoded,
    Multipart,
    Json,
    Xml,
}

/// What is known of the body.
#[derive(Clone, Debug, Default)]
pub(super) struct BodyState {
    pub(super) processor: Option<Processor>,
    /// `ctl:forceRequestBodyVariable`.
    pub(super) forced: bool,
    /// `ctl:requestBodyAccess=Off`.
    pub(super) refused_access: bool,
    /// What is wrong with it.
    pub(super) error: Option<&'static str>,
    pub(super) parts: Parts,
    pub(super) length: usize,
    pub(super) args_size: usize,
    pub(super) files_size: usize,
}

impl Processor {
    const ALL: [Processor; 4] =
        [Processor::UrlEncoded, Processor::Multipart, Processor::Json, Processor::Xml];

    pub(super) fn name(self) -> &'static str {
        match self {
            Processor::UrlEncoded => "URLENCODED",
            Processor::Multipart => "MULTIPART",
            Processor::Json => "JSON",
            Processor::Xml => "XML",
        }
    }

    pub(super) fn by_name(name: &str) -> Option<Processor> {
        Processor::ALL.into_iter().find(|processor| processor.name() == name)
    }

    /// The parser for a content type. Rules may choose another.
    pub(super) fn of(headers: &HeaderMap) -> Option<Processor> {
        let raw = headers.get(header::CONTENT_TYPE)?.as_bytes().to_ascii_lowercase();
        let end = raw.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t' | b',')).unwrap_or(raw.len());
        let essence = raw.get(..end)?;
        let is = |names: &[&[u8]]| names.contains(&essence);
        if is(&[b"application/x-www-form-urlencoded"]) {
            Some(Processor::UrlEncoded)
        } else if is(&[b"multipart/form-data"]) {
            Some(Processor::Multipart)
        } else if is(&[b"application/json", b"text/json"]) || essence.ends_with(b"+json") {
            Some(Processor::Json)
        } else if is(&[b"application/xml", b"text/xml"]) || essence.ends_with(b"+xml") {
            Some(Processor::Xml)
        } else {
            None
        }
    }
}

/// Adds the texts of a body, which is not empty.
pub(super) fn read(
    headers: &HeaderMap,
    body: &[u8],
    bounds: &Bounds,
    values: &mut Values,
    state: &mut BodyState,
) -> Result<(), Unreadable> {
    for coding in headers.get_all(header::CONTENT_ENCODING) {
        let coding = coding.as_bytes().trim_ascii();
        if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
            return Err(Unreadable { rule: Builtin::BodyEncoding, why: "it has a Content-Encoding" });
        }
    }
    state.length = body.len();
    match state.processor {
        None => values.single(Collection::Body, body),
        Some(Processor::UrlEncoded) => {
            values.single(Collection::Body, body);
            form::read(body, bounds, values)?;
        }
        Some(Processor::Json) => json::read(body, bounds, values, state)?,
        Some(Processor::Xml) => xml::read(body, bounds, values, state)?,
        Some(Processor::Multipart) => {
            let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
            multipart::read(content_type.unwrap_or_default(), body, bounds, values, state)?;
        }
    }
    if state.forced && !matches!(state.processor, None | Some(Processor::UrlEncoded)) {
        values.single(Collection::Body, body);
    }
    Ok(())
}
