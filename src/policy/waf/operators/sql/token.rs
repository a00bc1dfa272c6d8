//! One token of SQL: what it is, and its beginning.

use super::words::WORDS;

/// What a token is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    None,
    Keyword,
    Union,
    Group,
    Expression,
    SqlType,
    Function,
    Bareword,
    Number,
    Variable,
    String,
    Operator,
    LogicOperator,
    Comment,
    Collate,
    LeftParenthesis,
    RightParenthesis,
    LeftBrace,
    RightBrace,
    Dot,
    Comma,
    Colon,
    Semicolon,
    Tsql,
    Unknown,
    /// What only attackers write.
    Evil,
    Backslash,
}

impl Kind {
    /// The letter that stands for it in fingerprints.
    pub(super) const fn letter(self) -> u8 {
        match self {
            Kind::Keyword => b'k',
            Kind::Union => b'U',
            Kind::Group => b'B',
            Kind::Expression => b'E',
            Kind::SqlType => b't',
            Kind::Function => b'f',
            Kind::Bareword => b'n',
            Kind::Number => b'1',
            Kind::Variable => b'v',
            Kind::String => b's',
            Kind::Operator => b'o',
            Kind::LogicOperator => b'&',
            Kind::Comment => b'c',
            Kind::Collate => b'A',
            Kind::LeftParenthesis => b'(',
            Kind::RightParenthesis => b')',
            Kind::LeftBrace => b'{',
            Kind::RightBrace => b'}',
            Kind::Dot => b'.',
            Kind::Comma => b',',
            Kind::Colon => b':',
            Kind::Semicolon => b';',
            Kind::Tsql => b'T',
            Kind::Evil => b'X',
            Kind::Backslash => b'\\',
            Kind::Unknown | Kind::None => b'?',
        }
    }

    /// The kind of a word in the table; a fingerprint is none.
    pub(super) const fn of_letter(letter: u8) -> Option<Kind> {
        Some(match letter {
            b'k' => Kind::Keyword,
            b'f' => Kind::Function,
            b'U' => Kind::Union,
            b'E' => Kind::Expression,
            b'T' => Kind::Tsql,
            b't' => Kind::SqlType,
            b'o' => Kind::Operator,
            b'&' => Kind::LogicOperator,
            b'v' => Kind::Variable,
            b'1' => Kind::Number,
            b'A' => Kind::Collate,
            b'B' => Kind::Group,
            b'n' => Kind::Bareword,
            _ => return None,
        })
    }
}

/// How much of a token's text is kept.
pub(super) const KEPT: usize = 31;

/// A token.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Token {
    pub(super) kind: Kind,
    length: u8,
    text: [u8; KEPT],
    /// The quote that it begins with, or 0.
    pub(super) open: u8,
    /// The quote that it ends with, or 0.
    pub(super) close: u8,
}

impl Token {
    /// Its text, as far as it is kept.
    pub(super) fn text(&self) -> &[u8] {
        self.text.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Whether it is this word.
    pub(super) fn is(&self, word: &str) -> bool {
        self.text().eq_ignore_ascii_case(word.as_bytes())
    }

    pub(super) fn set(&mut self, kind: Kind, text: &[u8]) {
        let length = text.len().min(KEPT);
        self.kind = kind;
        self.length = length as u8;
        self.text[..length].copy_from_slice(&text[..length]);
    }

    /// Makes one word of this and the next, if there is a word of that spelling.
    pub(super) fn merge(&mut self, next: &Token) -> bool {
        let (first, second) = (self.text(), next.text());
        let length = first.len() + 1 + second.len();
        if length > KEPT {
            return false;
        }
        let mut text = [b' '; KEPT];
        text[..first.len()].copy_from_slice(first);
        text[first.len() + 1..length].copy_from_slice(second);
        let Some(kind) = WORDS.known(&text[..length]) else { return false };
        self.set(kind, &text[..length]);
        true
    }
}
