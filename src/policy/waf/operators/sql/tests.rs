//! Against the crate, whose verdicts are those of the C library.

use proptest::prelude::*;

use super::super::detect_sqli::tests::PIECES;
use super::super::injection::tests::{every_text, texts};
use super::*;

#[track_caller]
fn agrees(text: &[u8]) {
    let theirs = libinjectionrs::detect_sqli(text).is_injection();
    assert_eq!(is_injection(text), theirs, "{}", text.escape_ascii());
}

#[test]
fn every_order_of_three_classes_of_tokens_gets_the_verdict_of_the_library() {
    every_text(&PIECES, 3, agrees);
}

#[test]
fn every_word_gets_the_verdict_of_the_library() {
    let words = libinjectionrs::sqli::sqli_data::SQL_KEYWORDS;
    for word in words.iter().map(|entry| entry.word) {
        for text in [
            format!("1 {word} 1"),
            format!("'{word} a=b--"),
            format!("1 or {word}(1)"),
            format!("x' {word}.1 #"),
            format!("{word} select 1"),
        ] {
            agrees(text.as_bytes());
            agrees(text.to_ascii_lowercase().as_bytes());
        }
    }
}

#[test]
fn known_attacks_and_texts_that_look_alike_get_the_verdict_of_the_library() {
    for text in [
        "1' OR '1'='1",
        "admin'--",
        "admin' -- x",
        "1 union select 1,2,group_concat(a) from b where c=d limit 1 -- ",
        "' and extractvalue(1,concat(0x7e,(select @@version)))#",
        "1; drop table users",
        "1;if 1=1 waitfor delay '0:0:5'",
        "-1)) or ((1=1",
        "q'(a)' || nq'[b]'",
        "U&'abc' or 1=1",
        "1 /*!50000union*/ select 1",
        "x'; /* /* */",
        "select {`a`} from b",
        "{``.a}",
        "$tag$x$tag$ or 1=1",
        "$1,000.00 or 2",
        "1e5or(1)",
        "0x1for 1",
        "1fUNION SELECT 1",
        "\\%1 or 1",
        "sp_password' --",
        "a\\' or 1=1",
        "foo' + 'bar",
        "It's a dog's life -- isn't it?",
        "Rock & roll, or not to be",
        "50% off -- today only",
        "1 or 2 and 3",
        "user (foo) or user()",
        "collate utf8_general_ci or 1",
        "a, -1, -sin(1), b",
        "``",
        "1 and 1 ``",
        ":",
        "a:",
        "1::int",
    ] {
        agrees(text.as_bytes());
    }
}

/// The words of the table.
fn words() -> Vec<&'static str> {
    let words = libinjectionrs::sqli::sqli_data::SQL_KEYWORDS.iter();
    words.filter(|entry| entry.token_type != b'F').map(|entry| entry.word).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_texts_get_the_verdict_of_the_library(text in texts(PIECES.to_vec())) {
        agrees(&text);
    }

    #[test]
    fn texts_of_words_get_the_verdict_of_the_library(
        words in prop::collection::vec(prop::sample::select(words()), 1..6),
        joints in prop::collection::vec(prop::sample::select(vec![" ", " 1 ", "(", ")", ",", "'", "--", "/**/", ".", " a ", "=", "`", "#", ";"]), 6),
    ) {
        let text: String = words.iter().zip(&joints).map(|(word, joint)| format!("{word}{joint}")).collect();
        agrees(text.as_bytes());
    }
}
