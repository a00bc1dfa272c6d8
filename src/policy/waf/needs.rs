//! Necessary conditions: what a value must have before an operator can match it.
//!
//! They are what makes hundreds of rules cheap: the matcher looks for all literals of all rules in one
//! pass, and asks an operator only where everything it needs is there. All of it errs towards "may
//! match"; a property test compares the matcher with asking every operator about every value.

mod literals;
mod unmarked;

use regex_syntax::hir::{Class, Hir, HirKind, Literal, Look, Repetition};

use self::literals::{MAX_COST, cost, deduped, required};
pub(super) use self::unmarked::MARKS;
use self::unmarked::unmarked;
use super::bytes::ByteSet;

/// What a value must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// One of these stands in it, once both are [folded](fold).
    pub(super) literals: Option<Vec<Vec<u8>>>,
    /// The same of a value without [`MARKS`], where nothing is known of others. None at all: such a value
    /// does not match.
    pub(super) unmarked: Option<Vec<Vec<u8>>>,
    /// It has a byte of each of these sets.
    pub(super) clauses: Vec<ByteSet>,
    /// It is at least this long.
    pub(super) min_len: usize,
    /// It begins with one of these bytes, or has several lines; and is not empty.
    pub(super) first: Option<ByteSet>,
}

impl Needs {
    /// What a match of any of these texts needs.
    pub(super) fn any_of<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Needs {
        let texts: Vec<&[u8]> = texts.into_iter().collect();
        let hirs = texts.iter().map(|text| Hir::literal(text.to_vec())).collect();
        Needs::of(&Hir::alternation(hirs))
    }

    /// The same, where capitals do not matter.
    pub(super) fn any_of_nocase<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Needs {
        let either = |byte: &u8| {
            let cases = [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()];
            let ranges = cases.map(|byte| regex_syntax::hir::ClassBytesRange::new(byte, byte));
            Hir::class(Class::Bytes(regex_syntax::hir::ClassBytes::new(ranges)))
        };
        let hirs = texts.into_iter().map(|text| Hir::concat(text.iter().map(either).collect())).collect();
        Needs::of(&Hir::alternation(hirs))
    }

    /// What a match of a pattern needs.
    pub(super) fn of(hir: &Hir) -> Needs {
        let min_len = hir.properties().minimum_len().unwrap_or(0);
        let literals = worth(hir);
        let unmarked = match literals {
            Some(_) => None,
            None => unmarked(hir).map_or_else(|| Some(Vec::new()), |hir| worth(&hir)),
        };
        let first = anchored(hir)
            .then(|| first(hir))
            .filter(|_| min_len > 0)
            .and_then(|(first, empty)| first.filter(|_| !empty));
        Needs { literals, unmarked, clauses: clauses(hir), min_len, first }
    }

    /// The literals of all values, or at least of those without marks.
    pub(super) fn texts(&self) -> Option<&[Vec<u8>]> {
        self.literals.as_deref().or(self.unmarked.as_deref())
    }

    /// Whether a text of these bytes alone may have it.
    pub(super) fn may_be_met(&self, bytes: &ByteSet) -> bool {
        let folded: ByteSet = bytes.iter().map(fold).collect();
        let of_these = |literal: &Vec<u8>| literal.iter().all(|byte| folded.contains(*byte));
        let has_marks = ByteSet::of(MARKS).meets(bytes);
        let literals = self.literals.as_ref().or(self.unmarked.as_ref().filter(|_| !has_marks));
        let several_lines = bytes.contains(b'\n');
        self.clauses.iter().all(|set| set.meets(bytes))
            && literals.is_none_or(|literals| literals.iter().any(of_these))
            && (several_lines || self.first.is_none_or(|first| first.meets(bytes)))
    }

    /// What is needed where all of these must match.
    pub(super) fn all(parts: impl IntoIterator<Item = Needs>) -> Needs {
        let mut all = Needs::default();
        for part in parts {
            all.min_len = all.min_len.max(part.min_len);
            all.clauses.extend(part.clauses);
            all.first = all.first.or(part.first);
            all.literals = rarer(all.literals.take(), part.literals);
            all.unmarked = rarer(all.unmarked.take(), part.unmarked);
        }
        if all.literals.is_some() {
            all.unmarked = None;
        }
        all.clauses = pruned(all.clauses);
        all
    }

    /// What is needed where one of these must match.
    pub(super) fn any(parts: impl IntoIterator<Item = Needs>) -> Needs {
        let both = |(mut mine, theirs): (Vec<Vec<u8>>, Vec<Vec<u8>>)| {
            mine.extend(theirs);
            deduped(mine)
        };
        let either = |mine: Needs, theirs: Needs| Needs {
            min_len: mine.min_len.min(theirs.min_len),
            clauses: crossed(&mine.clauses, &theirs.clauses),
            first: mine.first.zip(theirs.first).map(|(mine, theirs)| mine.union(theirs)),
            unmarked: match (&mine.literals, &theirs.literals) {
                (Some(_), Some(_)) => None,
                _ => {
                    let mine = mine.literals.clone().or(mine.unmarked);
                    mine.zip(theirs.literals.clone().or(theirs.unmarked)).map(both)
                }
            },
            literals: mine.literals.zip(theirs.literals).map(both),
        };
        parts.into_iter().reduce(either).unwrap_or_default()
    }
}

/// Whether every match of a pattern has one of some literals that are worth looking for.
pub(super) fn has_literals(hir: &Hir) -> bool {
    worth(hir).is_some()
}

fn worth(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    required(hir).filter(|found| found.cost <= MAX_COST).map(|found| found.literals)
}

fn rarer(mine: Option<Vec<Vec<u8>>>, theirs: Option<Vec<Vec<u8>>>) -> Option<Vec<Vec<u8>>> {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) => Some(if cost(&theirs) < cost(&mine) { theirs } else { mine }),
        (mine, theirs) => mine.or(theirs),
    }
}

/// The alphabet in which literals are looked for: letters without case, three digits, one blank, one
/// byte for all beyond ASCII. Few symbols make the automaton small, and let a class such as `\s` be a
/// single symbol; what is lost is told apart by the operator.
pub(super) const fn fold(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => byte | 0x20,
        b'1'..=b'4' => b'1',
        b'5'..=b'9' => b'5',
        b'\t'..=b'\r' | b' ' => b' ',
        0..=0x1f | 0x7f => 0,
        0x80.. => 0x80,
        _ => byte,
    }
}

// === clauses ===

/// How many clauses an operator keeps: the rarest.
const MAX_CLAUSES: usize = 10;

/// Sets such that every match has a byte of each.
fn clauses(hir: &Hir) -> Vec<ByteSet> {
    let found = match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Vec::new(),
        HirKind::Literal(Literal(bytes)) => bytes.iter().map(|byte| ByteSet::of(&[*byte])).collect(),
        HirKind::Class(class) => byte_set(class).into_iter().collect(),
        HirKind::Capture(capture) => clauses(&capture.sub),
        HirKind::Repetition(Repetition { min: 0, .. }) => Vec::new(),
        HirKind::Repetition(repetition) => clauses(&repetition.sub),
        HirKind::Concat(parts) => parts.iter().flat_map(clauses).collect(),
        HirKind::Alternation(branches) => {
            let mut branches = branches.iter().map(clauses);
            let first = branches.next().unwrap_or_default();
            branches.fold(first, |all, branch| crossed(&all, &branch))
        }
    };
    pruned(found)
}

fn crossed(mine: &[ByteSet], theirs: &[ByteSet]) -> Vec<ByteSet> {
    pruned(mine.iter().flat_map(|one| theirs.iter().map(|other| one.union(*other))).collect())
}

/// The rarest sets, without those that another one implies or that nearly every value meets.
fn pruned(sets: Vec<ByteSet>) -> Vec<ByteSet> {
    let mut sets: Vec<(f64, ByteSet)> =
        sets.into_iter().filter(|set| set.len() <= 150).map(|set| (frequency(&set), set)).collect();
    sets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut kept: Vec<ByteSet> = Vec::new();
    for (_, set) in sets {
        if kept.len() < MAX_CLAUSES && !kept.iter().any(|kept| kept.is_subset(&set)) {
            kept.push(set);
        }
    }
    kept
}

/// The bytes of a class; `None` for one of characters beyond ASCII, which stand for several bytes.
fn byte_set(class: &Class) -> Option<ByteSet> {
    let mut set = ByteSet::EMPTY;
    match class {
        Class::Bytes(class) => {
            for range in class.ranges() {
                set = set.union(ByteSet::range(range.start(), range.end()));
            }
        }
        Class::Unicode(class) => {
            for range in class.ranges() {
                let (first, last) = (u8::try_from(range.start()).ok()?, u8::try_from(range.end()).ok()?);
                if last > 0x7f {
                    return None;
                }
                set = set.union(ByteSet::range(first, last));
            }
        }
    }
    Some(set)
}

// === first bytes ===

/// Whether every match begins where the text begins, if that is a single line.
fn anchored(hir: &Hir) -> bool {
    let looks = hir.properties().look_set_prefix();
    looks.contains(Look::Start) || looks.contains(Look::StartLF)
}

/// The bytes that a match may begin with (`None`: any), and whether it may be empty.
pub(super) fn first(hir: &Hir) -> (Option<ByteSet>, bool) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => (Some(ByteSet::EMPTY), true),
        HirKind::Literal(Literal(bytes)) => (bytes.first().map(|byte| ByteSet::of(&[*byte])), false),
        HirKind::Class(class) => (byte_set(class), false),
        HirKind::Capture(capture) => first(&capture.sub),
        HirKind::Repetition(Repetition { min, sub, .. }) => {
            let (set, empty) = first(sub);
            (set, empty || *min == 0)
        }
        HirKind::Concat(parts) => {
            let mut all = Some(ByteSet::EMPTY);
            for part in parts {
                let (set, empty) = first(part);
                all = all.zip(set).map(|(all, set)| all.union(set));
                if !empty {
                    return (all, false);
                }
            }
            (all, true)
        }
        HirKind::Alternation(branches) => {
            let either = |(all, any_empty): (Option<ByteSet>, bool),
                          (set, empty): (Option<ByteSet>, bool)| {
                (all.zip(set).map(|(all, set)| all.union(set)), any_empty || empty)
            };
            branches.iter().map(first).reduce(either).unwrap_or((None, true))
        }
    }
}

// === how often ===

fn frequency(set: &ByteSet) -> f64 {
    set.iter().map(weight).sum()
}

/// How often a byte is met in what people and programs send. Only a guess that tunes the choice of
/// literals and clauses; nothing depends on its being right.
fn weight(byte: u8) -> f64 {
    const LETTERS: [u8; 26] =
        [65, 12, 26, 33, 100, 18, 16, 42, 58, 3, 8, 33, 22, 56, 62, 16, 3, 48, 50, 72, 23, 9, 17, 4, 15, 3];
    match byte.to_ascii_lowercase() {
        letter @ b'a'..=b'z' => f64::from(LETTERS[usize::from(letter - b'a')]) / 1200.0,
        b'0'..=b'9' => 0.012,
        b' ' => 0.1,
        b'/' | b'-' | b'.' | b',' | b'_' | b':' => 0.01,
        b'=' | b'"' | b'\'' | b';' | b'&' | b'?' | b'(' | b')' | b'%' => 0.004,
        0x80.. => 0.003,
        _ => 0.001,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::waf::operators::parse;

    #[test]
    fn clauses_are_sets_that_every_match_meets() {
        let Ok(hir) = parse(r#"(?:'|")\s*or\s+\d+=\d+"#) else { panic!("parses") };
        let needs = Needs::of(&hir);
        assert!(needs.clauses.contains(&ByteSet::of(b"'\"")) && needs.clauses.contains(&ByteSet::of(b"=")));
        assert_eq!(needs.min_len, 7);
        assert_eq!(needs.first, None);
    }

    #[test]
    fn an_anchored_match_begins_with_its_first_byte() {
        for (pattern, want) in [
            (r"^\s*-?[1-3]x", Some(&b" \t\n\x0b\x0c\r-123"[..])),
            (r"^a|^b", Some(b"ab")),
            (r"^a|b", None),
            (r"^(?:a?|b)c", Some(b"abc")),
            (r"(?m)^a", Some(b"a")),
            (r"^a*", None),
            (r"\ba", None),
        ] {
            let Ok(hir) = parse(pattern) else { panic!("{pattern} does not parse") };
            assert_eq!(Needs::of(&hir).first, want.map(ByteSet::of), "{pattern}");
        }
    }
}
