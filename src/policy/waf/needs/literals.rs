//! Literals: short texts of which every match of an expression has one.

use regex_syntax::hir::{Hir, HirKind, Literal, Repetition};

use super::{byte_set, first, fold, weight};
use crate::policy::waf::bytes::ByteSet;

/// How many texts an exact part may have before it counts as inexact.
const MAX_EXACT: usize = 128;
/// How many literals one operator may put into the automaton.
const MAX_LITERALS: usize = 4096;
/// Longer literals gain nothing: the automaton grows, and hits hardly get fewer.
const MAX_LENGTH: usize = 6;
/// Literals that are met more often than this at a place of ordinary text are not worth looking for.
pub(super) const MAX_COST: f64 = 0.02;
/// A byte class with more members makes a part inexact.
const MAX_CLASS: usize = 6;
/// A text that is rare by itself is told apart by the byte behind it where that is one of these few.
const MAX_FOLLOWERS: usize = 12;

pub(super) struct Found {
    pub(super) literals: Vec<Vec<u8>>,
    pub(super) cost: f64,
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
    let few = if cost(&texts) <= MAX_COST && texts.len() == 1 { MAX_FOLLOWERS } else { MAX_CLASS };
    let next = next.filter(|set| (1..=few).contains(&(set.len() as usize)));
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
pub(super) fn required(hir: &Hir) -> Option<Found> {
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

pub(super) fn deduped(mut texts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    texts.sort_unstable();
    texts.dedup();
    texts
}

pub(super) fn cost(literals: &[Vec<u8>]) -> f64 {
    literals.iter().map(|text| rarity(text)).sum()
}

/// How often a folded text is met at a place of ordinary text, roughly: letters follow each other
/// more often than their frequencies say.
fn rarity(text: &[u8]) -> f64 {
    let digits = |byte: &u8| if matches!(*byte, b'1' | b'5') { 4.0 } else { 1.0 };
    text.iter().map(|byte| weight(*byte) * digits(byte)).product::<f64>() * 2.0
}

#[cfg(test)]
mod tests {
    use super::super::Needs;
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
}
