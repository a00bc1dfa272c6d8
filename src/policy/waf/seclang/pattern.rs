//! The dialect of expressions: from PCRE over bytes to that of the operator `regex`.
//!
//! What both know means the same in both, `$` before a final line feed aside. What only PCRE knows
//! and can be said otherwise is rewritten here; look-around, back-references, atomic groups and possessive
//! repetition stay, and the operator runs them. What only Rust knows (`(?R)`, `(?u)`, `[a&&b]`) does not
//! get through as what it is there, and what can be said in no way is refused here by its name.

mod class;
mod escape;
mod group;

/// An expression that cannot be said in the other dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Untranslated {
    pub(super) why: String,
    /// The byte of the expression as written.
    pub(super) at: usize,
}

/// What is said of an expression that is refused,
pub(in crate::policy::waf) const UNREADABLE: &str = "this is not a regular expression that is run here";
/// and what to do.
pub(in crate::policy::waf) const SYNTAX: &str = "the syntax is PCRE's over bytes, without recursion, conditions, verbs and `\\K`; take the rule out with \
     `SecRuleRemoveById` behind it, or write it otherwise";

type Done<T> = Result<T, Untranslated>;

/// An expression as the operator `regex` understands it.
pub(super) fn translate(pattern: &str) -> Done<String> {
    // How many groups there are decides whether `\12` is one of them or a line feed.
    let groups = Translator::new(pattern, usize::MAX).run()?.opened;
    Ok(Translator::new(pattern, groups).run()?.out)
}

struct Translator<'p> {
    pattern: &'p str,
    at: usize,
    out: String,
    /// Whether blanks and comments are left out (`x`), here and in the groups around.
    verbose: bool,
    around: Vec<bool>,
    /// How many groups were opened that are kept, and how many there are.
    opened: usize,
    groups: usize,
}

impl<'p> Translator<'p> {
    fn new(pattern: &'p str, groups: usize) -> Translator<'p> {
        let (out, around) = (String::with_capacity(pattern.len()), Vec::new());
        Translator { pattern, at: 0, out, verbose: false, around, opened: 0, groups }
    }

    fn run(mut self) -> Done<Translator<'p>> {
        while let Some(c) = self.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                ')' => {
                    self.verbose = self.around.pop().unwrap_or(self.verbose);
                    self.out.push(')');
                }
                '{' => match repetition(self.rest()) {
                    Some(counts) => {
                        self.at += counts.len();
                        self.out.push('{');
                        self.out.push_str(counts);
                    }
                    // A brace that stands for itself.
                    None => self.out.push_str("\\{"),
                },
                '}' => self.out.push_str("\\}"),
                ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r' if self.verbose => {}
                '#' if self.verbose => {
                    self.at += self.rest().find('\n').map_or(self.rest().len(), |end| end + 1);
                }
                c if c.is_ascii() => self.out.push(c),
                c => bytes(c, &mut self.out),
            }
        }
        Ok(self)
    }

    fn rest(&self) -> &'p str {
        self.pattern.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    /// Takes what stands up to an end, and the end.
    fn until(&mut self, end: char) -> Done<&'p str> {
        match self.rest().split_once(end) {
            Some((inside, _)) => {
                self.at += inside.len() + end.len_utf8();
                Ok(inside)
            }
            None => self.refuse(format!("`{end}` is missing")),
        }
    }

    fn refuse<T>(&self, why: impl Into<String>) -> Done<T> {
        Err(Untranslated { why: why.into(), at: self.at.saturating_sub(1) })
    }
}

/// A character a byte at a time, as an engine without UTF-8 reads it.
fn bytes(c: char, out: &mut String) {
    let mut bytes = [0; 4];
    c.encode_utf8(&mut bytes).bytes().for_each(|byte| out.push_str(&hex(byte)));
}

fn hex(byte: u8) -> String {
    format!("\\x{byte:02x}")
}

/// What stands behind `{` up to its end, where that makes it a repetition.
fn repetition(rest: &str) -> Option<&str> {
    let end = rest.find('}')?;
    let inside = rest.get(..end)?;
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let counts = !least.is_empty() && least.bytes().chain(most.bytes()).all(|byte| byte.is_ascii_digit());
    rest.get(..=end).filter(|_| counts)
}

#[cfg(test)]
mod tests;
