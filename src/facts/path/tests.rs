//! Spellings of paths: what is canonical, what is refused, and that no lenient reader sees more.

use proptest::prelude::*;

use super::*;

fn canonical(raw: &str) -> Result<String, Builtin> {
    let (_, text) = Path::parse(raw, Slashes::Merge).map_err(|error| error.0)?;
    Ok(text.unwrap_or_else(|| raw.to_owned()))
}

fn check(raw: &str, want: &str) {
    assert_eq!(canonical(raw).as_deref(), Ok(want), "{raw}");
}

#[test]
fn a_plain_path_is_left_alone() {
    for path in ["/", "/a", "/a/", "/a/b.c/~d", "/(1),x=y&z!*'+$:@", "/a..b/c.", "/a%20b", "/%C3%A9"] {
        check(path, path);
    }
}

#[test]
fn dot_segments_are_resolved_however_they_are_written() {
    check("/public/../admin", "/admin");
    check("/public/%2e%2E/admin", "/admin");
    check("/public/.%2e/admin", "/admin");
    check("/./admin/.", "/admin/");
    check("/public/..", "/");
    check("/../../x", "/x");
}

#[test]
fn slashes_are_merged_before_dots_are_resolved() {
    check("//admin", "/admin");
    check("/public//..//admin", "/admin");
    check("/a///", "/a/");
}

#[test]
fn unreserved_characters_are_decoded_and_the_others_keep_their_spelling() {
    check("/%61dmin", "/admin");
    check("/%7euser", "/~user");
    check("/a%3fb%2c,c", "/a%3Fb%2C,c");
    check("/%252e%252e/x", "/%252e%252e/x");
    check("/caf\u{e9}", "/caf%C3%A9");
    check("/{a}|b", "/%7Ba%7D%7Cb");
}

#[test]
fn what_has_no_canonical_form_is_refused_by_name() {
    for (raw, rule) in [
        ("public", Builtin::BadTarget),
        ("", Builtin::BadTarget),
        ("*", Builtin::BadTarget),
        ("/a%", Builtin::BadPercent),
        ("/a%2", Builtin::BadPercent),
        ("/a%zz", Builtin::BadPercent),
        ("/%u002e", Builtin::BadPercent),
        ("/a%00", Builtin::Nul),
        ("/a%0d%0a", Builtin::BadTarget),
        ("/a%7F", Builtin::BadTarget),
        ("/%c0%ae", Builtin::BadUtf8),
        ("/%E9", Builtin::BadUtf8),
        ("/;x", Builtin::PathParameters),
        ("/a/..;/b", Builtin::PathParameters),
        ("/a/%2e%2e%3Bx/b", Builtin::PathParameters),
        ("/a/..%2fb", Builtin::EncodedSlash),
        ("/a/b%2f..%2f..%2fc", Builtin::EncodedSlash),
        ("/a/..;x%2fb", Builtin::PathParameters),
        ("/a/b%2f..;x", Builtin::EncodedSlash),
        ("/a/..\\b", Builtin::Backslash),
        ("/a\\..\\b", Builtin::Backslash),
    ] {
        assert_eq!(canonical(raw), Err(rule), "{raw}");
    }
}

#[test]
fn what_a_route_may_accept_is_reported() {
    let irregular = |raw: &str| Path::parse(raw, Slashes::Merge).map(|(path, _)| path.irregular()).ok();
    assert!(irregular("/a%2fb").is_some_and(|found| found.encoded_slash));
    assert!(irregular("/a\\b").is_some_and(|found| found.backslash));
    assert!(irregular("/a%5Cb").is_some_and(|found| found.backslash));
    assert!(irregular("/a;b").is_some_and(|found| found.path_parameters));
    assert!(irregular("/a%3Bb").is_some_and(|found| found.path_parameters));
    assert!(irregular("/a//b").is_some_and(|found| found.double_slash));
    assert_eq!(irregular("/a//"), irregular("/a//"));
}

#[test]
fn kept_slashes_are_segments() {
    let (path, text) = Path::parse("/a//b/", Slashes::Keep).ok().unzip();
    let text = text.flatten().unwrap_or_else(|| "/a//b/".to_owned());
    assert_eq!(text, "/a//b/");
    assert_eq!(
        path.map(|path| path.segments(&text).map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default(),
        ["a", "", "b"]
    );
}

#[test]
fn segments_are_decoded_once() {
    let (path, text) = Path::parse("/a%20b/%252e/c", Slashes::Merge).ok().unzip();
    assert_eq!(text.flatten(), None);
    let segments = path.map(|path| path.segments("").map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(segments.unwrap_or_default(), ["a b", "%2e", "c"]);
}

/// What the most lenient reader we know of makes of a path: decode once, take `\` for `/`, drop
/// `;parameters`, merge slashes, resolve dots.
fn lenient(path: &str) -> Vec<String> {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy().replace('\\', "/");
    let mut segments = Vec::new();
    for part in decoded.split('/').map(|part| part.split(';').next().unwrap_or("")) {
        match part {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name.to_owned()),
        }
    }
    segments
}

fn path_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "//", ".", "..", "a", "B", "%2e", "%2E", "%2f", "%5c", "\\", ";", "%3b", "x=1", "%", "%4",
        "%41", "%c3%a9", "%c0", "é", "~", "{", "%20", "%00", "%25", "admin",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn canonical_is_a_fixed_point(raw in path_text()) {
        if let Ok(once) = canonical(&raw) {
            prop_assert_eq!(canonical(&once), Ok(once.clone()));
        }
    }

    #[test]
    fn a_lenient_reader_of_a_regular_path_sees_the_judged_segments(raw in path_text()) {
        let Ok((path, text)) = Path::parse(&raw, Slashes::Merge) else { return Ok(()) };
        let irregular = path.irregular();
        if irregular.encoded_slash || irregular.backslash || irregular.path_parameters {
            return Ok(());
        }
        let text = text.unwrap_or(raw);
        let judged: Vec<String> = path.segments(&text).map(str::to_owned).collect();
        prop_assert_eq!(lenient(&text), judged);
    }

    #[test]
    fn an_accepted_irregular_path_never_climbs(raw in path_text()) {
        // Even where a route accepts everything, no reader may end up outside what was judged.
        let Ok((path, text)) = Path::parse(&raw, Slashes::Merge) else { return Ok(()) };
        let text = text.unwrap_or(raw);
        let flat: Vec<String> = path
            .segments(&text)
            .flat_map(|segment| segment.split(['/', '\\']))
            .map(|part| part.split(';').next().unwrap_or("").to_owned())
            .filter(|part| !part.is_empty())
            .collect();
        prop_assert_eq!(lenient(&text), flat);
    }
}
