//! Against the verdicts of the C library (3.9.2).

use super::super::detect_sqli::tests::PIECES;
use super::super::injection::tests::{Verdicts, every_text};
use super::*;

#[test]
fn every_order_of_three_classes_of_tokens_gets_the_verdict_of_the_library() {
    let mut verdicts = Verdicts::NONE;
    every_text(&PIECES, 3, |text| verdicts = verdicts.with(is_injection(text)));
    assert_eq!(verdicts, Verdicts { attacks: 12_388, hash: 0xaec5_b7d2_be39_cdad });
}

#[test]
fn every_word_gets_the_verdict_of_the_library() {
    let mut verdicts = Verdicts::NONE;
    for word in libinjectionrs::sqli::sqli_data::SQL_KEYWORDS.iter().map(|entry| entry.word) {
        for text in [
            format!("1 {word} 1"),
            format!("'{word} a=b--"),
            format!("1 or {word}(1)"),
            format!("x' {word}.1 #"),
            format!("{word} select 1"),
        ] {
            verdicts = verdicts.with(is_injection(text.as_bytes()));
            verdicts = verdicts.with(is_injection(text.to_ascii_lowercase().as_bytes()));
        }
    }
    assert_eq!(verdicts, Verdicts { attacks: 9274, hash: 0x2d43_f735_921a_b167 });
}

#[track_caller]
fn all_are(attacks: bool, texts: &[&str]) {
    for text in texts {
        assert_eq!(is_injection(text.as_bytes()), attacks, "{}", text.escape_debug());
    }
}

#[test]
fn known_attacks_are_found() {
    all_are(
        true,
        &[
            "1' OR '1'='1",
            "admin'--",
            "1 union select 1,2,group_concat(a) from b where c=d limit 1 -- ",
            "' and extractvalue(1,concat(0x7e,(select @@version)))#",
            "1; drop table users",
            "-1)) or ((1=1",
            "U&'abc' or 1=1",
            "1 /*!50000union*/ select 1",
            "x'; /* /* */",
            "{``.a}",
            "$tag$x$tag$ or 1=1",
            "1e5or(1)",
            "1fUNION SELECT 1",
            "\\%1 or 1",
            "sp_password' --",
            "foo' + 'bar",
            "50% off -- today only",
            "1 or 2 and 3",
            "a, -1, -sin(1), b",
        ],
    );
}

#[test]
fn texts_that_look_alike_are_none() {
    all_are(
        false,
        &[
            "admin' -- x",
            "1;if 1=1 waitfor delay '0:0:5'",
            "q'(a)' || nq'[b]'",
            "select {`a`} from b",
            "$1,000.00 or 2",
            "0x1for 1",
            "a\\' or 1=1",
            "It's a dog's life -- isn't it?",
            "Rock & roll, or not to be",
            "user (foo) or user()",
            "collate utf8_general_ci or 1",
            "``",
            "1 and 1 ``",
            ":",
            "a:",
            "1::int",
        ],
    );
}

#[test]
fn a_file_is_written_in_any_case_of_letters() {
    all_are(true, &["1 INTO OUTFILE 1", "1 into outfile 1", "' into dumpfile 1"]);
    all_are(false, &["1 into x 1"]);
}

#[test]
fn the_beginnings_of_longer_words_are_one_word() {
    all_are(true, &["1 or at time--", "1 or is distinct--", "1 or lock in share--", "1 or next value--"]);
    all_are(false, &["a is distinct(1", "a is not distinct(1"]);
}

#[test]
fn nuls_end_variables_and_are_digits() {
    all_are(true, &["@@x\0 or (1)", "0x1\0f or 1=1", "x'0\0' or 1=1", "' $a\0$b$a\0$ or 1=1"]);
    all_are(false, &["a' $1\0 or 1"]);
}

#[test]
fn the_procedure_that_hides_queries_is_known_in_any_case_of_letters() {
    all_are(true, &["@@.Sp_paSSworD\n--+1d+a.b\x0c"]);
}
