//! A fingerprint of what a value of a policy says, however it is spelled.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use smallvec::SmallVec;
use toml::{Table, Value};

/// Equal for equal meanings, and for no others that anybody will meet: half of a SHA-256.
pub type Fingerprint = u128;

/// The table of a rule, spelled in one way: `path` is `paths` with one entry, the order of what is
/// ORed does not count, `mode = "enforce"` is said by silence, and the words for people are left out.
pub(super) fn encode_plain(table: &Table, out: &mut Vec<u8>) {
    let mut plain: SmallVec<[(&str, Plain<'_>); 12]> = SmallVec::new();
    for (key, value) in table {
        let key = match key.as_str() {
            "reason" | "remediation" | "contact" | "public_id" => continue,
            "mode" if value.as_str() == Some("enforce") => continue,
            "path" => "paths",
            "host" => "hosts",
            key => key,
        };
        if !SETS.contains(&key) {
            plain.push((key, Plain::One(value)));
            continue;
        }
        let more = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        match plain.iter_mut().find(|(known, _)| *known == key) {
            Some((_, Plain::Set(items))) => items.extend(more),
            _ => plain.push((key, Plain::Set(more.iter().collect()))),
        }
    }
    plain.sort_unstable_by_key(|(key, _)| *key);
    count(b'{', plain.len(), out);
    for (key, value) in &plain {
        string(key, out);
        match value {
            Plain::One(value) => encode(value, out),
            Plain::Set(items) => encode_set(items, out),
        }
    }
}

/// A value of such a table.
enum Plain<'t> {
    One(&'t Value),
    /// Whose order does not count.
    Set(SmallVec<[&'t Value; 4]>),
}

fn encode_set(items: &[&Value], out: &mut Vec<u8>) {
    if let [one] = items {
        count(b'[', 1, out);
        return encode(one, out);
    }
    let encoded = |item: &&Value| {
        let mut bytes = Vec::new();
        encode(item, &mut bytes);
        bytes
    };
    let items: BTreeSet<Vec<u8>> = items.iter().map(encoded).collect();
    count(b'[', items.len(), out);
    items.iter().for_each(|item| out.extend_from_slice(item));
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
            count(b'[', items.len(), out);
            items.iter().for_each(|item| encode(item, out));
        }
        Value::Table(table) => {
            count(b'{', table.len(), out);
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
    count(kind, text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

fn count(kind: u8, count: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&(count as u64).to_le_bytes());
}

/// The fingerprint of a value.
pub(super) fn of(value: &Value) -> Fingerprint {
    let mut bytes = Vec::new();
    encode(value, &mut bytes);
    fingerprint(&bytes)
}

/// The fingerprint of a table as [`encode_plain`] spells it.
pub(super) fn of_plain(table: &Table) -> Fingerprint {
    let mut bytes = Vec::new();
    encode_plain(table, &mut bytes);
    fingerprint(&bytes)
}

/// The fingerprint of bytes.
pub(super) fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().iter().take(16).fold(0, |print, byte| print << 8 | Fingerprint::from(*byte))
}
