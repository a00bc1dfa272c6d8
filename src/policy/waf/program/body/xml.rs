//! XML: all its text as one value, and every attribute as one of its own.
//!
//! Internal entities stand for their text, external ones for nothing. What is not well-formed is noted, and
//! what was read before it stays.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::BodyState;
use super::entities::Entities;
use crate::policy::waf::body::{Bounds, Unreadable, unescape};
use crate::policy::waf::targets::Collection;
use crate::policy::waf::values::Values;

/// Adds the text (`XML:/*`) and the attributes (`XML://@*`) of a document.
pub(super) fn read(
    body: &[u8],
    bounds: &Bounds,
    values: &mut Values,
    state: &mut BodyState,
) -> Result<(), Unreadable> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // Rules are about bytes; what is no UTF-8 is read as Latin-1, so that none is lost.
    let text = match std::str::from_utf8(body) {
        Ok(text) => std::borrow::Cow::Borrowed(text),
        Err(_) => body.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
    };
    let mut reader = Reader::from_str(&text);
    let (mut inside, mut depth, mut fields, mut rooted) = (Vec::new(), 0u32, bounds.fields, false);
    let mut count = || {
        let more = fields.checked_sub(1);
        more.map(|more| fields = more)
            .ok_or(Unreadable::too_large("it has more values than `waf.body.fields`"))
    };
    let (mut broken, mut begun, mut entities) = (false, false, Entities::default());
    loop {
        let Ok(event) = reader.read_event() else {
            broken = true;
            break;
        };
        // Once its root has ended, a document has ended (XML 1.0, section 2.1).
        let outside = depth == 0;
        let first = !std::mem::replace(&mut begun, true);
        let (element, empty) = match event {
            Event::Eof => break,
            Event::Start(element) => (element, false),
            Event::Empty(element) => (element, true),
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                continue;
            }
            Event::Text(text) => {
                let text = text.into_inner();
                broken |= outside && !text.trim().is_empty();
                inside.extend_from_slice(text.as_bytes());
                continue;
            }
            Event::CData(text) => {
                broken |= outside;
                inside.extend_from_slice(text.into_inner().as_bytes());
                continue;
            }
            Event::GeneralRef(reference) => {
                broken |= outside || entities.resolve(&reference.into_inner(), &mut inside).is_err();
                continue;
            }
            // What it declares is no text of the document, and for ModSecurity stands nowhere; rules in TOML
            // see it as `xml` of the name `!doctype`.
            Event::DocType(text) => {
                broken |= rooted;
                entities = Entities::of(&text.into_inner());
                continue;
            }
            Event::Decl(_) => {
                broken |= !first;
                continue;
            }
            Event::PI(_) | Event::Comment(_) => continue,
        };
        count()?;
        broken |= outside && rooted;
        rooted = true;
        if depth >= bounds.depth {
            return Err(Unreadable::too_large("it is nested deeper than `waf.body.depth`"));
        }
        depth += u32::from(!empty);
        for attribute in element.attributes() {
            let Ok(attribute) = attribute else {
                broken = true;
                continue;
            };
            count()?;
            let name = values.put(b"//@*");
            let text = values.put_with(|buffer| unescape(&attribute.value, buffer));
            values.value(Collection::Xml, name, text);
        }
    }
    if broken || depth > 0 || !rooted {
        state.error = Some("XML parsing error");
    }
    let (name, text) = (values.put(b"/*"), values.put(&inside));
    values.value(Collection::Xml, name, text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `XML:/*` is, and whether the document is well-formed.
    fn told(body: &str) -> (String, bool) {
        let (mut values, mut state) = (Values::default(), BodyState::default());
        let bounds = Bounds { limit: 1 << 20, depth: 4, fields: 8 };
        assert!(read(body.as_bytes(), &bounds, &mut values, &mut state).is_ok(), "{body}");
        let all = (0..values.len()).filter_map(|at| values.get(at));
        let text = all.filter(|value| values.name(value) == b"/*").map(|value| values.text(value));
        (text.map(|text| text.escape_ascii().to_string()).collect(), state.error.is_none())
    }

    #[test]
    fn internal_entities_are_text_and_what_declares_them_is_not() {
        for (body, want) in [
            ("<?xml version='1.0'?><a>x<b y='z'/> <![CDATA[<y>]]>&lt;</a>\n", "x <y><\\n"),
            ("<!DOCTYPE a [<!ENTITY e 'java&s;:'><!ENTITY s 'script'>]><a>&e;</a>", "javascript:"),
            ("<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><a>&e;</a>", ""),
            ("\u{feff}<a/><!-- end --><?pi?>", ""),
        ] {
            assert_eq!(told(body), (want.to_owned(), true), "{body}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_told() {
        for body in [
            "<a>&e;</a>",
            "<!DOCTYPE a [<!ENTITY % p SYSTEM 'http://a.test/x'>%p;]><a>&e;</a>",
            " <?xml version='1.0'?><a/>",
            "<a/><b/>",
            "<a/>text",
            "text<a/>",
            "<a/><!DOCTYPE a>",
            "<a>",
            "<!DOCTYPE a>",
        ] {
            assert!(!told(body).1, "{body}");
        }
    }
}
