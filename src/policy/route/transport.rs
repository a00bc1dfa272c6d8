//! Encrypted connections only: `redirect = "https"`, and `[route.hsts]` (RFC 6797).

use std::borrow::Cow;

use http::HeaderValue;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::raw::RawRoute;
use crate::facts::{Scheme, Target};
use crate::policy::code::Code;
use crate::policy::decode::{Decode, Node, Span, table, words};
use crate::policy::diagnostic::{At, Diagnostics};

words! {
    /// Where requests over clear text are sent instead.
    pub enum RedirectWord {
        /// To the same target over TLS, port 443.
        Https = "https",
    }
}

table! {
    /// `[route.hsts]`: browsers that came over TLS come over nothing else for a while.
    pub struct RawHsts as "[route.hsts]" {
        /// For how long: `365d`.
        req max_age: At<Age>,
        /// Whether hosts below this one are meant too.
        opt include_subdomains: bool,
        /// Whether the host may be put into the lists that browsers ship with.
        opt preload: At<bool>,
    }
}

/// A duration in which days may stand: `365d`, `30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(u64);

/// The value of Strict-Transport-Security.
pub(super) fn hsts(raw: &RawHsts, diagnostics: &mut Diagnostics) -> HeaderValue {
    let mut text = format!("max-age={}", raw.max_age.value.0);
    let subdomains = raw.include_subdomains == Some(true);
    if subdomains {
        text.push_str("; includeSubDomains");
    }
    if let Some(preload) = raw.preload.filter(|preload| preload.value) {
        text.push_str("; preload");
        if !subdomains || raw.max_age.value.0 < YEAR {
            diagnostics
                .push(
                    Code::Conflict,
                    preload.place,
                    "`preload` needs `include_subdomains = true` and a `max_age` of a year or more",
                )
                .help("browsers' lists take no others: https://hstspreload.org");
        }
    }
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("max-age=0"))
}

const YEAR: u64 = 365 * DAY;
const DAY: u64 = 24 * 60 * 60;

/// Whether a route sends requests over clear text elsewhere.
pub(super) fn redirects(raw: &RawRoute, diagnostics: &mut Diagnostics) -> bool {
    let Some(redirect) = raw.redirect else { return false };
    if raw.host.is_none() {
        diagnostics
            .push(
                Code::Conflict,
                redirect.place,
                "`redirect` needs `host`: a redirect repeats the request's host, which must not be anybody's",
            )
            .help("name the hosts: `host = \"app.example.com\"`, `host = \"*.example.com\"`");
    }
    match redirect.value {
        RedirectWord::Https => true,
    }
}

/// Where a request over clear text is sent: to the canonical target on the canonical host.
pub fn secure_location(target: &Target) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("https://{}{}", target.host(), target.path_and_query())).ok()
}

/// Whether a target was asked for over clear text.
pub(super) fn is_open(target: &Target) -> bool {
    target.scheme == Scheme::Http
}

impl Decode for Age {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("a duration such as \"365d\"", diagnostics)?;
        let days = text.strip_suffix('d').and_then(|days| days.parse::<u16>().ok());
        match days {
            Some(days) => Some(Age(u64::from(days) * DAY)),
            None => Span::decode(node, diagnostics).map(|span| Age(span.0.as_secs())),
        }
    }
}

impl JsonSchema for Age {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Age".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["365d", "12h"] })
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::fixture::{policy, problems};

    fn route(keys: &str) -> String {
        format!("[[route]]\nid = \"a\"\nhost = \"a.test\"\npath = \"/a\"\nupstream = \"up\"\n{keys}\n")
    }

    #[test]
    fn the_field_says_what_is_written() {
        let value = |keys: &str| {
            let policy = policy(&route(&format!("hsts = {{ {keys} }}")));
            let hsts = policy.routes.iter().find_map(|(_, route)| route.hsts.clone());
            hsts.map(|value| value.to_str().unwrap_or_default().to_owned()).unwrap_or_default()
        };
        assert_eq!(value("max_age = \"30m\""), "max-age=1800");
        assert_eq!(value("max_age = \"0d\", include_subdomains = true"), "max-age=0; includeSubDomains");
        assert_eq!(
            value("max_age = \"730d\", include_subdomains = true, preload = true"),
            "max-age=63072000; includeSubDomains; preload"
        );
    }

    #[test]
    fn what_would_not_do_is_refused() {
        let found = |keys: &str| problems(keys).into_iter().map(|(_, _, why)| why).collect::<Vec<_>>();
        let preload = "`preload` needs `include_subdomains = true` and a `max_age` of a year or more";
        assert_eq!(found(&route("hsts = { max_age = \"365d\", preload = true }")), [preload]);
        assert_eq!(
            found(&route("hsts = { max_age = \"364d\", include_subdomains = true, preload = true }")),
            [preload]
        );
        assert_eq!(found(&route("hsts = { max_age = \"soon\" }")), ["`soon` is not a duration"]);
        let open = route("redirect = \"https\"").replace("host = \"a.test\"\n", "");
        assert_eq!(
            found(&open),
            ["`redirect` needs `host`: a redirect repeats the request's host, which must not be anybody's"]
        );
    }
}
