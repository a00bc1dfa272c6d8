//! Problem details for HTTP APIs (RFC 9457), with members of our own.
//!
//! Refusals are answered at the rate at which attackers send requests, so the members are written by
//! hand: most of them are words of ours that need no escaping. The document stands on one line, since
//! most readers are programs, and an answer that fits in few bytes can be sent in one piece.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use serde::Serialize;
use serde::ser::Serializer;

use super::shape::{NearestShape, ShadowShape, WafShape};
use super::view::{FullView, RuleView, View};
use super::words::Sentence;
use crate::decision::Change;

/// The body of a refusal.
pub(super) fn render(view: &View<'_>) -> Bytes {
    let mut body = Members(Vec::with_capacity(if view.full.is_some() { 2048 } else { 896 }));
    let mut id = [0; uuid::fmt::Urn::LENGTH];
    match &view.rule {
        Some(rule) => body.words(key!("type"), &["urn:portcullis:reason:", rule.reason.info().code]),
        // RFC 9457 section 4.2.1: no more to say than the status does.
        None => body.word(key!("type"), "about:blank"),
    }
    body.word(key!("title"), view.title);
    body.plain(key!("status"), view.status.as_str());
    body.sentence(key!("detail"), &view.detail());
    body.word(key!("instance"), view.decision_id.urn().encode_lower(&mut id));
    body.word(key!("decision"), view.decision);
    body.word(key!("stage"), view.stage.name());
    if let Some(rule) = &view.rule {
        rule_members(view, rule, &mut body);
    }
    if let Some(full) = &view.full {
        full_members(full, &mut body);
    }
    body.end()
}

fn rule_members(view: &View<'_>, rule: &RuleView<'_>, body: &mut Members) {
    body.word(key!("rule"), rule.rule);
    body.word(key!("reason"), rule.reason.info().code);
    body.word(key!("policy"), rule.policy.as_str());
    body.plain(key!("temporary"), if rule.temporary { "true" } else { "false" });
    if let Some(seconds) = rule.retry_after {
        body.value(key!("retry_after"), &seconds);
    }
    if let Some(needs) = &rule.needs {
        body.key(key!("needs"));
        body.push("{\"");
        body.push(needs.kind());
        body.push("\":");
        body.list(needs.names(), Members::string);
        body.push("}");
    }
    let hints = view.hints();
    if !hints.is_empty() {
        body.key(key!("hints"));
        body.list(hints.iter(), Members::quoted);
    }
    if let Some(contact) = rule.contact {
        body.key(key!("contact"));
        body.string(contact);
    }
}

fn full_members(full: &FullView<'_>, body: &mut Members) {
    let FullView { policy, identity, nearest, client, notes, .. } = *full;
    if !nearest.is_empty() {
        body.value(key!("nearest"), &NearestShape { policy, identity, nearest });
    }
    body.value(key!("rule_at"), &full.rule_at);
    body.value(key!("rule_changed"), &full.change.map(|change| change.at));
    body.value(key!("changed_in"), &full.change.map(ChangedIn));
    body.value(key!("client"), &ClientMember { ip: client.ip, peer: client.peer, via: client.via() });
    let waf = WafShape { policy, notes: &notes.waf, body: false };
    if !waf.is_empty() {
        body.value(key!("waf"), &waf);
    }
    let shadow = ShadowShape { policy, hits: &notes.shadow };
    if !shadow.is_empty() {
        body.value(key!("shadow"), &shadow);
    }
}

#[derive(Serialize)]
struct ClientMember {
    ip: IpAddr,
    peer: IpAddr,
    via: &'static str,
}

/// `6-0badcafe→7-3f9a2c1d`
pub(super) struct ChangedIn(pub Change);

impl fmt::Display for ChangedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}→{}", self.0.from, self.0.to)
    }
}

impl Serialize for ChangedIn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === writing ===

/// The key of a member with what stands round it.
macro_rules! key {
    ($name:literal) => {
        concat!("\"", $name, "\":")
    };
}
use key;

/// The members of an object. Keys are made by [`key!`].
struct Members(Vec<u8>);

impl Members {
    fn key(&mut self, key: &'static str) {
        // The first member has no comma before it.
        self.push(if self.0.is_empty() { "{" } else { "," });
        self.push(key);
    }

    fn push(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// A number or a truth value.
    fn plain(&mut self, key: &'static str, value: &str) {
        self.key(key);
        self.push(value);
    }

    /// A string of characters that stand for themselves: words of ours, names of the policy.
    fn word(&mut self, key: &'static str, value: &str) {
        self.words(key, &[value]);
    }

    fn words(&mut self, key: &'static str, values: &[&str]) {
        self.key(key);
        self.push("\"");
        for value in values {
            debug_assert!(is_plain(value));
            self.push(value);
        }
        self.push("\"");
    }

    fn sentence(&mut self, key: &'static str, sentence: &impl Sentence) {
        self.key(key);
        self.quoted(sentence);
    }

    fn quoted(&mut self, sentence: &impl Sentence) {
        self.push("\"");
        sentence.parts(&mut |part| escaped(&mut self.0, part));
        self.push("\"");
    }

    /// A string that somebody else wrote.
    fn string(&mut self, text: &str) {
        push_json_string(&mut self.0, text);
    }

    fn list<T>(&mut self, items: impl Iterator<Item = T>, write: impl Fn(&mut Self, T)) {
        self.push("[");
        for (index, item) in items.enumerate() {
            self.push(if index == 0 { "" } else { "," });
            write(self, item);
        }
        self.push("]");
    }

    /// Anything else.
    fn value(&mut self, key: &'static str, value: &impl Serialize) {
        self.key(key);
        // Writing into a vector does not fail, and all keys of our objects are strings.
        let _ = serde_json::to_writer(&mut self.0, value);
    }

    fn end(mut self) -> Bytes {
        self.push("}\n");
        self.0.into()
    }
}

/// Appends a text as a JSON string.
pub(crate) fn push_json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        return out.extend_from_slice(text.as_bytes());
    }
    let start = out.len();
    // Writing into a vector does not fail. The quotation marks are the caller's.
    let _ = serde_json::to_writer(&mut *out, text);
    out.remove(start);
    out.pop();
}

/// Whether all characters stand for themselves in a JSON string. Looks at eight of them at a time: a
/// record has a dozen short strings.
fn is_plain(text: &str) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Some byte is less than `least` (at most 128), whichever; the lowest that gets its high bit is one.
    let below = |word: u64, least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word & (ONES << 7) != 0;
    let special = |word: u64| {
        below(word, b' ')
            || below(word ^ (ONES * u64::from(b'"')), 1)
            || below(word ^ (ONES * u64::from(b'\\')), 1)
    };
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let rest = rest.iter().fold(ONES * u64::from(b' '), |word, byte| word << 8 | u64::from(*byte));
    !words.iter().any(|word| special(u64::from_le_bytes(*word))) && !special(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_plain_unless_a_character_needs_escaping() {
        for length in 1..=17 {
            for at in 0..length {
                for c in (0..=0x2ff_u32).filter_map(char::from_u32) {
                    let mut text: String = "a".repeat(at);
                    text.push(c);
                    text.push_str(&"~".repeat(length - at - 1));
                    let want = c >= ' ' && c != '"' && c != '\\';
                    assert_eq!(is_plain(&text), want, "{text:?}");
                    let mut out = Vec::new();
                    push_json_string(&mut out, &text);
                    assert_eq!(out, serde_json::to_vec(&text).expect("a string"), "{text:?}");
                }
            }
        }
        assert!(is_plain(""));
    }
}
