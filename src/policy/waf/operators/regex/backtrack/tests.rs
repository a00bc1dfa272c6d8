//! The engine by example, and against others: the linear one, `fancy-regex`, and what it means.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Write;

use fancy_regex::{BytesMode, RegexBuilder};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use regex_syntax::hir::{Class, HirKind};

use super::machine::holds;
use super::tree::Node;
use super::*;
use crate::policy::waf::operators::TableBudget;
use crate::policy::waf::operators::regex::linear::Linear;

struct Both {
    tree: Tree,
    hard: Backtracker,
    gate: Linear,
    is_hard: bool,
}

fn build(pattern: &str) -> Result<Both, String> {
    let tree = Tree::read(pattern).map_err(|unread| format!("{} at {}", unread.what, unread.at))?;
    let relaxed = tree.relaxed();
    let hard = Backtracker::new(&tree, &relaxed).map_err(|problem| problem.message)?;
    let gate = Linear::new(&relaxed, &mut TableBudget(1 << 20)).map_err(|problem| problem.message)?;
    let is_hard = tree.hard;
    Ok(Both { tree, hard, gate, is_hard })
}

fn found(pattern: &str, text: &[u8]) -> Option<Range<usize>> {
    let both = build(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
    assert!(both.is_hard, "{pattern}");
    let judged = both.hard.judge(text, &mut Budget(u64::MAX)).expect("few steps");
    let found = both.hard.groups(text).into_iter().next().flatten();
    assert_eq!(judged, found.is_some(), "{pattern}");
    assert!(!judged || both.gate.matches(text), "the gate of {pattern} is closed");
    found
}

/// Checks what an expression finds in texts: the part that matches, or nothing.
#[track_caller]
fn check(pattern: &str, cases: &[(&str, Option<&str>)]) {
    for (text, want) in cases {
        let got = found(pattern, text.as_bytes()).map(|range| &text[range]);
        assert_eq!(got, *want, "{pattern} on {text}");
    }
}

#[test]
fn what_follows_and_what_stands_before_is_looked_at() {
    check(r"<\?(?!xml)", &[("a <?php", Some("<?")), ("<?xml ?>", None), ("<?xml ?><?", Some("<?"))]);
    check(
        r#"(?<!&(?:amp|apos)|&[aou]uml);|['"=]"#,
        &[
            ("a.b", None),
            ("a;b", Some(";")),
            ("&amp;", None),
            ("&ouml;", None),
            ("xml;", Some(";")),
            ("a='", Some("=")),
        ],
    );
    check(r"(?i)a(?=BC)", &[("abd Abc", Some("A")), ("ab", None)]);
    check(r"(?<=^|,)\d+(?=,|$)", &[("1,22,x3", Some("1")), ("x1,22,3", Some("22")), ("x1", None)]);
    // In each of the lengths that it may have.
    check(r"(?<=ab?c{1,2})x", &[("acx", Some("x")), ("abccx", Some("x")), ("cx", None), ("abcccx", None)]);
}

#[test]
fn what_a_group_has_matched_is_asked_for_again() {
    check(
        r"\b(\w+)\b\s*=\s*\1\b",
        &[("or 1=1", Some("1=1")), ("or ab = ab--", Some("ab = ab")), ("1=2", None), ("a=ab", None)],
    );
    check(r"(?i:(a)x\1)", &[("axA", Some("axA")), ("axb", None)]);
    check(r"(a)x\1", &[("axA", None)]);
    check(r"(?P<q>['`]).*?(?P=q)", &[("a'b`c'", Some("'b`c'")), ("'`", None)]);
    check(r"(?<q>['`])\k<q>", &[("'``", Some("``"))]);
    // A group that did not take part is no text, not even the empty one.
    check(r"(?:(a)|b)\1", &[("aa", Some("aa")), ("b", None)]);
    check(r"(?:(a|b\1)){2}", &[("aba", Some("aba"))]);
}

#[test]
fn what_is_atomic_is_not_tried_otherwise() {
    check(r"a++b", &[("aaab", Some("aaab"))]);
    check(r"a++ab", &[("aaab", None)]);
    check(r#"['"][^?\w=]++\s*?["'(]"#, &[("' ('", None), ("' ?'", None), (r#"";?""#, None)]);
    check(r"(?>a|ab)c", &[("abc", None), ("ac", Some("ac"))]);
    check(r"x?+x", &[("x", None), ("xx", Some("xx"))]);
    check(r"(?:ab){1,2}+a", &[("ababa", Some("ababa")), ("abab", None)]);
}

#[test]
fn loops_over_nothing_end() {
    check(r"(?:a*|(?=x))*y", &[("aay", Some("aay")), ("x", None)]);
    check(r"(?:(?!b)|a){3,}?c", &[("aaac", Some("aaac")), ("b", None)]);
    check(r"(?:(?=^)a*){2,}b", &[("aab", Some("aab"))]);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (pattern, why) in [
        (r"(?=a", "unclosed group at 0"),
        (r"(?=a))", "unopened group at 5"),
        (r"(a)\2", "a reference to no group at 3"),
        (r"\k<a>(?<b>x)", "a reference to no group at 0"),
        (r"(?<=a+)b", "a look-behind of this expression looks back by more than 255 bytes"),
        (r"(a)(?<=\1)b", "a look-behind of this expression looks back by more than 255 bytes"),
        (r"(?=a)(?R1)", "this kind of group is unknown at 8"),
        (
            r"(?=a)(?u) b",
            "this flag does not go with look-around, back-references or possessive repetition at 7",
        ),
        (r"(?=a)\pL", "Unicode not allowed here at 5"),
        (r"(?=a){2,1}", "invalid repetition count range, the start must be <= the end at 5"),
        (r"(?=a)\K", "unrecognized escape sequence at 5"),
    ] {
        assert_eq!(build(pattern).err().as_deref(), Some(why), "{pattern}");
    }
    let deep = format!("(?=a){}a{}", "(".repeat(1000), ")".repeat(1000));
    assert_eq!(build(&deep).err().as_deref(), Some("groups are nested too deep at 69"));
    let stacked = format!("(?=a)a{}", "*".repeat(100_000));
    assert_eq!(build(&stacked).err().as_deref(), Some("repetitions are nested too deep at 9"));
}

/// Whatever is nested as deep as it may be is compiled, or refused, on the stack of a thread.
#[test]
fn what_is_nested_deep_is_compiled() {
    for (open, close) in
        [("(?:", ")*?+"), ("(?:", "){2,3}"), ("(?=", ")"), ("(?>x|", ")??"), ("(a?", "b)++"), ("(?<!", ")")]
    {
        let pattern = format!("(?=y){}y{}", open.repeat(63), close.repeat(63));
        match build(&pattern) {
            Ok(both) => drop(both.hard.judge(&[b'y'; 3000], &mut Budget(u64::MAX))),
            Err(why) => assert_eq!(why, "this expression is too large once it is compiled", "{pattern}"),
        }
    }
}

/// Blanks and comments that mean nothing hide nothing of what is asked for.
#[test]
fn verbose_expressions_are_read() {
    check("(?x) a ++ b # (a", &[("aab", Some("aab"))]);
    check("(?x) a + + a", &[("aaa", None)]);
    check("(?x: [a\\ ] \\  (?=b) # )\n)b", &[("a b", Some("a b")), ("ab", None)]);
    assert!(build("(?u)a").is_ok_and(|both| !both.is_hard));
}

/// What would take for ever is given up, after no more steps than one text may take; also where nothing
/// is ever taken back, or nothing is found that could be.
#[test]
fn what_takes_too_many_steps_is_given_up() {
    let long = |text: &str| text.repeat(128 << 10).into_bytes()[..128 << 10].to_vec();
    for (pattern, text) in [
        (r"(?=x)?(?:a|a)*b", long("a")),
        (r"(a+)+\1=b", long("a")),
        (r"(?:(?=.*y)x)*(?!x)z", [long("x"), b"yz".to_vec()].concat()),
        (r"(?>a*)b|(?=x)y", [long("a"), b"xb".to_vec()].concat()),
        (r"(.*)(.*)(.*)(.*)\1\2\3\4x", long("ab")),
        (r"(?:(?=ab)ab|b)*x", long("ab")),
        (r"(?<=\w{255})=", [long("a"), b"a".to_vec(), long(".=")].concat()),
    ] {
        let both = build(pattern).expect(pattern);
        let mut budget = Budget(1 << 40);
        let judged = both.hard.judge(&text, &mut budget);
        let spent = (1 << 40) - budget.0;
        assert!(spent <= STEPS * COST, "{pattern} takes {spent}");
        if pattern != r"(?<=\w{255})=" {
            assert_eq!(judged, Err(GaveUp), "{pattern}");
        }
    }
    // What is left of the request's budget bounds it too.
    let both = build(r"(a+)+\1=b").expect("reads");
    assert_eq!(both.hard.judge(&[b'a'; 40], &mut Budget(4000)), Err(GaveUp));
}

// === against other engines ===

#[derive(Clone, Debug)]
enum Part {
    Atom(&'static str),
    Sequence(Vec<Part>),
    Either(Vec<Part>),
    Group(Box<Part>),
    Repeat(Box<Part>, &'static str),
    Ahead(bool, Box<Part>),
    Behind(bool, Vec<&'static str>),
    Atomic(Box<Part>),
    Back(usize),
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
];
/// Of one length each.
const BEHIND: &[&str] = &["a", "ab", r"\w", "=", "[^b].", r"\ba"];

fn parts(hard: bool) -> impl Strategy<Value = Part> {
    let atom = prop::sample::select(ATOMS).prop_map(Part::Atom);
    let repeats = match hard {
        true => vec!["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{2,}", "*+", "++", "?+"],
        false => vec!["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{2,}"],
    };
    atom.prop_recursive(4, 24, 4, move |part| {
        let easy = prop_oneof![
            3 => prop::collection::vec(part.clone(), 1..4).prop_map(Part::Sequence),
            1 => prop::collection::vec(part.clone(), 2..4).prop_map(Part::Either),
            2 => part.clone().prop_map(|part| Part::Group(part.into())),
            2 => (part.clone(), prop::sample::select(repeats.clone()))
                .prop_map(|(part, repeat)| Part::Repeat(part.into(), repeat)),
        ];
        let behind = prop::collection::vec(prop::sample::select(BEHIND), 1..3);
        let extra = prop_oneof![
            2 => (any::<bool>(), part.clone()).prop_map(|(negated, part)| Part::Ahead(negated, part.into())),
            1 => (any::<bool>(), behind).prop_map(|(negated, parts)| Part::Behind(negated, parts)),
            1 => part.prop_map(|part| Part::Atomic(part.into())),
            2 => (0..3_usize).prop_map(Part::Back),
        ];
        if hard { prop_oneof![3 => easy, 2 => extra].boxed() } else { easy.boxed() }
    })
}

impl Part {
    /// Writes it; `closed` are the groups so far.
    fn write(&self, out: &mut String, groups: &mut usize, closed: &mut Vec<usize>) {
        let mut inner = |open: &str, part: &Part, out: &mut String| {
            out.push_str(open);
            part.write(out, groups, closed);
            out.push(')');
        };
        match self {
            Part::Atom(atom) => out.push_str(atom),
            Part::Sequence(parts) => parts.iter().for_each(|part| inner("(?:", part, out)),
            Part::Either(parts) => {
                out.push_str("(?:");
                for (at, part) in parts.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "|" });
                    part.write(out, groups, closed);
                }
                out.push(')');
            }
            Part::Group(part) => {
                *groups += 1;
                let number = *groups;
                out.push('(');
                part.write(out, groups, closed);
                out.push(')');
                closed.push(number);
            }
            Part::Repeat(part, times) => {
                inner("(?:", part, out);
                out.push_str(times);
            }
            Part::Ahead(negated, part) => inner(if *negated { "(?!" } else { "(?=" }, part, out),
            Part::Behind(negated, parts) => {
                out.push_str(if *negated { "(?<!" } else { "(?<=" });
                out.push_str(&parts.join("|"));
                out.push(')');
            }
            Part::Atomic(part) => inner("(?>", part, out),
            Part::Back(which) => match closed.get(which % closed.len().max(1)) {
                Some(group) => write!(out, r"(?:\{group})").expect("into a string"),
                None => out.push('b'),
            },
        }
    }

    fn pattern(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, &mut 0, &mut Vec::new());
        out
    }
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"aabbAB= \n\xe9\xc3.1_".to_vec()), 0..9)
}

/// Whether a round of a repetition may match nothing. PCRE ends the repetition with it, and so does this
/// engine; `regex`, to which `fancy-regex` leaves what is not hard, goes on with the other ways of the same
/// round: `(?:\B|.){2,}` is two bytes of `a==` to the one, and three to the other.
fn has_idle_rounds(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            let idle = repetition.sub.properties().minimum_len() == Some(0);
            (idle && repetition.max.is_none_or(|max| max > 1)) || has_idle_rounds(&repetition.sub)
        }
        HirKind::Capture(capture) => has_idle_rounds(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(has_idle_rounds),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => false,
    }
}

fn compare(
    hard: bool,
    cases: u32,
    judge: impl Fn(&str, &Both, &[u8]) -> Result<Option<bool>, TestCaseError>,
) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let flags = prop::sample::select(vec!["", "(?i)", "(?m)", "(?-s)"]);
    let inputs = (flags, parts(hard), prop::collection::vec(texts(), 8));
    let [matches, others] = [Cell::new(0), Cell::new(0)];
    TestRunner::new(config)
        .run(&inputs, |(flags, part, texts)| {
            let pattern = format!("{flags}{}", part.pattern());
            let Ok(both) = build(&pattern) else { return Ok(()) };
            if has_idle_rounds(&both.tree.relaxed()) {
                return Ok(());
            }
            for text in &texts {
                let Some(matched) = judge(&pattern, &both, text)? else { continue };
                let count = if matched { &matches } else { &others };
                count.set(count.get() + usize::from(both.is_hard == hard));
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    let (matches, others) = (matches.get(), others.get());
    assert!(matches > 500 && others > 500, "{matches} matches and {others} others are compared");
}

#[test]
fn an_expression_means_the_same_in_both_engines() {
    compare(false, 1500, |pattern, both, text| {
        let got = both.hard.groups(text).into_iter().next().flatten();
        prop_assert_eq!(&got, &both.gate.find(text), "{} on {}", pattern, text.escape_ascii());
        Ok(Some(got.is_some()))
    });
}

#[test]
fn fancy_regex_finds_the_same() {
    compare(true, 1500, |pattern, both, text| {
        let mut builder = RegexBuilder::new(pattern);
        builder.bytes_mode(BytesMode::Ascii).dot_matches_new_line(true);
        let Ok(other) = builder.build() else { return Ok(None) };
        let Ok(want) = other.find(text) else { return Ok(None) };
        let got = both.hard.groups(text).into_iter().next().flatten();
        let want = want.map(|found| found.range());
        prop_assert_eq!(&got, &want, "{} on {}", pattern, text.escape_ascii());
        Ok(Some(got.is_some()))
    });
}

/// Where a part that begins here may end, by what it means and not by how it is looked for. Nothing for
/// parts whose meaning is the way they are looked for.
fn ends(node: &Node, text: &[u8], at: usize) -> Option<BTreeSet<usize>> {
    let from_each = |node: &Node, starts: &BTreeSet<usize>| -> Option<BTreeSet<usize>> {
        let sets: Option<Vec<_>> = starts.iter().map(|at| ends(node, text, *at)).collect();
        Some(sets?.into_iter().flatten().collect())
    };
    let only = |here: bool, length: usize| BTreeSet::from_iter(here.then_some(at + length));
    Some(match node {
        Node::Leaf(hir) => match hir.kind() {
            HirKind::Empty => only(true, 0),
            HirKind::Literal(literal) => only(text[at..].starts_with(&literal.0), literal.0.len()),
            HirKind::Class(Class::Bytes(class)) => {
                let fits =
                    |byte: &u8| class.ranges().iter().any(|one| (one.start()..=one.end()).contains(byte));
                only(text.get(at).is_some_and(fits), 1)
            }
            HirKind::Look(look) => only(holds(*look, text, at), 0),
            other => panic!("{other:?} is no leaf"),
        },
        Node::Sequence(nodes) => {
            nodes.iter().try_fold(BTreeSet::from([at]), |starts, node| from_each(node, &starts))?
        }
        Node::Either(nodes) => {
            let sets: Option<Vec<_>> = nodes.iter().map(|node| ends(node, text, at)).collect();
            sets?.into_iter().flatten().collect()
        }
        Node::Group(_, node) => ends(node, text, at)?,
        Node::Repeat { node, min, max, .. } => {
            let (mut starts, mut all) = (BTreeSet::from([at]), BTreeSet::new());
            for round in 0..=max.unwrap_or(u32::MAX) {
                let known = all.len();
                all.extend(starts.iter().copied().filter(|_| round >= *min));
                if round >= *min && all.len() == known {
                    break;
                }
                starts = from_each(node, &starts)?;
            }
            all
        }
        Node::Around { behind: false, negated, node } => {
            only(ends(node, text, at)?.is_empty() == *negated, 0)
        }
        Node::Around { behind: true, negated, node } => {
            let before: Option<Vec<_>> = (0..=at).map(|start| ends(node, text, start)).collect();
            only(before?.iter().any(|ends| ends.contains(&at)) != *negated, 0)
        }
        Node::Atomic(_) | Node::Back { .. } => return None,
    })
}

#[test]
fn what_is_looked_at_around_is_what_it_means() {
    compare(true, 4000, |pattern, both, text| {
        let sets: Option<Vec<_>> = (0..=text.len()).map(|at| ends(&both.tree.root, text, at)).collect();
        let Some(sets) = sets else { return Ok(None) };
        let want = sets.iter().any(|ends| !ends.is_empty());
        let got = both.hard.judge(text, &mut Budget(u64::MAX));
        prop_assert_eq!(got, Ok(want), "{} on {}", pattern, text.escape_ascii());
        Ok(Some(want))
    });
}

#[test]
fn the_gate_is_open_wherever_the_expression_matches() {
    compare(true, 1500, |pattern, both, text| {
        let judged = both.hard.judge(text, &mut Budget(u64::MAX));
        let open = both.gate.matches(text);
        prop_assert!(open || judged == Ok(false), "{} on {}", pattern, text.escape_ascii());
        Ok(judged.ok())
    });
}
