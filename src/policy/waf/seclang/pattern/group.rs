//! What an opening parenthesis begins.

use super::{Done, Translator};

impl Translator<'_> {
    /// Behind `(`.
    pub(super) fn group(&mut self) -> Done<()> {
        if self.rest().starts_with('*') {
            return self.refuse("verbs such as `(*ANYCRLF)` are not run");
        }
        if !self.take("?") {
            self.opened += 1;
            return self.open("(");
        }
        if self.take("#") {
            self.until(')')?;
            return Ok(());
        }
        for sign in [":", "=", "!", "<=", "<!", ">"] {
            if self.take(sign) {
                return self.open(&format!("(?{sign}"));
            }
        }
        if self.take("P=") {
            let name = self.name(')')?;
            return self.refer(&name);
        }
        for (sign, end) in [("P<", '>'), ("<", '>'), ("'", '\'')] {
            if self.take(sign) {
                let name = self.name(end)?;
                self.opened += 1;
                return self.open(&format!("(?P<{name}>"));
            }
        }
        match self.rest().as_bytes() {
            [b'R' | b'&' | b'0'..=b'9' | b'+', ..] | [b'P', b'>', ..] | [b'-', b'0'..=b'9', ..] => {
                self.refuse("recursion is not run")
            }
            [b'(', ..] => self.refuse("conditions are not run"),
            [b'|', ..] => self.refuse("groups whose alternatives share their numbers are not run"),
            _ => self.flags(),
        }
    }

    fn open(&mut self, sign: &str) -> Done<()> {
        self.around.push(self.verbose);
        self.out.push_str(sign);
        Ok(())
    }

    /// The name of a group, up to this end.
    pub(super) fn name(&mut self, end: char) -> Done<String> {
        let name = self.until(end)?;
        let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if named { Ok(name.to_owned()) } else { self.refuse(format!("`{name}` is no name of a group")) }
    }

    /// Refers to a group by its name.
    pub(super) fn refer(&mut self, name: &str) -> Done<()> {
        self.out.push_str(&format!("(?P={name})"));
        Ok(())
    }

    /// Flags, with a group of their own or for the rest of this one.
    fn flags(&mut self) -> Done<()> {
        let before = self.verbose;
        let (mut on, mut off, mut set) = (String::new(), String::new(), true);
        loop {
            match self.next() {
                Some('-') if set => set = false,
                Some('x') if !self.rest().starts_with('x') => self.verbose = set,
                Some(c @ ('i' | 'm' | 's' | 'U')) => {
                    let list = if set { &mut on } else { &mut off };
                    if !list.contains(c) {
                        list.push(c);
                    }
                    // What is said twice is off, as it would be read.
                    on.retain(|c| !off.contains(c));
                }
                Some(end @ (':' | ')')) => {
                    let flags = if off.is_empty() { on } else { format!("{on}-{off}") };
                    match (end, flags.is_empty()) {
                        (')', true) => {}
                        (')', false) => self.out.push_str(&format!("(?{flags})")),
                        _ => {
                            self.around.push(before);
                            self.out.push_str(&format!("(?{flags}:"));
                        }
                    }
                    return Ok(());
                }
                Some(c) => return self.refuse(format!("`(?{c}` is not run")),
                None => return self.refuse("`)` is missing"),
            }
        }
    }
}
