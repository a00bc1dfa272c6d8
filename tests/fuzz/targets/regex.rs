//! Expressions, above all those whose steps are counted: every one is refused or ends within its steps, and
//! what `fancy-regex` means by it too is found in the same place.
#![no_main]

use std::fmt::Write;

use fancy_regex::{BytesMode, RegexBuilder};
use libfuzzer_sys::fuzz_target;
use portcullis::policy::waf::operators::Trial;

/// Makes an expression of bytes.
struct Maker<'a> {
    bytes: &'a [u8],
    out: String,
    groups: usize,
    /// Whether other engines mean the same by it.
    common: bool,
}

const ATOMS: &[&str] = &[
    "a",
    "b",
    "A",
    "=",
    " ",
    ".",
    r"\w",
    r"\W",
    r"\s",
    r"\d",
    "[^a]",
    "[ab=]",
    r"[^\w ]",
    r"\xe9",
    "[[:alpha:]]",
    r"\b",
    r"\B",
    "^",
    "$",
    "(?-i:a)",
    "(?i:B)",
    "ab",
    "",
    "(?m:^)",
    "(?-s:.)",
    r"\A",
    r"\z",
];
/// Of one length each, which is what `fancy-regex` looks behind by.
const BEHIND: &[&str] = &["a", "ab", r"\w", "=", "[^b].", r"\ba", "^", "(?i)A"];
const TIMES: &[(&str, bool)] = &[
    ("*", true),
    ("+", true),
    ("?", false),
    ("*?", true),
    ("+?", true),
    ("??", false),
    ("{2}", true),
    ("{1,2}", true),
    ("{2,}", true),
    ("*+", true),
    ("++", true),
    ("?+", false),
    ("{0}", false),
    ("{1}", false),
    ("{1000}", true),
    ("{0,1000}?", true),
    ("{100000}", true),
    ("{0,3}+", true),
];

impl Maker<'_> {
    fn next(&mut self) -> usize {
        let (first, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        self.bytes = rest;
        usize::from(*first)
    }

    fn inside(&mut self, open: &str, depth: usize) -> bool {
        self.out.push_str(open);
        let idle = self.either(depth);
        self.out.push(')');
        idle
    }

    /// Writes alternatives; says whether they may match nothing.
    fn either(&mut self, depth: usize) -> bool {
        let mut idle = self.sequence(depth);
        while self.next() % 4 == 1 {
            self.out.push('|');
            idle |= self.sequence(depth);
        }
        idle
    }

    fn sequence(&mut self, depth: usize) -> bool {
        let mut idle = true;
        for _ in 0..=self.next() % 4 {
            idle &= self.part(depth);
        }
        idle
    }

    fn part(&mut self, depth: usize) -> bool {
        let kind = if depth == 0 { 0 } else { self.next() % 10 };
        match kind {
            0..=3 => {
                let atom = ATOMS[self.next() % ATOMS.len()];
                self.out.push_str(atom);
                let places = ["", r"\b", r"\B", "^", "$", "(?m:^)", r"\A", r"\z"];
                places.contains(&atom)
            }
            4 => {
                self.groups += 1;
                self.inside("(", depth - 1)
            }
            5 | 6 => {
                let idle = self.inside("(?:", depth - 1);
                let (times, several) = TIMES[self.next() % TIMES.len()];
                self.out.push_str(times);
                // A round that matches nothing ends the repetition here and in PCRE, and not in `regex`.
                self.common &= !(idle && several);
                idle || !(times.starts_with('+') || times.starts_with("{1") || times.starts_with("{2"))
            }
            7 => {
                let open = ["(?=", "(?!"][self.next() % 2];
                self.inside(open, depth - 1);
                true
            }
            8 => match self.next() % 4 {
                0 => self.inside("(?>", depth - 1),
                1 => {
                    // Looks back by several lengths, which `fancy-regex` does not do here.
                    self.common = false;
                    self.inside("(?<=", depth - 1);
                    true
                }
                which => {
                    let behind = BEHIND[self.next() % BEHIND.len()];
                    let sign = ["=", "!"][which % 2];
                    write!(self.out, "(?<{sign}{behind})").expect("into a string");
                    true
                }
            },
            _ => {
                let group = 1 + self.next() % (self.groups + 1);
                write!(self.out, r"(?:\{group})").expect("into a string");
                true
            }
        }
    }
}

fn made(bytes: &[u8]) -> (String, bool) {
    let mut maker = Maker { bytes, out: String::new(), groups: 0, common: true };
    let flags = ["", "(?i)", "(?m)", "(?-s)"][maker.next() % 4];
    maker.out.push_str(flags);
    maker.either(6);
    (maker.out, maker.common)
}

fuzz_target!(|data: (u8, &[u8], &[u8])| {
    let (how, pattern, text) = data;
    let (pattern, common) = match (how % 4, std::str::from_utf8(pattern)) {
        (0, Ok(pattern)) => (pattern.to_owned(), false),
        _ => made(pattern),
    };
    let Ok(trial) = Trial::new(&pattern) else { return };
    // Sometimes a long text of many rounds.
    let rounds = if how >= 0xf0 && !text.is_empty() { (128 << 10) / text.len() } else { 1 };
    let text = text.repeat(rounds);
    for budget in [1 << 40, 1 << 12] {
        let tried = trial.judge(&text, budget);
        assert!(tried.spent <= Trial::MOST.min(budget), "{pattern:?} takes {}", tried.spent);
        if let Some(matches) = tried.matches {
            assert_eq!(trial.find(&text).is_some(), matches, "{pattern:?} on {}", text.escape_ascii());
        }
    }
    if !common || text.len() > 256 {
        return;
    }
    let Some(matches) = trial.judge(&text, 1 << 40).matches else { return };
    let mut builder = RegexBuilder::new(&pattern);
    builder.bytes_mode(BytesMode::Ascii).dot_matches_new_line(true).backtrack_limit(100_000);
    let Ok(other) = builder.build() else { return };
    let Ok(want) = other.find(text.as_slice()) else { return };
    let (got, want) = (trial.find(&text), want.map(|found| found.range()));
    assert_eq!(got.is_some(), matches, "{pattern:?} on {}", text.escape_ascii());
    assert_eq!(got, want, "{pattern:?} on {}", text.escape_ascii());
});
