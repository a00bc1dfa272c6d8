//! `multipart/form-data`, read strictly (RFC 7578, RFC 2046 section 5.1.1).
//!
//! Lenient multipart readers disagree with each other about nearly everything, and attackers hide in
//! the differences. So whatever is not the plain form that browsers write is refused: data before the
//! first and behind the last boundary, bare line feeds around boundaries, folded or repeated fields,
//! transfer encodings, `filename*`, quotes inside of quotes, parts without names.
//! The names of files are judged; what is in them is not.

use std::ops::ControlFlow;

use memchr::memmem::{self, Finder};

use super::media::{Charset, MediaType, is_token, parameter_value};
use super::{Bounds, Unreadable};
use crate::policy::waf::targets::Collection;
use crate::policy::waf::values::Values;

/// Adds the fields and the names of files.
pub(super) fn read(
    body: &[u8],
    boundary: &[u8],
    bounds: &Bounds,
    values: &mut Values,
) -> Result<(), Unreadable> {
    let delimiter = [b"--", boundary].concat();
    let separator = [b"\n", &delimiter[..]].concat();
    let separator = Finder::new(&separator);
    let mut rest = body
        .strip_prefix(&delimiter[..])
        .ok_or(Unreadable::malformed("it does not begin with its boundary"))?;
    let mut parts = 0;
    while let ControlFlow::Continue(part) = after_boundary(rest)? {
        parts += 1;
        if parts > bounds.fields {
            return Err(Unreadable::too_large("it has more parts than `waf.body.fields`"));
        }
        let end = separator.find(part).ok_or(Unreadable::malformed("its last boundary is missing"))?;
        let inside =
            part[..end].strip_suffix(b"\r").ok_or(Unreadable::malformed("a line ends without CR"))?;
        read_part(inside, values)?;
        rest = &part[end + separator.needle().len()..];
    }
    match parts {
        0 => Err(Unreadable::malformed("it has no parts")),
        _ => Ok(()),
    }
}

/// What follows a boundary: another part, or the end of the body.
fn after_boundary(rest: &[u8]) -> Result<ControlFlow<(), &[u8]>, Unreadable> {
    if let Some(part) = rest.strip_prefix(b"\r\n") {
        return Ok(ControlFlow::Continue(part));
    }
    match rest.strip_prefix(b"--") {
        Some(b"" | b"\r\n") => Ok(ControlFlow::Break(())),
        Some(_) => Err(Unreadable::malformed("something follows its last boundary")),
        None => Err(Unreadable::malformed("something stands on the line of a boundary")),
    }
}

/// What the fields of a part say.
#[derive(Default)]
struct Part {
    name: Option<String>,
    file: Option<String>,
    typed: bool,
}

fn read_part(text: &[u8], values: &mut Values) -> Result<(), Unreadable> {
    let headless = || Unreadable::malformed("a part has no end of its header");
    let end = memmem::find(text, b"\r\n\r\n").ok_or_else(headless)?;
    let (head, content) = (&text[..end], &text[end + 4..]);
    let mut part = Part::default();
    let mut rest = head;
    loop {
        let line_end = memmem::find(rest, b"\r\n").unwrap_or(rest.len());
        part.read_field(&rest[..line_end])?;
        match rest.get(line_end + 2..) {
            Some(more) => rest = more,
            None => break,
        }
    }
    let name = part.name.ok_or(Unreadable::malformed("a part has no name"))?;
    let label = values.put(name.as_bytes());
    match part.file {
        Some(file) => {
            // Without a name it is a file to some readers and a field to others.
            if file.is_empty() && !content.is_empty() {
                let content = values.put(content);
                values.member(Collection::Form, label, content);
            }
            let file = values.put(file.as_bytes());
            values.member(Collection::File, label, file);
        }
        None => {
            // RFC 7578 section 4.6: the form's own word about its character set.
            if name == "_charset_" && std::str::from_utf8(content).ok().and_then(Charset::by_name).is_none() {
                return Err(Unreadable::charset(
                    "its `_charset_` field names another than UTF-8, ASCII or Latin-1",
                ));
            }
            let content = values.put(content);
            values.member(Collection::Form, label, content);
        }
    }
    Ok(())
}

impl Part {
    fn read_field(&mut self, line: &[u8]) -> Result<(), Unreadable> {
        let odd = Unreadable::malformed("a field of a part's header is odd");
        let line = std::str::from_utf8(line).map_err(|_| odd)?;
        // A folded line begins with a blank, and so its name is no token.
        let (name, value) = line.split_once(':').filter(|(name, _)| is_token(name)).ok_or(odd)?;
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(odd);
        }
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "content-disposition" if self.name.is_some() => Err(odd),
            "content-disposition" => self.read_disposition(value),
            "content-type" if self.typed => Err(odd),
            "content-type" => {
                self.typed = true;
                let media = MediaType::parse(value.as_bytes()).ok_or(odd)?;
                if media.essence().starts_with("multipart/") {
                    return Err(Unreadable::malformed("a part is multipart itself"));
                }
                match media.charset().map(Charset::by_name) {
                    Some(None) => {
                        Err(Unreadable::charset("a part's character set is not UTF-8, ASCII or Latin-1"))
                    }
                    _ => Ok(()),
                }
            }
            "content-transfer-encoding" => match value.to_ascii_lowercase().as_str() {
                "7bit" | "8bit" | "binary" => Ok(()),
                _ => Err(Unreadable::malformed("a part has a transfer encoding")),
            },
            _ => Ok(()),
        }
    }

    /// `form-data; name="…"; filename="…"`, and nothing else.
    fn read_disposition(&mut self, value: &str) -> Result<(), Unreadable> {
        let odd = Unreadable::malformed("a part's Content-Disposition is odd");
        let (kind, mut rest) = value.find(';').map_or((value, ""), |at| value.split_at(at));
        if !kind.trim_end_matches([' ', '\t']).eq_ignore_ascii_case("form-data") {
            return Err(odd);
        }
        while let Some(after) = rest.strip_prefix(';') {
            let (name, tail) = after.trim_start_matches([' ', '\t']).split_once('=').ok_or(odd)?;
            let text;
            (text, rest) = disposition_value(tail).ok_or(odd)?;
            rest = rest.trim_start_matches([' ', '\t']);
            let slot = match name.to_ascii_lowercase().as_str() {
                "name" => &mut self.name,
                "filename" => &mut self.file,
                _ => return Err(odd),
            };
            if slot.replace(text).is_some() {
                return Err(odd);
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(odd) }
    }
}

/// A value of Content-Disposition. Backslashes stand for themselves, as in the paths that old browsers
/// send; right before a quote they are ambiguous.
fn disposition_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return parameter_value(text).filter(|(value, _)| !value.contains('\''));
    };
    let (value, rest) = quoted.split_once('"')?;
    (!value.ends_with('\\')).then(|| (value.to_owned(), rest))
}
