//! XML bodies: the text of every element and the value of every attribute, named by its path.
//!
//! Entities are not expanded: a reference that is not one of XML's own stays as it stands. What a
//! document type declares is a text of its own, named `!doctype`.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::media::Charset;
use super::{Bounds, Unreadable};
use crate::policy::waf::targets::Collection;
use crate::policy::waf::values::{Label, StepId, Values};

/// Adds the texts of an XML document.
pub(super) fn read(
    body: &[u8],
    charset: Option<Charset>,
    bounds: &Bounds,
    values: &mut Values,
) -> Result<(), Unreadable> {
    let text = decode(body, charset)?;
    let mut document =
        Document { values, open: Vec::new(), fields: bounds.fields, depth: bounds.depth, rooted: false };
    let mut reader = Reader::from_str(&text);
    reader.config_mut().check_comments = true;
    loop {
        match reader.read_event().map_err(|_| MALFORMED)? {
            Event::Eof => break,
            event => document.take(event)?,
        }
    }
    if document.open.is_empty() && document.rooted { Ok(()) } else { Err(MALFORMED) }
}

const MALFORMED: Unreadable = Unreadable::malformed("it is not well-formed XML");

/// The document as UTF-8. The declaration may say which of the known character sets it is in, and
/// must not contradict the content type.
fn decode(body: &[u8], charset: Option<Charset>) -> Result<Cow<'_, str>, Unreadable> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.starts_with(b"\xfe\xff") || body.starts_with(b"\xff\xfe") || body.contains(&0) {
        return Err(Unreadable::charset("it is in UTF-16 or UTF-32"));
    }
    let declared = match declared_encoding(body)? {
        None => None,
        Some(name) => Some(std::str::from_utf8(name).ok().and_then(Charset::by_name).ok_or(
            Unreadable::charset("its declaration names another character set than UTF-8, ASCII or Latin-1"),
        )?),
    };
    match charset.or(declared).unwrap_or(Charset::Utf8) {
        Charset::Utf8 => std::str::from_utf8(body).map(Cow::Borrowed).map_err(|_| MALFORMED),
        Charset::Latin1 => Ok(body.iter().map(|byte| char::from(*byte)).collect::<String>().into()),
    }
}

/// The encoding in the declaration, which stands at the very beginning.
fn declared_encoding(body: &[u8]) -> Result<Option<&[u8]>, Unreadable> {
    let Some(declaration) = body.strip_prefix(b"<?xml") else { return Ok(None) };
    let end = memchr::memmem::find(declaration, b"?>").ok_or(MALFORMED)?;
    let declaration = &declaration[..end];
    let mut named = memchr::memmem::find_iter(declaration, b"encoding");
    let value = |at: usize| {
        let quoted = declaration[at + 8..].trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
        let (quote, inside) = quoted.split_first()?;
        inside.get(..memchr::memchr(*quote, inside)?)
    };
    match (named.next(), named.next()) {
        (None, _) => Ok(None),
        (Some(at), None) => value(at).map(Some).ok_or(MALFORMED),
        (Some(_), Some(_)) => Err(MALFORMED),
    }
}

struct Document<'v> {
    values: &'v mut Values,
    /// The open elements, each with the text found in it so far. It is put together over comments,
    /// CDATA sections and inner elements, since readers do that too.
    open: Vec<(StepId, Vec<u8>)>,
    fields: u32,
    depth: u32,
    rooted: bool,
}

impl Document<'_> {
    fn take(&mut self, event: Event<'_>) -> Result<(), Unreadable> {
        match event {
            Event::Start(element) => self.open(&element),
            Event::Empty(element) => {
                self.open(&element)?;
                self.close();
                Ok(())
            }
            Event::End(_) => {
                self.close();
                Ok(())
            }
            Event::Text(text) => self.text(text.into_inner().as_bytes()),
            Event::CData(text) => self.text(text.into_inner().as_bytes()),
            Event::GeneralRef(reference) => {
                let name = reference.into_inner();
                let mut text = Vec::new();
                resolve(&name, &mut text);
                self.text(&text)
            }
            Event::DocType(text) => {
                self.count()?;
                let (name, text) =
                    (self.values.put(b"!doctype"), self.values.put(text.into_inner().as_bytes()));
                self.values.value(Collection::Xml, name, text);
                Ok(())
            }
            Event::PI(instruction) => {
                self.count()?;
                let (name, text) =
                    (self.values.put(b"?"), self.values.put(instruction.into_inner().as_bytes()));
                self.values.value(Collection::Xml, name, text);
                Ok(())
            }
            Event::Decl(_) | Event::Comment(_) | Event::Eof => Ok(()),
        }
    }

    fn count(&mut self) -> Result<(), Unreadable> {
        let more = self.fields.checked_sub(1);
        self.fields = more.ok_or(Unreadable::too_large("it has more values than `waf.body.fields`"))?;
        Ok(())
    }

    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), Unreadable> {
        self.count()?;
        if self.open.is_empty() && std::mem::replace(&mut self.rooted, true) {
            return Err(MALFORMED);
        }
        if self.open.len() >= self.depth as usize {
            return Err(Unreadable::too_large("it is nested deeper than `waf.body.depth`"));
        }
        let parent = self.open.last().map_or(StepId::ROOT, |(step, _)| *step);
        let name = self.values.put(element.name().as_ref().as_bytes());
        let step = self.values.step(Collection::Xml, parent, Label::Key(name));
        self.open.push((step, Vec::new()));
        for attribute in element.attributes() {
            self.count()?;
            let attribute = attribute.map_err(|_| MALFORMED)?;
            let name = self.values.put(attribute.key.as_ref().as_bytes());
            let at = self.values.step(Collection::Xml, step, Label::Attribute(name));
            let text = self.values.put_with(|buffer| unescape(&attribute.value, buffer));
            self.values.at_path(Collection::Xml, at, text);
        }
        Ok(())
    }

    fn close(&mut self) {
        let Some((step, text)) = self.open.pop() else { return };
        let inside = text.trim_ascii();
        if !inside.is_empty() {
            let text = self.values.put(inside);
            self.values.at_path(Collection::Xml, step, text);
        }
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Unreadable> {
        match self.open.last_mut() {
            Some((_, inside)) => inside.extend_from_slice(text),
            None if text.trim_ascii().is_empty() => {}
            None => return Err(MALFORMED),
        }
        Ok(())
    }
}

/// Appends an attribute's value with its references resolved.
pub(in crate::policy::waf) fn unescape(text: &str, output: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        output.extend_from_slice(&rest.as_bytes()[..at]);
        let tail = &rest[at + 1..];
        match tail.bytes().take(MAX_REFERENCE).position(|byte| byte == b';') {
            Some(end) => {
                resolve(&tail[..end], output);
                rest = &tail[end + 1..];
            }
            None => {
                output.push(b'&');
                rest = tail;
            }
        }
    }
    output.extend_from_slice(rest.as_bytes());
}

/// The longest name of a reference that is looked for.
const MAX_REFERENCE: usize = 64;

/// Appends what a reference stands for, or the reference itself.
pub(in crate::policy::waf) fn resolve(name: &str, output: &mut Vec<u8>) {
    let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    let character = match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match name.strip_prefix("#x") {
            Some(digits) => number(digits, 16),
            None => name.strip_prefix('#').and_then(|digits| number(digits, 10)),
        },
    };
    match character {
        Some(character) => output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        None => output.extend_from_slice(format!("&{name};").as_bytes()),
    }
}
