//! Single values: what a string, number or date in a policy file may be.

use std::borrow::Cow;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::node::{Decode, Node};
use crate::policy::code::Code;
use crate::policy::diagnostic::{At, Diagnostics};

/// An id or name: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// A duration such as `30s` or `1h 30m`; always positive or zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub std::time::Duration);

/// A number of bytes such as `64KiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A point in time: a TOML date-time with its offset, or the same as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Timestamp);

/// A path of a text file that belongs to the policy, as written; relative to the folder of the file
/// that names it. Decoding one tells the loader to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath(pub String);

/// A path of a file that the process uses by itself (a log, a certificate), as written; relative to
/// the folder of the file that names it. Its text is no part of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessPath(pub String);

/// A value, or an array of such values.
#[derive(Clone, Debug)]
pub struct OneOrMany<T>(pub Vec<T>);

/// Reports a value that has the right type and still cannot be used.
pub fn bad_value(node: Node<'_>, message: impl Into<String>, help: &str, diagnostics: &mut Diagnostics) {
    let problem = diagnostics.push(Code::BadValue, node.place(), message);
    if !help.is_empty() {
        problem.help(help);
    }
}

// === Name ===

impl Name {
    /// A name, if the text is one.
    pub fn new(text: &str) -> Option<Name> {
        let mut bytes = text.bytes();
        let first = bytes.next()?;
        let tail = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
        };
        let fits =
            (first.is_ascii_lowercase() || first.is_ascii_digit()) && text.len() <= 64 && bytes.all(tail);
        fits.then(|| Name(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of a rule that has a number.
    pub fn number(number: u32) -> Name {
        Name(number.to_string().into())
    }

    /// Whether this stands for a name that could not be read. It is nobody's.
    pub fn is_stand_in(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Decode for Name {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("a name", diagnostics)?;
        let name = Name::new(text);
        if name.is_none() {
            bad_value(
                node,
                format!("`{text}` is not a name"),
                "a name has 1 to 64 characters of a-z, 0-9, `.`, `_`, `-` and begins with a letter or digit",
                diagnostics,
            );
            // Where it was to define something, references to it are not wrong besides.
            diagnostics.lose(text);
        }
        name
    }

    fn stand_in() -> Option<Self> {
        Some(Name("".into()))
    }
}

impl JsonSchema for Name {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$" })
    }
}

// === Span ===

impl Decode for Span {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("a duration such as \"30s\"", diagnostics)?;
        let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| duration.try_into().ok());
        if parsed.is_none() {
            let help = "write a number with its unit, such as \"100ms\", \"30s\", \"5m\", \"1h 30m\"";
            bad_value(node, format!("`{text}` is not a duration"), help, diagnostics);
        }
        parsed.map(Span)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["100ms", "30s", "5m", "1h 30m"] })
    }
}

// === Size ===

impl Decode for Size {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("a size such as \"64KiB\"", diagnostics)?;
        let parsed = text.parse::<bytesize::ByteSize>().ok();
        if parsed.is_none() {
            let help = "write a number with its unit, such as \"8KiB\", \"10MiB\"";
            bad_value(node, format!("`{text}` is not a size"), help, diagnostics);
        }
        parsed.map(|size| Size(size.as_u64()))
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["8KiB", "10MiB"] })
    }
}

// === FilePath and ProcessPath ===

fn path(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<String> {
    let text = node.string("a path", diagnostics)?;
    if text.is_empty() || text.contains('\0') {
        bad_value(node, "this is not a path", "", diagnostics);
        return None;
    }
    Some(text.to_owned())
}

impl Decode for FilePath {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let path = path(node, diagnostics)?;
        diagnostics.refer_to(At { value: path.clone(), place: node.place() });
        Some(FilePath(path))
    }
}

impl Decode for ProcessPath {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        path(node, diagnostics).map(ProcessPath)
    }
}

macro_rules! path_schema {
    ($($name:ident),+) => {$(
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                "Path".into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "minLength": 1 })
            }
        }
    )+};
}

path_schema!(FilePath, ProcessPath);

// === OneOrMany ===

impl<T: Decode> Decode for OneOrMany<T> {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.value() {
            DeValue::Array(_) => Vec::decode(node, diagnostics).map(OneOrMany),
            _ => T::decode(node, diagnostics).map(|one| OneOrMany(vec![one])),
        }
    }

    fn stand_in() -> Option<Self> {
        Some(OneOrMany(Vec::new()))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        let many = generator.subschema_for::<Vec<T>>();
        json_schema!({ "anyOf": [one, many] })
    }
}

// === plain values ===

impl Decode for String {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        node.string("a string", diagnostics).map(str::to_owned)
    }

    fn stand_in() -> Option<Self> {
        Some(String::new())
    }
}

impl Decode for bool {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.value() {
            DeValue::Boolean(value) => Some(*value),
            _ => {
                node.wrong_type("true or false", diagnostics);
                None
            }
        }
    }
}

macro_rules! unsigned {
    ($($ty:ty),+) => {$(
        impl Decode for $ty {
            fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
                let DeValue::Integer(integer) = node.value() else {
                    node.wrong_type("an integer", diagnostics);
                    return None;
                };
                let value = <$ty>::from_str_radix(integer.as_str(), integer.radix()).ok();
                if value.is_none() {
                    bad_value(node, format!("`{integer}` is not a number from 0 to {}", <$ty>::MAX), "", diagnostics);
                }
                value
            }

            fn stand_in() -> Option<Self> {
                Some(0)
            }
        }
    )+};
}

unsigned!(u8, u16, u32, u64);

/// A float, or an integer for it.
impl Decode for f64 {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = match node.value() {
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            _ => {
                node.wrong_type("a number", diagnostics);
                return None;
            }
        };
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
        if value.is_none() {
            bad_value(node, format!("`{text}` is not a finite number"), "", diagnostics);
        }
        value
    }
}

// === Moment ===

impl Decode for Moment {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = match node.value() {
            DeValue::Datetime(datetime) => datetime.to_string(),
            DeValue::String(text) => text.to_string(),
            _ => {
                node.wrong_type("a date-time such as 2026-12-31T00:00:00Z", diagnostics);
                return None;
            }
        };
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let help = "write date, time and offset: 2026-12-31T00:00:00Z";
            bad_value(node, format!("`{text}` is not a point in time"), help, diagnostics);
        }
        parsed.map(Moment)
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// Declares an enum of the words that a key takes, with its decoding and schema.
macro_rules! words {
    ($(#[doc = $enum_doc:literal])+ $vis:vis enum $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $enum_doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// Every word.
            #[allow(dead_code, reason = "not every set of words is listed to people")]
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word in the file.
            #[allow(dead_code, reason = "not every set of words is shown to people")]
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl $crate::policy::decode::Decode for $name {
            fn decode(
                node: $crate::policy::decode::Node<'_>,
                diagnostics: &mut $crate::policy::diagnostic::Diagnostics,
            ) -> Option<Self> {
                let words = [$($word),+];
                let text = node.string(&words.join(" | "), diagnostics)?;
                match text {
                    $($word => Some($name::$variant),)+
                    _ => {
                        $crate::policy::decode::unknown_word(node, text, &words, diagnostics);
                        None
                    }
                }
            }

            fn stand_in() -> Option<Self> {
                $name::ALL.first().copied()
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($word),+] })
            }
        }
    };
}

pub(crate) use words;

/// Reports a word that is not among those a key takes.
pub fn unknown_word(node: Node<'_>, text: &str, words: &[&str], diagnostics: &mut Diagnostics) {
    let known = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let problem = diagnostics.push(Code::BadValue, node.place(), format!("`{text}` is not one of {known}"));
    if let Some(near) = crate::policy::diagnostic::suggest(text, words.iter().copied()) {
        problem.help(format!("did you mean `{near}`?"));
    }
}
