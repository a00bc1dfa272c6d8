//! `[…]`: classes are read in whole, since what stands for itself in them differs.

use super::escape::Meant;
use super::{Done, Translator, hex};

/// What stands in a class.
enum Item {
    /// One byte, and how it is written.
    Byte(u8, String),
    /// Several.
    Set(String),
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

impl Translator<'_> {
    /// Behind `[`.
    pub(super) fn class(&mut self) -> Done<()> {
        for (sign, meaning) in [("[:<:]]", "\\b{start}"), ("[:>:]]", "\\b{end}")] {
            if self.take(sign) {
                self.out.push_str(meaning);
                return Ok(());
            }
        }
        let open = self.at - 1;
        self.out.push('[');
        if self.take("^") {
            self.out.push('^');
        }
        let mut quoted = false;
        let mut first = true;
        loop {
            let Some(item) = self.item(first, &mut quoted)? else {
                return match self.take("]") {
                    true => {
                        self.out.push(']');
                        Ok(())
                    }
                    false => Err(super::Untranslated { why: "unclosed class".to_owned(), at: open }),
                };
            };
            first = false;
            let Item::Byte(least, written) = item else {
                self.write(&item);
                continue;
            };
            // Also where the end is a set, and the dash so stands for itself.
            let range = !quoted && self.rest().starts_with('-') && !self.rest().starts_with("-]");
            if !range {
                self.out.push_str(&written);
                continue;
            }
            self.at += 1;
            self.out.push_str(&written);
            match self.item(false, &mut quoted)? {
                Some(Item::Byte(most, end)) if least <= most => self.out.push_str(&format!("-{end}")),
                Some(Item::Byte(..)) => return self.refuse("a range ends before it begins"),
                Some(set) => {
                    self.out.push_str("\\-");
                    self.write(&set);
                }
                None => self.out.push_str("\\-"),
            }
        }
    }

    fn write(&mut self, item: &Item) {
        let (Item::Byte(_, written) | Item::Set(written)) = item;
        self.out.push_str(written);
    }

    /// The next item; none where the class ends. The first may be `]`.
    fn item(&mut self, first: bool, quoted: &mut bool) -> Done<Option<Item>> {
        loop {
            if *quoted && self.take("\\E") {
                *quoted = false;
                continue;
            }
            if !*quoted && self.take("\\Q") {
                *quoted = true;
                continue;
            }
            if !*quoted && self.take("\\E") {
                continue;
            }
            break;
        }
        if !*quoted && !first && self.rest().starts_with(']') {
            return Ok(None);
        }
        if !*quoted
            && self.rest().starts_with('[')
            && let Some(set) = self.posix()?
        {
            return Ok(Some(Item::Set(set)));
        }
        let Some(byte) = self.pattern.as_bytes().get(self.at).copied() else { return Ok(None) };
        self.at += 1;
        if byte != b'\\' || *quoted {
            return Ok(Some(Item::Byte(byte, plain(byte))));
        }
        Ok(Some(match self.meant()? {
            Meant::Byte(byte, written) => Item::Byte(byte, written),
            Meant::Set(set) => Item::Set(set.to_owned()),
            Meant::Others(set) => Item::Set(format!("[^{set}]")),
            Meant::Other('b') => Item::Byte(8, hex(8)),
            Meant::Other(c) if c.is_ascii_alphanumeric() => {
                return self.refuse(format!("`\\{c}` is unknown in a class"));
            }
            Meant::Other(c) => {
                // The other bytes of a character are items of their own.
                self.at = self.at + 1 - c.len_utf8();
                let byte = self.pattern.as_bytes().get(self.at - 1).copied().unwrap_or_default();
                Item::Byte(byte, plain(byte))
            }
        }))
    }

    /// `[:alpha:]`, if that is what stands here.
    fn posix(&mut self) -> Done<Option<String>> {
        let rest = self.rest();
        let Some(sign @ (b':' | b'.' | b'=')) = rest.as_bytes().get(1) else { return Ok(None) };
        let inside = rest.get(2..).unwrap_or_default();
        let Some((name, _)) = inside.split_once([char::from(*sign), ']']) else { return Ok(None) };
        if !inside.get(name.len() + 1..).is_some_and(|behind| behind.starts_with(']'))
            || inside.as_bytes().get(name.len()) == Some(&b']')
        {
            return Ok(None);
        }
        self.at += 2;
        if *sign != b':' || !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return self.refuse(format!("`{name}` is no class of characters"));
        }
        self.at += name.len() + 2;
        Ok(Some(format!("[:{name}:]")))
    }
}

/// A byte of a class that stands for itself.
fn plain(byte: u8) -> String {
    match byte {
        b'[' | b']' | b'\\' | b'^' | b'-' | b'&' | b'~' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        byte => hex(byte),
    }
}
