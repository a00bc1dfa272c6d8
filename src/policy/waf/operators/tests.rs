//! Each operator by example.

use super::*;
use crate::policy::waf::needs::fold;

fn build(name: &str, argument: Argument) -> Result<Operator, OperatorProblem> {
    let kind = OperatorKind::ALL.iter().find(|kind| kind.info().name == name);
    let Some(kind) = kind else { panic!("no operator {name}") };
    kind.build(&argument, &mut TableBudget(1 << 20))
}

fn matches(operator: &Operator, value: &[u8]) -> bool {
    operator.judge(value, &mut Budget(u64::MAX)).expect("few steps")
}

/// Checks that the operator matches the first values and not the others, and that what it says it
/// needs is there wherever it matches.
#[track_caller]
fn check(name: &str, argument: Argument, yes: &[&[u8]], no: &[&[u8]]) {
    let Ok(operator) = build(name, argument) else { panic!("{name} cannot be built") };
    let needs = operator.needs();
    for value in yes {
        assert!(matches(&operator, value), "{name} should match {}", value.escape_ascii());
        assert!(operator.find(value).is_some_and(|place| value.get(place).is_some()));
        assert!(value.len() >= needs.min_len);
        assert!(needs.clauses.iter().all(|set| value.iter().any(|byte| set.contains(*byte))));
        let folded: Vec<u8> = value.iter().map(|byte| fold(*byte)).collect();
        let found = |literal: &Vec<u8>| memchr::memmem::find(&folded, literal).is_some();
        assert!(needs.literals.as_ref().is_none_or(|literals| literals.iter().any(found)), "{name}");
    }
    for value in no {
        assert!(!matches(&operator, value), "{name} should not match {}", value.escape_ascii());
        assert_eq!(operator.find(value), None);
    }
}

fn text(text: &str) -> Argument {
    Argument::Text(text.into())
}

fn words(words: &[&str]) -> Argument {
    Argument::Words(words.iter().map(|word| (*word).into()).collect())
}

#[test]
fn texts_are_compared_byte_by_byte() {
    check("contains", text("b/"), &[b"ab/c", b"b/"], &[b"", b"B/", b"b"]);
    check("contains_any", words(&["ab", "c"]), &[b"xab", b"c"], &[b"AB", b"a", b""]);
    check(
        "contains_word",
        text("exec"),
        &[b"exec(x)", b"a exec", b"xexec exec"],
        &[b"executive", b"_exec", b"exec1"],
    );
    check("starts_with", text("ab"), &[b"abc", b"ab"], &[b"xab", b"Ab", b""]);
    check("ends_with", text("ab"), &[b"cab", b"ab"], &[b"abx", b""]);
    check("equals", text("ab"), &[b"ab"], &[b"abc", b"AB", b""]);
    check("equals", text(""), &[b""], &[b" "]);
    check("equals_any", words(&["ab", ""]), &[b"ab", b""], &[b"a", b"ab "]);
    check("present", Argument::Nothing, &[b"", b"x"], &[]);
}

#[test]
fn numbers_are_decimal_and_nothing_else_is_a_number() {
    check("eq", Argument::Number(5), &[b"5", b" +5 ", b"05"], &[b"6", b"5x", b"", b"0x5", b"5.0"]);
    check("gt", Argument::Number(5), &[b"6"], &[b"5", b"-6", b"99999999999999999999"]);
    check("ge", Argument::Number(5), &[b"5"], &[b"4"]);
    check("lt", Argument::Number(0), &[b"-1"], &[b"0"]);
    check("le", Argument::Number(0), &[b"0"], &[b"1"]);
}

#[test]
fn injections_are_told_by_their_grammar() {
    check(
        "detect_sqli",
        Argument::Nothing,
        &[b"1' OR '1'='1", b"1 union select 1,2 -- ", b"admin'--", b"{`", b"1--"],
        &[b"", b"x", b"O'Connor", b"rock and roll", b"1union", b"550e8400-e29b-41d4-a716-446655440000"],
    );
    check(
        "detect_xss",
        Argument::Nothing,
        &[b"<script>", b"x\" onfocus=alert(1) y=", b"<!`", b"<a href=javascript:x>", b"onerror=x"],
        &[b"", b"a < b", b"a = b", b"<b>bold</b>", b"<a href=\"https://www.example.com/\">"],
    );
}

#[test]
fn encodings_are_checked() {
    check("invalid_utf8", Argument::Nothing, &[b"\xc0\xaf", b"a\xff"], &[b"", "é".as_bytes()]);
    check("invalid_url_encoding", Argument::Nothing, &[b"%", b"%4", b"a%zz"], &[b"", b"%41%ff"]);
    let printable = Argument::Bytes(ByteSet::range(32, 126));
    check("bytes_outside", printable, &[b"a\0", b"\xff"], &[b"abc", b""]);
}

#[test]
fn addresses_are_looked_up_in_networks() {
    let nets = ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().expect("a network"));
    check(
        "ip_match",
        Argument::Networks(nets.into()),
        &[b"10.1.2.3", b" 10.0.0.0", b"::ffff:10.0.0.1", b"2001:db8::1"],
        &[b"11.0.0.1", b"10.0.0.1:80", b"", b"localhost"],
    );
}

#[test]
fn expressions_are_about_bytes() {
    check(
        "regex",
        text(r"(?i)union\s+select"),
        &[b"1 UNION\n\tselect", b"\xffunion select"],
        &[b"unionselect"],
    );
    check("regex", text(r"a.b"), &[b"a\nb", b"a\xffb"], &[b"ab"]);
    check("regex", text(r"^\w{2}$"), &[b"ab"], &[b"abc", b"ab\n", "é".as_bytes()]);
    check("regex", text(r"\xff\x00"), &[b"a\xff\0"], &[b"\xff"]);
    // Too large for a table: the general engine answers.
    check(
        "regex",
        text(r"(?:[a-z0-9]{1,60}x){12}y"),
        &[&b"ax".repeat(12).as_slice().to_vec()[..], b"y"].concat().chunks(25).collect::<Vec<_>>(),
        &[b"axy"],
    );
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (name, argument) in [
        ("regex", text("(")),
        ("regex", text("(?<=a+)b")),
        ("regex", text("[a&&b]")),
        ("contains", text("")),
        ("starts_with", text("")),
        ("ends_with", text("")),
        ("contains_word", text("")),
        ("contains_any", words(&[])),
        ("contains_any", words(&["a", ""])),
        ("equals_any", words(&[])),
        ("bytes_outside", Argument::Bytes(ByteSet::FULL)),
        ("eq", text("5")),
        ("regex", Argument::Nothing),
    ] {
        assert!(build(name, argument.clone()).is_err(), "{name} {argument:?}");
    }
    let large = build("regex", text(r"(?:\w{500}){1000}"));
    assert!(matches!(large, Err(OperatorProblem { code: Code::Limit, .. })));
}

#[test]
fn every_operator_is_documented_and_named_once() {
    let mut names: Vec<&str> = OperatorKind::ALL.iter().map(|kind| kind.info().name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), OperatorKind::ALL.len());
    for kind in OperatorKind::ALL {
        let info = kind.info();
        for part in ["*Matches*", "*Argument*", "*Example*"] {
            assert!(info.doc.contains(part), "{} lacks {part}", info.name);
        }
    }
}
