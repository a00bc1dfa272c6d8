//! `match`: one operator with its argument, or `all` or `any` of several.
//!
//! The keys are those of the table of operators, so a new operator needs nothing here.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use toml::de::DeValue;

use crate::policy::code::Code;
use crate::policy::decode::{Decode, FilePath, Node, bad_value};
use crate::policy::diagnostic::{At, Diagnostics, Place};
use crate::policy::network::NetItem;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::operators::{ArgumentKind, OperatorKind};

/// What a text must be.
#[derive(Clone, Debug)]
pub enum RawMatch {
    /// One condition.
    One(RawCondition),
    /// All of these.
    All(Vec<RawCondition>),
    /// Any of these.
    Any(Vec<RawCondition>),
}

/// An operator with its argument.
#[derive(Clone, Debug)]
pub struct RawCondition {
    /// Where the argument stands.
    pub place: Place,
    /// The operator.
    pub operator: OperatorKind,
    /// Its argument.
    pub argument: RawArgument,
    /// Whether it must not match.
    pub not: bool,
}

/// The argument of an operator as written.
#[derive(Clone, Debug)]
pub enum RawArgument {
    /// `true`.
    Nothing,
    /// A string.
    Text(String),
    /// An array of strings.
    Words(Vec<String>),
    /// A file of strings.
    File(At<FilePath>),
    /// An integer.
    Number(i64),
    /// Bytes.
    Bytes(ByteSet),
    /// Networks, by address or name.
    Networks(Vec<At<NetItem>>),
}

impl Decode for RawMatch {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let DeValue::Table(table) = node.value() else {
            node.wrong_type("a table such as { regex = '…' }", diagnostics);
            return None;
        };
        let several: Vec<&'static str> =
            ["all", "any"].into_iter().filter(|key| table.contains_key(*key)).collect();
        let [key] = several.as_slice() else {
            if several.len() > 1 {
                both(node.place(), "`all` and `any` stand in one `match`", diagnostics);
                return None;
            }
            return RawCondition::decode(node, diagnostics).map(RawMatch::One);
        };
        let mut reader = node.table("`match`", diagnostics)?;
        let before = diagnostics.len();
        let conditions: Option<Vec<RawCondition>> = reader.required(key, diagnostics);
        let whole = diagnostics.len() == before;
        if table.keys().any(|key| OperatorKind::ALL.iter().any(|kind| kind.info().name == key.get_ref())) {
            both(node.place(), "an operator stands beside `all` or `any`", diagnostics);
            return None;
        }
        let known = reader.finish(diagnostics);
        let conditions = conditions.filter(|_| known)?;
        if conditions.is_empty() && whole {
            bad_value(node, format!("`{key}` is empty"), "", diagnostics);
            return None;
        }
        Some(if *key == "all" { RawMatch::All(conditions) } else { RawMatch::Any(conditions) })
    }

    fn stand_in() -> Option<Self> {
        Some(RawMatch::All(Vec::new()))
    }
}

fn both(place: Place, message: &str, diagnostics: &mut Diagnostics) {
    diagnostics.push(Code::Conflict, place, message).help(
        "use one, with several conditions in it: `all = [{ contains = \"a\" }, { regex = 'b', not = true }]`",
    );
}

impl Decode for RawCondition {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut reader = node.table("`match`", diagnostics)?;
        let before = diagnostics.len();
        let not: Option<bool> = reader.optional("not", diagnostics);
        let not = not.or_else(|| (diagnostics.len() == before).then_some(false));
        let mut found = Vec::new();
        for kind in OperatorKind::ALL {
            if let Some(argument) = reader.get(kind.info().name) {
                found.push((*kind, argument));
            }
        }
        if !reader.finish(diagnostics) {
            return None;
        }
        let [(operator, argument)] = found.as_slice() else {
            match found.len() {
                0 => {
                    let names: Vec<&str> = OperatorKind::ALL.iter().map(|kind| kind.info().name).collect();
                    diagnostics
                        .push(Code::MissingKey, node.place(), "`match` has no operator")
                        .help(format!("the operators are: {}", names.join(", ")));
                }
                _ => both(node.place(), "`match` has several operators", diagnostics),
            }
            return None;
        };
        let place = argument.place();
        let argument = RawArgument::decode(*argument, operator.info().argument, diagnostics)?;
        Some(RawCondition { place, operator: *operator, argument, not: not? })
    }
}

impl RawArgument {
    fn decode(node: Node<'_>, kind: ArgumentKind, diagnostics: &mut Diagnostics) -> Option<RawArgument> {
        match kind {
            ArgumentKind::Nothing => match node.value() {
                DeValue::Boolean(true) => Some(RawArgument::Nothing),
                DeValue::Boolean(false) => {
                    bad_value(
                        node,
                        "this operator takes only `true`",
                        "for the opposite write `not = true` beside it",
                        diagnostics,
                    );
                    None
                }
                _ => {
                    node.wrong_type("true", diagnostics);
                    None
                }
            },
            ArgumentKind::Text => String::decode(node, diagnostics).map(RawArgument::Text),
            ArgumentKind::Words => match node.value() {
                DeValue::Table(_) => {
                    let mut reader = node.table("a word file", diagnostics)?;
                    let file = reader.required("file", diagnostics);
                    let known = reader.finish(diagnostics);
                    file.filter(|_| known).map(RawArgument::File)
                }
                _ => Vec::decode(node, diagnostics).map(RawArgument::Words),
            },
            ArgumentKind::Number => {
                let DeValue::Integer(integer) = node.value() else {
                    node.wrong_type("an integer", diagnostics);
                    return None;
                };
                let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
                if number.is_none() {
                    bad_value(node, format!("`{integer}` is too large"), "", diagnostics);
                }
                number.map(RawArgument::Number)
            }
            ArgumentKind::Bytes => {
                let ranges: Vec<Option<ByteSet>> = node
                    .items("an array of byte ranges", diagnostics)?
                    .map(|item| range(item, diagnostics))
                    .collect();
                let ranges: Option<Vec<ByteSet>> = ranges.into_iter().collect();
                ranges
                    .map(|ranges| RawArgument::Bytes(ranges.into_iter().fold(ByteSet::EMPTY, ByteSet::union)))
            }
            ArgumentKind::Networks => Vec::decode(node, diagnostics).map(RawArgument::Networks),
        }
    }
}

/// A byte or a range of bytes: `"9"`, `"32-126"`.
fn range(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<ByteSet> {
    let text = node.string("a byte range such as \"32-126\"", diagnostics)?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first.trim().parse().ok().zip(last.trim().parse().ok()).filter(|(first, last)| first <= last);
    if range.is_none() {
        let help = "write a byte from 0 to 255, or two with `-` between: \"32-126\"";
        bad_value(node, format!("`{text}` is not a byte range"), help, diagnostics);
    }
    range.map(|(first, last)| ByteSet::range(first, last))
}

// === schema ===

impl JsonSchema for RawMatch {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "WafMatch".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<RawCondition>();
        let several = |key: &str, description: &str| {
            json!({
                "type": "object", "required": [key], "additionalProperties": false,
                "properties": {
                    key: { "type": "array", "items": one, "minItems": 1, "description": description },
                },
            })
        };
        let all = several("all", "The text must be all of these.");
        let any = several("any", "The text must be at least one of these.");
        json_schema!({ "anyOf": [one, all, any] })
    }
}

impl JsonSchema for RawCondition {
    fn schema_name() -> Cow<'static, str> {
        "policy.waf.Condition".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut properties = Map::new();
        for kind in OperatorKind::ALL {
            let info = kind.info();
            let mut schema = match info.argument {
                ArgumentKind::Nothing => json!({ "const": true }),
                ArgumentKind::Text => json!({ "type": "string" }),
                ArgumentKind::Words => json!({ "anyOf": [
                    { "type": "array", "items": { "type": "string" } },
                    { "type": "object", "required": ["file"], "additionalProperties": false,
                      "properties": {
                          "file": { "type": "string", "description": "A file with a word in each line." },
                      } },
                ] }),
                ArgumentKind::Number => json!({ "type": "integer" }),
                ArgumentKind::Bytes | ArgumentKind::Networks => {
                    json!({ "type": "array", "items": { "type": "string" } })
                }
            };
            if let Value::Object(schema) = &mut schema {
                let doc = info.doc.lines().map(str::trim).collect::<Vec<_>>().join(" ");
                schema.insert("description".to_owned(), doc.trim().into());
            }
            properties.insert(info.name.to_owned(), schema);
        }
        properties.insert(
            "not".to_owned(),
            json!({ "type": "boolean", "description": "The text must not match." }),
        );
        json_schema!({
            "type": "object", "properties": properties,
            "minProperties": 1, "maxProperties": 2, "additionalProperties": false,
        })
    }
}
