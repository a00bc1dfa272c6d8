//! Text that a person reads in a terminal must not be able to move the cursor or turn itself round.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with control, bidirectional and invisible characters written as `\u{…}`.
///
/// For every view that people read as text: the plain answer, `explain`, the page of the admin
/// listener. JSON keeps such characters as they are, since programs compare them.
pub fn escape_for_terminal(text: &str) -> Cow<'_, str> {
    if !text.contains(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_deceptive(c) {
            // Writing into a string does not fail.
            let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Whether a character acts on the text around it, or hides in it.
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(escape_for_terminal("Grüße, 世界 \\u{41}"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_moves_turns_or_hides_is_written_out() {
        assert_eq!(escape_for_terminal("a\u{1b}[2Jb\r\n"), "a\\u{1b}[2Jb\\u{d}\\u{a}");
        assert_eq!(escape_for_terminal("\u{202e}gnp.exe\u{2066}"), "\\u{202e}gnp.exe\\u{2066}");
        assert_eq!(
            escape_for_terminal("\u{9b}31m\u{7f}\u{feff}\u{200b}"),
            "\\u{9b}31m\\u{7f}\\u{feff}\\u{200b}"
        );
    }
}
