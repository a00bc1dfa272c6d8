//! A fingerprint of what a value of a policy says, however it is spelled.

use std::borrow::Cow;
use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use smallvec::SmallVec;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Equal for equal meanings, and for no others that anybody will meet: half of a SHA-256.
pub type Fingerprint = u128;

/// The table of a rule, spelled in one way: `path` is `paths` with one entry, the order of what is
/// ORed does not count, `mode = "enforce"` is said by silence, and the words for people are left out.
pub(super) fn encode_plain(table: &DeTable<'_>, out: &mut Vec<u8>) {
    let mut plain: SmallVec<[(&str, Plain<'_>); 12]> = SmallVec::new();
    for (key, value) in table {
        let key = match &**key.get_ref() {
            key if WORDS.contains(&key) => continue,
            "mode" if value.get_ref().as_str() == Some("enforce") => continue,
            "path" => "paths",
            "host" => "hosts",
            key => key,
        };
        if !is_set(key) {
            plain.push((key, Plain::One(value.get_ref())));
            continue;
        }
        let more = several(value);
        match plain.iter_mut().find(|(known, _)| *known == key) {
            Some((_, Plain::Set(items))) => items.extend(more),
            _ => plain.push((key, Plain::Set(more.collect()))),
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
    One(&'t DeValue<'t>),
    /// Whose order does not count.
    Set(SmallVec<[&'t DeValue<'t>; 4]>),
}

/// The items of a list, or the one value that stands for a list of it.
pub(super) fn several<'t>(value: &'t Spanned<DeValue<'t>>) -> impl Iterator<Item = &'t DeValue<'t>> {
    let items = match value.get_ref() {
        DeValue::Array(items) => &**items,
        _ => std::slice::from_ref(value),
    };
    items.iter().map(Spanned::get_ref)
}

fn encode_set(items: &[&DeValue<'_>], out: &mut Vec<u8>) {
    if let [one] = items {
        count(b'[', 1, out);
        return encode(one, out);
    }
    let encoded = |item: &&DeValue<'_>| {
        let mut bytes = Vec::new();
        encode(item, &mut bytes);
        bytes
    };
    let items: BTreeSet<Vec<u8>> = items.iter().map(encoded).collect();
    count(b'[', items.len(), out);
    items.iter().for_each(|item| out.extend_from_slice(item));
}

/// Keys with words for people, which say nothing about what a rule does.
pub(super) const WORDS: &[&str] = &["reason", "remediation", "contact", "public_id"];

/// Whether the entries under a key are ORed, so that their order says nothing.
pub(super) fn is_set(key: &str) -> bool {
    SETS.contains(&key)
}

/// Such keys.
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
pub(super) fn encode(value: &DeValue<'_>, out: &mut Vec<u8>) {
    let mut text = |kind: u8, text: &str| put(kind, text, out);
    match value {
        DeValue::String(value) => text(b's', value),
        DeValue::Integer(value) => match i64::from_str_radix(value.as_str(), value.radix()) {
            Ok(number) => text(b'i', &number.to_string()),
            Err(_) => text(b'i', value.as_str()),
        },
        DeValue::Float(value) => match value.as_str().parse::<f64>() {
            Ok(number) => text(b'f', &number.to_string()),
            Err(_) => text(b'f', value.as_str()),
        },
        DeValue::Boolean(value) => text(b'b', if *value { "1" } else { "0" }),
        DeValue::Datetime(value) => text(b'd', &value.to_string()),
        DeValue::Array(items) => {
            count(b'[', items.len(), out);
            items.iter().for_each(|item| encode(item.get_ref(), out));
        }
        DeValue::Table(table) => encode_table(table.iter().map(entry), out),
    }
}

/// A table of these entries.
pub(super) fn encode_table<'t>(entries: impl Iterator<Item = (&'t str, &'t DeValue<'t>)>, out: &mut Vec<u8>) {
    let mut sorted: SmallVec<[_; 8]> = entries.collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    count(b'{', sorted.len(), out);
    for (key, value) in sorted {
        string(key, out);
        encode(value, out);
    }
}

/// An entry of a table, without its places.
pub(super) fn entry<'t>(
    (key, value): (&'t Spanned<Cow<'_, str>>, &'t Spanned<DeValue<'t>>),
) -> (&'t str, &'t DeValue<'t>) {
    (key.get_ref(), value.get_ref())
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
pub(super) fn of(value: &DeValue<'_>) -> Fingerprint {
    let mut bytes = Vec::new();
    encode(value, &mut bytes);
    fingerprint(&bytes)
}

/// The fingerprint of a list of texts.
pub(super) fn of_texts<'t>(texts: impl ExactSizeIterator<Item = &'t str>) -> Fingerprint {
    let mut bytes = Vec::new();
    count(b'[', texts.len(), &mut bytes);
    texts.for_each(|text| string(text, &mut bytes));
    fingerprint(&bytes)
}

/// The fingerprint of a table as [`encode_plain`] spells it.
pub(super) fn of_plain(table: &DeTable<'_>) -> Fingerprint {
    let mut bytes = Vec::new();
    encode_plain(table, &mut bytes);
    fingerprint(&bytes)
}

/// The fingerprint of bytes.
pub(super) fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().iter().take(16).fold(0, |print, byte| print << 8 | Fingerprint::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(value: &str) -> Fingerprint {
        let text = format!("v = {value}");
        let table = DeTable::parse(&text).expect("valid TOML");
        of(&DeValue::Table(table.into_inner()))
    }

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        for (one, other) in [("16", "0x10"), ("1000", "1_000"), ("1.5", "1.50"), ("1e3", "1000.0")] {
            assert_eq!(print(one), print(other), "{one} {other}");
        }
        for (one, other) in [("16", "17"), ("1", "1.0"), ("1", "\"1\""), ("[1, 2]", "[2, 1]"), ("true", "1")]
        {
            assert_ne!(print(one), print(other), "{one} {other}");
        }
    }
}
