//! The words of a condition.

use std::ops::Range;

use super::Problem;

/// A word of a condition, with where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind<'a>,
    pub(super) span: Range<usize>,
}

/// What stands there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind<'a> {
    /// One of `( ) [ ] ,` and the comparison signs.
    Sign(&'static str),
    /// A text in quotes, escapes resolved.
    Text(String),
    /// A number as written.
    Number(&'a str),
    /// Anything else: keywords, facts, names.
    Word(&'a str),
}

/// Longer signs first: `<=` is not `<`.
const SIGNS: [&str; 11] = ["==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ","];

/// What people write out of habit, and what is written here instead.
const HABITS: [(&str, &str); 4] = [("&&", "and"), ("||", "or"), ("!", "not"), ("=", "==")];

/// Cuts a condition into its words.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Problem> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let (kind, length) = if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            (TokenKind::Sign(sign), sign.len())
        } else if matches!(first, '"' | '\'') {
            quoted(text, at)?
        } else {
            let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            let word = &rest[..length];
            if word.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit())
                && word.parse::<f64>().is_ok()
            {
                (TokenKind::Number(word), length)
            } else if length > 0 {
                (TokenKind::Word(word), length)
            } else {
                let habit = HABITS.iter().find(|(habit, _)| rest.starts_with(habit));
                let length = habit.map_or(first.len_utf8(), |(habit, _)| habit.len());
                let shown = rest[..length].escape_debug();
                let problem =
                    Problem::new(at..at + length, format!("`{shown}` has no meaning in a condition"));
                return Err(match habit {
                    Some((_, instead)) => problem.help(format!("write `{instead}`")),
                    None => problem.help("texts and times stand in quotes"),
                });
            }
        };
        tokens.push(Token { kind, span: at..at + length });
        at += length;
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// A text in single or double quotes. `\` escapes a quote or itself.
fn quoted(text: &str, start: usize) -> Result<(TokenKind<'_>, usize), Problem> {
    let mut chars = text[start..].char_indices();
    let quote = chars.next().map_or('"', |(_, quote)| quote);
    let mut value = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((TokenKind::Text(value), at + 1)),
            '\\' => match chars.next() {
                Some((_, escaped @ ('\\' | '"' | '\''))) => value.push(escaped),
                _ => {
                    let at = start + at;
                    return Err(Problem::new(at..at + 1, "`\\` escapes nothing here".to_owned())
                        .help("`\\\\` is a backslash, `\\\"` and `\\'` are quotes"));
                }
            },
            _ => value.push(c),
        }
    }
    Err(Problem::new(start..text.len(), format!("the text that begins here is not closed with {quote}")))
}
