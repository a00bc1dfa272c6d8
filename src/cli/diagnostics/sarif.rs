//! Problems as SARIF 2.1.0 (OASIS): what code scanning tools exchange.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use super::Record;
use super::record::Position;
use crate::policy::code::{Code, Severity};

/// A log with one run.
pub(in crate::cli) fn log(records: &[Record<'_>]) -> Value {
    let rules: Vec<Value> = Code::ALL.iter().map(|code| rule(*code)).collect();
    let results: Vec<Value> = records.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "portcullis",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: Code) -> Value {
    let info = code.info();
    json!({
        "id": info.name,
        "shortDescription": { "text": info.name },
        "fullDescription": { "text": info.page },
        "help": { "text": format!("portcullis explain --lint {}", info.name) },
        "defaultConfiguration": { "level": if info.severity == Severity::Warning { "warning" } else { "error" } },
    })
}

fn result(record: &Record<'_>) -> Value {
    let text = match record.help {
        Some(help) => format!("{}; {help}", record.message),
        None => record.message.to_owned(),
    };
    let index = Code::ALL.iter().position(|code| code.info().name == record.code);
    let related: Vec<Value> = record
        .related
        .iter()
        .enumerate()
        .filter_map(|(id, related)| {
            let mut location = location(&related.at)?;
            location["id"] = id.into();
            location["message"] = json!({ "text": related.label });
            Some(location)
        })
        .collect();
    let locations: Vec<Value> = location(&record.at).into_iter().collect();
    json!({
        "ruleId": record.code,
        "ruleIndex": index,
        "level": if record.severity == "warning" { "warning" } else { "error" },
        "message": { "text": text },
        "locations": locations,
        "relatedLocations": related,
    })
}

fn location(at: &Position<'_>) -> Option<Value> {
    let uri = utf8_percent_encode(at.file?, NOT_IN_PATHS).to_string();
    Some(json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri },
            "region": {
                "startLine": at.line,
                "startColumn": at.column,
                "endLine": at.end_line,
                "endColumn": at.end_column,
            },
        },
    }))
}

/// RFC 3986 section 3.3. A colon in the first segment would read as a scheme.
const NOT_IN_PATHS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b':')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
