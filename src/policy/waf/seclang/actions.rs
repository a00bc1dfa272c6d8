//! `id:1,phase:2,t:none,msg:'a, b',setvar:'tx.x=+1'`: the actions of a rule, taken apart.

use super::Report;
use super::lex::Word;

/// An action as written.
#[derive(Clone, Debug)]
pub(super) struct Action {
    /// In small letters.
    pub(super) name: String,
    /// Behind the colon, without quotes; `\'` is a quote.
    pub(super) value: Option<Word>,
    /// All of it.
    pub(super) word: Word,
}

/// Takes a list of actions apart.
pub(super) fn actions(list: &Word, report: &mut Report<'_>) -> Vec<Action> {
    let (found, open) = cut(list);
    if let Some(open) = open {
        // What stands behind it would be text, and not done.
        report.error(list.place(open, open + 1), "the quote that opens here is never closed");
    }
    found
}

/// The actions, and a quote that stays open. Commas between single quotes do not separate.
fn cut(list: &Word) -> (Vec<Action>, Option<usize>) {
    let bytes = list.text.as_bytes();
    let mut found = Vec::new();
    let (mut start, mut at, mut quoted) = (0, 0, None);
    loop {
        match bytes.get(at) {
            Some(b'\\') if quoted.is_some() => at += 1,
            Some(b'\'') => quoted = quoted.xor(Some(at)),
            Some(b',') if quoted.is_none() => {
                found.extend(action(&list.part(start, at).trimmed()));
                start = at + 1;
            }
            Some(_) => {}
            None => {
                found.extend(action(&list.part(start, bytes.len()).trimmed()));
                return (found, quoted);
            }
        }
        at += 1;
    }
}

fn action(word: &Word) -> Option<Action> {
    if word.text.is_empty() {
        return None;
    }
    let (name, value) = match word.text.find(':') {
        Some(colon) => (&word.text[..colon], Some(word.part(colon + 1, word.text.len()).trimmed())),
        None => (&*word.text, None),
    };
    let value = value.map(|value| match value.text.len() {
        length if length >= 2 && value.text.starts_with('\'') && value.text.ends_with('\'') => {
            let mut inner = value.part(1, length - 1);
            // Places behind it are off by the backslash; it is seldom, and only shown.
            inner.text = inner.text.replace("\\'", "'");
            inner
        }
        _ => value,
    });
    Some(Action { name: name.trim().to_ascii_lowercase(), value, word: word.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::diagnostic::FileId;
    use crate::policy::waf::seclang::lex::directives;

    #[test]
    fn actions_are_cut_at_commas_outside_of_quotes() {
        let text = "SecAction \"id:1, t:none,msg:'a, \\'b\\':c',\\\n setvar:'tx.x=a,b',,nolog\"";
        let Some(Ok(directive)) = directives(FileId(0), text).into_iter().next() else {
            panic!("a directive")
        };
        let shown: Vec<String> = cut(&directive.words[0])
            .0
            .iter()
            .map(|action| {
                format!("{}={}", action.name, action.value.as_ref().map_or("", |value| &value.text))
            })
            .collect();
        assert_eq!(shown, ["id=1", "t=none", "msg=a, 'b':c", "setvar=tx.x=a,b", "nolog="]);
    }
}
