//! Against the verdicts of the C library (3.9.2).

use super::super::detect_xss::tests::PIECES;
use super::super::injection::tests::{Verdicts, every_text};
use super::*;

#[test]
fn every_order_of_three_pieces_of_markup_gets_the_verdict_of_the_library() {
    let mut verdicts = Verdicts::NONE;
    every_text(&PIECES, 3, |text| verdicts = verdicts.with(is_injection(text)));
    assert_eq!(verdicts, Verdicts { attacks: 407, hash: 0xe6b5_f833_bc42_d0b6 });
}

#[track_caller]
fn all_are(attacks: bool, texts: &[&[u8]]) {
    for text in texts {
        assert_eq!(is_injection(text), attacks, "{}", text.escape_ascii());
    }
}

#[test]
fn every_event_handler_is_bad_and_no_list_of_them_is_asked() {
    all_are(
        true,
        &[b"<x onbogus=1>", b"<img src=x onload|=x>", b"<x/onload=x", b"' ontoggle;='x", b"` ONERROR*=x"],
    );
    all_are(false, &[b"<x onfo=1>", b"onload", b"<x onload>"]);
}

#[test]
fn nuls_end_names_of_attributes_and_are_nothing_in_names_of_elements() {
    all_are(true, &[b"<x \0onload=x>", b"<scr\0ipt>", b"<!-- a -\0-><svg>"]);
    all_are(false, &[b"<x on\0load=x>", b"<x st\0yle=x>", b"<a x\0mlns=x"]);
}

#[test]
fn elements_that_run_or_load_something_are_bad() {
    all_are(true, &[b"<script", b"<style>", b"</script x>", b"<svg>", b"<XsLt/>", b"<!-- a --!><xsl:x>"]);
    all_are(false, &[b"<b>x</b>", b"<math>", b"<![CDATA[<svg>]]>", b"</script>", b"style"]);
}

#[test]
fn a_closing_tag_does_not_hide_the_next_one() {
    let page = |text: &[u8]| finds(text, Place::Page);
    assert!(page(b"</><script>") && page(b"</a b><script>") && !page(b"</a></script>"));
}

#[test]
fn addresses_are_decoded() {
    all_are(
        true,
        &[
            b"<a href=&#106;ava>",
            b"<a href=' \xe9java'>",
            b"<a href=&#x4a&#65vascript:x>",
            b"<a\x0bfolder=vbscript:>",
            b"` src=data:x",
            b"<a href='ja\nva:'>",
        ],
    );
    all_are(
        false,
        &[b"<a href=j\tava:>", b"<a href=&#x1000ff0;data:>", b"<a href=&#;java>", b"javascript:x"],
    );
}

#[test]
fn names_of_attributes_as_values_and_own_name_spaces_are_bad() {
    all_are(true, &[b"<a attributename=href>", b"<a xlink=x", b"<a xmlns:b=c>", b"' style='"]);
    all_are(false, &[b"<a attributename=x>", b"<a xmlns>", b"a=b"]);
}

#[test]
fn comments_that_old_browsers_read_are_bad() {
    all_are(true, &[b"<!doctype", b"<%a` %>", b"<!ENTITY x>", b"<?xml v>", b"<!--[if x]>", b"<?import x>"]);
    all_are(false, &[b"<?xml", b"<!-- a -->", b"<?php x>"]);
}

#[test]
fn a_byte_that_ends_the_text_for_the_library_ends_nothing() {
    all_are(true, &[b"<x \xff onload=x>", b"style=\xff"]);
    all_are(false, &[b"<x \xffonload=x>"]);
}
