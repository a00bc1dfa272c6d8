//! Cross-site scripting by the grammar of libinjection, without an allocation.
//!
//! A text is read as text of a page, as the rest of a tag, and as the rest of an attribute's value in each
//! kind of quotes: cut into tokens as browsers do it, old ones included (`html`). What runs script or loads
//! something is known from lists of elements, attributes and schemes.
//!
//! The rules and lists are those of libinjection 3.9.2 (Nick Galbreath, BSD-3-Clause), which
//! `tests/libinjection/run` compares with; its `differences.toml` says where this one finds more.

mod html;
#[cfg(test)]
mod tests;

use self::html::{Place, Token, Tokens};

/// Whether a text is cross-site scripting.
pub(super) fn is_injection(text: &[u8]) -> bool {
    // Without the quote in it, a text is all of the value, and no value is an attack by itself.
    let ends = |quote| memchr::memchr(quote, text).is_some() && finds(text, Place::Value(quote));
    finds(text, Place::Page) || finds(text, Place::Tag) || ends(b'\'') || ends(b'"') || ends(b'`')
}

/// What an attribute's value can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    Harmless,
    /// Whatever the value is.
    Bad,
    /// The value is loaded.
    Address,
    /// The value is the name of another attribute.
    Name,
}

fn finds(text: &[u8], place: Place) -> bool {
    let mut attribute = Attribute::Harmless;
    for token in Tokens::new(text, place) {
        let before = std::mem::replace(&mut attribute, Attribute::Harmless);
        let found = match token {
            Token::Doctype => true,
            Token::Tag(name) => is_bad_element(name),
            Token::Name(name) => {
                attribute = kind_of(name);
                false
            }
            Token::Value(value) => match before {
                Attribute::Harmless => false,
                Attribute::Bad => true,
                Attribute::Address => is_bad_address(value),
                Attribute::Name => kind_of(value) != Attribute::Harmless,
            },
            Token::Comment(text) => is_bad_comment(text),
            Token::Other => false,
        };
        if found {
            return true;
        }
    }
    false
}

const ELEMENTS: [&[u8]; 20] = [
    b"APPLET",
    b"BASE",
    b"COMMENT",
    b"EMBED",
    b"FRAME",
    b"FRAMESET",
    b"HANDLER",
    b"IFRAME",
    b"IMPORT",
    b"ISINDEX",
    b"LINK",
    b"LISTENER",
    b"META",
    b"NOSCRIPT",
    b"OBJECT",
    b"SCRIPT",
    b"STYLE",
    b"VMLFRAME",
    b"XML",
    b"XSS",
];

fn is_bad_element(name: &[u8]) -> bool {
    name.len() >= 3
        && (ELEMENTS.iter().any(|element| is_called(name, element))
            || begins(name, b"SVG")
            || begins(name, b"XSL"))
}

const BAD: [&[u8]; 4] = [b"DATAFORMATAS", b"DATASRC", b"FILTER", b"STYLE"];

const ADDRESSES: [&[u8]; 15] = [
    b"ACTION",
    b"BACKGROUND",
    b"BY",
    b"DYNSRC",
    b"FOLDER",
    b"FORMACTION",
    b"FROM",
    b"HANDLER",
    b"HREF",
    b"LOWSRC",
    b"POSTER",
    b"SRC",
    b"TO",
    b"VALUES",
    b"XLINK:HREF",
];

fn kind_of(name: &[u8]) -> Attribute {
    let is_one_of = |names: &[&[u8]]| names.iter().any(|one| is_called(name, one));
    match name {
        [_] | [] => Attribute::Harmless,
        // Browsers learn new events all the time: any name of this form counts as one.
        [b'o' | b'O', b'n' | b'N', _, _, _, ..] => Attribute::Bad,
        // With a name space of one's own every element can be written.
        _ if name.get(..5).is_some_and(|five| is_called(five, b"XMLNS") || is_called(five, b"XLINK")) => {
            Attribute::Bad
        }
        _ if is_one_of(&BAD) => Attribute::Bad,
        _ if is_one_of(&ADDRESSES) => Attribute::Address,
        _ if is_called(name, b"ATTRIBUTENAME") => Attribute::Name,
        _ => Attribute::Harmless,
    }
}

fn is_bad_comment(text: &[u8]) -> bool {
    // Old browsers end a tag at a back-tick, and read conditions, imports and definitions.
    memchr::memchr(b'`', text).is_some()
        || (text.len() > 3 && (begins(text, b"[IF") || begins(text, b"XML")))
        || text.get(..6).is_some_and(|six| is_called(six, b"IMPORT") || is_called(six, b"ENTITY"))
}

/// `java` is that of `javascript:` and of whatever else begins so.
const SCHEMES: [&[u8]; 4] = [b"DATA", b"VIEW-SOURCE", b"JAVA", b"VBSCRIPT"];

fn is_bad_address(value: &[u8]) -> bool {
    let begin = value.iter().position(|byte| (33..127).contains(byte)).unwrap_or(value.len());
    let address = value.get(begin..).unwrap_or_default();
    SCHEMES.iter().any(|scheme| begins_decoded(address, scheme))
}

/// Whether a text is this word, in any case of letters, with any number of NULs in it.
fn is_called(text: &[u8], word: &[u8]) -> bool {
    let mut letters = text.iter().filter(|byte| **byte != 0).map(u8::to_ascii_uppercase);
    word.iter().all(|letter| letters.next() == Some(*letter)) && letters.next().is_none()
}

fn begins(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word))
}

/// Whether a value begins with this word once its character references are decoded. Controls before it
/// count for nothing, nor do NULs and ends of lines inside.
fn begins_decoded(mut value: &[u8], word: &[u8]) -> bool {
    let mut word = word.iter();
    let Some(mut wanted) = word.next() else { return true };
    let mut first = true;
    while !value.is_empty() {
        let (character, rest) = html::character(value);
        value = rest;
        if (first && character <= 32) || character == 0 || character == u32::from(b'\n') {
            continue;
        }
        first = false;
        // The original cuts characters to a byte; nobody writes those that are longer.
        let small = u8::try_from(character).map(|byte| byte.to_ascii_uppercase());
        if *wanted != small.unwrap_or((character & 0xff) as u8) {
            return false;
        }
        match word.next() {
            Some(next) => wanted = next,
            None => return true,
        }
    }
    false
}
