//! `found within %{MATCHED_VAR_NAME}`: texts with macros.

use super::Report;
use super::lex::Word;
use super::variables::variables;
use crate::policy::waf::ir::{Piece, Template};

/// Reads a text with macros. What is no macro stays as it stands.
pub(super) fn template(word: &Word, report: &mut Report<'_>) -> Option<Template> {
    let text = &*word.text;
    let mut pieces = Vec::new();
    let (mut done, mut at) = (0, 0);
    while let Some(open) = text[at..].find("%{").map(|open| at + open) {
        let Some(close) = text[open..].find('}').map(|close| open + close) else {
            report.error(word.place(open, open + 2), "the macro that opens here is never closed");
            return None;
        };
        at = close + 1;
        let inside = &text[open + 2..close];
        let (name, member) = match inside.find(['.', ':']) {
            Some(dot) => (&inside[..dot], Some(&inside[dot + 1..])),
            None => (inside, None),
        };
        if open > done {
            pieces.push(Piece::Text(text[done..open].into()));
        }
        done = at;
        match variables(name, member) {
            Ok(all) => pieces.push(Piece::Macro(all)),
            Err(why) => {
                report.error(word.place(open, close + 1), why);
                return None;
            }
        }
    }
    if done < text.len() {
        pieces.push(Piece::Text(text[done..].into()));
    }
    Some(Template { pieces })
}

/// The text of a message without its macros, where rules are chosen by it.
pub(in crate::policy::waf) fn plain(template: &Template) -> String {
    template
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => &**text,
            Piece::Macro(_) => "",
        })
        .collect()
}
