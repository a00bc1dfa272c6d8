//! Header fields that a route sets or removes, on the way to the upstream or on the way back.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::fields::{self, Direction};
use crate::policy::code::Code;
use crate::policy::decode::{Decode, FilePath, Node, bad_value, table};
use crate::policy::diagnostic::{At, Diagnostics};
use crate::policy::source::{Attached, Sources};

table! {
    /// Header fields that a route sets or removes.
    pub struct RawEdits as "a table of header fields" {
        /// Fields with the value that replaces whatever they had; a value is a text, or `{ file = "…" }`.
        map set: At<FieldText>,
        /// Fields that are removed.
        list remove: At<String>,
    }
}

table! {
    /// A value that stands in a file, because it is secret.
    pub struct RawFieldFile as "a value" {
        /// The file; line breaks at its end do not count.
        req file: At<FilePath>,
    }
}

/// The value of a field, or the file that holds it.
#[derive(Clone, Debug)]
pub enum FieldText {
    /// As it is sent.
    Text(Box<str>),
    /// In a file.
    File(Box<RawFieldFile>),
}

/// What is done to header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Set, whatever was there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
}

impl RawEdits {
    /// The files that hold values.
    pub(super) fn files(&self) -> impl Iterator<Item = &At<FilePath>> {
        self.set.iter().filter_map(|(_, value)| match &value.value {
            FieldText::Text(_) => None,
            FieldText::File(raw) => Some(&raw.file),
        })
    }
}

impl Edits {
    /// The edits as written; names that are not the route's to edit are errors.
    pub(super) fn new(
        raw: Option<&RawEdits>,
        direction: Direction,
        managed: &[HeaderName],
        sources: &Sources,
        diagnostics: &mut Diagnostics,
    ) -> Edits {
        let mut edits = Edits::default();
        let Some(raw) = raw else { return edits };
        for key in &raw.remove {
            edits.remove.extend(fields::editable(key, direction, managed, diagnostics));
        }
        for (key, value) in &raw.set {
            let Some(name) = fields::editable(key, direction, managed, diagnostics) else { continue };
            if edits.remove.contains(&name) || edits.set.iter().any(|(other, _)| *other == name) {
                let message = format!("the field `{name}` stands here twice");
                diagnostics
                    .push(Code::Conflict, key.place, message)
                    .help("`set` replaces a field; it need not be removed besides");
            }
            edits.set.extend(value.value.value(sources, diagnostics).map(|value| (name, value)));
        }
        edits
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    /// The fields that are not what they were.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.remove.iter().chain(self.set.iter().map(|(name, _)| name))
    }

    /// Applies them.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            // Copied, not shared: a value shared by all threads would have them all write to its counter.
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.insert(name.clone(), value);
            }
        }
    }
}

impl FieldText {
    fn value(&self, sources: &Sources, diagnostics: &mut Diagnostics) -> Option<HeaderValue> {
        let file = match self {
            // Checked when it was decoded.
            FieldText::Text(text) => return HeaderValue::from_str(text).ok(),
            FieldText::File(raw) => &raw.file,
        };
        let why = match sources.attached(file.place.file, &file.value.0) {
            Some(Attached::Text(id)) => {
                let text = sources.get(*id).map_or("", |source| source.text.trim_end_matches(['\r', '\n']));
                match HeaderValue::from_str(text) {
                    Ok(mut value) if is_plain(text) => {
                        value.set_sensitive(true);
                        return Some(value);
                    }
                    _ if text.is_empty() => "it is empty".to_owned(),
                    _ => "what it holds is not the value of a header field".to_owned(),
                }
            }
            Some(Attached::Unreadable(why)) => why.clone(),
            Some(Attached::Absent) | None => "there is no such file".to_owned(),
        };
        diagnostics.push(Code::File, file.place, format!("`{}` cannot be used: {why}", file.value.0));
        None
    }
}

/// Line breaks would end the field, and blanks at the ends do not arrive.
fn is_plain(text: &str) -> bool {
    let printable = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    !text.is_empty() && text.trim_matches([' ', '\t']).len() == text.len() && text.bytes().all(printable)
}

impl Decode for FieldText {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        if let DeValue::Table(_) = node.value() {
            return RawFieldFile::decode(node, diagnostics).map(|raw| FieldText::File(Box::new(raw)));
        }
        let text = node.string("a text or a table with `file`", diagnostics)?;
        if !is_plain(text) {
            let help = "no control characters or line breaks, no blanks at either end; to remove a field, use `remove`";
            bad_value(node, "no header field can have this value", help, diagnostics);
            return None;
        }
        Some(FieldText::Text(text.into()))
    }
}

impl JsonSchema for FieldText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "FieldText".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let file = generator.subschema_for::<RawFieldFile>();
        json_schema!({ "anyOf": [{ "type": "string" }, file] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::compile_with;

    fn found(keys: &str, files: &[(&str, Option<&str>)]) -> Vec<String> {
        let text = format!("[[route]]\nid = \"a\"\npath = \"/a\"\nupstream = \"up\"\n{keys}\n");
        let (_, problems) = compile_with(&text, files);
        let problems = problems.into_iter().filter(|problem| problem.code != Code::NothingGranted);
        problems.map(|problem| problem.message).collect()
    }

    #[test]
    fn names_that_are_not_the_routes_are_refused() {
        for (keys, why) in [
            ("request_headers.set.host = \"a\"", "`host`: it belongs to the connection or the framing"),
            (
                "request_headers.remove = [\"Content-Length\"]",
                "`content-length`: it belongs to the connection or the framing",
            ),
            (
                "response_headers.set.transfer-encoding = \"chunked\"",
                "`transfer-encoding`: it belongs to the connection or the framing",
            ),
            (
                "request_headers.set.x-forwarded-for = \"a\"",
                "`x-forwarded-for`: it is the gateway's own, which sets or removes it",
            ),
            (
                "response_headers.remove = [\"x-portcullis-rule\"]",
                "`x-portcullis-rule`: it is the gateway's own, which sets or removes it",
            ),
            (
                "response_headers.set.x-request-id = \"a\"",
                "`x-request-id`: it is the gateway's own, which sets or removes it",
            ),
        ] {
            assert_eq!(found(keys, &[]), [format!("a route cannot name the field {why}")], "{keys}");
        }
        let twice = "the field `x-a` stands here twice";
        assert_eq!(found("request_headers = { set = { x-a = \"1\" }, remove = [\"X-A\"] }", &[]), [twice]);
        assert_eq!(found("request_headers.set = { x-a = \"1\", X-A = \"2\" }", &[]), [twice]);
        let name = "`x_a` is not the name of a header field";
        assert_eq!(found("request_headers.remove = [\"x_a\"]", &[]), [name]);
    }

    #[test]
    fn values_are_one_line() {
        for text in ["a\\r\\nx-evil: 1", "a\\n", "\\u0000", " a", "a ", ""] {
            let keys = format!("request_headers.set.x-a = \"{text}\"");
            assert_eq!(found(&keys, &[]), ["no header field can have this value"], "{text}");
        }
        assert_eq!(found("request_headers.set.x-a = \"a\\tb é\"", &[]), [] as [String; 0]);
    }

    #[test]
    fn a_value_may_stand_in_a_file() {
        let keys = "request_headers.set.authorization = { file = \"token\" }";
        assert_eq!(found(keys, &[("token", Some("Bearer x\r\n"))]), [] as [String; 0]);
        for (text, why) in [
            (None, "there is no such file"),
            (Some("\n"), "it is empty"),
            (Some("a\nb"), "what it holds is not the value of a header field"),
        ] {
            assert_eq!(
                found(keys, &[("token", text)]),
                [format!("`token` cannot be used: {why}")],
                "{text:?}"
            );
        }
    }
}
