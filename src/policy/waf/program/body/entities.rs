//! The general entities that a document type declares, and what a reference to one stands for.
//!
//! External ones are never fetched and stand for nothing. What internal ones stand for is text that rules
//! look at; how much of it a reference may make is bounded ("billion laughs").

use crate::policy::waf::body::resolve;

/// What a document type declares. Of several declarations of a name the first counts (XML 1.0, section 4.2).
#[derive(Debug, Default)]
pub(super) struct Entities(Vec<(String, String)>);

/// A reference that stands for nothing that could be told: its name is not declared, or it stands for more
/// than a document needs, or for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoText;

/// How long a text one reference may stand for.
const MAX_TEXT: usize = 10_000;

/// How deep entities may refer to each other.
const MAX_DEPTH: usize = 16;

/// How many entities are known; a document with more is no document that people send.
const MAX_ENTITIES: usize = 256;

impl Entities {
    /// Those of a document type, the text between `<!DOCTYPE` and its end.
    pub(super) fn of(doctype: &str) -> Entities {
        let declarations = doctype.split("<!ENTITY").skip(1).take(MAX_ENTITIES);
        Entities(declarations.filter_map(declaration).collect())
    }

    /// Adds what a reference stands for.
    pub(super) fn resolve(&self, name: &str, output: &mut Vec<u8>) -> Result<(), NoText> {
        let end = output.len() + MAX_TEXT;
        self.add(name, output, end, 0)
    }

    fn add(&self, name: &str, output: &mut Vec<u8>, end: usize, depth: usize) -> Result<(), NoText> {
        if name.starts_with('#') || ["lt", "gt", "amp", "quot", "apos"].contains(&name) {
            resolve(name, output);
            return Ok(());
        }
        let text = self.0.iter().find(|(known, _)| *known == *name).map(|(_, text)| text.as_str());
        let (Some(mut text), true) = (text, depth < MAX_DEPTH) else { return Err(NoText) };
        while let Some((before, reference)) = text.split_once('&') {
            output.extend_from_slice(before.as_bytes());
            let Some((name, rest)) = reference.split_once(';') else { return Err(NoText) };
            self.add(name, output, end, depth + 1)?;
            text = rest;
        }
        output.extend_from_slice(text.as_bytes());
        if output.len() > end { Err(NoText) } else { Ok(()) }
    }
}

/// A name and its text, from what stands behind `<!ENTITY`; none of a parameter entity (`%`).
fn declaration(text: &str) -> Option<(String, String)> {
    let (name, value) = text.trim_start().split_once(|c: char| c.is_ascii_whitespace())?;
    if name == "%" {
        return None;
    }
    let value = value.trim_start();
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    let text = quote.and_then(|quote| value.get(1..)?.split_once(quote)).map_or("", |(text, _)| text);
    Some((name.to_owned(), text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(doctype: &str, name: &str) -> Result<String, NoText> {
        let mut output = Vec::new();
        Entities::of(doctype).resolve(name, &mut output)?;
        Ok(String::from_utf8(output).expect("text"))
    }

    #[test]
    fn a_reference_stands_for_its_text() {
        let doctype = "a [<!ENTITY e 'x&lt;&f;'><!ENTITY f \"&#x41;'\"><!ENTITY f 'other'> <!ENTITY s SYSTEM 'file:///x'>\n<!ENTITY % p 'z'>]";
        for (name, want) in [("e", "x<A'"), ("f", "A'"), ("s", ""), ("amp", "&"), ("#66", "B")] {
            assert_eq!(told(doctype, name).as_deref(), Ok(want), "{name}");
        }
        for name in ["p", "%", "other", ""] {
            assert_eq!(told(doctype, name), Err(NoText), "{name}");
        }
    }

    #[test]
    fn laughter_is_bounded() {
        let mut doctype = "<!ENTITY a0 'dos'>".to_owned();
        for level in 1..30 {
            doctype += &format!("<!ENTITY a{level} '{}'>", format!("&a{};", level - 1).repeat(10));
        }
        assert_eq!(told(&doctype, "a3").map(|text| text.len()), Ok(3_000));
        for name in ["a4", "a9", "a29"] {
            assert_eq!(told(&doctype, name), Err(NoText), "{name}");
        }
        assert_eq!(told("<!ENTITY a '&b;'><!ENTITY b '&a;'>", "a"), Err(NoText));
    }
}
