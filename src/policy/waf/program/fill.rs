//! Facts → values, as SecLang names and reads them: nearer to the bytes as they came than what TOML's
//! rules see.

use std::io::Write;

use http::{HeaderMap, Version, header};
use percent_encoding::percent_decode;

use crate::facts::Facts;
use crate::policy::waf::body::form;
use crate::policy::waf::collect;
use crate::policy::waf::targets::Collection;
use crate::policy::waf::values::{Value, Values};

/// Adds the texts of a request's head.
pub(super) fn head(facts: &Facts<'_>, values: &mut Values) {
    values.reserve();
    let target = facts.target;
    let (method, raw, protocol);
    let (sent, line);
    match &target.line {
        Some(whole) => {
            // Between the first blank and the last, as lenient servers read it.
            let first = memchr::memchr(b' ', whole).unwrap_or(whole.len());
            let last = memchr::memrchr(b' ', whole).filter(|last| *last > first).unwrap_or(whole.len());
            method = &whole[..first];
            raw = whole.get(first + 1..last).unwrap_or_default();
            protocol = whole.get(last + 1..).unwrap_or_default();
            line = whole.to_vec();
        }
        None => {
            sent = target.sent.to_string();
            method = target.method.as_str().as_bytes();
            raw = sent.as_bytes();
            protocol = version(facts.fields.version).as_bytes();
            line = [method, raw, protocol].join(&b' ');
        }
    }
    // A target that names its host too is about the path all the same.
    let origin = match (&target.line, target.sent.path_and_query()) {
        (None, Some(text)) => text.as_str().as_bytes(),
        _ => without_host(raw),
    };
    values.single(Collection::Method, method);
    values.single(Collection::RequestLine, &line);
    values.single(Collection::Protocol, protocol);
    values.single(Collection::UriRaw, raw);
    let decoded: Vec<u8> = percent_decode(origin).collect();
    values.single(Collection::Uri, &decoded);
    let mark = memchr::memchr(b'?', origin).unwrap_or(origin.len());
    let path: Vec<u8> = percent_decode(&origin[..mark]).collect();
    values.single(Collection::Path, &path);
    let name = memchr::memrchr2(b'/', b'\\', &path).map_or(0, |at| at + 1);
    values.single(Collection::Basename, &path[name..]);
    let query = origin.get(mark + 1..).unwrap_or_default();
    values.single(Collection::QueryString, query);
    form::split(query, Collection::Query, usize::MAX, values);
    let mut address = Vec::new();
    // Writing into a vector cannot fail.
    let _ = write!(address, "{}", facts.client.ip);
    values.single(Collection::Client, &address);
    fields(Collection::Header, facts.headers, values);
    collect::cookies(facts, values);
}

/// Adds header fields and their names.
pub(super) fn fields(collection: Collection, headers: &HeaderMap, values: &mut Values) {
    for (name, value) in headers {
        let (name, value) = (values.put(name.as_str().as_bytes()), values.put(value.as_bytes()));
        values.member(collection, name, value);
    }
}

/// A target without its scheme and host.
fn without_host(target: &[u8]) -> &[u8] {
    let Some(at) = memchr::memmem::find(target, b"://").filter(|_| !target.starts_with(b"/")) else {
        return target;
    };
    let rest = &target[at + 3..];
    memchr::memchr(b'/', rest).map_or(b"/", |slash| &rest[slash..])
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// What arguments take together: names and values, decoded.
pub(super) fn args_size(values: &Values) -> usize {
    let all = (0..values.len()).filter_map(|at| values.get(at));
    let args = all.filter(|value| {
        matches!(value.kind.collection(), Collection::Query | Collection::Form | Collection::Json)
    });
    args.map(|value| values.text(value).len()).sum()
}

/// The name of a value among SecLang's variables: `ARGS:x`, `REQUEST_HEADERS:User-Agent`.
pub(super) fn name(value: &Value, values: &Values) -> Vec<u8> {
    let collection = value.kind.collection();
    let word = match (collection, value.kind.is_name()) {
        (Collection::Query | Collection::Form | Collection::Json, false) => "ARGS",
        (Collection::Query | Collection::Form | Collection::Json, true) => "ARGS_NAMES",
        (Collection::Cookie, false) => "REQUEST_COOKIES",
        (Collection::Cookie, true) => "REQUEST_COOKIES_NAMES",
        (Collection::Header, false) => "REQUEST_HEADERS",
        (Collection::Header, true) => "REQUEST_HEADERS_NAMES",
        (Collection::ResponseHeader, false) => "RESPONSE_HEADERS",
        (Collection::ResponseHeader, true) => "RESPONSE_HEADERS_NAMES",
        (Collection::File, false) => "FILES",
        (Collection::File, true) => "FILES_NAMES",
        (Collection::Xml, _) => "XML",
        (Collection::PartHeader, _) => "MULTIPART_PART_HEADERS",
        (Collection::Method, _) => "REQUEST_METHOD",
        (Collection::Path, _) => "REQUEST_FILENAME",
        (Collection::Client, _) => "REMOTE_ADDR",
        (Collection::Body, _) => "REQUEST_BODY",
        (Collection::Line, _) => "REQUEST_URI",
        (
            Collection::RequestLine
            | Collection::Uri
            | Collection::UriRaw
            | Collection::Basename
            | Collection::Protocol
            | Collection::QueryString
            | Collection::ResponseBody,
            _,
        ) => collection.name(),
    };
    let mut out = word.as_bytes().to_vec();
    if collection.named() && !(collection == Collection::Xml && value.kind.is_name()) {
        out.push(b':');
        let start = out.len();
        out.extend_from_slice(&values.name(value));
        if matches!(collection, Collection::Header | Collection::ResponseHeader) {
            capitalise(&mut out[start..]);
        }
    }
    out
}

/// Field names have no case; records show them as people write them.
fn capitalise(name: &mut [u8]) {
    let mut first = true;
    for byte in name {
        if first {
            byte.make_ascii_uppercase();
        }
        first = *byte == b'-';
    }
}

/// The content type of a message, in small letters.
pub(super) fn content_type(headers: &HeaderMap) -> Vec<u8> {
    headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes().to_ascii_lowercase()).unwrap_or_default()
}
