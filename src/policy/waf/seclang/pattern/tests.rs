//! Expressions of PCRE, and what becomes of them. Whether they mean the same was compared with PCRE2 itself.

use super::*;
use crate::policy::waf::operators::Trial;

#[track_caller]
fn check(pattern: &str, want: &str) {
    let got = translate(pattern).expect(pattern);
    assert_eq!(got, want, "{pattern}");
    assert!(Trial::new(&got).is_ok(), "{got}");
}

#[track_caller]
fn refused(pattern: &str, why: &str, at: usize) {
    assert_eq!(translate(pattern), Err(Untranslated { why: why.to_owned(), at }), "{pattern}");
}

#[test]
fn what_both_know_stays() {
    for pattern in [
        r"(?i)\bselect\s+[^a-z]{2,5}\d+$",
        r"[\]\[a]",
        r"a{2}b{3,}",
        r"[[:alpha:]x]",
        r"\x5c\.\/",
        r"(?=a)(?!b)(?<=c)(?<!d)(?>e)f*+",
        r"(?i-s:a)(?-m)b",
    ] {
        let want = pattern.replace("\\/", "/");
        check(pattern, &want);
    }
}

#[test]
fn bytes_are_bytes() {
    check(r"\x{27}[\x{ac}-\x{ff}]", r"\x27[\xac-\xff]");
    check("´[´]", r"\xc2\xb4[\xc2\xb4]");
    check(r"\0\x0\012\o{101}\101", r"\x00\x00\x0a\x41\x41");
    check(r"\cA\e\a[\b\1\cz]", r"\x01\x1b\a[\x08\x01\x1a]");
    for (code, at) in [(r"\x{100}", 6), (r"\x{zz}", 5), (r"\x{}", 3), (r"\400", 3)] {
        let digits = code.trim_matches(['\\', 'x', '{', '}']);
        refused(
            code,
            &format!("`{digits}` is not the code of a byte, which is what expressions are about"),
            at,
        );
    }
}

#[test]
fn what_stands_for_itself_in_pcre_does_so_here() {
    check(r"${IFS}\{{[}]", r"$\{IFS\}\{\{[}]");
    check(r"[[a][]b][^]c]", r"[\[a][\]b][^\]c]");
    check(r"\<a\v[\v]", "<a[\\n\\x0b\\x0c\\r\\x85][\\n\\x0b\\x0c\\r\\x85]");
    check(r"[a&&b~~]", r"[a\&\&b\~\~]");
    check(r"\\{2}\\{2,}x}", r"\\{2}\\{2,}x\}");
    check(r"\Qa.b{\E+\Q*", r"a\.b\{+\*");
}

/// `[!--]` is a range up to the dash.
#[test]
fn dashes_in_classes() {
    check(r"[!--]", r"[!-\-]");
    check(r"[+--c]", r"[+-\-c]");
    check(r"[\w-.][a-\d][a-]", r"[\w\-.][a\-\d][a\-]");
    check(r"[[:a]x[b:]]", r"[\[:a]x[b:]]");
    check(r"[[:<:]]a[[:>:]]", r"\b{start}a\b{end}");
    refused("[z-a]", "a range ends before it begins", 3);
    refused("x[[:foo:]]", "`foo` is no class of characters", 3);
    refused("a[b", "unclosed class", 1);
}

/// Blanks that mean something do not go with those that do not.
#[test]
fn blanks_and_comments_are_left_out_where_they_mean_nothing() {
    check("(?x) a\\ b [ c] # (\n d", r"a b[ c]d");
    check("(?x:a b(?-x: c) d) e", "(?:ab(?: c)d) e");
    check("(?ix)a ++ b(?#c)d", "(?i)a++bd");
}

#[test]
fn names_and_numbers_of_groups() {
    check(r"(?<a>x)\k<a>(?'b'y)\k'b'\k{b}\g{a}", r"(?P<a>x)(?P=a)(?P<b>y)(?P=b)(?P=b)(?P=a)");
    check(r"(a)\1\g1\g{1}\g{-1}2", r"(a)\1\1\1(?:\1)2");
    // With so many groups it would be the eleventh.
    check(r"(a)\11", r"(a)\x09");
    check(r"(a)()()()()()()()()()()\11", r"(a)()()()()()()()()()()\11");
}

#[test]
fn what_only_pcre_knows_is_said_otherwise() {
    check(r"a\Z", r"a(?=\n?\z)");
    check(r"\G\N\R\V", r"\A[^\n](?>\r\n|[\n\x0b\x0c\r\x85])[^\n\x0b\x0c\r\x85]");
    check(r"[\H]", r"[[^\t \xa0]]");
}

/// `(?R)`, `(?u)` and `\u0061` are something else to Rust, so that they must not get through.
#[test]
fn what_cannot_be_said_is_refused_by_its_name() {
    for (pattern, why, at) in [
        (r"\((?:a|(?R))*\)", "recursion is not run", 8),
        (r"(a)(?1)", "recursion is not run", 4),
        (r"(?P<a>b)(?P>a)", "recursion is not run", 9),
        (r"(a)\g<1>", "`\\g` refers to no group; recursion is not run", 4),
        (r"(a)?(?(1)b)", "conditions are not run", 5),
        (r"(?|(a)|(b))", "groups whose alternatives share their numbers are not run", 1),
        (r"(*UTF8)a", "verbs such as `(*ANYCRLF)` are not run", 0),
        (r"a\Kb", "`\\K` is not run", 2),
        (r"(?u)a", "`(?u` is not run", 2),
        (r"(?iR)a", "`(?R` is not run", 3),
        (r"(?xx)a", "`(?x` is not run", 2),
        (r"\pL", "expressions are about bytes, and `\\p` is not", 1),
        (r"\u0061", "`\\u` is unknown", 1),
        (r"[\R]", "`\\R` is unknown in a class", 2),
        (r"a\", "a backslash stands at the end", 1),
    ] {
        refused(pattern, why, at);
    }
}
