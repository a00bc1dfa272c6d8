//! Texts with macros, put together; and the values that the engine itself knows.

use super::fill;
use super::parts::{Text, TextPiece};
use super::state::{Held, MatchedText, Name, Slots, Transaction};
use crate::facts::Facts;

/// What macros may stand for.
pub(super) struct Scene<'a, 'f> {
    pub(super) transaction: &'a Transaction,
    pub(super) slots: &'a Slots,
    pub(super) facts: Option<&'a Facts<'f>>,
    /// What the texts that rules matched become: as they are for rules, hidden or cut for records.
    pub(super) shown: Shown,
}

/// How much of matched texts is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// All, to rules.
    Whole,
    /// So many bytes, and none of what may be a secret, to records.
    Record(usize),
}

impl Scene<'_, '_> {
    pub(super) fn text(&self, text: &Text) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &text.0 {
            match piece {
                TextPiece::Fixed(text) => out.extend_from_slice(text),
                TextPiece::Slot(slot) => {
                    let held = self.transaction.read(*slot);
                    match (self.shown, held) {
                        (Shown::Record(limit), Held::Text(text)) => {
                            let secret = self.last().is_some_and(|matched| matched.secret);
                            self.show(text, secret, limit, &mut out);
                        }
                        _ => held.append_to(&mut out),
                    }
                }
                TextPiece::LastMatched => {
                    if let Some(matched) = self.last() {
                        match self.shown {
                            Shown::Whole => out.extend_from_slice(&matched.text),
                            Shown::Record(limit) => self.show(&matched.text, matched.secret, limit, &mut out),
                        }
                    }
                }
                TextPiece::LastMatchedName => {
                    if let Some(matched) = self.last() {
                        self.name(matched.name, &mut out);
                    }
                }
                TextPiece::Scalar(name) => scalar(name, self.transaction, self.facts, &mut out),
                TextPiece::Texts(views) => {
                    let values = &self.transaction.values;
                    let all = (0..values.len()).filter_map(|at| values.get(at));
                    let mut seen = all.filter(|value| views.iter().any(|view| view.sees(value, values)));
                    if let Some(value) = seen.next() {
                        match self.shown {
                            Shown::Whole => out.extend_from_slice(values.text(value)),
                            Shown::Record(limit) => self.show(values.text(value), false, limit, &mut out),
                        }
                    }
                }
            }
        }
        out
    }

    /// The number that a text stands for, without putting it together where it is a variable.
    pub(super) fn number(&self, text: &Text) -> i64 {
        match text.0.as_slice() {
            [TextPiece::Slot(slot)] => self.transaction.read(*slot).number(),
            _ => super::state::number(&self.text(text)),
        }
    }

    /// Appends what a matched text is called.
    pub(super) fn name(&self, name: Name, out: &mut Vec<u8>) {
        let shown = |full: &str, out: &mut Vec<u8>| match full.split_once('.') {
            Some((collection, name)) => {
                out.extend(collection.bytes().map(|byte| byte.to_ascii_uppercase()));
                out.push(b':');
                out.extend_from_slice(name.as_bytes());
            }
            None => out.extend_from_slice(full.as_bytes()),
        };
        match name {
            Name::None => {}
            Name::Value(at) => {
                let values = &self.transaction.values;
                if let Some(value) = values.get(at) {
                    out.extend_from_slice(&fill::name(value, values));
                }
            }
            Name::Slot(slot) => {
                if let Some(full) = self.slots.names.get(slot) {
                    shown(full, out);
                }
            }
            Name::Named(at) => {
                if let Some((full, _)) = self.transaction.named.get(at) {
                    shown(full, out);
                }
            }
            Name::Scalar(name) => out.extend_from_slice(name.as_bytes()),
        }
    }

    fn last(&self) -> Option<&MatchedText> {
        self.transaction.matched.last()
    }

    fn show(&self, text: &[u8], secret: bool, limit: usize, out: &mut Vec<u8>) {
        match (secret, limit) {
            (_, 0) => out.extend_from_slice("…".as_bytes()),
            (true, _) => out.extend_from_slice(b"(not shown)"),
            (false, limit) => out.extend_from_slice(text.get(..limit).unwrap_or(text)),
        }
    }
}

/// Appends a value that the engine itself knows.
pub(super) fn scalar(name: &str, transaction: &Transaction, facts: Option<&Facts<'_>>, out: &mut Vec<u8>) {
    let body = &transaction.body;
    let flag = |set: bool| i64::from(set);
    let parts = &body.parts;
    let number = match name {
        "ARGS_COMBINED_SIZE" => body.args_size as i64,
        "DURATION" => 0,
        "FILES_COMBINED_SIZE" => body.files_size as i64,
        "INBOUND_DATA_ERROR" | "OUTBOUND_DATA_ERROR" => 0,
        "MULTIPART_BOUNDARY_QUOTED" => flag(parts.boundary_quoted),
        "MULTIPART_BOUNDARY_WHITESPACE" => flag(parts.boundary_whitespace),
        "MULTIPART_DATA_AFTER" => flag(parts.data_after),
        "MULTIPART_DATA_BEFORE" => flag(parts.data_before),
        "MULTIPART_FILE_LIMIT_EXCEEDED" => 0,
        "MULTIPART_HEADER_FOLDING" => flag(parts.folding),
        "MULTIPART_INVALID_HEADER_FOLDING" => flag(parts.invalid_folding),
        "MULTIPART_INVALID_PART" => flag(parts.invalid_part),
        "MULTIPART_INVALID_QUOTING" => flag(parts.invalid_quoting),
        "MULTIPART_LF_LINE" => flag(parts.lf_line),
        "MULTIPART_MISSING_SEMICOLON" => flag(parts.missing_semicolon),
        "MULTIPART_STRICT_ERROR" => flag(parts.strict_error()),
        "MULTIPART_UNMATCHED_BOUNDARY" => flag(parts.unmatched_boundary),
        "REQBODY_ERROR" | "REQBODY_PROCESSOR_ERROR" => flag(body.error.is_some()),
        "REQUEST_BODY_LENGTH" => body.length as i64,
        "RESPONSE_CONTENT_LENGTH" => transaction.response.length as i64,
        "RESPONSE_STATUS" => i64::from(transaction.response.status),
        "TIME_EPOCH" => facts.map_or(0, |facts| facts.now.as_second()),
        "SERVER_PORT" => facts.map_or(0, |facts| i64::from(facts.target.scheme.default_port())),
        "REMOTE_PORT" => 0,
        "REQBODY_ERROR_MSG" | "REQBODY_PROCESSOR_ERROR_MSG" => {
            out.extend_from_slice(body.error.unwrap_or_default().as_bytes());
            return;
        }
        "REQBODY_PROCESSOR" => {
            out.extend_from_slice(body.processor.map_or("", super::body::Processor::name).as_bytes());
            return;
        }
        "RESPONSE_CONTENT_TYPE" => {
            out.extend_from_slice(&transaction.response.content_type);
            return;
        }
        "SERVER_NAME" => {
            out.extend_from_slice(facts.map_or("", |facts| facts.target.host()).as_bytes());
            return;
        }
        "RESPONSE_PROTOCOL" => {
            out.extend_from_slice(b"HTTP/1.1");
            return;
        }
        "UNIQUE_ID" => {
            // Only known to be different for different requests; samples are drawn from it.
            if let Some(facts) = facts {
                out.extend_from_slice(facts.now.as_nanosecond().to_string().as_bytes());
            }
            return;
        }
        _ => return,
    };
    out.extend_from_slice(number.to_string().as_bytes());
}
