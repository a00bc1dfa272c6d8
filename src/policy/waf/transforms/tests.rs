//! Each transformation by example, and what all of them promise.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(name: &str, input: &[u8], want: &[u8]) {
    let Some(transform) = Transform::by_name(name) else { panic!("no transformation {name}") };
    let got = transform.apply(input).unwrap_or_else(|| input.to_vec());
    assert_eq!(
        got.escape_ascii().to_string(),
        want.escape_ascii().to_string(),
        "{name} of {}",
        input.escape_ascii()
    );
}

#[test]
fn base64_is_decoded_only_where_the_whole_value_is_base64() {
    check("base64_decode", b"PHNjcmlwdD4=", b"<script>");
    check("base64_decode", b"PHNjcmlwdD4", b"<script>");
    check("base64_decode", b"PHNj\r\ncmlwdD4=", b"<script>");
    check("base64_decode", b"_-_-", b"\xff\xef\xfe");
    check("base64_decode", b"PHN", b"PHN");
    check("base64_decode", b"hello!", b"hello!");
    check("base64_decode", b"", b"");
}

#[test]
fn command_lines_lose_their_disguise() {
    check("cmd_line", b"C^AT  /e\"t\"c/pa's'swd", b"cat/etc/passwd");
    check("cmd_line", b"a,b;c\t d", b"a b c d");
    check("cmd_line", b"who\\ami (x", b"whoami(x");
}

#[test]
fn blanks_are_compressed_or_removed_with_the_no_break_space() {
    check("compress_whitespace", b"a\t\n  b\xc2\xa0\xc2\xa0c ", b"a b c ");
    check("compress_whitespace", b"\xc3\xa0 \xc2\xa9", b"\xc3\xa0 \xc2\xa9");
    check("remove_whitespace", b" java\tscr\xc2\xa0ipt\x0b", b"javascript");
    check("trim", b" \t x y \n", b"x y");
    check("trim", b"  ", b"");
}

#[test]
fn css_escapes_are_decoded() {
    check("css_decode", b"ja\\76 ascript", b"javascript");
    check("css_decode", b"\\000065xp\\72 ession", b"expression");
    check("css_decode", b"a\\\nb\\zc\\", b"abzc\\");
    check("css_decode", b"\\ff1cx", b"<x");
}

#[test]
fn hexadecimal_values_are_decoded_as_a_whole() {
    check("hex_decode", b"0x3c7363726970743e", b"<script>");
    check("hex_decode", b"4142", b"AB");
    check("hex_decode", b"414", b"414");
    check("hex_decode", b"0x", b"0x");
    check("hex_decode", b"41g2", b"41g2");
}

#[test]
fn html_references_are_decoded_as_browsers_do() {
    check("html_entity_decode", b"&lt;img src=&#x78; alt=&#0000060&Tab;", b"<img src=x alt=<\t");
    check("html_entity_decode", b"&ltscript&gt", b"<script>");
    check("html_entity_decode", b"a & b &nosuch; \xff", b"a & b &nosuch; \xff");
}

#[test]
fn javascript_escapes_are_decoded() {
    check("js_decode", b"\\u003cscript\\x3e\\u{3c}\\74", b"<script><<");
    check("js_decode", b"\\ud83d\\ude00", "😀".as_bytes());
    check("js_decode", b"\\ud83dx", b"\x3dx");
    check("js_decode", b"\\uFF1c\\u00e9", b"<\xe9");
    check("js_decode", b"a\\nb\\/c\\q\\", b"a\nb/cq\\");
    check("js_decode", b"\\u00zz\\xzz\\400", b"u00zzxzz 0");
}

#[test]
fn the_length_is_a_number() {
    check("length", b"", b"0");
    check("length", b"abc", b"3");
}

#[test]
fn only_ascii_letters_change_case() {
    check("lowercase", "UNION Ä".as_bytes(), "union Ä".as_bytes());
}

#[test]
fn paths_are_resolved() {
    check("normalise_path", b"/var//www/./x/../../../etc", b"/etc");
    check("normalise_path", b"../../a/./b/..", b"../../a/");
    check("normalise_path", b"a/b/", b"a/b/");
    check("normalise_path", b"/../..//", b"/");
    check("normalise_path", b"..", b"..");
    check("normalise_path", b"....//....//etc", b"..../..../etc");
    check("normalise_path_win", b"..\\..\\windows\\.\\win.ini", b"../../windows/win.ini");
}

#[test]
fn nulls_are_removed() {
    check("remove_nulls", b"<scr\0ipt\0>", b"<script>");
}

#[test]
fn comments_are_replaced() {
    check("replace_comments", b"union/**/select/*x*/1/*open", b"union select 1 ");
    check("replace_comments", b"a/b*c*/", b"a/b*c*/");
}

#[test]
fn executed_comments_keep_their_inside() {
    check("sql_comments", b"1/*!50000union*/select", b"1 union select");
    check("sql_comments", b"1/*!union/**/select*/", b"1 union select ");
    check("sql_comments", b"1 union-- x\nselect#\n2", b"1 union select 2");
    check("sql_comments", b"1-- x", b"1-- x");
    check("sql_comments", b"*/ a /*", b"*/ a  ");
}

#[test]
fn compatible_characters_become_plain_ones() {
    check("unicode_nfkc", "＜ｓｃｒｉｐｔ＞ﬁ①".as_bytes(), b"<script>fi1");
    check("unicode_nfkc", b"\xff\xc3\xa9", b"\xff\xc3\xa9");
}

#[test]
fn percent_encoding_is_decoded_once() {
    check("url_decode", b"%3Cscript%3e+%253c%zz%4", b"<script> %3c%zz%4");
    check("url_decode", b"%00%ff", b"\0\xff");
    check("url_decode_uni", b"%u003cscript%uFF1e+%25%u12", b"<script> %%u12");
    check("url_decode_uni", b"%u2018%u0131", "'ı".as_bytes());
}

#[test]
fn every_transformation_is_documented_and_named_once() {
    let mut names: Vec<&str> = Transform::ALL.iter().map(|transform| transform.info().name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Transform::ALL.len());
    for transform in Transform::ALL {
        let info = transform.info();
        assert!(info.doc.contains("*Changes*") && info.doc.contains("*Example*"), "{}", info.name);
        assert_eq!(Transform::by_name(info.name), Some(*transform));
    }
}

/// Bytes that transformations care about, and arbitrary ones.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "%", "u", "00", "3c", "+", "\\", "x", "&", "lt", ";", "#", "/*", "*/", "!", "--", "\n", "..", "/",
        " ", "'", "ff1c", "{", "}", "=", "A", "\u{a0}", "é",
    ]);
    let piece = prop_oneof![4 => piece.prop_map(|piece| piece.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..4)];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_value_without_triggers_stays_and_changed_is_told_truly(input in text()) {
        for transform in Transform::ALL {
            let info = transform.info();
            let mut output = b"before".to_vec();
            let changed = (info.apply)(&input, &mut output);
            prop_assert!(output.starts_with(b"before"), "{} overwrites", info.name);
            if changed {
                let triggered = info.triggers.is_none_or(|set| input.iter().any(|byte| set.contains(*byte)));
                prop_assert!(triggered, "{} changed a value without its triggers", info.name);
                let yields = info.yields.unwrap_or(ByteSet::FULL);
                let told = output[6..].iter().all(|byte| input.contains(byte) || yields.contains(*byte));
                prop_assert!(told, "{} makes new bytes", info.name);
            }
            if !changed && !matches!(transform, Transform::Base64Decode | Transform::HexDecode) {
                prop_assert!(output.len() == 6 || output[6..] == input[..], "{} hides a change", info.name);
            }
        }
    }

    #[test]
    fn nothing_grows_beyond_what_was_put_in(input in text()) {
        for transform in Transform::ALL {
            if let Some(output) = transform.apply(&input) {
                prop_assert!(output.len() <= 20 + input.len() * 11, "{}", transform.info().name);
            }
        }
    }

    #[test]
    fn what_is_done_in_chunks_is_what_is_done_byte_by_byte(input in text()) {
        let long = input.repeat(1 + 70 / (input.len() + 1));
        for input in [&input, &long] {
            prop_assert_eq!(after(Transform::RemoveWhitespace, input), without_blanks(input));
            prop_assert_eq!(after(Transform::CmdLine, input), command(input));
            let decoded = from_base64(input);
            let want = if decoded.is_empty() { input.clone() } else { decoded };
            prop_assert_eq!(after(Transform::Base64DecodeLenient, input), want);
        }
    }
}

fn after(transform: Transform, input: &[u8]) -> Vec<u8> {
    transform.apply(input).unwrap_or_else(|| input.to_vec())
}

fn without_blanks(mut input: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    while !input.is_empty() {
        let length = blank_length(input);
        output.extend((length == 0).then_some(input[0]));
        input = &input[length.max(1)..];
    }
    output
}

fn command(input: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    let mut blank = false;
    for byte in input {
        match byte {
            b'\\' | b'"' | b'\'' | b'^' => {}
            b',' | b';' => blank = true,
            byte if BLANKS.contains(*byte) => blank = true,
            byte => {
                output.extend((blank && !matches!(byte, b'/' | b'(')).then_some(b' '));
                blank = false;
                output.push(byte.to_ascii_lowercase());
            }
        }
    }
    output.extend(blank.then_some(b' '));
    output
}

fn from_base64(input: &[u8]) -> Vec<u8> {
    let value = |byte: &u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let bits: Vec<bool> = input
        .iter()
        .map_while(value)
        .flat_map(|value| (0..6).rev().map(move |bit| value >> bit & 1 == 1))
        .collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | u8::from(*bit))).collect()
}
