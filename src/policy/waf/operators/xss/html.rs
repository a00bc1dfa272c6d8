//! Markup, cut into tokens as browsers do it: the states of HTML's own description, with what old browsers
//! made of NULs, back-ticks and `<%`.

/// What a text is the rest of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Text of a page.
    Page,
    /// A tag, where the next attribute may begin.
    Tag,
    /// An attribute's value in these quotes.
    Value(u8),
}

/// A piece of markup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// The name of an element whose tag begins.
    Tag(&'a [u8]),
    /// The name of an attribute.
    Name(&'a [u8]),
    /// The value of the attribute before.
    Value(&'a [u8]),
    Comment(&'a [u8]),
    Doctype,
    /// Text, the end of a tag, or a closing tag.
    Other,
}

/// The tokens of a text.
pub(super) struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    state: State,
    /// Whether the tag is a closing one.
    closes: bool,
}

/// What comes next.
#[derive(Clone, Copy)]
enum State {
    Text,
    /// Behind a `<`.
    Open,
    /// At the `>` of a tag.
    TagEnd,
    BeforeName,
    AfterName,
    BeforeValue,
    /// Behind the first quote.
    Quoted(u8),
    AfterQuoted,
    End,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a [u8], place: Place) -> Tokens<'a> {
        let state = match place {
            Place::Page => State::Text,
            Place::Tag => State::BeforeName,
            Place::Value(quote) => State::Quoted(quote),
        };
        Tokens { text, at: 0, state, closes: false }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Takes so many bytes and goes over so many behind them.
    fn take(&mut self, length: usize, over: usize, next: State) -> &'a [u8] {
        let taken = self.rest().get(..length).unwrap_or_default();
        self.at += length + over;
        self.state = next;
        taken
    }

    /// Takes what is left.
    fn last(&mut self) -> &'a [u8] {
        self.take(self.rest().len(), 0, State::End)
    }

    fn go(&mut self, over: usize, next: State) -> Option<Token<'a>> {
        self.take(0, over, next);
        None
    }

    /// One state: a token, or none where only the state has changed.
    fn step(&mut self) -> Option<Token<'a>> {
        match self.state {
            State::Text => match memchr::memchr(b'<', self.rest()) {
                Some(length) => {
                    self.take(length, 1, State::Open);
                    (length > 0).then_some(Token::Other)
                }
                None => self.go(self.rest().len(), State::End),
            },
            State::Open => self.open(),
            State::TagEnd => {
                self.closes = false;
                self.take(1, 0, State::Text);
                Some(Token::Other)
            }
            State::BeforeName => self.before_name(),
            State::AfterName => match self.skip_blanks() {
                None => self.go(0, State::End),
                Some(b'/') => self.go(1, State::BeforeName),
                Some(b'=') => self.go(1, State::BeforeValue),
                Some(b'>') => self.go(0, State::TagEnd),
                Some(_) => Some(self.name()),
            },
            State::BeforeValue => match self.skip_blanks() {
                None => self.go(0, State::End),
                Some(quote @ (b'"' | b'\'' | b'`')) => self.go(1, State::Quoted(quote)),
                Some(_) => Some(self.bare_value()),
            },
            State::Quoted(quote) => Some(Token::Value(match memchr::memchr(quote, self.rest()) {
                Some(length) => self.take(length, 1, State::AfterQuoted),
                None => self.last(),
            })),
            State::AfterQuoted => self.before_name(),
            State::End => None,
        }
    }

    fn open(&mut self) -> Option<Token<'a>> {
        // The original forgets this, and takes the tag behind `</>` for a closing one.
        self.closes = false;
        match self.rest() {
            [] => self.go(0, State::End),
            [b'!', ..] => {
                self.at += 1;
                Some(self.declaration())
            }
            [b'/', b'>', ..] => self.go(1, State::Text),
            [b'/', next, ..] if next.is_ascii_alphabetic() => {
                self.at += 1;
                self.closes = true;
                Some(self.tag())
            }
            [b'/'] => self.go(1, State::End),
            [b'/' | b'?', ..] => {
                self.at += 1;
                Some(self.comment_to(b">"))
            }
            [b'%', ..] => {
                self.at += 1;
                Some(self.comment_to(b"%>"))
            }
            [next, ..] if next.is_ascii_alphabetic() || *next == 0 => Some(self.tag()),
            _ => self.go(0, State::Text),
        }
    }

    fn tag(&mut self) -> Token<'a> {
        let end = |byte: &u8| *byte != 0 && (is_blank(*byte) || matches!(byte, b'/' | b'>'));
        let Some(length) = self.rest().iter().position(end) else { return Token::Tag(self.last()) };
        if self.rest().get(length) != Some(&b'>') {
            return Token::Tag(self.take(length, 1, State::BeforeName));
        }
        if self.closes {
            self.take(length, 1, State::Text);
            return Token::Other;
        }
        Token::Tag(self.take(length, 0, State::TagEnd))
    }

    fn before_name(&mut self) -> Option<Token<'a>> {
        match self.skip_blanks() {
            None => self.go(0, State::End),
            Some(b'/') => self.go(1, State::BeforeName),
            Some(b'>') => {
                self.take(1, 0, State::Text);
                Some(Token::Other)
            }
            Some(_) => Some(self.name()),
        }
    }

    /// An attribute's name; its first byte may be any, `=` too.
    fn name(&mut self) -> Token<'a> {
        let rest = self.rest();
        let end = |byte: &u8| is_blank(*byte) || matches!(byte, b'/' | b'=' | b'>');
        let Some(length) = rest.iter().skip(1).position(end) else { return Token::Name(self.last()) };
        let length = length + 1;
        Token::Name(match rest.get(length) {
            Some(b'/') => self.take(length, 1, State::BeforeName),
            Some(b'=') => self.take(length, 1, State::BeforeValue),
            Some(b'>') => self.take(length, 0, State::TagEnd),
            _ => self.take(length, 1, State::AfterName),
        })
    }

    fn bare_value(&mut self) -> Token<'a> {
        let rest = self.rest();
        let end = rest.iter().position(|byte| is_blank(*byte) || *byte == b'>');
        Token::Value(match end {
            Some(length) if rest.get(length) == Some(&b'>') => self.take(length, 0, State::TagEnd),
            Some(length) => self.take(length, 1, State::BeforeName),
            None => self.last(),
        })
    }

    /// Behind `<!`.
    fn declaration(&mut self) -> Token<'a> {
        let rest = self.rest();
        if rest.get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"DOCTYPE")) {
            self.last();
            return Token::Doctype;
        }
        if rest.starts_with(b"[CDATA[") {
            self.at += 7;
            self.comment_to(b"]]>");
            return Token::Other;
        }
        if rest.starts_with(b"--") {
            self.at += 2;
            return self.comment();
        }
        self.comment_to(b">")
    }

    fn comment_to(&mut self, end: &[u8]) -> Token<'a> {
        Token::Comment(match memchr::memmem::find(self.rest(), end) {
            Some(length) => self.take(length, end.len(), State::Text),
            None => self.last(),
        })
    }

    /// Behind `<!--`: to `-->` or `-!>`, with any number of NULs behind the first dash.
    fn comment(&mut self) -> Token<'a> {
        let rest = self.rest();
        for dash in memchr::memchr_iter(b'-', rest) {
            let behind = rest.get(dash + 1..).unwrap_or_default();
            let nulls = behind.iter().take_while(|byte| **byte == 0).count();
            if let Some([b'-' | b'!', b'>', ..]) = behind.get(nulls..) {
                return Token::Comment(self.take(dash, nulls + 3, State::Text));
            }
        }
        Token::Comment(self.last())
    }

    /// The next byte that is none.
    fn skip_blanks(&mut self) -> Option<u8> {
        let rest = self.rest();
        let length = rest.iter().position(|byte| !is_blank(*byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(length).copied()
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        while !matches!(self.state, State::End) {
            let token = self.step();
            if token.is_some() {
                return token;
            }
        }
        None
    }
}

/// Old browsers take a NUL for one, and so does this.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r' | 0)
}

/// The largest number that a character reference has.
const LARGEST: u32 = 0x10_00ff;

/// The first character of a text, decoded where it is written as a number, and what is behind it.
pub(super) fn character(text: &[u8]) -> (u32, &[u8]) {
    let (digits, base) = match text {
        [b'&', b'#', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'&', b'#', digits @ ..] => (digits, 10),
        [first, rest @ ..] => return (u32::from(*first), rest),
        [] => return (0, text),
    };
    let as_it_is = (u32::from(b'&'), text.get(1..).unwrap_or_default());
    let mut number = None;
    let mut rest = digits;
    while let [digit, behind @ ..] = rest {
        let Some(digit) = char::from(*digit).to_digit(base) else { break };
        let longer = number.unwrap_or(0) * base + digit;
        if longer > LARGEST {
            return as_it_is;
        }
        (number, rest) = (Some(longer), behind);
    }
    match number {
        Some(number) => (number, rest.strip_prefix(b";").unwrap_or(rest)),
        None => as_it_is,
    }
}
