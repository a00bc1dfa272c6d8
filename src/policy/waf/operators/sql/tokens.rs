//! Cutting a text into the tokens of SQL, of all its dialects at once.

use super::Reading;
use super::token::{Kind, Token};
use super::words::{LONGEST, WORDS};

/// Gives the tokens of a text, one after the other.
pub(super) struct Tokens<'a> {
    text: &'a [u8],
    reading: Reading,
    at: usize,
    current: Token,
    /// Whether there was a comment that the other dialect reads differently.
    pub(super) dialects_differ: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a [u8], reading: Reading) -> Tokens<'a> {
        Tokens { text, reading, at: 0, current: Token::default(), dialects_differ: false }
    }

    pub(super) fn read(&mut self) -> Option<Token> {
        self.current = Token::default();
        if self.at == 0
            && let Some(quote) = self.reading.quote
        {
            self.at = self.string(0, quote, 0);
            self.current.open = 0;
            return Some(self.current);
        }
        while let Some(byte) = self.text.get(self.at) {
            self.at = self.token(*byte);
            if self.current.kind != Kind::None {
                return Some(self.current);
            }
        }
        None
    }

    /// Reads a token, or a blank; returns where the next one begins.
    fn token(&mut self, byte: u8) -> usize {
        match byte {
            0..=b' ' | 0x7f | 0xa0 => self.at + 1,
            b'\'' | b'"' => self.string(self.at, byte, 1),
            b'#' => self.hash(),
            b'$' => self.money(),
            b'%' | b'^' | b'+' | b'~' => self.one(Kind::Operator),
            b'!' | b'&' | b'*' | b':' | b'<' | b'=' | b'>' | b'|' => self.operator(),
            b'(' => self.one(Kind::LeftParenthesis),
            b')' => self.one(Kind::RightParenthesis),
            b'{' => self.one(Kind::LeftBrace),
            b'}' => self.one(Kind::RightBrace),
            b',' => self.one(Kind::Comma),
            b';' => self.one(Kind::Semicolon),
            b'-' => self.dash(),
            b'.' | b'0'..=b'9' => self.number(),
            b'/' => self.slash(),
            b'?' | b']' => self.one(Kind::Unknown),
            b'@' => self.variable(),
            b'B' | b'b' => self.digits(is_binary),
            b'X' | b'x' => self.digits(is_hexadecimal),
            b'E' | b'e' => self.escaped_string(),
            b'N' | b'n' => match self.after(1) {
                [b'\'', _, ..] => self.escaped_string(),
                _ => self.quoted_string(1),
            },
            b'Q' | b'q' => self.quoted_string(0),
            b'U' | b'u' => self.unicode_string(),
            b'[' => self.bracketed(),
            b'\\' => match self.after(1) {
                [b'N', ..] => self.take(Kind::Number, 2),
                _ => self.one(Kind::Backslash),
            },
            b'`' => self.tick(self.at),
            _ => self.word(),
        }
    }

    /// What follows, so many bytes on.
    fn after(&self, bytes: usize) -> &'a [u8] {
        self.text.get(self.at + bytes..).unwrap_or_default()
    }

    /// A token of so many bytes.
    fn take(&mut self, kind: Kind, length: usize) -> usize {
        self.current.set(kind, self.text.get(self.at..self.at + length).unwrap_or_default());
        self.at + length
    }

    fn one(&mut self, kind: Kind) -> usize {
        self.take(kind, 1)
    }

    fn operator(&mut self) -> usize {
        let rest = self.after(0);
        if rest.starts_with(b"<=>") {
            return self.take(Kind::Operator, 3);
        }
        let Some(pair) = rest.get(..2) else { return self.one(Kind::Operator) };
        match WORDS.kind(pair) {
            Kind::Bareword if rest.first() == Some(&b':') => self.one(Kind::Colon),
            Kind::Bareword => self.one(Kind::Operator),
            Kind::LogicOperator => self.take(Kind::LogicOperator, 2),
            _ => self.take(Kind::Operator, 2),
        }
    }

    // === comments ===

    fn hash(&mut self) -> usize {
        self.dialects_differ = true;
        if self.reading.mysql { self.line_comment() } else { self.one(Kind::Operator) }
    }

    fn dash(&mut self) -> usize {
        match self.after(1) {
            [b'-'] => self.line_comment(),
            [b'-', next, ..] if is_blank(*next) => self.line_comment(),
            [b'-', ..] => {
                self.dialects_differ = true;
                if self.reading.mysql { self.one(Kind::Operator) } else { self.line_comment() }
            }
            _ => self.one(Kind::Operator),
        }
    }

    fn line_comment(&mut self) -> usize {
        let rest = self.after(0);
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let next = self.take(Kind::Comment, length);
        (next + 1).min(self.text.len())
    }

    fn slash(&mut self) -> usize {
        let rest = self.after(0);
        if !rest.starts_with(b"/*") {
            return self.one(Kind::Operator);
        }
        let inside = self.after(2);
        let end = memchr::memmem::find(inside, b"*/");
        // One byte too many is looked at, as the original does: `/*/*/` has a comment inside.
        let nested = end.is_some_and(|end| memchr::memmem::find(&inside[..=end], b"/*").is_some());
        let kind = if nested || inside.first() == Some(&b'!') { Kind::Evil } else { Kind::Comment };
        self.take(kind, end.map_or(rest.len(), |end| end + 4))
    }

    // === strings ===

    /// A string whose text begins `offset` bytes behind its beginning. A quote that is doubled, or
    /// escaped by a backslash, does not end it.
    fn string(&mut self, begin: usize, quote: u8, offset: usize) -> usize {
        let start = begin + offset;
        let limit = if offset == 0 { begin } else { 0 };
        let mut from = start;
        while let Some(found) = self.text.get(from..).and_then(|rest| memchr::memchr(quote, rest)) {
            let end = from + found;
            if self.escaped(end, limit) {
                from = end + 1;
            } else if self.text.get(end + 1) == Some(&quote) {
                from = end + 2;
            } else {
                self.current.set(Kind::String, &self.text[start..end]);
                (self.current.open, self.current.close) = (quote, quote);
                return end + 1;
            }
        }
        self.rest_as_string(start, quote)
    }

    /// A string that does not end.
    fn rest_as_string(&mut self, start: usize, open: u8) -> usize {
        self.current.set(Kind::String, self.text.get(start..).unwrap_or_default());
        (self.current.open, self.current.close) = (open, 0);
        self.text.len()
    }

    /// Whether an odd number of backslashes stands before a place.
    fn escaped(&self, place: usize, limit: usize) -> bool {
        let before = self.text.get(limit..place).unwrap_or_default();
        before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
    }

    /// `E'…'` and `N'…'`
    fn escaped_string(&mut self) -> usize {
        match self.after(1) {
            [b'\'', _, ..] => self.string(self.at, b'\'', 2),
            _ => self.word(),
        }
    }

    /// `U&'…'`
    fn unicode_string(&mut self) -> usize {
        if !self.after(1).starts_with(b"&'") {
            return self.word();
        }
        let next = self.string(self.at + 2, b'\'', 1);
        self.current.open = b'u';
        if self.current.close == b'\'' {
            self.current.close = b'u';
        }
        next
    }

    /// `Q'[…]'`, and the same behind an `N`.
    fn quoted_string(&mut self, offset: usize) -> usize {
        let delimiter = match self.after(offset) {
            [b'q' | b'Q', b'\'', delimiter @ 33..0x80, ..] => *delimiter,
            _ => return self.word(),
        };
        let end = match delimiter {
            b'(' => b')',
            b'[' => b']',
            b'{' => b'}',
            b'<' => b'>',
            other => other,
        };
        let start = self.at + offset + 3;
        let inside = self.text.get(start..).unwrap_or_default();
        match memchr::memmem::find(inside, &[end, b'\'']) {
            Some(length) => {
                self.current.set(Kind::String, &inside[..length]);
                (self.current.open, self.current.close) = (b'q', b'q');
                start + length + 2
            }
            None => self.rest_as_string(start, b'q'),
        }
    }

    /// `B'01'` and `X'0f'`
    fn digits(&mut self, is_digit: impl Fn(&u8) -> bool) -> usize {
        let inside = match self.after(1) {
            [b'\'', inside @ ..] if !inside.is_empty() => inside,
            _ => return self.word(),
        };
        let length = inside.iter().take_while(|byte| is_digit(byte)).count();
        match inside.get(length) {
            Some(b'\'') => self.take(Kind::Number, length + 3),
            _ => self.word(),
        }
    }

    /// `` `…` ``, which MySQL takes for a name.
    fn tick(&mut self, begin: usize) -> usize {
        let next = self.string(begin, b'`', 1);
        self.current.kind = match WORDS.kind(self.current.text()) {
            Kind::Function => Kind::Function,
            _ => Kind::Bareword,
        };
        next
    }

    /// `[…]`, which SQL Server takes for a name.
    fn bracketed(&mut self) -> usize {
        let rest = self.after(0);
        let length = memchr::memchr(b']', rest).map_or(rest.len(), |end| end + 1);
        self.take(Kind::Bareword, length)
    }

    // === words and numbers ===

    /// A word, up to where one ends; and only up to a dot or back-tick where that makes it a known one.
    /// Further than the longest known word nothing needs to be looked up, and so nothing is read twice.
    fn word(&mut self) -> usize {
        let rest = self.after(0);
        for (at, byte) in rest.iter().enumerate().take(LONGEST + 1) {
            if ENDS_WORD[usize::from(*byte)] {
                break;
            }
            if matches!(byte, b'.' | b'`') {
                let kind = WORDS.kind(&rest[..at]);
                if kind != Kind::Bareword {
                    return self.take(kind, at);
                }
            }
        }
        let length = rest.iter().position(|byte| ENDS_WORD[usize::from(*byte)]).unwrap_or(rest.len());
        self.take(WORDS.kind(&rest[..length]), length)
    }

    fn variable(&mut self) -> usize {
        let begin = self.at;
        let signs = if self.after(1).first() == Some(&b'@') { 2 } else { 1 };
        let rest = self.after(signs);
        match rest.first() {
            Some(b'`') => {
                let next = self.tick(begin + signs);
                self.current.kind = Kind::Variable;
                next
            }
            Some(quote @ (b'\'' | b'"')) => {
                let next = self.string(begin + signs, *quote, 1);
                self.current.kind = Kind::Variable;
                next
            }
            _ => {
                let length = rest.iter().position(|byte| ENDS_VARIABLE[usize::from(*byte)]);
                self.take(Kind::Variable, signs + length.unwrap_or(rest.len()))
            }
        }
    }

    /// `$1,000`, `$$…$$`, `$tag$…$tag$`
    fn money(&mut self) -> usize {
        let rest = self.after(1);
        let amount = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b',' | 0)).count();
        match (amount, rest.first()) {
            (1, Some(b'.')) => self.word(),
            (1.., _) => self.take(Kind::Number, 1 + amount),
            (_, Some(b'$')) => self.tagged(2),
            _ => {
                let letters =
                    rest.iter().take_while(|byte| byte.is_ascii_alphabetic() || **byte == 0).count();
                match rest.get(letters) {
                    Some(b'$') if letters > 0 => self.tagged(letters + 2),
                    _ => self.one(Kind::Bareword),
                }
            }
        }
    }

    /// A string between two tags of this length.
    fn tagged(&mut self, length: usize) -> usize {
        let start = self.at + length;
        let tag = &self.text[self.at..start];
        let inside = &self.text[start..];
        match memchr::memmem::find(inside, tag) {
            Some(end) => {
                self.current.set(Kind::String, &inside[..end]);
                (self.current.open, self.current.close) = (b'$', b'$');
                start + end + length
            }
            None => self.rest_as_string(start, b'$'),
        }
    }

    fn number(&mut self) -> usize {
        let rest = self.after(0);
        let digits = |from: usize, is_digit: fn(&u8) -> bool| {
            rest.iter().skip(from).take_while(|byte| is_digit(byte)).count()
        };
        let in_base = match rest {
            [b'0', b'x' | b'X', ..] => Some(digits(2, is_hexadecimal)),
            [b'0', b'b' | b'B', ..] => Some(digits(2, is_binary)),
            _ => None,
        };
        match in_base {
            Some(0) => return self.take(Kind::Bareword, 2),
            Some(count) => return self.take(Kind::Number, 2 + count),
            None => {}
        }
        let mut end = digits(0, u8::is_ascii_digit);
        if rest.get(end) == Some(&b'.') {
            end += 1;
            end += digits(end, u8::is_ascii_digit);
            if end == 1 {
                return self.one(Kind::Dot);
            }
        }
        let mut complete = true;
        if matches!(rest.get(end), Some(b'e' | b'E')) {
            end += 1;
            if matches!(rest.get(end), Some(b'+' | b'-')) {
                end += 1;
            }
            let exponent = digits(end, u8::is_ascii_digit);
            complete = exponent > 0;
            end += exponent;
        }
        // The suffixes of Oracle; `1fUNION` is a number and a word.
        if matches!(rest.get(end), Some(b'd' | b'D' | b'f' | b'F'))
            && rest.get(end + 1).is_none_or(|next| is_blank(*next) || matches!(next, b';' | b'u' | b'U'))
        {
            end += 1;
        }
        self.take(if complete { Kind::Number } else { Kind::Bareword }, end)
    }
}

/// What counts as a blank behind `--` and numbers; no-break spaces of Latin-1 do.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r' | 0xa0 | 0)
}

/// The original counts a NUL as a digit of everything but plain numbers, and as a letter of tags.
fn is_binary(byte: &u8) -> bool {
    matches!(byte, b'0' | b'1' | 0)
}

fn is_hexadecimal(byte: &u8) -> bool {
    byte.is_ascii_hexdigit() || *byte == 0
}

/// By byte: whether a word ends there.
static ENDS_WORD: [bool; 256] = set(b" []{}<>:\\?=@!#~+-*/&|^%(),';\t\n\x0b\x0c\r\"\xa0\x00");

/// By byte: whether the name of a variable ends there.
static ENDS_VARIABLE: [bool; 256] = set(b" <>:\\?=@!#~+-*/&|^%(),';\t\n\x0b\x0c\r`\"\x00");

const fn set(bytes: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut at = 0;
    while at < bytes.len() {
        set[bytes[at] as usize] = true;
        at += 1;
    }
    set
}
