//! Text in a terminal: lines that fit, and nothing in them that the terminal would obey.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::deny::is_deceptive;

/// The width that text for people is written for.
pub(super) const WIDTH: usize = 80;

/// The text with control and bidirectional characters escaped, so that nothing from a file or a
/// request moves the cursor, hides text or turns it around.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceptive) {
        return text.into();
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => clean.push_str("    "),
            c if is_deceptive(c) => clean.extend(c.escape_default()),
            c => clean.push(c),
        }
    }
    clean.into()
}

/// Fills lines with the words of a text: the first line begins with `first`, the others with as
/// many blanks. Ends with a line break. A word that is too long stands in a line of its own.
pub(super) fn fill(first: &str, text: &str) -> String {
    fill_to(first, &" ".repeat(visible_width(first)), text)
}

/// The same with the beginning of the further lines given.
pub(super) fn fill_to(first: &str, rest: &str, text: &str) -> String {
    let mut out = String::from(first);
    let mut used = visible_width(first);
    let mut fresh = true;
    for word in text.split_whitespace() {
        let width = visible_width(word);
        if !fresh && used + 1 + width > WIDTH {
            // Writing into a string cannot fail.
            let _ = write!(out, "\n{rest}");
            used = visible_width(rest);
            fresh = true;
        }
        if !fresh {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += width;
        fresh = false;
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// The width of a text, styles not counted.
pub(super) fn visible_width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

/// A text and blanks behind it, up to a width.
pub(super) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(visible_width(text))))
}

/// `1 rule`, `2 rules`.
pub(super) fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn list(words: &[impl AsRef<str>], last: &str) -> String {
    let mut out = String::new();
    for (index, word) in words.iter().enumerate() {
        let gap = match index {
            0 => "",
            _ if index + 1 == words.len() => last,
            _ => ", ",
        };
        out.push_str(gap);
        out.push_str(word.as_ref());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(printable("plain é"), "plain é");
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c\nd\te"), "a\\u{1b}[2Jb\\u{202e}c\\nd    e");
    }

    #[test]
    fn lines_fit_and_continue_under_the_text() {
        let text = "word ".repeat(40);
        let filled = fill("  1. ", &text);
        assert!(filled.lines().all(|line| line.chars().count() <= WIDTH), "{filled}");
        assert!(filled.lines().skip(1).all(|line| line.starts_with("     word")));
        assert_eq!(fill("", &"x".repeat(100)), "x".repeat(100) + "\n");
        assert_eq!(fill("a ", ""), "a\n");
    }

    #[test]
    fn styles_take_no_room() {
        let bold = crate::cli::reply::styled(crate::cli::reply::STRONG, "ab");
        assert_eq!(visible_width(&bold), 2);
        assert!(padded(&bold, 4).ends_with("  "));
    }

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(list(&["a"], " or "), "a");
        assert_eq!(list(&["a", "b", "c"], " or "), "a, b or c");
        assert_eq!((count(1, "file"), count(0, "file")), ("1 file".into(), "0 files".into()));
    }
}
