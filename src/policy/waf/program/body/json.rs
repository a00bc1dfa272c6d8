//! JSON, value by value, as far as it goes: `{"a":{"b":[1]}}` is `json.a.b.array_0=1`.
//!
//! Numbers keep their text, `null` is empty, keys that stand twice give two values. What is no JSON is
//! noted, and what was read before it stays.

use super::BodyState;
use crate::policy::waf::body::{Bounds, Unreadable};
use crate::policy::waf::targets::Collection;
use crate::policy::waf::values::Values;

/// Adds the values of a JSON text.
pub(super) fn read(
    body: &[u8],
    bounds: &Bounds,
    values: &mut Values,
    state: &mut BodyState,
) -> Result<(), Unreadable> {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut reader =
        Reader { text, at: 0, name: b"json".to_vec(), values, fields: bounds.fields, depth: bounds.depth };
    match reader.document() {
        Ok(()) => Ok(()),
        Err(Stop::Malformed) => {
            state.error = Some("JSON parsing error");
            Ok(())
        }
        Err(Stop::TooLarge(why)) => Err(Unreadable::too_large(why)),
    }
}

enum Stop {
    Malformed,
    TooLarge(&'static str),
}

struct Reader<'a, 'v> {
    text: &'a [u8],
    at: usize,
    /// The path to where the reader is.
    name: Vec<u8>,
    values: &'v mut Values,
    fields: u32,
    depth: u32,
}

/// What stands around the value that comes next.
enum Open {
    Object { name: usize },
    Array { name: usize, index: usize },
}

impl Reader<'_, '_> {
    fn document(&mut self) -> Result<(), Stop> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            // A value begins here.
            self.blanks();
            match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    self.deeper(&open)?;
                    let name = self.name.len();
                    self.blanks();
                    if self.peek() == Some(b'}') {
                        self.at += 1;
                    } else {
                        self.key()?;
                        open.push(Open::Object { name });
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    self.deeper(&open)?;
                    let name = self.name.len();
                    self.blanks();
                    if self.peek() == Some(b']') {
                        self.at += 1;
                    } else {
                        self.index(0);
                        open.push(Open::Array { name, index: 0 });
                        continue;
                    }
                }
                Some(b'"') => {
                    let mut text = Vec::new();
                    let whole = self.string(&mut text);
                    if whole.is_ok() {
                        self.add(&text)?;
                    }
                    whole?;
                }
                Some(_) => self.scalar()?,
                None => return Err(Stop::Malformed),
            }
            // A value has ended.
            loop {
                self.blanks();
                match open.last_mut() {
                    None => return if self.at == self.text.len() { Ok(()) } else { Err(Stop::Malformed) },
                    Some(Open::Object { name }) => {
                        let name = *name;
                        self.name.truncate(name);
                        match self.next() {
                            Some(b',') => {
                                self.blanks();
                                self.key()?;
                                break;
                            }
                            Some(b'}') => drop(open.pop()),
                            _ => return Err(Stop::Malformed),
                        }
                    }
                    Some(Open::Array { name, index }) => {
                        let name = *name;
                        *index += 1;
                        let index = *index;
                        self.name.truncate(name);
                        match self.next() {
                            Some(b',') => {
                                self.index(index);
                                break;
                            }
                            Some(b']') => drop(open.pop()),
                            _ => return Err(Stop::Malformed),
                        }
                    }
                }
            }
        }
    }

    fn deeper(&self, open: &[Open]) -> Result<(), Stop> {
        match open.len() >= self.depth as usize {
            true => Err(Stop::TooLarge("it is nested deeper than `waf.body.depth`")),
            false => Ok(()),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += usize::from(byte.is_some());
        byte
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn index(&mut self, index: usize) {
        self.name.extend_from_slice(format!(".array_{index}").as_bytes());
    }

    /// `"key":`, which becomes part of the name.
    fn key(&mut self) -> Result<(), Stop> {
        let mut key = Vec::new();
        if self.peek() != Some(b'"') {
            return Err(Stop::Malformed);
        }
        self.string(&mut key)?;
        self.name.push(b'.');
        self.name.extend_from_slice(&key);
        self.blanks();
        if self.next() == Some(b':') { Ok(()) } else { Err(Stop::Malformed) }
    }

    fn string(&mut self, text: &mut Vec<u8>) -> Result<(), Stop> {
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            let plain = plain.ok_or(Stop::Malformed)?;
            text.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.next() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.escape(text)?,
                _ => return Err(Stop::Malformed),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Stop> {
        let byte = match self.next() {
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'u') => {
                let mut code = self.unit()?;
                if (0xd800..0xdc00).contains(&code)
                    && self.text[self.at..].starts_with(b"\\u")
                    && let before = self.at
                    && {
                        self.at += 2;
                        true
                    }
                {
                    match self.unit()? {
                        low @ 0xdc00..0xe000 => code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00),
                        _ => self.at = before,
                    }
                }
                let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(Stop::Malformed),
        };
        text.push(byte);
        Ok(())
    }

    fn unit(&mut self) -> Result<u32, Stop> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(Stop::Malformed)?;
        let digits = std::str::from_utf8(digits).map_err(|_| Stop::Malformed)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Stop::Malformed);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| Stop::Malformed)
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<(), Stop> {
        let rest = &self.text[self.at..];
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let end = rest.iter().position(|byte| !word(byte)).unwrap_or(rest.len());
        let text = &rest[..end];
        match text {
            b"null" => self.add(b"")?,
            b"true" | b"false" => self.add(text)?,
            _ if is_number(text) => self.add(text)?,
            _ => return Err(Stop::Malformed),
        }
        self.at += end;
        Ok(())
    }

    fn add(&mut self, text: &[u8]) -> Result<(), Stop> {
        self.fields =
            self.fields.checked_sub(1).ok_or(Stop::TooLarge("it has more values than `waf.body.fields`"))?;
        let (name, text) = (self.values.put(&self.name), self.values.put(text));
        self.values.member(Collection::Json, name, text);
        Ok(())
    }
}

/// RFC 8259 section 6.
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text[0] == b'0') {
        return false;
    }
    let mut rest = &text[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(text: &str) -> (Vec<String>, Option<&'static str>) {
        let (mut values, mut state) = (Values::default(), BodyState::default());
        let bounds = Bounds { limit: 1 << 20, depth: 4, fields: 8 };
        if let Err(unreadable) = read(text.as_bytes(), &bounds, &mut values, &mut state) {
            return (vec![unreadable.why.to_owned()], None);
        }
        let all = (0..values.len()).filter_map(|at| values.get(at)).filter(|value| !value.kind.is_name());
        let shown = all.map(|value| {
            let (name, text) = (values.name(value), values.text(value));
            format!("{}={}", name.escape_ascii(), text.escape_ascii())
        });
        (shown.collect(), state.error)
    }

    #[test]
    fn values_are_named_by_their_paths() {
        let (got, error) =
            read_as(r#" {"a":{"b":[1,-2.50e+1,{}],"c":null},"a":"\u003c\ud83d\ude00\n","d":true} "#);
        assert_eq!(error, None);
        assert_eq!(
            got,
            [
                "json.a.b.array_0=1",
                "json.a.b.array_1=-2.50e+1",
                "json.a.c=",
                "json.a=<\\xf0\\x9f\\x98\\x80\\n",
                "json.d=true"
            ]
        );
        assert_eq!(read_as("[[\"x\"]]").0, ["json.array_0.array_0=x"]);
        assert_eq!(read_as("\"x\"").0, ["json=x"]);
    }

    #[test]
    fn what_is_broken_is_told_and_what_stands_before_it_stays() {
        for (text, want) in [
            (r#"{"a":1,"b":"#, &["json.a=1"][..]),
            (r#"{"a":"x"} y"#, &["json.a=x"]),
            (r#"{"a":01}"#, &[]),
            ("[1,]", &["json.array_0=1"]),
            ("{a:1}", &[]),
            ("\"\\q\"", &[]),
            ("nul", &[]),
        ] {
            let (got, error) = read_as(text);
            assert_eq!(
                (got.as_slice(), error),
                (
                    want.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().as_slice(),
                    Some("JSON parsing error")
                ),
                "{text}"
            );
        }
        assert_eq!(read_as("[[[[[1]]]]]").0, ["it is nested deeper than `waf.body.depth`"]);
        assert_eq!(read_as("[1,2,3,4,5,6,7,8,9]").0, ["it has more values than `waf.body.fields`"]);
    }
}
