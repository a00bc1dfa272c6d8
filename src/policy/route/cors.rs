//! `[route.cors]`: which pages of other origins may ask, and what they may see of the answers.
//!
//! The Fetch standard lets a browser ask first (a *preflight*: OPTIONS with Origin and
//! Access-Control-Request-Method) and then hides any answer that does not name the page's origin.
//! A preflight of a listed origin is answered by the route gate, and nothing of it reaches the
//! upstream; every other request is judged as if there were no CORS. Answers to a listed origin name
//! it, refusals too, so that a page sees our 403 and the rule behind it and no nameless failure.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::facts::Authority;
use crate::policy::code::Code;
use crate::policy::decode::{Decode, Node, OneOrMany, Span, bad_value, table};
use crate::policy::diagnostic::{At, Diagnostics};
use crate::policy::scope::{MethodName, MethodSet};

table! {
    /// `[route.cors]`: pages of other origins that may use a route.
    pub struct RawCors as "[route.cors]" {
        /// The origins of these pages: `https://app.example.com`, or `*` for any.
        req origins: At<OneOrMany<At<Origin>>>,
        /// The methods they may use; by default those of the route, or GET, HEAD and POST.
        opt methods: OneOrMany<At<MethodName>>,
        /// The request headers they may set beyond those that every page may; `*` for any.
        list headers: At<String>,
        /// The response headers they may read beyond those that every page may, and ours; `*` for any.
        list expose: At<String>,
        /// Whether requests may carry cookies and the like.
        opt credentials: At<bool>,
        /// How long a browser may keep the answer to a preflight.
        opt max_age: At<Span>,
    }
}

/// An origin as a browser writes it, or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Any.
    Any,
    /// This one.
    Exact(Box<str>),
}

/// Which pages may use a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    any: bool,
    origins: HashSet<Box<[u8]>>,
    methods: HeaderValue,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: Option<u64>,
}

impl Cors {
    /// Checks what is written. `methods`: those of the route.
    pub(super) fn new(raw: &RawCors, methods: &MethodSet, diagnostics: &mut Diagnostics) -> Cors {
        let origins = &raw.origins;
        let any = origins.value.0.iter().any(|origin| origin.value == Origin::Any);
        let credentials = raw.credentials.is_some_and(|credentials| credentials.value);
        if origins.value.0.is_empty() && !diagnostics.lacks(raw.place, &["origins"]) {
            diagnostics.push(
                Code::BadValue,
                origins.place,
                "`origins` is empty, so `cors` would allow nothing",
            );
        }
        if any && credentials {
            diagnostics
                .push(
                    Code::Conflict,
                    raw.credentials.map_or(raw.place, |credentials| credentials.place),
                    "`credentials` with the origin `*` would let every page act for its visitors",
                )
                .help("list the origins");
        }
        let exact = origins.value.0.iter().filter_map(|origin| match &origin.value {
            Origin::Exact(text) => Some(text.as_bytes().into()),
            Origin::Any => None,
        });
        let mut list =
            |key: &'static str, names: &[At<String>]| field_list(key, names, credentials, diagnostics);
        let (headers, expose) = (list("headers", &raw.headers), list("expose", &raw.expose));
        let written: Vec<&Method> =
            raw.methods.iter().flat_map(|list| &list.0).map(|name| &name.value.0).collect();
        let named: Vec<&Method> = methods.named().collect();
        let chosen = match (&written[..], &named[..]) {
            ([], []) => vec![&Method::GET, &Method::HEAD, &Method::POST],
            ([], named) => named.to_vec(),
            (written, _) => written.to_vec(),
        };
        let chosen: Vec<&str> = chosen.into_iter().map(Method::as_str).collect();
        if let Some(long) = raw.max_age.filter(|age| age.value.0.as_secs() > DAY) {
            diagnostics.push(Code::BadValue, long.place, "no browser keeps a preflight for more than a day");
        }
        Cors {
            any,
            origins: exact.collect(),
            methods: value(&chosen).unwrap_or(HeaderValue::from_static("GET, HEAD, POST")),
            headers,
            expose,
            credentials,
            max_age: raw.max_age.map(|age| age.value.0.as_secs()),
        }
    }

    /// The origin of a request, if it is listed.
    pub fn listed<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
        (self.any || self.origins.contains(origin.as_bytes())).then_some(origin)
    }

    /// Adds what a page of a listed origin must be told with any answer. `fields`: of the request.
    /// `ours`: the names of our own headers that it may read. The upstream's own account goes: there
    /// is one policy for a route.
    pub fn add(&self, headers: &mut HeaderMap, fields: &HeaderMap, ours: &str) {
        for name in RESPONSE {
            headers.remove(name);
        }
        if !self.any {
            // Also where no origin was sent, or another's answer would be taken from a cache for this.
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = self.listed(fields) else { return };
        let allowed = if self.any { HeaderValue::from_static("*") } else { origin.clone() };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        let mut exposed = String::from(ours);
        if let Some(more) = self.expose.as_ref().and_then(|more| more.to_str().ok()) {
            let separator = if exposed.is_empty() { "" } else { ", " };
            // Written into a string, which does not fail.
            let _ = write!(exposed, "{separator}{more}");
        }
        if let Ok(exposed) = HeaderValue::try_from(exposed)
            && !exposed.is_empty()
        {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }

    /// Adds the answer to a preflight.
    pub fn add_preflight(&self, headers: &mut HeaderMap) {
        let copy = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
        if let Some(methods) = copy(&self.methods) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        if let Some(allowed) = self.headers.as_ref().and_then(copy) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        }
        if let Some(seconds) = self.max_age {
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, seconds.into());
        }
    }
}

/// The method that a preflight asks about; none if the request is no preflight.
pub(super) fn preflight(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    let mut asked = headers.get_all(header::ACCESS_CONTROL_REQUEST_METHOD).iter();
    match (asked.next(), asked.next()) {
        (Some(asked), None) => Method::from_bytes(asked.as_bytes()).ok(),
        _ => None,
    }
}

/// A list of field names for a header; none if there are none.
fn field_list(
    key: &str,
    names: &[At<String>],
    credentials: bool,
    diagnostics: &mut Diagnostics,
) -> Option<HeaderValue> {
    for name in names {
        if name.value == "*" && credentials {
            diagnostics
                .push(
                    Code::Conflict,
                    name.place,
                    format!("`*` in `{key}` means nothing where `credentials` is true"),
                )
                .help("list the names");
        } else if name.value != "*" && HeaderName::try_from(name.as_str()).is_err() {
            let message = format!("`{}` is not the name of a header field", name.value);
            diagnostics.push(Code::BadValue, name.place, message);
        }
    }
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    value(&names).filter(|_| !names.is_empty())
}

fn value(names: &[&str]) -> Option<HeaderValue> {
    HeaderValue::try_from(names.join(", ")).ok()
}

/// What an answer says about other origins.
const RESPONSE: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

const DAY: u64 = 24 * 60 * 60;

impl Origin {
    fn parse(text: &str) -> Result<Origin, &'static str> {
        if text == "*" {
            return Ok(Origin::Any);
        }
        let (scheme, rest) = text.split_once("://").ok_or("it begins with a scheme, such as `https://`")?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+.-".contains(&byte);
        if scheme.is_empty() || !scheme.bytes().all(plain) {
            return Err("browsers write the scheme in lower case");
        }
        if rest.contains(['/', '?', '#', '@', '*']) {
            return Err(
                "it is a scheme, a host and perhaps a port, without a path, a slash at the end or wildcards",
            );
        }
        let authority = Authority::parse_str(rest).map_err(|_| "what follows the scheme is not a host")?;
        let default = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        if authority.port().is_some() && authority.port() == default {
            return Err("browsers leave out the default port");
        }
        if rest.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err("browsers write the host in lower case");
        }
        Ok(Origin::Exact(text.into()))
    }
}

impl Decode for Origin {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("an origin", diagnostics)?;
        match Origin::parse(text) {
            Ok(origin) => Some(origin),
            Err(why) => {
                let help = "write \"https://app.example.com\", \"http://localhost:3000\", or \"*\"";
                bad_value(node, format!("`{text}` is no origin: {why}"), help, diagnostics);
                None
            }
        }
    }
}

impl JsonSchema for Origin {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Origin".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["https://app.example.com", "*"] })
    }
}
