//! Which representation a refused caller gets. Problem JSON unless it clearly wants another; never
//! 406, since a refusal that cannot be read is worse than one in the wrong format.

use std::cell::RefCell;

use http::{HeaderMap, HeaderValue, header};

/// A representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `application/problem+json`
    Json,
    /// `text/html`
    Html,
    /// `text/plain`
    Text,
    /// A status without content, for gRPC.
    Grpc,
}

/// Whether the request speaks gRPC: its content type says so, whatever it accepts.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.as_bytes().get(..16));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/grpc"))
}

/// How much a caller wants a representation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    /// In thousandths; 0: not at all.
    weight: u16,
    /// How exactly the range names it: 3 itself, 2 its kind, 1 anything. The most exact range tells
    /// the weight (RFC 9110 section 12.5.1), and between equal weights the exact wish wins.
    exactness: u8,
}

thread_local! {
    /// The last wish of a client that was read, and what came of it: most say the same as the last one.
    static LAST: RefCell<Option<(HeaderValue, Format)>> = const { RefCell::new(None) };
}

/// The representation that the Accept field asks for. Absent or unreadable: JSON.
pub(super) fn negotiate(headers: &HeaderMap) -> Format {
    let mut values = headers.get_all(header::ACCEPT).iter();
    match (values.next(), values.next()) {
        (None, _) => Format::Json,
        (Some(accept), None) if accept == "*/*" => Format::Json,
        (Some(accept), None) => LAST.with_borrow_mut(|last| match last {
            Some((value, format)) if value == accept => *format,
            _ => {
                let format = weigh(headers);
                // Copied: a value is a piece of its whole head.
                *last = HeaderValue::from_bytes(accept.as_bytes()).ok().map(|value| (value, format));
                format
            }
        }),
        _ => weigh(headers),
    }
}

fn weigh(headers: &HeaderMap) -> Format {
    // For JSON, HTML and text.
    let mut wishes: [(Wish, usize); 3] = Default::default();
    let mut place = 0;
    for value in headers.get_all(header::ACCEPT) {
        let Ok(text) = value.to_str() else { return Format::Json };
        for element in text.split(',').map(str::trim).filter(|element| !element.is_empty()) {
            let Some((range, weight)) = range(element) else { return Format::Json };
            place += 1;
            for (wish, types) in wishes.iter_mut().zip(TYPES) {
                let exactness = exactness(range, types);
                let more = exactness > wish.0.exactness;
                if more || (exactness > 0 && exactness == wish.0.exactness && weight > wish.0.weight) {
                    *wish = (Wish { weight, exactness }, place);
                }
            }
        }
    }
    let mut best = (Format::Json, wishes[0]);
    for (format, wish) in [(Format::Html, wishes[1]), (Format::Text, wishes[2])] {
        // Between two exact wishes of the same weight, the one written first.
        let better = wish.0 > best.1.0 || (wish.0 == best.1.0 && wish.0.exactness == 3 && wish.1 < best.1.1);
        if wish.0.weight > 0 && better {
            best = (format, wish);
        }
    }
    best.0
}

/// The media types of each representation, in the order of [`negotiate`].
const TYPES: [&[&str]; 3] =
    [&["application/problem+json", "application/json"], &["text/html"], &["text/plain"]];

/// A media range and its weight; none if it cannot be read.
fn range(element: &str) -> Option<(&str, u16)> {
    let mut parts = element.split(';').map(str::trim);
    let range = parts.next()?;
    let token =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    let (kind, subtype) = range.split_once('/')?;
    if !token(kind) || !token(subtype) {
        return None;
    }
    let mut weight = 1000;
    for parameter in parts {
        if let Some(value) = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")) {
            weight = thousandths(value)?;
        }
    }
    Some((range, weight))
}

/// `0` to `1` with up to three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let decimals = decimals.bytes().chain([b'0'; 3]).take(3);
    let fraction = decimals.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

fn exactness(range: &str, types: &[&str]) -> u8 {
    if types.iter().any(|one| range.eq_ignore_ascii_case(one)) {
        return 3;
    }
    let Some(kind) = range.strip_suffix("/*") else { return 0 };
    let same = |one: &&str| one.split('/').next().is_some_and(|one| one.eq_ignore_ascii_case(kind));
    match kind {
        "*" => 1,
        _ if types.iter().any(same) => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(values: &[&'static str], want: Format) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, HeaderValue::from_static(value));
        }
        assert_eq!(negotiate(&headers), want, "{values:?}");
    }

    #[test]
    fn browsers_that_open_a_page_get_a_page() {
        check(
            &["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"],
            Format::Html,
        );
        check(&["text/html"], Format::Html);
        check(&["TEXT/HTML;level=1"], Format::Html);
        check(&["text/html, */*"], Format::Html);
        check(&["text/html, */*; q=0.01"], Format::Html);
        check(&["text/html, application/json"], Format::Html);
        check(&["application/json;q=0.5", "text/html;q=0.6"], Format::Html);
        check(&["*/*", "text/html"], Format::Html);
    }

    #[test]
    fn programs_get_json() {
        for accept in [
            "*/*",
            "application/json",
            "application/problem+json",
            "application/*",
            "application/json, text/plain, */*",
            "application/json, text/html",
            "text/html;q=0.9, application/json",
            "text/html;q=0.9, */*",
            "application/xml, image/*",
            "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
            "*/*;q=0",
        ] {
            check(&[accept], Format::Json);
        }
        check(&[], Format::Json);
    }

    #[test]
    fn what_cannot_be_read_gets_json() {
        for accept in [
            "",
            "html",
            "text/html;q=2",
            "text/html;q=x",
            "text/html;q=0.1234",
            "/",
            "text/",
            ";q=1",
            "a b/c",
            "text/html;q=1.5",
        ] {
            check(&[accept], Format::Json);
        }
    }

    #[test]
    fn text_is_text_where_it_is_preferred() {
        check(&["text/plain"], Format::Text);
        check(&["text/*"], Format::Html);
        check(&["text/plain, */*"], Format::Text);
        check(&["text/plain, text/html"], Format::Text);
        check(&["text/html;q=0.5, text/plain"], Format::Text);
        check(&["text/*;q=0.3, text/html;q=0, */*;q=0.1"], Format::Text);
    }

    #[test]
    fn a_refused_representation_is_not_given_while_another_is_taken() {
        check(&["application/json;q=0, application/problem+json;q=0, text/plain;q=0.1"], Format::Text);
    }

    #[test]
    fn grpc_is_told_by_the_content_type() {
        let is =
            |kind| is_grpc(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]));
        assert!(is("application/grpc") && is("Application/gRPC+proto") && is("application/grpc-web-text"));
        assert!(!is("application/json") && !is("application/grp") && !is_grpc(&HeaderMap::new()));
    }
}
