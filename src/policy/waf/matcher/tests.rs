//! The matcher against the plain loop: every unit, every text, its chain from scratch.

use proptest::prelude::*;

use super::*;
use crate::policy::waf::operators::{Argument, OperatorKind, TableBudget};

fn operator(kind: OperatorKind, argument: Argument, tables: usize) -> Option<Operator> {
    kind.build(&argument, &mut TableBudget(tables)).ok()
}

fn naive(matcher: &Matcher, text: &[u8], wanted: &Bits) -> Vec<usize> {
    let units = matcher.units().iter().enumerate();
    units
        .filter(|(at, unit)| {
            wanted.contains(*at) && unit.test.judge(&unit.transform(text), &mut Budget(u64::MAX)) == Ok(true)
        })
        .map(|(at, _)| at)
        .collect()
}

fn fast(matcher: &Matcher, text: &[u8], wanted: &Bits, scratch: &mut Scratch) -> Vec<usize> {
    let mut found = Vec::new();
    let mut budget = Budget(u64::MAX);
    let done = matcher.run(text, &mut wanted.clone(), scratch, &mut budget, |unit, judged| {
        found.push(unit);
        judged
    });
    assert!(done.is_ok(), "the budget is used up");
    found.sort_unstable();
    found
}

/// Pieces of expressions, put together at random.
fn pattern() -> impl Strategy<Value = String> {
    let atom = prop::sample::select(vec![
        "a",
        "b",
        "'",
        "or",
        "union",
        "[ab]",
        "[^a]",
        ".",
        r"\s",
        r"\d",
        r"\b",
        "^",
        "$",
        "(?:a|b')",
        "(?i:or|and)",
        "x{2}",
        r"\xff",
        "%",
        "<",
        "(?:ab)+",
        "(?:select|from)?",
        "[a-z]*",
        "'?",
        "(?i)A",
        r#"u["']*n["']*ion"#,
        r"(?:o\x5c?r|<|\n)",
    ]);
    prop::collection::vec(atom, 1..6).prop_map(|atoms| atoms.concat())
}

fn condition() -> impl Strategy<Value = Option<CompiledCondition>> {
    let text = prop::sample::select(vec!["a", "or", "ab", "<b", "union", "'", "1"])
        .prop_map(|text| Argument::Text(text.into()));
    let words = prop::sample::subsequence(vec!["or", "and", "ab", "<", "union", "bb"], 1..4)
        .prop_map(|words| Argument::Words(words.into_iter().map(Into::into).collect()));
    let plain = prop::sample::select(vec![
        OperatorKind::Contains,
        OperatorKind::ContainsWord,
        OperatorKind::StartsWith,
        OperatorKind::EndsWith,
        OperatorKind::Equals,
    ]);
    let tables = prop::sample::select(vec![0, 1 << 20]);
    let operator = prop_oneof![
        4 => (pattern(), tables).prop_map(|(pattern, tables)| operator(OperatorKind::Regex, Argument::Text(pattern.into()), tables)),
        2 => (plain, text).prop_map(|(kind, text)| operator(kind, text, 0)),
        1 => words.prop_map(|words| operator(OperatorKind::ContainsAny, words, 0)),
        1 => prop::sample::select(vec![
            OperatorKind::InvalidUrlEncoding,
            OperatorKind::InvalidUtf8,
            OperatorKind::DetectSqli,
            OperatorKind::DetectXss,
        ])
        .prop_map(|kind| operator(kind, Argument::Nothing, 0)),
        1 => (0..20i64).prop_map(|number| operator(OperatorKind::Gt, Argument::Number(number), 0)),
    ];
    (operator, prop::bool::weighted(0.2))
        .prop_map(|(operator, negated)| Some(CompiledCondition { operator: operator?, negated }))
}

fn unit() -> impl Strategy<Value = Unit> {
    let transforms = prop::collection::vec(prop::sample::select(Transform::ALL), 0..4);
    let conditions = prop::collection::vec(condition(), 1..3);
    (transforms, conditions, any::<bool>()).prop_map(|(transforms, conditions, any)| Unit {
        transforms: transforms.into(),
        test: CompiledTest { conditions: conditions.into_iter().flatten().collect(), any },
        echo: false,
    })
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "a", "b", "'", "or", "OR", "union", " ", "select", "from", "1", "12", "%", "%27", "<", "&lt;",
        "\\x61", "+", "/*", "*/", "xx", "ab", "B", "é", "\0", "^", "YWI=", "u'nion", "o\\r", "\n",
    ]);
    let piece = prop_oneof![8 => piece.prop_map(|piece| piece.as_bytes().to_vec()), 1 => any::<[u8; 1]>().prop_map(|byte| byte.to_vec())];
    // What most requests are made of, and what the matcher asks few units about.
    let plain = ["a", "b", "or", "union", "select", "1", "12", "B", "-", ".", " ", ",", "@", ":", "/", "="];
    let plain = prop::sample::select(plain.to_vec()).prop_map(|piece| piece.as_bytes().to_vec());
    let pieces =
        prop_oneof![2 => prop::collection::vec(piece, 0..10), 1 => prop::collection::vec(plain, 0..10)];
    pieces.prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_matcher_finds_what_the_plain_loop_finds(
        units in prop::collection::vec(unit(), 1..90),
        texts in prop::collection::vec(text(), 1..12),
        away in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut wanted = Bits::all(units.len());
        away.iter().for_each(|at| wanted.take(at.index(units.len())));
        let matcher = Matcher::new(units);
        let mut scratch = Scratch::default();
        for text in &texts {
            prop_assert_eq!(
                fast(&matcher, text, &wanted, &mut scratch),
                naive(&matcher, text, &wanted),
                "{}", text.escape_ascii()
            );
        }
    }
}

#[test]
fn work_is_counted_and_stops_at_the_budget() {
    let Some(regex) = operator(OperatorKind::Regex, Argument::Text("a+b".into()), 1 << 20) else {
        panic!("an operator")
    };
    let conditions = Box::new([CompiledCondition { operator: regex, negated: false }]);
    let unit = Unit { transforms: Box::new([]), test: CompiledTest { conditions, any: false }, echo: false };
    let matcher = Matcher::new(vec![unit]);
    let text = b"aab".repeat(1000);
    let run = |steps| {
        matcher.run(&text, &mut Bits::all(1), &mut Scratch::default(), &mut Budget(steps), |_, judged| judged)
    };
    assert!(run(100_000).is_ok() && run(4000).is_err());
}
