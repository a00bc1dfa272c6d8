//! Necessary conditions: what a value must have before an operator can match it.
//!
//! They are what makes hundreds of rules cheap: the matcher looks for all literals of all rules in one
//! pass, and asks an operator only where everything it needs is there. All of it errs towards "may
//! match"; a property test compares the matcher with asking every operator about every value.

use regex_syntax::hir::{Class, Hir, HirKind, Literal, Look, Repetition};

use super::bytes::ByteSet;

/// What a value must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// One of these stands in it, once both are [folded](fold).
    pub(super) literals: Option<Vec<Vec<u8>>>,
    /// It has a byte of each of these sets.
    pub(super) clauses: Vec<ByteSet>,
    /// It is at least this long.
    pub(super) min_len: usize,
    /// It begins with one of these bytes, and is not empty.
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
        let literals = required(hir).filter(|found| found.cost <= MAX_COST).map(|found| found.literals);
        let first = anchored(hir)
            .then(|| first(hir))
            .filter(|_| min_len > 0)
            .and_then(|(first, empty)| first.filter(|_| !empty));
        Needs { literals, clauses: clauses(hir), min_len, first }
    }

    /// What is needed where all of these must match.
    pub(super) fn all(parts: impl IntoIterator<Item = Needs>) -> Needs {
        let mut all = Needs::default();
        for part in parts {
            all.min_len = all.min_len.max(part.min_len);
            all.clauses.extend(part.clauses);
            all.first = all.first.or(part.first);
            all.literals = match (all.literals.take(), part.literals) {
                (Some(mine), Some(theirs)) => Some(if cost(&theirs) < cost(&mine) { theirs } else { mine }),
                (mine, theirs) => mine.or(theirs),
            };
        }
        all.clauses = pruned(all.clauses);
        all
    }

    /// What is needed where one of these must match.
    pub(super) fn any(parts: impl IntoIterator<Item = Needs>) -> Needs {
        let either = |mine: Needs, theirs: Needs| Needs {
            min_len: mine.min_len.min(theirs.min_len),
            clauses: crossed(&mine.clauses, &theirs.clauses),
            first: mine.first.zip(theirs.first).map(|(mine, theirs)| mine.union(theirs)),
            literals: mine.literals.zip(theirs.literals).map(|(mut mine, theirs)| {
                mine.extend(theirs);
                deduped(mine)
            }),
        };
        parts.into_iter().reduce(either).unwrap_or_default()
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

/// Whether every match begins where the text begins.
fn anchored(hir: &Hir) -> bool {
    hir.properties().look_set_prefix().contains(Look::Start)
}

/// The bytes that a match may begin with (`None`: any), and whether it may be empty.
fn first(hir: &Hir) -> (Option<ByteSet>, bool) {
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

// === literals ===

/// How many texts an exact part may have before it counts as inexact.
const MAX_EXACT: usize = 128;
/// How many literals one operator may put into the automaton.
const MAX_LITERALS: usize = 4096;
/// Longer literals gain nothing: the automaton grows, and hits hardly get fewer.
const MAX_LENGTH: usize = 6;
/// Literals that are met more often than this at a place of ordinary text are not worth looking for.
const MAX_COST: f64 = 0.02;
/// A byte class with more members makes a part inexact.
const MAX_CLASS: usize = 6;

struct Found {
    literals: Vec<Vec<u8>>,
    cost: f64,
}

impl Found {
    fn offer(best: Option<Found>, literals: Vec<Vec<u8>>) -> Option<Found> {
        let literals = deduped(literals.into_iter().map(window).collect());
        if literals.is_empty() || literals.len() > MAX_LITERALS || literals.iter().any(|text| text.len() < 2)
        {
            return best;
        }
        let cost = cost(&literals);
        match best {
            Some(best) if best.cost <= cost => Some(best),
            _ => Some(Found { literals, cost }),
        }
    }
}

/// All texts that a part can match, folded, if they are few.
fn exact(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(vec![Vec::new()]),
        HirKind::Literal(Literal(bytes)) => Some(vec![bytes.iter().map(|byte| fold(*byte)).collect()]),
        HirKind::Class(class) => {
            let set: ByteSet = byte_set(class)?.iter().map(fold).collect();
            (set.len() as usize <= MAX_CLASS).then(|| set.iter().map(|byte| vec![byte]).collect())
        }
        HirKind::Capture(capture) => exact(&capture.sub),
        HirKind::Repetition(Repetition { min: 0, max: Some(1), sub, .. }) => {
            let mut texts = exact(sub)?;
            texts.push(Vec::new());
            Some(deduped(texts)).filter(|texts| texts.len() <= MAX_EXACT)
        }
        HirKind::Repetition(Repetition { min, max: Some(max), sub, .. }) if min == max && *min <= 4 => {
            copies(sub, *min)
        }
        HirKind::Repetition(_) => None,
        HirKind::Concat(parts) => {
            parts.iter().try_fold(vec![Vec::new()], |texts, part| product(&texts, &exact(part)?))
        }
        HirKind::Alternation(branches) => {
            let mut texts = Vec::new();
            for branch in branches {
                texts.extend(exact(branch)?);
                if texts.len() > MAX_LITERALS {
                    return None;
                }
            }
            Some(deduped(texts))
        }
    }
}

/// Texts with the byte that comes behind them, where that is one of few: `chr` before `\s*\(` is
/// `chr(` or `chr` and a blank.
fn followed(texts: Vec<Vec<u8>>, rest: &[Hir]) -> Vec<Vec<u8>> {
    let (next, empty) = first(&Hir::concat(rest.to_vec()));
    let next: Option<ByteSet> = next.filter(|_| !empty).map(|set| set.iter().map(fold).collect());
    let next = next.filter(|set| (1..=MAX_CLASS).contains(&(set.len() as usize)));
    let longer = next.and_then(|set| product(&texts, &set.iter().map(|byte| vec![byte]).collect::<Vec<_>>()));
    longer.unwrap_or(texts)
}

/// What so many copies of a part can be; of more than four, the first four.
fn copies(sub: &Hir, count: u32) -> Option<Vec<Vec<u8>>> {
    let one = exact(sub)?;
    (0..count.min(4)).try_fold(vec![Vec::new()], |texts, _| product(&texts, &one))
}

fn product(heads: &[Vec<u8>], tails: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    if heads.len() * tails.len() > MAX_EXACT.max(tails.len()).max(heads.len()) {
        return None;
    }
    Some(deduped(
        heads.iter().flat_map(|head| tails.iter().map(move |tail| [&head[..], tail].concat())).collect(),
    ))
}

/// The best set of literals of which every match has one.
fn required(hir: &Hir) -> Option<Found> {
    if let Some(texts) = exact(hir) {
        return Found::offer(None, texts);
    }
    match hir.kind() {
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(Repetition { min: min @ 1.., sub, .. }) => match copies(sub, *min) {
            Some(texts) => Found::offer(None, texts),
            None => required(sub),
        },
        HirKind::Concat(parts) => {
            let mut best = None;
            // The texts that end where the next part begins.
            let mut run = vec![Vec::new()];
            for (at, part) in parts.iter().enumerate() {
                let repeated = match part.kind() {
                    HirKind::Repetition(Repetition { min: min @ 1.., sub, .. }) => copies(sub, *min),
                    _ => None,
                };
                match (exact(part), repeated) {
                    (Some(texts), _) => match product(&run, &texts) {
                        Some(longer) => run = longer,
                        None => best = Found::offer(best, std::mem::replace(&mut run, texts)),
                    },
                    // The first copies follow what stands before, the last ones come before what follows.
                    (None, Some(copies)) => {
                        let before = product(&run, &copies).unwrap_or(run);
                        best = Found::offer(best, before);
                        run = copies;
                    }
                    (None, None) => {
                        let ended = std::mem::replace(&mut run, vec![Vec::new()]);
                        best = Found::offer(best, followed(ended, &parts[at..]));
                        if let Some(inner) = required(part) {
                            best = Found::offer(best, inner.literals);
                        }
                    }
                }
            }
            Found::offer(best, run)
        }
        HirKind::Alternation(branches) => {
            let mut literals = Vec::new();
            for branch in branches {
                literals.extend(required(branch)?.literals);
            }
            Found::offer(None, literals)
        }
        _ => None,
    }
}

/// The rarest stretch of a literal.
fn window(text: Vec<u8>) -> Vec<u8> {
    if text.len() <= MAX_LENGTH {
        return text;
    }
    let rarest = text.windows(MAX_LENGTH).min_by(|a, b| rarity(a).total_cmp(&rarity(b)));
    rarest.map_or_else(Vec::new, <[u8]>::to_vec)
}

fn deduped(mut texts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    texts.sort_unstable();
    texts.dedup();
    texts
}

fn cost(literals: &[Vec<u8>]) -> f64 {
    literals.iter().map(|text| rarity(text)).sum()
}

/// How often a folded text is met at a place of ordinary text, roughly: letters follow each other
/// more often than their frequencies say.
fn rarity(text: &[u8]) -> f64 {
    let digits = |byte: &u8| if matches!(*byte, b'1' | b'5') { 4.0 } else { 1.0 };
    text.iter().map(|byte| weight(*byte) * digits(byte)).product::<f64>() * 2.0
}

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

    fn literals(pattern: &str) -> Vec<String> {
        let Ok(hir) = parse(pattern) else { panic!("{pattern} does not parse") };
        let texts = Needs::of(&hir).literals.unwrap_or_default();
        texts.iter().map(|text| text.escape_ascii().to_string()).collect()
    }

    #[test]
    fn the_rarest_required_text_is_found() {
        assert_eq!(literals(r"(?i)\bunion\s+select\b"), ["select"]);
        assert_eq!(literals(r"(?i)<(?:SVG|img)\b"), ["<img", "<svg"]);
        assert_eq!(literals(r"a*(?:jndi:|x+_\$\$nd)z?"), ["jndi:", "x_$$nd"]);
        assert_eq!(literals(r"(?:\.{2,}[/\\])+"), ["../", r"..\\"]);
        assert_eq!(literals(r"(?i)\bchr\s*\("), ["chr ", "chr("]);
        assert_eq!(literals(r"\d==1"), ["0==1", "1==1", "5==1"]);
    }

    #[test]
    fn nothing_is_required_where_a_branch_can_do_without() {
        assert!(literals(r"(?:jndi|[0-9]+)x?").is_empty());
        assert!(literals(r"[a-z]+").is_empty());
        assert!(literals(r"(?:ldap)*").is_empty());
    }

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
            (r"(?m)^a", None),
            (r"^a*", None),
            (r"\ba", None),
        ] {
            let Ok(hir) = parse(pattern) else { panic!("{pattern} does not parse") };
            assert_eq!(Needs::of(&hir).first, want.map(ByteSet::of), "{pattern}");
        }
    }
}
