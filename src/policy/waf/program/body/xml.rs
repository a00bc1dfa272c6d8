//! XML: all its text as one value, and every attribute as one of its own.
//!
//! Entities are not expanded. What is not well-formed is noted, and what was read before it stays.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::BodyState;
use crate::policy::waf::body::{Bounds, Unreadable, resolve, unescape};
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
    let mut broken = false;
    loop {
        let Ok(event) = reader.read_event() else {
            broken = true;
            break;
        };
        let (element, empty) = match event {
            Event::Eof => break,
            Event::Start(element) => (element, false),
            Event::Empty(element) => (element, true),
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                continue;
            }
            Event::Text(text) => {
                inside.extend_from_slice(text.into_inner().as_bytes());
                continue;
            }
            Event::CData(text) => {
                inside.extend_from_slice(text.into_inner().as_bytes());
                continue;
            }
            Event::GeneralRef(reference) => {
                resolve(&reference.into_inner(), &mut inside);
                continue;
            }
            Event::DocType(text) => {
                // What it declares is nowhere else.
                inside.extend_from_slice(text.into_inner().as_bytes());
                continue;
            }
            Event::PI(_) | Event::Decl(_) | Event::Comment(_) => continue,
        };
        count()?;
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
