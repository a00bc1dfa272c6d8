//! What the record and the trace say of a match, and what they must not say.

use super::bytes::legible;
use super::compile::GateRule;
use super::ir::Action;
use super::matcher::Unit;
use super::targets::Collection;
use super::values::{Value, Values};
use crate::decision::WafMatch;

/// Writes entries about matches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorder<'a> {
    /// How many bytes of matched text are kept; 0: none.
    pub(super) data_limit: usize,
    /// Header fields that carry credentials, besides the standard ones.
    pub(super) credentials: &'a [http::HeaderName],
}

impl Recorder<'_> {
    /// The entry of a rule that matched.
    pub(super) fn entry(
        &self,
        rule: &GateRule,
        unit: Option<&Unit>,
        value: &Value,
        values: &Values,
        shadow: bool,
    ) -> WafMatch {
        WafMatch {
            rule: rule.written.into(),
            target: values.show(value),
            score: match rule.action {
                Action::Score(score) => score,
                Action::Deny | Action::Log | Action::Pass => 0,
            },
            shadow,
            data: unit.map_or_else(String::new, |unit| self.data(unit, value, values)),
            msg: rule.msg.to_string(),
        }
    }

    /// The part of the text that matched, escaped and cut.
    fn data(&self, unit: &Unit, value: &Value, values: &Values) -> String {
        if self.data_limit == 0 || self.is_secret(value, values) {
            return String::new();
        }
        let text = unit.transform(values.text(value));
        let part = text.get(unit.test.find(&text)).unwrap_or(&text);
        legible(part.get(..self.data_limit).unwrap_or(part))
    }

    /// The text and what each transformation makes of it, for the trace.
    pub(super) fn steps(&self, unit: &Unit, value: &Value, values: &Values) -> String {
        let shown = values.show(value);
        if self.is_secret(value, values) {
            return format!("matches {shown} (not shown: it may be a secret)");
        }
        let mut text = values.text(value).to_vec();
        let mut note = format!("matches {shown}: {}", quoted(&text));
        for transform in &unit.transforms {
            if let Some(changed) = transform.apply(&text) {
                note.push_str(&format!(" → {} → {}", transform.info().name, quoted(&changed)));
                text = changed;
            }
        }
        note
    }

    /// Whether a text may be a credential: cookies, the fields that carry credentials, and members
    /// whose names say so.
    pub(super) fn is_secret(&self, value: &Value, values: &Values) -> bool {
        let name = values.name(value).to_ascii_lowercase();
        match value.kind.collection() {
            Collection::Cookie => true,
            Collection::Header => {
                STANDARD_CREDENTIALS.contains(&&*name)
                    || self.credentials.iter().any(|field| field.as_str().as_bytes() == name)
                    || sounds_secret(&name)
            }
            Collection::Query | Collection::Form | Collection::Json | Collection::Xml => sounds_secret(&name),
            // These hold members as well, whatever they are called.
            Collection::Line
            | Collection::Body
            | Collection::RequestLine
            | Collection::Uri
            | Collection::UriRaw
            | Collection::QueryString => sounds_secret(&values.text(value).to_ascii_lowercase()),
            Collection::Method
            | Collection::Path
            | Collection::Client
            | Collection::File
            | Collection::Basename
            | Collection::Protocol
            | Collection::PartHeader
            | Collection::ResponseHeader
            | Collection::ResponseBody => false,
        }
    }
}

/// Fields that carry credentials whatever the policy says.
const STANDARD_CREDENTIALS: [&[u8]; 3] = [b"authorization", b"proxy-authorization", b"cookie"];

fn sounds_secret(name: &[u8]) -> bool {
    const WORDS: [&[u8]; 8] =
        [b"passw", b"passphrase", b"pwd", b"secret", b"token", b"apikey", b"api-key", b"api_key"];
    WORDS.iter().any(|word| memchr::memmem::find(name, word).is_some())
}

/// A text for people: escaped, cut, between backticks.
fn quoted(text: &[u8]) -> String {
    match text.get(..MAX_QUOTED) {
        Some(cut) => format!("`{}…`", legible(cut)),
        None => format!("`{}`", legible(text)),
    }
}

const MAX_QUOTED: usize = 120;
