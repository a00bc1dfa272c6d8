//! Bodies by example: what is found in them, and what is refused.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

/// Reads a body and shows its texts as `target=text`, or the rule that refuses it.
fn read_as(content_type: &str, body: &[u8]) -> Result<Vec<String>, Unreadable> {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(content_type.as_bytes()) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    let mut values = Values::default();
    read(&headers, body, &Bounds { limit: 1 << 20, depth: 4, fields: 8 }, &mut values)?;
    let all = (0..values.len()).filter_map(|at| values.get(at));
    Ok(all.map(|value| format!("{}={}", values.show(value), values.text(value).escape_ascii())).collect())
}

#[track_caller]
fn finds(content_type: &str, body: impl AsRef<[u8]>, want: &[&str]) {
    assert_eq!(read_as(content_type, body.as_ref()).as_deref(), Ok(want.map_owned().as_slice()));
}

trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for [&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[track_caller]
fn refuses(content_type: &str, body: impl AsRef<[u8]>, rule: Builtin) {
    let got = read_as(content_type, body.as_ref()).map_err(|unreadable| unreadable.rule);
    assert_eq!(got, Err(rule), "{}", body.as_ref().escape_ascii());
}

#[test]
fn forms_are_split_byte_by_byte() {
    finds(
        "application/x-www-form-urlencoded; charset=UTF-8",
        b"a=1+2&b%3D=%3c%zz;c&&novalue&=x&\xff=%ff",
        &[
            "form.names:a=a",
            "form:a=1 2",
            "form.names:b==b=",
            "form:b==<%zz;c",
            "form.names:novalue=novalue",
            "form:novalue=",
            "form.names:=",
            "form:=x",
            "form.names:\\xff=\\xff",
            "form:\\xff=\\xff",
        ],
    );
    refuses("application/x-www-form-urlencoded", "a&".repeat(9), Builtin::BodyTooLarge);
}

#[test]
fn json_is_named_by_paths_and_keeps_repeated_keys() {
    finds(
        "application/json",
        br#"{"a":["\u003cx",2.5],"b":{"c":null},"a":true}"#,
        &[
            "json.names:a=a",
            "json:a.0=<x",
            "json:a.1=2.5",
            "json.names:b=b",
            "json.names:b.c=c",
            "json:b.c=",
            "json.names:a=a",
            "json:a=true",
        ],
    );
    finds("application/ld+json", "\u{feff}\"x\"", &["json:=x"]);
    finds("text/json", "[1]", &["json:0=1"]);
}

#[test]
fn json_that_is_none_or_too_much_is_refused() {
    for body in ["{", "{}x", "{\"a\":1,}", "'a'", "\u{0}", "[1] [2]", "{a:1}", "NaN", "\"\\ud800\""] {
        refuses("application/json", body, Builtin::BodyMalformed);
    }
    refuses("application/json", b"\"\xff\"", Builtin::BodyMalformed);
    refuses("application/json", b"{\0\"\0a\0", Builtin::BodyMalformed);
    refuses("application/json", "[[[[[1]]]]]", Builtin::BodyTooLarge);
    refuses("application/json", "[1,2,3,4,5,6,7,8]", Builtin::BodyTooLarge);
    finds("application/json", "[[[[1]]]]", &["json:0.0.0.0=1"]);
}

#[test]
fn xml_is_named_by_paths() {
    finds(
        "application/xml",
        "<?xml version='1.0' encoding='utf-8'?><a x='1&amp;2'><b>un<!-- -->i<![CDATA[on]]>&#x21;&e;</b><c/>t</a>\n",
        &[
            "xml.names:a=a",
            "xml.names:a.@x=x",
            "xml:a.@x=1&2",
            "xml.names:a.b=b",
            "xml:a.b=union!&e;",
            "xml.names:a.c=c",
            "xml:a=t",
        ],
    );
    finds(
        "application/soap+xml",
        "<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///x\">]><a/>",
        &["xml:!doctype=a [<!ENTITY e SYSTEM \\\"file:///x\\\">]", "xml.names:a=a"],
    );
    finds("text/xml; charset=iso-8859-1", b"<a>\xe9</a>", &["xml.names:a=a", "xml:a=\\xc3\\xa9"]);
}

#[test]
fn xml_that_is_none_or_too_much_is_refused() {
    for body in
        ["", "x", "<a>", "<a></b>", "<a/><b/>", "<a/>x", "<a b='1' b='2'/>", "</a>", "<a b=1/>", "<a>&</a>"]
    {
        refuses("text/xml", body, Builtin::BodyMalformed);
    }
    refuses("text/xml", b"<a>\xff</a>", Builtin::BodyMalformed);
    refuses("text/xml", b"\xff\xfe<\0a\0/\0>\0", Builtin::BodyCharset);
    refuses("text/xml", "<?xml version='1.0' encoding='utf-7'?><a/>", Builtin::BodyCharset);
    for odd in ["standalone='encoding' encoding='utf-7'", "encoding=utf-7", "encoding"] {
        refuses("text/xml", format!("<?xml version='1.0' {odd}?><a/>"), Builtin::BodyMalformed);
    }
    refuses("text/xml", "<a><a><a><a><a/></a></a></a></a>", Builtin::BodyTooLarge);
    refuses("text/xml", "<a><b/><b/><b/><b/><b/><b/><b/><b/></a>", Builtin::BodyTooLarge);
}

/// A multipart body of parts, each with its header and content.
fn parts(parts: &[(&str, &str)]) -> String {
    let parts: String =
        parts.iter().map(|(head, content)| format!("--b\r\n{head}\r\n\r\n{content}\r\n")).collect();
    format!("{parts}--b--\r\n")
}

const MULTIPART: &str = "multipart/form-data; boundary=b";

#[test]
fn multipart_gives_fields_and_names_of_files() {
    let body = parts(&[
        ("Content-Disposition: form-data; name=\"a\"", "<x>\r\n--c"),
        (
            "content-disposition: form-data; filename=\"C:\\d\\e; name=z.png\"; name=f\r\nContent-Type: image/png",
            "\0\0",
        ),
    ]);
    finds(
        MULTIPART,
        body,
        &["form.names:a=a", "form:a=<x>\\r\\n--c", "file.names:f=f", "file:f=C:\\\\d\\\\e; name=z.png"],
    );
}

#[test]
fn a_file_without_a_name_is_read_as_a_field_too() {
    let head = "Content-Disposition: form-data; name=a; filename=\"\"";
    finds(MULTIPART, parts(&[(head, "<x>")]), &["form.names:a=a", "form:a=<x>", "file.names:a=a", "file:a="]);
    // What browsers send for a field of files in which none was chosen.
    finds(MULTIPART, parts(&[(head, "")]), &["file.names:a=a", "file:a="]);
}

#[test]
fn multipart_that_readers_could_dispute_is_refused() {
    let name = "Content-Disposition: form-data; name=\"a\"";
    let good = parts(&[(name, "x")]);
    for body in [
        format!("preamble\r\n{good}"),
        format!("{good}epilogue"),
        good.replace("--b--\r\n", ""),
        good.replace("--b--", "--b"),
        good.replace("--b--", "--bx"),
        good.replace("\r\n", "\n"),
        good.replace("x\r\n--b--", "x\n--b--"),
        good.replace("--b\r\n", "--b \r\n"),
        "--b--\r\n".to_owned(),
        parts(&[(name, "y\n--b\r\nz")]),
        parts(&[("Content-Disposition: form-data", "x")]),
        parts(&[("Content-Disposition: attachment; name=\"a\"", "x")]),
        parts(&[("X: y", "x")]),
        parts(&[("Content-Disposition: form-data; name=\"a\"; name=\"b\"", "x")]),
        parts(&[("Content-Disposition: form-data; name=\"a\"; filename*=utf-8''x", "x")]),
        parts(&[("Content-Disposition: form-data; name=\"a\\\"; filename=\"b\"", "x")]),
        parts(&[("Content-Disposition: form-data; name='a'", "x")]),
        parts(&[("Content-Disposition: form-data; name=\"a", "x")]),
        parts(&[("Content-Disposition: form-data;\r\n name=\"a\"", "x")]),
        parts(&[("Content-Disposition : form-data; name=\"a\"", "x")]),
        parts(&[(&format!("{name}\r\n{name}"), "x")]),
        parts(&[(&format!("{name}\r\nContent-Transfer-Encoding: base64"), "x")]),
        parts(&[(&format!("{name}\r\nContent-Type: multipart/mixed; boundary=c"), "x")]),
        parts(&[(&format!("{name}\r\nContent-Type: text/plain\r\nContent-Type: text/plain"), "x")]),
        parts(&[(&format!("{name}\0"), "x")]),
    ] {
        refuses(MULTIPART, body, Builtin::BodyMalformed);
    }
    refuses("multipart/form-data", &good, Builtin::BodyMalformed);
    for other in ["boundary=c", "boundary*=utf-8''c", "boundary*0=c", "charset*=utf-7"] {
        refuses(&format!("{MULTIPART}; {other}"), &good, Builtin::BodyMalformed);
    }
    refuses(MULTIPART, parts(&[(name, "x"); 9]), Builtin::BodyTooLarge);
    refuses(
        MULTIPART,
        parts(&[("Content-Disposition: form-data; name=_charset_", "utf-7")]),
        Builtin::BodyCharset,
    );
    let head = format!("{name}\r\nContent-Type: text/plain; charset=utf-7");
    refuses(MULTIPART, parts(&[(&head, "x")]), Builtin::BodyCharset);
}

#[test]
fn what_no_parser_knows_is_looked_at_raw() {
    for content_type in
        ["", "text/plain", "application/octet-stream", "multipart/mixed; boundary=b", "application/graphql"]
    {
        finds(content_type, b"<x>\0", &["body=<x>\\x00"]);
    }
}

#[test]
fn odd_types_and_encodings_are_refused() {
    refuses("application/x-www-form-urlencoded;/json", "a=1", Builtin::BodyMalformed);
    refuses("json", "{}", Builtin::BodyMalformed);
    refuses("application/json; charset=utf-16", "{}", Builtin::BodyCharset);
    refuses("application/x-www-form-urlencoded; charset=ibm037", "a", Builtin::BodyCharset);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let refused = read(&headers, b"x", &Bounds::default(), &mut Values::default());
    assert_eq!(refused.map_err(|unreadable| unreadable.rule), Err(Builtin::BodyEncoding));
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("identity"));
    assert_eq!(read(&headers, b"x", &Bounds::default(), &mut Values::default()), Ok(()));
}

/// Bodies near the grammar of each type.
fn near_body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "--b",
        "\r\n",
        "\n",
        "--",
        "Content-Disposition: form-data; name=\"a\"",
        "; filename=\"",
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"a\"",
        "<a>",
        "</a>",
        "<!--",
        "<![CDATA[",
        "]]>",
        "&",
        "&#x",
        ";",
        "<?",
        "?>",
        "<!DOCTYPE",
        "=",
        "%",
        "4",
        "\\u00",
        "é",
    ]);
    let piece = prop_oneof![6 => piece.prop_map(|piece| piece.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..3)];
    prop::collection::vec(piece, 0..32).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_body_breaks_a_parser(body in near_body()) {
        for content_type in ["application/json", "text/xml", MULTIPART, "application/x-www-form-urlencoded", "text/plain", ""] {
            let _ = read_as(content_type, &body);
        }
        let _ = MediaType::parse(&body);
    }
}
