//! Which header fields pass the gateway, and which never do.
//!
//! No library does this. Removed on the way in: what belongs to one hop (RFC 9110 section 7.6.1,
//! and every field that Connection names), what only the gateway may say, and what lets a client
//! rewrite the request behind the gateway's back. Removal comes first and ours are added after, so
//! that `Connection: x-portcullis-subject` cannot remove what we set (CVE-2022-31813,
//! CVE-2024-45410).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::facts::{HOP_BY_HOP, REQUEST_ONLY, fold_name, is_odd_name};

/// The names that never pass, ready for one look at each field.
#[derive(Clone, Debug)]
pub(crate) struct Hygiene {
    request: NameSet,
    response: NameSet,
    /// What a client may not say behind its body.
    trailers: NameSet,
    /// What the policy's conditions read. It reaches the upstream as it was judged: not named away
    /// by Connection, and not under another spelling.
    judged: Vec<HeaderName>,
}

/// A set of names with a filter that spares almost every other name a comparison.
#[derive(Clone, Debug)]
struct NameSet {
    /// By length, the letters that names begin with.
    filter: [u32; LENGTHS],
    names: Vec<HeaderName>,
}

impl Hygiene {
    /// For a gateway that also sets some fields towards upstreams, whose conditions read others, and
    /// whose sources of identity read further ones.
    pub(crate) fn new<'a>(
        set: impl IntoIterator<Item = &'a HeaderName>,
        judged: impl IntoIterator<Item = &'a HeaderName>,
        credentials: impl IntoIterator<Item = &'a HeaderName>,
    ) -> Hygiene {
        let fixed =
            |list: &[&'static str]| list.iter().map(|name| HeaderName::from_static(name)).collect::<Vec<_>>();
        let mut request = fixed(HOP_BY_HOP);
        request.extend(fixed(REQUEST_ONLY));
        request.extend(set.into_iter().cloned());
        let judged: Vec<HeaderName> = judged.into_iter().cloned().collect();
        let mut trailers = request.clone();
        trailers.extend(fixed(NOT_IN_TRAILERS));
        trailers.extend(credentials.into_iter().cloned());
        trailers.extend(judged.iter().cloned());
        let mut response = fixed(HOP_BY_HOP);
        response.extend(fixed(RESPONSE_ONLY));
        Hygiene {
            request: NameSet::new(request),
            response: NameSet::new(response),
            trailers: NameSet::new(trailers),
            judged,
        }
    }

    /// Removes from a client's fields what must not reach an upstream. `odd_names`: whether some name
    /// has a `_` or `.`.
    pub(crate) fn clean_request(&self, headers: &mut HeaderMap, odd_names: bool) {
        self.request.remove_from(headers, &self.judged, odd_names);
    }

    /// Removes from a client's trailers what must not reach an upstream: besides what a head may not
    /// say either, whatever was or could have been judged in the head.
    pub(crate) fn clean_trailers(&self, trailers: &mut HeaderMap) {
        self.trailers.remove_from(trailers, &[], true);
    }

    /// The names of trailers that may come, out of those that a client announces.
    pub(crate) fn announced_trailers(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut names: Vec<HeaderName> = Vec::new();
        for value in headers.get_all(header::TRAILER) {
            for token in value.as_bytes().split(|byte| *byte == b',') {
                let Ok(name) = HeaderName::from_bytes(token.trim_ascii()) else { continue };
                if !self.trailers.hits(name.as_str()) && !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let list: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
        HeaderValue::try_from(list.join(", ")).ok().filter(|value| !value.is_empty())
    }

    /// Removes from an upstream's fields what must not reach a client.
    pub(crate) fn clean_response(&self, headers: &mut HeaderMap) {
        self.response.remove_from(headers, &[], true);
    }
}

impl NameSet {
    fn new(mut names: Vec<HeaderName>) -> NameSet {
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        let mut filter = [0; LENGTHS];
        for name in &names {
            let (length, letter) = NameSet::place(name.as_str());
            filter[length] |= 1 << letter;
        }
        NameSet { filter, names }
    }

    /// Where a name stands in the filter.
    #[inline]
    fn place(name: &str) -> (usize, u32) {
        let first = name.as_bytes().first().copied().unwrap_or(0);
        (name.len() % LENGTHS, u32::from(first) % 32)
    }

    #[inline]
    fn contains(&self, name: &str) -> bool {
        let (length, letter) = NameSet::place(name);
        self.filter[length] >> letter & 1 == 1 && self.lists(name)
    }

    #[inline(never)]
    fn lists(&self, name: &str) -> bool {
        self.names.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
    }

    fn remove_from(&self, headers: &mut HeaderMap, judged: &[HeaderName], odd_names: bool) {
        let mut doomed: SmallVec<[HeaderName; 8]> = SmallVec::new();
        let mut connection = false;
        for name in headers.keys() {
            let text = name.as_str();
            let hit = if odd_names && is_odd_name(text) {
                // Compared as backends fold it.
                let folded = fold_name(text);
                self.covers(&folded) || judged.iter().any(|name| name.as_str() == folded && name != text)
            } else {
                self.covers(text)
            };
            if hit {
                connection |= name == header::CONNECTION;
                doomed.push(name.clone());
            }
        }
        // Which is in every set.
        if connection && !headers.get_all(header::CONNECTION).iter().all(is_plain_connection) {
            named_by_connection(headers, judged, &mut doomed);
        }
        for name in doomed {
            headers.remove(name);
        }
    }

    /// Whether a name is covered as backends fold it.
    fn hits(&self, name: &str) -> bool {
        if is_odd_name(name) { self.covers(&fold_name(name)) } else { self.covers(name) }
    }

    #[inline]
    fn covers(&self, name: &str) -> bool {
        self.contains(name) || (name.starts_with('x') && name.starts_with("x-forwarded-"))
    }
}

/// Rows of the filter; longer names share them.
const LENGTHS: usize = 32;

/// The usual values name no field.
fn is_plain_connection(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"keep-alive") || value.as_bytes().eq_ignore_ascii_case(b"close")
}

/// Fields that Connection names are of this hop only. The ones that say what the request is cannot
/// be made to disappear that way: they are the end's, whatever the client claims.
fn named_by_connection(headers: &HeaderMap, judged: &[HeaderName], doomed: &mut SmallVec<[HeaderName; 8]>) {
    for value in headers.get_all(header::CONNECTION) {
        for token in value.as_bytes().split(|byte| *byte == b',') {
            let Ok(name) = HeaderName::from_bytes(token.trim_ascii()) else { continue };
            if headers.contains_key(&name) && !END_TO_END.contains(&name) && !judged.contains(&name) {
                doomed.push(name);
            }
        }
    }
}

/// HTTP/2 clients may send the cookie in crumbs; RFC 9113 section 8.2.3 wants one field where it is
/// passed on over HTTP/1.1.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, whole);
    }
}

/// From clients, behind a body: what says where a request goes, what it is, who makes it, or how long
/// it is (RFC 9110 section 6.5.1).
const NOT_IN_TRAILERS: &[&str] = &[
    "accept",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "cookie",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "referer",
    "set-cookie",
    "traceparent",
    "tracestate",
    "user-agent",
];

/// From upstreams: what only the gateway may say.
const RESPONSE_ONLY: &[&str] = &[
    "proxy-authenticate",
    "x-portcullis-decision",
    "x-portcullis-policy",
    "x-portcullis-reason",
    "x-portcullis-roles",
    "x-portcullis-rule",
    "x-portcullis-shadow",
    "x-portcullis-subject",
    "x-request-id",
];

/// Fields that Connection cannot make hop-by-hop.
const END_TO_END: [HeaderName; 6] = [
    header::HOST,
    header::AUTHORIZATION,
    header::COOKIE,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CACHE_CONTROL,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn left(fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = map(fields);
        let (set, judged) = (HeaderName::from_static("x-auth-subject"), HeaderName::from_static("x-tenant"));
        Hygiene::new([&set], [&judged], []).clean_request(&mut headers, true);
        let mut names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn hop_by_hop_and_named_fields_go() {
        let fields = [
            ("connection", "close, X-A"),
            ("x-a", "1"),
            ("x-b", "2"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
        ];
        assert_eq!(left(&fields), ["x-b"]);
    }

    #[test]
    fn every_connection_field_counts() {
        let fields = [("connection", "close"), ("connection", "x-a, x-b"), ("x-a", "1"), ("x-b", "2")];
        assert!(left(&fields).is_empty());
    }

    #[test]
    fn what_a_condition_reads_arrives_as_it_was_judged() {
        assert_eq!(left(&[("connection", "x-tenant"), ("x-tenant", "a")]), ["x-tenant"]);
        assert_eq!(left(&[("x-tenant", "a"), ("x.tenant", "b"), ("x_tenant", "c")]), ["x-tenant"]);
    }

    #[test]
    fn what_says_what_the_request_is_cannot_be_named_away() {
        assert_eq!(
            left(&[("connection", "authorization, host"), ("authorization", "x"), ("host", "y")]),
            ["authorization", "host"]
        );
    }

    #[test]
    fn what_only_the_gateway_says_goes_in_every_spelling() {
        for name in [
            "x-auth-subject",
            "x_auth_subject",
            "x.auth_subject",
            "x-forwarded-anything",
            "x_forwarded-anything",
            "x-real-ip",
            "proxy",
        ] {
            assert_eq!(left(&[(name, "evil"), ("accept", "a")]), ["accept"], "{name}");
        }
    }

    #[test]
    fn the_filter_never_loses_a_name() {
        let names: Vec<HeaderName> = REQUEST_ONLY.iter().map(|name| HeaderName::from_static(name)).collect();
        let set = NameSet::new(names.clone());
        assert!(names.iter().all(|name| set.contains(name.as_str())));
        assert!(!set.contains("accept") && !set.contains(""));
    }

    #[test]
    fn trailers_say_nothing_that_is_judged_set_or_secret() {
        let (set, judged, key) = (
            HeaderName::from_static("x-auth-subject"),
            HeaderName::from_static("x-tenant"),
            HeaderName::from_static("x-api-key"),
        );
        let hygiene = Hygiene::new([&set], [&judged], [&key]);
        for name in [
            "x-auth-subject",
            "x-tenant",
            "x_tenant",
            "x-api-key",
            "x.api.key",
            "authorization",
            "cookie",
            "x-forwarded-for",
            "transfer-encoding",
            "content-length",
            "trailer",
            "host",
            "x-request-id",
        ] {
            let mut trailers = map(&[(name, "evil"), ("grpc-status", "0"), ("x-checksum", "1")]);
            hygiene.clean_trailers(&mut trailers);
            assert_eq!(trailers.len(), 2, "{name}");
            let announced = HeaderValue::from_str(&format!("{name}, X-Checksum")).expect("a value");
            let head = [(header::TRAILER, announced)].into_iter().collect();
            assert_eq!(hygiene.announced_trailers(&head).expect("one"), "x-checksum", "{name}");
        }
        assert_eq!(hygiene.announced_trailers(&map(&[("trailer", "cookie")])), None);
    }

    #[test]
    fn crumbs_become_one_cookie() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut headers);
        assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }
}
