//! An expression is read: its leaves by `regex-syntax`, and around them what that does not know.
//!
//! The dialect is that of the linear engine with four things added (look-around, back-references, atomic
//! groups, possessive repetition), so that an expression means the same whichever engine runs it: over
//! bytes, `\w`, `\b` and `(?i)` about ASCII, `.` for a line feed too.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;

use super::tree::{Node, Tree, Unread};

/// How deep groups may be nested.
const MAX_DEPTH: usize = 64;
/// How many repetitions may stand behind each other: each is one of the one before.
const MAX_REPEATS: usize = 2;
/// The largest number in a counted repetition.
const MAX_COUNT: u32 = 100_000;

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    nocase: bool,
    lines: bool,
    dot_all: bool,
    crlf: bool,
    swap_greed: bool,
    verbose: bool,
    unicode: bool,
}

struct Reader<'p> {
    pattern: &'p str,
    at: usize,
    depth: usize,
    flags: Flags,
    groups: usize,
    names: Vec<(&'p str, usize)>,
    /// Where groups are referred to: they may stand behind.
    references: Vec<(usize, Reference<'p>)>,
    hard: bool,
    /// Where Unicode is asked for.
    unicode: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Reference<'p> {
    Number(usize),
    Name(&'p str),
}

type Read<T> = Result<T, (String, usize)>;

impl Tree {
    pub(in super::super) fn read(pattern: &str) -> Result<Tree, Unread> {
        let flags = Flags { dot_all: true, ..Flags::default() };
        let (groups, names, references) = (1, Vec::new(), Vec::new());
        let (hard, unicode) = (false, None);
        let mut reader = Reader { pattern, at: 0, depth: 0, flags, groups, names, references, hard, unicode };
        let root = reader.whole();
        let Reader { groups, hard, .. } = reader;
        match root {
            Ok(root) => Ok(Tree { root, groups, hard }),
            Err((what, at)) => Err(Unread { what, at, hard }),
        }
    }
}

impl<'p> Reader<'p> {
    fn whole(&mut self) -> Read<Node> {
        let mut root = self.either()?;
        if self.at < self.pattern.len() {
            return Err(("unopened group".to_owned(), self.at));
        }
        self.resolve(&mut root)?;
        match self.unicode.filter(|_| self.hard) {
            Some(at) => {
                let why = "this flag does not go with look-around, back-references or possessive repetition";
                Err((why.to_owned(), at))
            }
            None => Ok(root),
        }
    }

    fn rest(&self) -> &'p str {
        self.pattern.get(self.at..).unwrap_or_default()
    }

    fn next_is(&self, text: &str) -> bool {
        self.rest().starts_with(text)
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.next_is(text);
        if found {
            self.at += text.len();
        }
        found
    }

    /// What means nothing with the flag `x`: blanks and comments.
    fn skip_blanks(&mut self) {
        while self.flags.verbose {
            let rest = self.rest();
            let length = match rest.chars().next() {
                Some('#') => rest.find('\n').map_or(rest.len(), |end| end + 1),
                Some(c) if c.is_whitespace() => c.len_utf8(),
                _ => return,
            };
            self.at += length;
        }
    }

    fn fail<T>(&self, what: &str) -> Read<T> {
        Err((what.to_owned(), self.at))
    }

    fn either(&mut self) -> Read<Node> {
        let mut branches = vec![self.sequence()?];
        while self.take("|") {
            branches.push(self.sequence()?);
        }
        Ok(one_of(branches, Node::Either))
    }

    fn sequence(&mut self) -> Read<Node> {
        let mut parts = Vec::new();
        loop {
            self.skip_blanks();
            let Some(c) = self.rest().chars().next() else { break };
            let node = match c {
                '|' | ')' => break,
                '(' => match self.group()? {
                    Some(node) => node,
                    None => continue,
                },
                '*' | '+' | '?' => return self.fail("repetition operator missing expression"),
                '\\' => self.escape()?,
                '[' => {
                    let length = class_length(self.rest());
                    self.leaf(length)?
                }
                c => self.leaf(c.len_utf8())?,
            };
            parts.push(self.repeated(node)?);
        }
        Ok(one_of(parts, Node::Sequence))
    }

    /// The next bytes as `regex-syntax` reads them.
    fn leaf(&mut self, length: usize) -> Read<Node> {
        let piece = self.rest().get(..length).unwrap_or_else(|| self.rest());
        let Flags { nocase, lines, dot_all, crlf, verbose, unicode, .. } = self.flags;
        let mut parser = ParserBuilder::new()
            .utf8(false)
            .unicode(unicode)
            .ignore_whitespace(verbose)
            .case_insensitive(nocase)
            .multi_line(lines)
            .dot_matches_new_line(dot_all)
            .crlf(crlf)
            .build();
        let hir = parser.parse(piece).map_err(|error| (super::super::cause(&error).0, self.at))?;
        self.at += piece.len();
        Ok(Node::Leaf(hir))
    }

    // === groups ===

    /// What an opening parenthesis begins; nothing where it only sets flags.
    fn group(&mut self) -> Read<Option<Node>> {
        let start = self.at;
        let flags = self.flags;
        self.at += 1;
        let around = |behind, negated| move |node| Node::Around { behind, negated, node: Box::new(node) };
        let wrap: Box<dyn FnOnce(Node) -> Node> = if !self.take("?") {
            self.kept(None)
        } else if self.take("=") {
            Box::new(around(false, false))
        } else if self.take("!") {
            Box::new(around(false, true))
        } else if self.take("<=") {
            Box::new(around(true, false))
        } else if self.take("<!") {
            Box::new(around(true, true))
        } else if self.take(">") {
            Box::new(|node| Node::Atomic(Box::new(node)))
        } else if self.take("P=") {
            let name = self.until(')')?;
            return Ok(Some(self.back(start, Reference::Name(name))));
        } else if self.take("P<") || self.take("<") {
            let name = self.until('>')?;
            self.kept(Some(name))
        } else {
            match self.flags()? {
                true => Box::new(|node| node),
                false => return Ok(None),
            }
        };
        let asks = ["(?=", "(?!", "(?<=", "(?<!", "(?>"];
        self.hard |=
            asks.iter().any(|ask| self.pattern.get(start..).is_some_and(|from| from.starts_with(ask)));
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(("groups are nested too deep".to_owned(), start));
        }
        let node = self.either()?;
        if !self.take(")") {
            return Err(("unclosed group".to_owned(), start));
        }
        self.depth -= 1;
        self.flags = flags;
        Ok(Some(wrap(node)))
    }

    fn kept(&mut self, name: Option<&'p str>) -> Box<dyn FnOnce(Node) -> Node> {
        let number = self.groups;
        self.groups += 1;
        self.names.extend(name.map(|name| (name, number)));
        Box::new(move |node| Node::Group(number, Box::new(node)))
    }

    fn until(&mut self, end: char) -> Read<&'p str> {
        let rest = self.rest();
        let length = rest.find(end).map_or(rest.len(), |length| length + 1);
        let name = rest.get(..length).unwrap_or_default().trim_end_matches(end);
        let named = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !named || !rest.get(..length).unwrap_or_default().ends_with(end) {
            return self.fail("invalid name of a group");
        }
        self.at += length;
        Ok(name)
    }

    /// Flags behind `(?`; says whether a group of their own follows.
    fn flags(&mut self) -> Read<bool> {
        let mut on = true;
        for c in self.rest().chars() {
            match c {
                ':' | ')' => {
                    self.at += 1;
                    return Ok(c == ':');
                }
                '-' if on => on = false,
                'i' => self.flags.nocase = on,
                'm' => self.flags.lines = on,
                's' => self.flags.dot_all = on,
                'R' => self.flags.crlf = on,
                'U' => self.flags.swap_greed = on,
                'x' => self.flags.verbose = on,
                'u' => {
                    self.flags.unicode = on;
                    self.unicode = self.unicode.or(on.then_some(self.at));
                }
                _ => return self.fail("this kind of group is unknown"),
            }
            self.at += 1;
        }
        self.fail("unclosed group")
    }

    // === escapes ===

    fn escape(&mut self) -> Read<Node> {
        let start = self.at;
        let mut chars = self.rest().chars().skip(1);
        let (Some(c), follows) = (chars.next(), chars.next()) else {
            return self.fail("incomplete escape sequence");
        };
        match c {
            '1'..='9' => {
                self.at += 1;
                let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
                let number = self.rest().get(..digits).and_then(|digits| digits.parse().ok());
                self.at += digits;
                Ok(self.back(start, Reference::Number(number.unwrap_or(usize::MAX))))
            }
            'k' => {
                self.at += 2;
                let end = match follows {
                    Some('<') => '>',
                    Some('{') => '}',
                    Some('\'') => '\'',
                    _ => return self.fail("the name of a group is missing"),
                };
                self.at += 1;
                let name = self.until(end)?;
                Ok(self.back(start, Reference::Name(name)))
            }
            // `\x41`, and everything that has braces of its own.
            c => {
                let braced = follows == Some('{')
                    && (matches!(c, 'x' | 'u' | 'U' | 'p' | 'P')
                        || c == 'b'
                            && !self.rest().get(3..).is_some_and(|rest| rest.starts_with(char::is_numeric)));
                let length = match c {
                    _ if braced => self.rest().find('}').map_or(self.rest().len(), |end| end + 1),
                    'x' => 4,
                    'u' => 6,
                    'U' => 10,
                    'p' | 'P' => 2 + follows.map_or(0, char::len_utf8),
                    c => 1 + c.len_utf8(),
                };
                self.leaf(length)
            }
        }
    }

    /// A reference; the group is put in once all are known.
    fn back(&mut self, at: usize, to: Reference<'p>) -> Node {
        self.hard = true;
        self.references.push((at, to));
        Node::Back { group: self.references.len() - 1, nocase: self.flags.nocase }
    }

    fn resolve(&self, node: &mut Node) -> Read<()> {
        match node {
            Node::Leaf(_) => Ok(()),
            Node::Sequence(nodes) | Node::Either(nodes) => {
                nodes.iter_mut().try_for_each(|node| self.resolve(node))
            }
            Node::Group(_, node)
            | Node::Atomic(node)
            | Node::Repeat { node, .. }
            | Node::Around { node, .. } => self.resolve(node),
            Node::Back { group, .. } => {
                let Some((at, reference)) = self.references.get(*group) else {
                    return self.fail("a reference to no group");
                };
                let found = match reference {
                    Reference::Number(number) => Some(*number).filter(|number| *number < self.groups),
                    Reference::Name(name) => {
                        self.names.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
                    }
                };
                *group = found.ok_or_else(|| ("a reference to no group".to_owned(), *at))?;
                Ok(())
            }
        }
    }

    // === repetition ===

    fn repeated(&mut self, mut node: Node) -> Read<Node> {
        for _ in 0..=MAX_REPEATS {
            self.skip_blanks();
            let (min, max) = match self.rest().chars().next() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    let (min, max) = self.counts()?;
                    if max.is_some_and(|max| max < min) {
                        return self.fail("invalid repetition count range, the start must be <= the end");
                    }
                    (min, max)
                }
                _ => return Ok(node),
            };
            if self.next_is("{") {
                self.at += self.rest().find('}').unwrap_or(0);
            }
            self.at += 1;
            self.skip_blanks();
            let lazy = self.take("?");
            let possessive = !lazy && self.take("+");
            self.hard |= possessive;
            let greedy = possessive || lazy == self.flags.swap_greed;
            node = Node::Repeat { node: Box::new(node), min, max, greedy };
            if possessive {
                node = Node::Atomic(Box::new(node));
            }
        }
        self.fail("repetitions are nested too deep")
    }

    fn counts(&self) -> Read<(u32, Option<u32>)> {
        let inner = self.rest().get(1..).and_then(|rest| rest.split_once('}')).map(|(inner, _)| inner);
        let number = |text: &str| text.trim().parse().ok().filter(|number| *number <= MAX_COUNT);
        let read = inner.and_then(|inner| match inner.split_once(',') {
            None => number(inner).map(|number| (number, Some(number))),
            Some((least, most)) if most.trim().is_empty() => Some((number(least)?, None)),
            Some((least, most)) => Some((number(least)?, Some(number(most)?))),
        });
        match read {
            Some(read) => Ok(read),
            None => self.fail("repetition quantifier expects a valid decimal"),
        }
    }
}

fn one_of(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match (nodes.len(), nodes.pop()) {
        (1, Some(node)) => node,
        (_, None) => Node::Leaf(Hir::empty()),
        (_, Some(last)) => {
            nodes.push(last);
            many(nodes)
        }
    }
}

/// How long the class is that a text begins with.
fn class_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => at += bytes.get(at..).map_or(0, |rest| usize::from(!rest.is_empty())),
            b'[' => {
                depth += 1;
                at += usize::from(bytes.get(at) == Some(&b'^'));
                // Stands for itself here.
                at += usize::from(bytes.get(at) == Some(&b']'));
            }
            b']' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    text.len()
}
