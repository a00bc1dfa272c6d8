//! What an expression comes to on texts without the marks of shell syntax.
//!
//! The Core Rule Set looks for commands that are spelt with quotes, brackets, backslashes and variables
//! between their letters (`c'a"t`, rules 932230 to 932260), so a match of such an expression has no text
//! that every match has. Nearly all values have none of these marks. On those the expression means one
//! without the gaps, and that has literals.

use regex_syntax::hir::{
    Capture, Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Literal,
    Repetition,
};

use crate::policy::waf::bytes::ByteSet;

/// The marks.
pub(in crate::policy::waf) const MARKS: &[u8] = b"\"'()[]{}\\$&<>|;`";

/// The expression that matches the same texts, of those without a mark. `None`: none of them.
pub(super) fn unmarked(hir: &Hir) -> Option<Hir> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(hir.clone()),
        HirKind::Literal(Literal(bytes)) => {
            let marks = ByteSet::of(MARKS);
            bytes.iter().all(|byte| !marks.contains(*byte)).then(|| hir.clone())
        }
        HirKind::Class(class) => {
            let left = without_marks(class);
            let some = match &left {
                Class::Bytes(class) => !class.ranges().is_empty(),
                Class::Unicode(class) => !class.ranges().is_empty(),
            };
            some.then(|| Hir::class(left))
        }
        HirKind::Capture(capture) => {
            let sub = Box::new(unmarked(&capture.sub)?);
            Some(Hir::capture(Capture { sub, ..capture.clone() }))
        }
        HirKind::Repetition(repetition) => match unmarked(&repetition.sub) {
            Some(sub) => Some(Hir::repetition(Repetition { sub: Box::new(sub), ..repetition.clone() })),
            None => (repetition.min == 0).then(Hir::empty),
        },
        HirKind::Concat(parts) => Some(Hir::concat(parts.iter().map(unmarked).collect::<Option<_>>()?)),
        HirKind::Alternation(branches) => {
            let left: Vec<Hir> = branches.iter().filter_map(unmarked).collect();
            (!left.is_empty()).then(|| Hir::alternation(left))
        }
    }
}

fn without_marks(class: &Class) -> Class {
    let mut left = class.clone();
    match &mut left {
        Class::Bytes(class) => {
            class.difference(&ClassBytes::new(MARKS.iter().map(|mark| ClassBytesRange::new(*mark, *mark))));
        }
        Class::Unicode(class) => {
            let marks = MARKS.iter().map(|mark| char::from(*mark));
            class.difference(&ClassUnicode::new(marks.map(|mark| ClassUnicodeRange::new(mark, mark))));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_automata::meta;

    use super::super::Needs;
    use super::*;
    use crate::policy::waf::operators::parse;

    /// Pieces of expressions as the Core Rule Set puts them together, and others.
    fn pattern() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(r"c".to_owned()),
            Just(r"a".to_owned()),
            Just(r"t[^b]".to_owned()),
            Just(r#"["'\)\[\x5c]*"#.to_owned()),
            Just(r"(?:(?:(?:\|\||&&)\s*)?\$[!#a-c{]*)?".to_owned()),
            Just(r"\x5c?".to_owned()),
            Just(r"[\n;`{]".to_owned()),
            Just(r"\s+".to_owned()),
            Just(r"^".to_owned()),
            Just(r"\b".to_owned()),
            Just(r"(?u:[é'])".to_owned()),
            Just(r"(?:<|ab){2}".to_owned()),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                prop::collection::vec(inner.clone(), 1..3)
                    .prop_map(|parts| format!("(?:{})", parts.join("|"))),
                inner.clone().prop_map(|part| format!("(?:{part})*")),
                inner.prop_map(|part| format!("({part}){{1,2}}")),
            ]
        })
    }

    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("c"),
            Just("a"),
            Just("t"),
            Just("b"),
            Just(" "),
            Just("\n"),
            Just("é"),
            Just("cat "),
            Just("'"),
            Just("$"),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    fn engine(hir: &Hir) -> meta::Regex {
        meta::Builder::new()
            .configure(meta::Config::new().utf8_empty(false))
            .build_from_hir(hir)
            .expect("small")
    }

    proptest! {
        #[test]
        fn texts_without_marks_match_as_before_and_others_may(pattern in pattern(), texts in prop::collection::vec(text(), 8)) {
            let Ok(hir) = parse(&pattern) else { return Ok(()) };
            let (whole, left) = (engine(&hir), unmarked(&hir).map(|hir| engine(&hir)));
            for text in texts {
                let matches = left.as_ref().is_some_and(|left| left.is_match(text.as_bytes()));
                let plain = text.bytes().all(|byte| !MARKS.contains(&byte));
                prop_assert!(!plain || matches == whole.is_match(text.as_bytes()), "{pattern} {text:?}");
            }
        }
    }

    #[test]
    fn gaps_are_gone() {
        let gap = r#"["'\)\[\x5c]*(?:(?:(?:\|\||&&)\s*)?\$[a-z]*)?\x5c?"#;
        let pattern = format!(r#"(?:[;{{]|[a-z]+)c{gap}a{gap}t["']?[\s\x0b&\),<>\|]"#);
        let Ok(hir) = parse(&pattern) else { panic!("parses") };
        let needs = Needs::of(&hir);
        assert_eq!((needs.literals, needs.unmarked), (None, Some(vec![b"cat ".to_vec(), b"cat,".to_vec()])));
        // Nor does a value match without a mark where one must stand.
        let Ok(hir) = parse(r"[<{]+") else { panic!("parses") };
        assert_eq!(Needs::of(&hir).unmarked, Some(Vec::new()));
    }
}
