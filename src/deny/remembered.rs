//! Pages that were rendered before, but for the values of their facts.
//!
//! A template takes some ten microseconds, and of the page that ships with portcullis all but the
//! facts is the same for most refusals. So a thread keeps the pieces between the facts, and the next
//! page is put together of them. A template of the operator's may do with a value what it likes, so
//! its pages are rendered anew.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;

use foldhash::fast::RandomState;
use minijinja::HtmlEscape;

use super::html::{Page, Shown};

/// What stands before, between and behind the values of the facts.
type Pieces = Box<[Box<str>]>;

/// A thread keeps no more than this; what is beyond is forgotten all at once.
const KEPT: usize = 64;

/// Stands where a value will. No text of ours has it, and a text that does is not remembered.
const MARK: &str = "\u{1}";

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

#[derive(Default)]
struct Known {
    pages: HashMap<Box<str>, Pieces, RandomState>,
    /// The key of the page that is asked for; kept for its room.
    key: String,
}

/// The page that ships with portcullis, filled; none if it cannot be made.
pub(super) fn fill(page: &Page, shown: &Shown<'_>) -> Option<String> {
    KNOWN.with_borrow_mut(|known| {
        let Known { pages, key } = known;
        write_key(key, shown);
        if let Some(pieces) = pages.get(key.as_str()) {
            return Some(put_together(pieces, shown));
        }
        if key.contains(MARK) {
            return page.fill(shown).ok();
        }
        let marked = Shown {
            facts: shown.facts.iter().map(|(name, _)| (*name, MARK.into())).collect(),
            detail: shown.detail.clone(),
            hints: shown.hints.clone(),
            ..*shown
        };
        let text = page.fill(&marked).ok()?;
        let pieces: Pieces = text.split(MARK).map(Box::from).collect();
        if pieces.len() != shown.facts.len() + 1 {
            return page.fill(shown).ok();
        }
        let filled = put_together(&pieces, shown);
        if pages.len() >= KEPT {
            pages.clear();
        }
        pages.insert(key.as_str().into(), pieces);
        Some(filled)
    })
}

/// All that a page shows but the values of the facts.
fn write_key(key: &mut String, shown: &Shown<'_>) {
    key.clear();
    let Shown { status, title, heading, detail, hints, contact, facts } = shown;
    // Numbers as characters, none of which is the mark.
    let count = u32::try_from(hints.len()).unwrap_or(u32::MAX).saturating_add(u32::from('0'));
    key.extend([u32::from(*status), count].map(|number| char::from_u32(number).unwrap_or('?')));
    for text in [title, heading, detail.as_str()].into_iter().chain(hints.iter().map(String::as_str)) {
        key.push_str(text);
        key.push('\0');
    }
    // Nobody and an empty contact are two things.
    key.push_str(contact.map_or("-", |_| "+"));
    key.push_str(contact.unwrap_or_default());
    for (name, _) in facts {
        key.push('\0');
        key.push_str(name);
    }
}

/// How many pages this thread remembers.
#[cfg(test)]
pub(super) fn known() -> usize {
    KNOWN.with_borrow(|known| known.pages.len())
}

fn put_together(pieces: &[Box<str>], shown: &Shown<'_>) -> String {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut text = String::with_capacity(length + 64 * shown.facts.len());
    let mut values = shown.facts.iter();
    for piece in pieces {
        text.push_str(piece);
        if let Some((_, value)) = values.next() {
            // Most values need no escaping, and to look is cheaper than to write letter by letter.
            if value.bytes().any(|byte| matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'' | b'/')) {
                let _ = write!(text, "{}", HtmlEscape(value));
            } else {
                text.push_str(value);
            }
        }
    }
    text
}
