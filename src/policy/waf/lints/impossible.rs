//! Conditions that no text can meet: they ask for bytes that the transformations before them never
//! leave, such as a capital letter behind `lowercase`.
//!
//! What bytes a transformation can leave follows from its entry in the table, or is known here; of all
//! others any byte is expected. An expression is impossible if some part of it that every match needs
//! can only be made of bytes that are not left.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::super::bytes::{ByteSet, legible};
use super::super::operators::regex::parse;
use super::super::raw::{RawArgument, RawCondition, RawWafRule, TransformWord};
use super::super::transforms::Transform;
use crate::policy::code::Code;
use crate::policy::diagnostic::Diagnostics;

/// Reports a condition that is never met, or with `not` always.
pub(super) fn condition(
    rule: &RawWafRule,
    transforms: &[TransformWord],
    condition: &RawCondition,
    diagnostics: &mut Diagnostics,
) {
    let left = left(transforms);
    if left == ByteSet::FULL {
        return;
    }
    let words: Vec<&str> = match &condition.argument {
        RawArgument::Text(text) => vec![text],
        RawArgument::Words(words) => words.iter().map(String::as_str).collect(),
        _ => return,
    };
    let can_be: fn(&str, &ByteSet) -> bool = match condition.operator.info().name {
        "contains" | "contains_any" | "contains_word" | "equals" | "equals_any" | "starts_with"
        | "ends_with" => |word, left| word.bytes().all(|byte| left.contains(byte)),
        "regex" => |word, left| parse(word).map_or(true, |hir| is_possible(&hir, left)),
        _ => return,
    };
    let impossible: Vec<&str> = words.iter().copied().filter(|word| !can_be(word, &left)).collect();
    let Some(first) = impossible.first() else { return };
    let last = transforms.iter().map(|word| word.0).rev().find(|one| narrows(*one));
    let last = last.map_or("a transformation", |one| one.info().name);
    let shown: String = legible(first.as_bytes()).chars().take(40).collect();
    let (code, what) = match (impossible.len() == words.len(), condition.not) {
        (true, true) => (Code::MatchesEverything, "with `not` this matches every text"),
        (true, false) => (Code::NeverMatches, "this matches no text"),
        (false, _) => (Code::NeverMatches, "this one of them matches no text"),
    };
    let message = format!("`{last}` leaves nothing that `{shown}` could be, so {what}");
    diagnostics
        .push(code, condition.place, message)
        .about(format!("waf/{}", rule.id.value))
        .label("cannot be there")
        .help(match last {
            "lowercase" => "write it in small letters",
            "uppercase" => "write it in capital letters",
            _ => "write what the text is after its transformations",
        });
}

/// The bytes that a text can have after some transformations.
fn left(transforms: &[TransformWord]) -> ByteSet {
    let small = ByteSet::range(b'a', b'z');
    let capital = ByteSet::range(b'A', b'Z');
    let blanks = ByteSet::of(b" \t\n\x0b\x0c\r");
    transforms.iter().fold(ByteSet::FULL, |set, word| match word.0 {
        Transform::Lowercase => folded(set, capital, u8::to_ascii_lowercase),
        Transform::Uppercase => folded(set, small, u8::to_ascii_uppercase),
        Transform::RemoveWhitespace => without(set, blanks),
        Transform::CompressWhitespace => without(set, blanks).union(ByteSet::of(b" ")),
        Transform::RemoveNulls => without(set, ByteSet::of(b"\0")),
        Transform::HexEncode => ByteSet::of(b"0123456789abcdef"),
        Transform::Length => ByteSet::range(b'0', b'9'),
        other => other.info().yields.map_or(ByteSet::FULL, |yields| set.union(yields)),
    })
}

fn without(set: ByteSet, bytes: ByteSet) -> ByteSet {
    set.iter().filter(|byte| !bytes.contains(*byte)).collect()
}

fn folded(set: ByteSet, from: ByteSet, fold: fn(&u8) -> u8) -> ByteSet {
    let made: ByteSet = set.iter().filter(|byte| from.contains(*byte)).map(|byte| fold(&byte)).collect();
    without(set, from).union(made)
}

/// Whether a transformation leaves fewer bytes than there were.
fn narrows(transform: Transform) -> bool {
    left(&[TransformWord(transform)]) != ByteSet::FULL
}

/// Whether a match could be made of these bytes, as far as its parts tell.
fn is_possible(hir: &Hir, left: &ByteSet) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => literal.0.iter().all(|byte| left.contains(*byte)),
        HirKind::Class(Class::Bytes(class)) => {
            class.ranges().iter().any(|range| (range.start()..=range.end()).any(|byte| left.contains(byte)))
        }
        // Of characters beyond ASCII any byte is expected.
        HirKind::Class(Class::Unicode(class)) => class.ranges().iter().any(|range| {
            !range.end().is_ascii() || (range.start()..=range.end()).any(|c| left.contains(c as u8))
        }),
        HirKind::Repetition(repetition) => repetition.min == 0 || is_possible(&repetition.sub, left),
        HirKind::Capture(capture) => is_possible(&capture.sub, left),
        HirKind::Concat(parts) => parts.iter().all(|part| is_possible(part, left)),
        HirKind::Alternation(parts) => parts.iter().any(|part| is_possible(part, left)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is said of transformations is true of every text.
        #[test]
        fn no_transformation_leaves_a_byte_that_it_is_said_not_to(
            chain in prop::collection::vec(prop::sample::select(Transform::ALL), 0..4),
            text in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(&b"aZ \t%4cA0\xc2\xa0\0/*&#x;"[..])],
                0..40,
            ),
        ) {
            let words: Vec<TransformWord> = chain.iter().map(|one| TransformWord(*one)).collect();
            let left = left(&words);
            let text = chain.iter().fold(text, |text, one| one.apply(&text).unwrap_or(text));
            prop_assert!(text.iter().all(|byte| left.contains(*byte)), "{chain:?} leaves {text:?}");
        }

        /// And so is what is said of expressions.
        #[test]
        fn an_expression_that_is_said_to_be_impossible_matches_nothing(
            parts in prop::collection::vec(
                prop::sample::select(vec!["a", "A", "b", "B", ".", "|", "*", "?", "+", "(", ")", "[A-B]", "[^a]", "{2}", "^", "$"]),
                1..8,
            ),
            text in "[ab01]{0,8}",
        ) {
            let pattern = parts.concat();
            let Ok(hir) = parse(&pattern) else { return Ok(()) };
            let left = left(&[TransformWord(Transform::Lowercase)]);
            let regex = regex_automata::meta::Builder::new().build_from_hir(&hir).unwrap();
            prop_assert!(is_possible(&hir, &left) || !regex.is_match(text.as_bytes()), "{pattern} in {text}");
        }
    }

    #[test]
    fn an_expression_is_possible_unless_a_part_that_it_needs_is_not() {
        let lower = left(&[TransformWord(Transform::Lowercase)]);
        let check = |pattern: &str, possible: bool| {
            assert_eq!(is_possible(&parse(pattern).unwrap(), &lower), possible, "{pattern}");
        };
        for pattern in ["select", "(?i)SELECT", "[A-Za-z]+", "A?b", "A*", "[^a-z]", "A|b", "\\bx\\b", "."] {
            check(pattern, true);
        }
        for pattern in ["SELECT", "select.*FROM", "[A-Z]", "x[A-Z]+y", "(A|B)", "A{2}", "^A"] {
            check(pattern, false);
        }
    }
}
