//! A fingerprint of what a value of a policy says, however it is spelled.

use aws_lc_rs::digest::{SHA256, digest};
use toml::{Table, Value};

/// Equal for equal meanings, and for no others that anybody will meet: half of a SHA-256.
pub type Fingerprint = u128;

/// The table of a rule, spelled in one way: `path` is `paths` with one entry, the order of what is
/// ORed does not count, `mode = "enforce"` is said by silence, and the words for people are left out.
pub(super) fn plain(table: &Table) -> Table {
    let mut plain = Table::new();
    for (key, value) in table {
        let key = match key.as_str() {
            "reason" | "remediation" | "contact" | "public_id" => continue,
            "mode" if value.as_str() == Some("enforce") => continue,
            "path" => "paths",
            "host" => "hosts",
            key => key,
        };
        let value = if SETS.contains(&key) {
            let mut items = match plain.remove(key) {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            };
            match value {
                Value::Array(more) => items.extend(more.iter().cloned()),
                one => items.push(one.clone()),
            }
            items.sort_by_cached_key(ToString::to_string);
            items.dedup();
            Value::Array(items)
        } else {
            value.clone()
        };
        plain.insert(key.to_owned(), value);
    }
    plain
}

/// Keys whose entries are ORed, so that their order says nothing.
const SETS: &[&str] = &[
    "paths",
    "hosts",
    "methods",
    "routes",
    "roles",
    "subjects",
    "scopes",
    "except_roles",
    "allow",
    "deny",
    "except",
    "rules",
    "tags",
];

/// A value in a form in which no two differ that mean the same.
pub(super) fn encode(value: &Value, out: &mut Vec<u8>) {
    let mut text = |kind: u8, text: &str| put(kind, text, out);
    match value {
        Value::String(value) => text(b's', value),
        Value::Integer(value) => text(b'i', &value.to_string()),
        Value::Float(value) => text(b'f', &value.to_string()),
        Value::Boolean(value) => text(b'b', if *value { "1" } else { "0" }),
        Value::Datetime(value) => text(b'd', &value.to_string()),
        Value::Array(items) => {
            text(b'[', &items.len().to_string());
            items.iter().for_each(|item| encode(item, out));
        }
        Value::Table(table) => {
            text(b'{', &table.len().to_string());
            let mut sorted: Vec<_> = table.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in sorted {
                string(key, out);
                encode(value, out);
            }
        }
    }
}

/// A string in that form.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    put(b's', text, out);
}

fn put(kind: u8, text: &str, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend((text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The fingerprint of a value.
pub(super) fn of(value: &Value) -> Fingerprint {
    let mut bytes = Vec::new();
    encode(value, &mut bytes);
    fingerprint(&bytes)
}

/// The fingerprint of bytes.
pub(super) fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().iter().take(16).fold(0, |print, byte| print << 8 | Fingerprint::from(*byte))
}
