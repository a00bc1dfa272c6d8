//! What stands behind a backslash.

use super::{Done, Translator, bytes, hex};

/// What an escape means both outside of classes and inside.
pub(super) enum Meant {
    /// One byte, and how it is written.
    Byte(u8, String),
    /// Several, as what stands inside of a class.
    Set(&'static str),
    /// All others than those of a set.
    Others(&'static str),
    /// Something else.
    Other(char),
}

impl<'p> Translator<'p> {
    /// Behind a backslash, outside of classes.
    pub(super) fn escape(&mut self) -> Done<()> {
        if let Some(number) = self.reference() {
            self.refer_to(number);
            return Ok(());
        }
        let c = match self.meant()? {
            Meant::Byte(_, written) => {
                self.out.push_str(&written);
                return Ok(());
            }
            Meant::Set(set @ ("\\d" | "\\D" | "\\s" | "\\S" | "\\w" | "\\W")) => {
                self.out.push_str(set);
                return Ok(());
            }
            Meant::Set(set) => {
                self.out.push_str(&format!("[{set}]"));
                return Ok(());
            }
            Meant::Others(set) => {
                self.out.push_str(&format!("[^{set}]"));
                return Ok(());
            }
            Meant::Other(c) => c,
        };
        let written = match c {
            'A' | 'b' | 'B' | 'z' => &*format!("\\{c}"),
            // The first match begins where the text does.
            'G' => "\\A",
            'Z' => "(?=\\n?\\z)",
            'N' => "[^\\n]",
            'C' => "(?s:.)",
            'R' => "(?>\\r\\n|[\\n\\x0b\\x0c\\r\\x85])",
            'E' => "",
            'Q' => {
                let (quoted, all) = match self.rest().split_once("\\E") {
                    Some((quoted, _)) => (quoted, quoted.len() + 2),
                    None => (self.rest(), self.rest().len()),
                };
                self.at += all;
                for c in quoted.chars() {
                    match c.is_ascii() {
                        true => self.out.push_str(&regex_syntax::escape(c.encode_utf8(&mut [0; 4]))),
                        false => bytes(c, &mut self.out),
                    }
                }
                return Ok(());
            }
            'k' => {
                let end = match self.next() {
                    Some('<') => '>',
                    Some('{') => '}',
                    Some('\'') => '\'',
                    _ => return self.refuse("the name of a group is missing"),
                };
                let name = self.name(end)?;
                return self.refer(&name);
            }
            'g' => return self.any_reference(),
            'K' => return self.refuse("`\\K` is not run"),
            'p' | 'P' | 'X' => {
                return self.refuse(format!("expressions are about bytes, and `\\{c}` is not"));
            }
            c if c.is_ascii_alphanumeric() => return self.refuse(format!("`\\{c}` is unknown")),
            c if c.is_ascii() && regex_syntax::is_meta_character(c) => &*format!("\\{c}"),
            // Rust refuses to escape what needs none, or means something else by it (`\<`).
            c if c.is_ascii() => &*c.to_string(),
            c => {
                bytes(c, &mut self.out);
                return Ok(());
            }
        };
        self.out.push_str(written);
        Ok(())
    }

    /// Refers to a group by its number.
    fn refer_to(&mut self, number: usize) {
        // A digit behind it is another matter.
        let apart = self.verbose || self.rest().starts_with(|c: char| c.is_ascii_digit());
        self.out.push_str(&if apart { format!("(?:\\{number})") } else { format!("\\{number}") });
    }

    /// The number of a group, where it is one and not a byte in octal digits.
    fn reference(&mut self) -> Option<usize> {
        let length = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let digits = self.rest().get(..length).filter(|digits| !digits.starts_with('0'))?;
        let number: usize = digits.parse().ok()?;
        let octal = number > 9 && number > self.groups && !digits.starts_with(['8', '9']);
        (!octal).then(|| self.at += length)?;
        Some(number)
    }

    /// `\g1`, `\g{-1}`, `\g{name}`.
    fn any_reference(&mut self) -> Done<()> {
        let text = if self.take("{") {
            self.until('}')?
        } else {
            let length =
                self.rest().bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'-').count();
            let text = self.rest().get(..length).unwrap_or_default();
            self.at += length;
            text
        };
        let number = match (text.strip_prefix('-'), text.strip_prefix('+')) {
            (Some(back), _) => back.parse().ok().and_then(|back| (self.opened + 1).checked_sub(back)),
            (None, Some(on)) => on.parse().ok().and_then(|on: usize| self.opened.checked_add(on)),
            (None, None) => text.parse().ok(),
        };
        match number {
            Some(number) if number > 0 => self.refer_to(number),
            _ if text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => return self.refer(text),
            _ => return self.refuse("`\\g` refers to no group; recursion is not run"),
        }
        Ok(())
    }

    /// Reads one escape as far as it means the same everywhere.
    pub(super) fn meant(&mut self) -> Done<Meant> {
        let Some(c) = self.next() else { return self.refuse("a backslash stands at the end") };
        let byte = |byte| Ok(Meant::Byte(byte, hex(byte)));
        match c {
            'x' if self.take("{") => {
                let digits = self.until('}')?;
                self.coded(digits, 16)
            }
            'x' => {
                let digits = self.digits(2, 16);
                byte(u8::from_str_radix(digits, 16).unwrap_or(0))
            }
            'o' if self.take("{") => {
                let digits = self.until('}')?;
                self.coded(digits, 8)
            }
            '0'..='7' => {
                self.at -= 1;
                let digits = self.digits(3, 8);
                self.coded(digits, 8)
            }
            'c' => match self.next() {
                Some(c @ ' '..='~') => byte(c.to_ascii_uppercase() as u8 ^ 0x40),
                _ => self.refuse("`\\c` takes a letter"),
            },
            'e' => byte(0x1b),
            'a' | 'f' | 'n' | 'r' | 't' => {
                let code = match c {
                    'a' => 7,
                    'f' => 0xc,
                    'n' => b'\n',
                    'r' => b'\r',
                    _ => b'\t',
                };
                Ok(Meant::Byte(code, format!("\\{c}")))
            }
            'd' => Ok(Meant::Set("\\d")),
            'D' => Ok(Meant::Set("\\D")),
            's' => Ok(Meant::Set("\\s")),
            'S' => Ok(Meant::Set("\\S")),
            'w' => Ok(Meant::Set("\\w")),
            'W' => Ok(Meant::Set("\\W")),
            // Vertical blanks, of which Rust knows only the vertical tab by this name.
            'v' => Ok(Meant::Set("\\n\\x0b\\x0c\\r\\x85")),
            'V' => Ok(Meant::Others("\\n\\x0b\\x0c\\r\\x85")),
            'h' => Ok(Meant::Set("\\t \\xa0")),
            'H' => Ok(Meant::Others("\\t \\xa0")),
            c => Ok(Meant::Other(c)),
        }
    }

    fn digits(&mut self, most: usize, radix: u32) -> &'p str {
        let count = self.rest().chars().take(most).take_while(|c| c.is_digit(radix)).count();
        let digits = self.rest().get(..count).unwrap_or_default();
        self.at += count;
        digits
    }

    fn coded(&self, digits: &str, radix: u32) -> Done<Meant> {
        let digits_only = digits.chars().all(|c| c.is_digit(radix));
        match u8::from_str_radix(digits, radix) {
            Ok(code) if digits_only => Ok(Meant::Byte(code, hex(code))),
            _ => self
                .refuse(format!("`{digits}` is not the code of a byte, which is what expressions are about")),
        }
    }
}
