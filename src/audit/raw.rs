//! `[log]` as written.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use crate::policy::decode::{Decode, FilePath, Node, ProcessPath, Size, Span, bad_value, table, words};
use crate::policy::diagnostic::{At, Diagnostics};
use crate::policy::scope::PathPattern;

words! {
    /// What happens when the sink takes no records.
    pub enum OnErrorWord {
        /// No request is passed to an upstream until it does.
        Block = "block",
        /// Requests go on, and lost records are counted.
        Drop = "drop",
    }
}

words! {
    /// How subjects are recorded.
    pub enum SubjectWord {
        /// As they are.
        Plain = "plain",
        /// As a keyed hash: the same subject has the same hash, and nobody can guess it.
        Hash = "hash",
        /// Not at all.
        None = "none",
    }
}

table! {
    /// A file as sink.
    pub struct RawFileSink as "a file sink" {
        /// The file, relative to the file that names it. A pipe or device is written to as it is.
        req file: At<ProcessPath>,
        /// The size at which the file is put aside and a new one begun; `"none"`: never.
        opt rotate: At<RotateAt>,
        /// How many files that were put aside are kept.
        opt keep: At<u32>,
    }
}

table! {
    /// `[[log.redact]]`: path segments that are not recorded.
    pub struct RawRedact as "[[log.redact]]" {
        /// The segments that match a name are replaced by it: `/reset/{token}`.
        req path: At<PathPattern>,
    }
}

table! {
    /// `[log]`: the decision log. What the process says about itself goes to stderr.
    pub struct RawLog as "[log]" {
        /// Where records go: `"stdout"` (default), `"none"`, or a file.
        opt sink: At<RawSink>,
        /// The share of allowed requests that is recorded, 0 to 1; refusals always are.
        opt sample: At<f64>,
        /// What happens when the sink takes no records: `block` (default) or `drop`.
        opt on_error: OnErrorWord,
        /// `group` (default): a record is handed over before its answer is sent. A duration such as `100ms`: in batches.
        opt flush: At<RawFlush>,
        /// Request headers that are recorded.
        opt headers: Vec<At<String>>,
        /// How subjects are recorded.
        opt subject: SubjectWord,
        /// A file with the key of the hashes, so that they stay the same when the process starts anew and
        /// on other machines; at least 16 bytes. Unless given, every start has a key of its own.
        opt hash_key_file: At<FilePath>,
        /// How addresses are recorded: `plain` (default), `hash`, or cut to prefixes such as `/24,/48`.
        opt client: At<ClientPrivacy>,
        /// How many bytes of what a WAF rule matched are kept.
        opt waf_data: At<u32>,
        /// Path segments that are not recorded.
        list redact: RawRedact,
    }
}

/// Where records go.
#[derive(Clone, Debug)]
pub enum RawSink {
    /// Standard output.
    Stdout,
    /// Nowhere.
    None,
    /// A file.
    File(Box<RawFileSink>),
}

/// A size, or `"none"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotateAt(pub Option<u64>);

/// When records are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawFlush {
    /// Before the answer is sent, together with all others that are ready.
    Group,
    /// At the latest after this time.
    After(Span),
}

/// How addresses are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientPrivacy {
    /// As they are.
    #[default]
    Plain,
    /// Cut to these prefix lengths.
    Prefix {
        /// Of IPv4 addresses.
        v4: u8,
        /// Of IPv6 addresses.
        v6: u8,
    },
    /// As a keyed hash.
    Hash,
}

impl Decode for RawSink {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        if let DeValue::Table(_) = node.value() {
            return RawFileSink::decode(node, diagnostics).map(|file| RawSink::File(Box::new(file)));
        }
        match node.string("\"stdout\", \"none\" or a table with `file`", diagnostics)? {
            "stdout" => Some(RawSink::Stdout),
            "none" => Some(RawSink::None),
            other => {
                let help = "write \"stdout\", \"none\" or { file = \"decisions.jsonl\" }";
                bad_value(node, format!("`{other}` is not a sink"), help, diagnostics);
                None
            }
        }
    }
}

impl Decode for RotateAt {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.string("a size or \"none\"", diagnostics)? {
            "none" => Some(RotateAt(None)),
            _ => Size::decode(node, diagnostics).map(|size| RotateAt(Some(size.0))),
        }
    }
}

impl Decode for RawFlush {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.string("\"group\" or a duration", diagnostics)? {
            "group" => Some(RawFlush::Group),
            _ => Span::decode(node, diagnostics).map(RawFlush::After),
        }
    }
}

impl Decode for ClientPrivacy {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("\"plain\", \"hash\" or prefix lengths", diagnostics)?;
        let parsed = match text {
            "plain" => Some(ClientPrivacy::Plain),
            "hash" => Some(ClientPrivacy::Hash),
            _ => prefixes(text),
        };
        if parsed.is_none() {
            let help = "write \"plain\", \"hash\", or the lengths for IPv4 and IPv6: \"/24,/48\"";
            bad_value(node, format!("`{text}` does not say how to record addresses"), help, diagnostics);
        }
        parsed
    }
}

/// `/24,/48`
fn prefixes(text: &str) -> Option<ClientPrivacy> {
    let (v4, v6) = text.split_once(',')?;
    let length = |text: &str, most: u8| {
        let digits = text.trim().strip_prefix('/')?;
        let length: u8 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
        (length <= most).then_some(length)
    };
    Some(ClientPrivacy::Prefix { v4: length(v4, 32)?, v6: length(v6, 128)? })
}

impl JsonSchema for RawSink {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Sink".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let file = generator.subschema_for::<RawFileSink>();
        json_schema!({ "anyOf": [{ "type": "string", "enum": ["stdout", "none"] }, file] })
    }
}

impl JsonSchema for RotateAt {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RotateAt".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["none", "100MiB"] })
    }
}

impl JsonSchema for RawFlush {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Flush".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["group", "100ms"] })
    }
}

impl JsonSchema for ClientPrivacy {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ClientPrivacy".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["plain", "/24,/48", "hash"] })
    }
}
