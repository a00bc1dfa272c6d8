//! The hash of a configuration: over its meaning, not over its spelling.
//!
//! Comments, blank lines and the order of keys do not count; the order of array items does, since
//! it is policy order. Key material does not count either: keys, certificates and revocations
//! change without a new generation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use toml::de::{DeTable, DeValue};

use crate::policy::source::Sources;

/// A hash in the making.
pub(super) struct Digest {
    context: Context,
    /// What the hash does not know yet. A configuration is many short texts, and each costs the hash
    /// more than its bytes do.
    pending: Vec<u8>,
}

/// So many bytes are handed to the hash at once.
const BLOCK: usize = 16 << 10;

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest")
    }
}

impl Digest {
    /// Of nothing.
    pub(super) fn new() -> Digest {
        Digest { context: Context::new(&SHA256), pending: Vec::new() }
    }

    /// Adds the table of a file.
    pub(super) fn table(&mut self, table: &DeTable<'_>) {
        let mut entries: Vec<_> = table.iter().map(|(key, value)| (key.get_ref(), value.get_ref())).collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        self.mark(b'{', entries.len());
        for (key, value) in entries {
            self.text(b'k', key);
            self.value(value);
        }
    }

    fn value(&mut self, value: &DeValue<'_>) {
        match value {
            DeValue::String(text) => self.text(b's', text),
            DeValue::Integer(integer) => {
                let number = i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or_default();
                self.text(b'i', &number.to_string());
            }
            DeValue::Float(float) => self.text(b'f', float.as_str()),
            DeValue::Boolean(value) => self.text(b'b', if *value { "1" } else { "0" }),
            DeValue::Datetime(datetime) => self.text(b'd', &datetime.to_string()),
            DeValue::Array(items) => {
                self.mark(b'[', items.len());
                items.iter().for_each(|item| self.value(item.get_ref()));
            }
            DeValue::Table(table) => self.table(table),
        }
    }

    fn text(&mut self, kind: u8, text: &str) {
        self.mark(kind, text.len());
        self.add(text.as_bytes());
    }

    fn mark(&mut self, kind: u8, length: usize) {
        self.add(&[kind]);
        self.add(&(length as u32).to_le_bytes());
    }

    fn add(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= BLOCK {
            self.context.update(&self.pending);
            self.pending.clear();
        }
    }

    /// Adds the lists that the policy refers to, but not its key material; the first 32 bits of the
    /// whole.
    pub(super) fn finish(&mut self, sources: &Sources, keys: &BTreeSet<String>) -> u32 {
        // From where the configuration is named decides nothing, so lists are told apart as seen from it.
        let main = sources.policy_files().next().map(|(_, main)| Path::new(&main.name));
        let folder = main.and_then(Path::parent).unwrap_or(Path::new(""));
        let lists = sources.lists().filter(|(path, _)| !keys.contains(*path));
        let seen =
            lists.map(|(path, text)| (Path::new(path).strip_prefix(folder).unwrap_or(Path::new(path)), text));
        for (path, text) in seen.collect::<BTreeMap<_, _>>() {
            self.text(b'p', &path.to_string_lossy());
            self.text(b'l', text);
        }
        let mut context = self.context.clone();
        context.update(&self.pending);
        let digest = context.finish();
        digest.as_ref().iter().take(4).fold(0, |hash, byte| hash << 8 | u32::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> u32 {
        let mut digest = Digest::new();
        digest.table(DeTable::parse(text).expect("valid TOML").get_ref());
        digest.finish(&Sources::default(), &BTreeSet::new())
    }

    #[test]
    fn spelling_does_not_count_and_meaning_does() {
        let base = hash("a = 1\nb = [\"x\", \"y\"]\n[c]\nd = true\n");
        assert_eq!(base, hash("# note\nb = ['x', 'y']\na = 0x1\nc.d = true"));
        assert_ne!(base, hash("a = 1\nb = [\"y\", \"x\"]\n[c]\nd = true\n"));
        assert_ne!(base, hash("a = 1\nb = [\"xy\"]\n[c]\nd = true\n"));
    }
}
