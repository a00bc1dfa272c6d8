//! The piece of a file that shows a place, small whatever the file is like.
//!
//! A policy may be one line of a megabyte, and a place may be all of it. The renderer gets a few
//! lines at most, long ones cut around the place, so that its cost and its output stay bounded.

use std::ops::Range;

use crate::policy::diagnostic::Place;
use crate::policy::source::Sources;

/// A few lines around a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// The lines.
    pub(super) text: String,
    /// The number of the first one.
    pub(super) line: u32,
    /// The place in `text`, in bytes.
    pub(super) span: Range<usize>,
    /// The column in the file where the place begins, in characters from 1.
    pub(super) column: u32,
    /// Other places that are near enough to be shown in the same lines; none for those that are not.
    pub(super) others: Vec<Option<Range<usize>>>,
    /// Whether the beginning of the first line was cut off: then `text` is a few words around the
    /// place, and the column is not the one that it shows.
    pub(super) cut: bool,
}

impl Excerpt {
    /// The lines that a place covers, as far as they can be shown.
    pub(super) fn new(sources: &Sources, place: Place, others: &[Place]) -> Excerpt {
        let source = sources.get(place.file);
        let (text, policy) = source.map_or(("", true), |source| (&*source.text, source.policy));
        let program = source.is_some_and(|source| source.program);
        let masked = |text: &str| match (policy, program) {
            (_, true) => text.to_owned(),
            (true, false) => mask_values(text),
            (false, false) => mask_entries(text),
        };
        let shown = lines(text, place);
        let begins = sources.line_column(place);
        let span = shown.place.clone();
        if span.start - shown.lines.start > BEFORE {
            let from = text.floor_char_boundary(span.start - AROUND);
            let to = text.floor_char_boundary(shown.lines.end.min(span.start + AROUND));
            let tail = if to < shown.lines.end { CUT } else { "" };
            let span = span.start - from + CUT.len()..span.end.min(to) - from + CUT.len();
            // What stands before is not seen, so neither is whether this is part of a secret.
            let hidden = !program && (!policy || mentions_secret(&text[shown.lines.start..to]));
            let words = if hidden { stars(&text[from..to]) } else { text[from..to].to_owned() };
            let text = format!("{CUT}{words}{tail}");
            let others = vec![None; others.len()];
            return Excerpt { text, line: begins.line, span, column: begins.column, others, cut: true };
        }
        let mut all = shown.lines;
        let mut near = Vec::new();
        for other in others {
            let lines = lines(text, *other);
            let joined = all.start.min(lines.lines.start)..all.end.max(lines.lines.end);
            let fits = other.file == place.file && joined.len() <= NEAR;
            if fits {
                all = joined;
            }
            near.push(fits.then_some(lines.place));
        }
        let to = text.floor_char_boundary(all.end.min(span.start.max(all.start + NEAR) + BEHIND));
        let tail = if to < all.end { CUT } else { "" };
        let within = |span: Range<usize>| span.start - all.start..span.end.min(to) - all.start;
        let first = Place { start: all.start as u32, end: all.start as u32, ..place };
        Excerpt {
            text: format!("{}{tail}", masked(&text[all.start..to])),
            line: sources.line_column(first).line,
            span: within(span),
            column: begins.column,
            others: near.into_iter().map(|span| span.map(within)).collect(),
            cut: false,
        }
    }
}

/// The text with the strings under keys such as `hash` blanked out. Every byte stays where it is.
fn mask_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, value)) = next_secret(rest) {
        out.push_str(before);
        let quote = match value.get(..3) {
            Some(three @ ("\"\"\"" | "'''")) => three,
            _ => &value[..1],
        };
        let body = &value[quote.len()..];
        let length = body.find(quote).unwrap_or(body.len());
        out.push_str(quote);
        out.push_str(&stars(&body[..length]));
        rest = &body[length..];
    }
    out + rest
}

/// The text up to the next string that is secret, and from its quotation mark on.
fn next_secret(text: &str) -> Option<(&str, &str)> {
    let keys = SECRET_KEYS.iter().flat_map(|key| text.match_indices(key));
    let begins = keys.filter_map(|(at, key)| {
        let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let value = text[at + key.len()..].trim_start_matches(['"', '\'']).trim_start().strip_prefix('=')?;
        let value = value.trim_start();
        let own = value.starts_with(['"', '\'']) && !text[..at].ends_with(part_of_word);
        own.then(|| text.len() - value.len())
    });
    begins.min().map(|at| text.split_at(at))
}

/// A list or key file with everything behind the names of its entries blanked out: `name:hash`.
fn mask_entries(text: &str) -> String {
    let masked = text.split_inclusive('\n').map(|line| match line.split_once(':') {
        Some((name, rest)) => format!("{name}:{}", stars(rest)),
        None => line.to_owned(),
    });
    masked.collect()
}

fn mentions_secret(text: &str) -> bool {
    next_secret(text).is_some()
}

/// As many stars as the text has bytes, in the same lines.
fn stars(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(c),
            c => out.extend(std::iter::repeat_n('*', c.len_utf8())),
        }
    }
    out
}

/// The keys whose values are never shown.
const SECRET_KEYS: [&str; 4] = ["hash", "secret", "password", "inline"];

/// A place, and the lines that show it.
struct Shown {
    place: Range<usize>,
    lines: Range<usize>,
}

fn lines(text: &str, place: Place) -> Shown {
    let start = text.floor_char_boundary(place.start as usize);
    let end = text.floor_char_boundary(place.end as usize).max(start);
    let line_end = |from: usize| text[from..].find('\n').map_or(text.len(), |at| from + at);
    // A place that covers many lines is shown by its first line.
    let many = text[start..end].matches('\n').nth(MAX_LINES - 1).is_some();
    let end = if many { line_end(start) } else { end };
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    Shown { place: start..end, lines: line_start..line_end(end) }
}

/// How many lines of a place are shown.
const MAX_LINES: usize = 5;

/// How many bytes of a line may stand before a place; the renderer shows those that fit.
const BEFORE: usize = 4096;

/// How many bytes of text may stand between places that are shown together.
const NEAR: usize = 2048;

/// How many bytes are kept from the beginning of a place.
const BEHIND: usize = 400;

/// How many bytes are kept on either side of a place that is further behind in its line.
const AROUND: usize = 30;

/// Stands where something was left out.
const CUT: &str = "…";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::diagnostic::FileId;

    fn check(text: &str, range: Range<usize>) -> Excerpt {
        let sources = Sources::single("a", text);
        let place = Place { file: FileId(0), start: range.start as u32, end: range.end as u32 };
        let excerpt = Excerpt::new(&sources, place, &[]);
        assert!(excerpt.text.len() < BEFORE + NEAR + BEHIND + 8);
        assert!(excerpt.text.get(excerpt.span.clone()).is_some(), "{excerpt:?}");
        excerpt
    }

    #[test]
    fn a_place_is_shown_in_its_line() {
        let excerpt = check("a = 1\nb = 2\nc = 3\n", 10..11);
        assert_eq!((excerpt.text.as_str(), excerpt.line, excerpt.column), ("b = 2", 2, 5));
        assert_eq!(&excerpt.text[excerpt.span], "2");
    }

    #[test]
    fn a_place_of_a_few_lines_is_shown_whole_and_one_of_many_by_its_first() {
        assert_eq!(check("a = [\n1,\n]\n", 4..10).text, "a = [\n1,\n]");
        assert_eq!(check(&format!("a = [{}]", "\n".repeat(100)), 4..106).text, "a = [");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}X{}", "é".repeat(1_000_000), "y".repeat(1_000_000));
        let excerpt = check(&text, 2_000_000..2_000_001);
        assert!(excerpt.cut && excerpt.text.starts_with('…') && excerpt.text.ends_with('…'));
        assert_eq!((&excerpt.text[excerpt.span], excerpt.column), ("X", 1_000_001));
    }

    #[test]
    fn places_near_each_other_are_shown_together() {
        let text = format!("a = 1\nb = 2\n{}c = 3\n", "#\n".repeat(NEAR));
        let sources = Sources::single("a", text.as_str());
        let at = |word: &str| {
            let start = text.find(word).unwrap() as u32;
            Place { file: FileId(0), start, end: start + 1 }
        };
        let excerpt =
            Excerpt::new(&sources, at("b"), &[at("a"), at("c"), Place { file: FileId(1), ..at("a") }]);
        assert_eq!((excerpt.text.as_str(), excerpt.line, excerpt.column), ("a = 1\nb = 2", 1, 1));
        assert_eq!((excerpt.span, excerpt.others), (6..7, vec![Some(0..1), None, None]));
    }

    #[test]
    fn what_is_secret_is_blanked_out_in_place() {
        let text =
            "id = \"a\", hash=\"$2y$é\", rehash = \"x\", secret_file = \"y\", 'secret' = '''z\n1''' # b";
        let want =
            "id = \"a\", hash=\"******\", rehash = \"x\", secret_file = \"y\", 'secret' = '''*\n*''' # b";
        assert_eq!(mask_values(text), want);
        assert_eq!(mask_entries("alice:pw\n# x\nbob"), "alice:**\n# x\nbob");
        let long = format!("a = \"{}\", hash = \"{}\" X", "y".repeat(5000), "z".repeat(100));
        let at = long.find('X').unwrap();
        assert!(!check(&long, at..at + 1).text.contains('z'));
    }

    #[test]
    fn no_place_is_out_of_reach() {
        for text in ["", "\n", "é", "a\r\nb", "…\n\n"] {
            for start in 0..8 {
                for end in 0..8 {
                    check(text, start..end);
                }
            }
        }
    }
}
