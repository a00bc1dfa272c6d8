//! The member `facts` of a record: what conditions looked at, and the header fields that are kept.

use serde_json::Value;

use super::{Line, Named, NamedValue, Recorder};
use crate::audit::settings::is_credential;
use crate::facts::Facts;

impl Recorder {
    /// Whether a claim says the subject within, and the record is not to.
    fn hides_subject(&self, facts: &Facts<'_>, value: &Value) -> bool {
        fn holds(value: &Value, subject: &str) -> bool {
            match value {
                Value::String(text) => text == subject,
                Value::Array(items) => items.iter().any(|item| holds(item, subject)),
                Value::Object(members) => members.values().any(|item| holds(item, subject)),
                Value::Null | Value::Bool(_) | Value::Number(_) => false,
            }
        }
        facts.identity.who().map(|who| &*who.holder.subject).is_some_and(|subject| {
            self.privacy.subject(subject).as_deref() != Some(subject) && holds(value, subject)
        })
    }

    /// What conditions looked at, and the headers of `log.headers`.
    pub(super) fn values(&self, facts: &Facts<'_>, named: &[Named<'_>], line: &mut Line) {
        let mut separator = ",\"facts\":{";
        let mut member = |line: &mut Line, name: &str| {
            line.push(std::mem::replace(&mut separator, ","));
            line.string(name);
            line.push(":");
        };
        for Named { name, value } in named {
            // A condition may look at a credential; the record does not repeat it.
            let own = name.split_once('.').map_or(*name, |(_, own)| own);
            if is_credential(own) || self.credentials.iter().any(|header| header == own) {
                continue;
            }
            let text = match value {
                NamedValue::Text(text) => Some(*text),
                NamedValue::Json(value) => value.as_str(),
                NamedValue::Unclear => None,
            };
            // The subject is kept as `log.subject` wants it, whichever claim says it.
            let subject = text.filter(|text| {
                let claim = name.strip_prefix("claims.");
                let subject = facts.identity.who().map(|who| &*who.holder.subject);
                claim.is_some_and(|claim| claim == "sub" || subject == Some(text))
            });
            match (subject.map(|subject| self.privacy.subject(subject)), value) {
                (Some(None), _) => {}
                (Some(Some(subject)), _) => {
                    member(line, name);
                    line.excerpt(&subject);
                }
                (None, NamedValue::Text(text)) => {
                    member(line, name);
                    line.excerpt(text);
                }
                // Where the subject is not kept as it is, neither is a list that holds it.
                (None, NamedValue::Json(value)) if self.hides_subject(facts, value) => {
                    member(line, name);
                    line.push("null");
                }
                (None, NamedValue::Json(value)) => {
                    member(line, name);
                    line.json(value);
                }
                (None, NamedValue::Unclear) => {
                    member(line, name);
                    line.push("null");
                }
            }
        }
        for (name, key) in &self.headers {
            if let Some(value) = facts.headers.get(name)
                && !named.iter().any(|named| named.name == key)
            {
                member(line, key);
                // Looked at first, since all but all values are plain.
                match value.to_str() {
                    Ok(text) => line.excerpt(text),
                    Err(_) => line.excerpt(&String::from_utf8_lossy(value.as_bytes())),
                }
            }
        }
        if separator == "," {
            line.push("}");
        }
    }
}
