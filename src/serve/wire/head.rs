//! What the kept bytes of a head say about what hyper made of it. Not a parser: each question is
//! answered by looking for one thing.

use std::sync::LazyLock;

use http::Uri;
use memchr::memmem::Finder;

/// Whether the bytes begin with this request line. hyper skips empty lines before it.
pub(super) fn same_target(head: &[u8], method: &str, uri: &Uri) -> bool {
    let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(head.len());
    let Some(rest) = head[start..].strip_prefix(method.as_bytes()).and_then(|rest| rest.strip_prefix(b" "))
    else {
        return false;
    };
    let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    let sent = &rest[..end];
    if uri.scheme().is_none() && uri.path_and_query().is_some_and(|path| path.as_str().as_bytes() == sent) {
        return true;
    }
    let parsed = uri.to_string();
    parsed.as_bytes() == sent
        || (parsed.strip_suffix('/')).is_some_and(|bare| uri.path() == "/" && bare.as_bytes() == sent)
}

/// Whether the request line has a `#`, from which on the parser drops the target.
pub(super) fn has_fragment(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\n').find(|line| !matches!(**line, [] | [b'\r']));
    line.is_some_and(|line| line.contains(&b'#'))
}

/// Where lines begin that ask for a target as a parser would have read it.
pub(super) fn lines_of(bytes: &[u8], method: &str, uri: &Uri) -> Vec<usize> {
    let line = format!("{method} {uri} HTTP/1.");
    memchr::memmem::find_iter(bytes, line.as_bytes())
        .filter(|at| at.checked_sub(1).is_none_or(|before| bytes.get(before) == Some(&b'\n')))
        .collect()
}

/// How many Content-Length fields a head has.
pub(super) fn lengths_named(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length";
    let head = &head[..end_of_head(head).unwrap_or(head.len())];
    memchr::memchr_iter(b'\n', head)
        .filter_map(|at| head.get(at + 1..)?.split_at_checked(NAME.len()))
        .filter(|(name, rest)| name.eq_ignore_ascii_case(NAME) && rest.starts_with(b":"))
        .count()
}

/// Where the head ends: behind the first empty line, which hyper takes with or without CR.
pub(super) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let head = &bytes[start..];
    let usual = WITH_CR.find(head).map(|at| at + 3);
    // Before it there may be an empty line of the other kind.
    let other = WITHOUT.find(&head[..usual.unwrap_or(head.len())]).map(|at| at + 2);
    other.or(usual).map(|end| start + end)
}

static WITH_CR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\r\n"));
static WITHOUT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\n"));
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_head_is_its_first_empty_line() {
        // Said once more, as plainly as it goes.
        let plain = |bytes: &[u8]| {
            let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
            (start..bytes.len()).filter(|at| bytes[*at] == b'\n').find_map(|at| match bytes[at + 1..] {
                [b'\n', ..] => Some(at + 2),
                [b'\r', b'\n', ..] => Some(at + 3),
                _ => None,
            })
        };
        for length in 0..9 {
            for number in 0..3usize.pow(length) {
                let text: Vec<u8> = (0..length).map(|at| b"a\r\n"[number / 3usize.pow(at) % 3]).collect();
                assert_eq!(end_of_head(&text), plain(&text), "{:?}", text.escape_ascii().to_string());
            }
        }
    }
}
