//! A denial into an answer: problem JSON, a page, text or a gRPC status; and the words about an allow.
//!
//! The layers call [`answer`] for a refusal or a fault and [`mark`] on the upstream's answer to an
//! allowed request. Both promise the same:
//!
//! - The caller learns what its disclosure level shows and nothing else. Everything that is written
//!   is taken from a `View`, which is made for the level; what is above the level is not in it.
//! - Every answer at level `rule` and above names the rule.
//! - Nothing fails: a representation that cannot be made gives way to plain text.
//!
//! Answers are values of the `http` crate; this room knows no server.

mod accept;
mod escape;
mod fields;
mod grpc;
mod html;
mod json;
mod kept;
mod raw;
mod remembered;
mod shape;
#[cfg(test)]
mod tests;
mod text;
mod view;
mod words;

pub use escape::{escape_for_terminal, is_deceptive};
pub(crate) use fields::OUR_HEADERS;
pub use fields::{Allowance, mark};
pub use grpc::grpc_status;
pub use html::{Page, TemplateError};
pub(crate) use json::push_json_string;
pub use raw::{RawPage, RawResponseHeaders, page};
pub use shape::{NearestShape, ShadowShape, WafShape};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use uuid::Uuid;

use self::accept::Format;
use self::view::View;
use crate::decision::{Builtin, Change, Denial, Notes, Stage};
use crate::facts::{Facts, Identity};
use crate::policy::Policy;
use crate::policy::authn::Challenge;
use crate::policy::disclosure::Level;
use crate::policy::rbac::Nearest;

/// Everything an answer to a refused request may need.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// The policy that judged.
    pub policy: &'a Policy,
    /// What it judged.
    pub facts: &'a Facts<'a>,
    /// The refusal; of stage `fault` where the world broke.
    pub denial: &'a Denial,
    /// Shadow hits and WAF matches.
    pub notes: &'a Notes,
    /// How much this caller is told.
    pub level: Level,
    /// The value of `x-request-id`.
    pub request_id: &'a HeaderValue,
    /// The name of this decision in the log.
    pub decision_id: Uuid,
    /// The nearest grants; may be empty unless [`wants_nearest`].
    pub nearest: &'a [Nearest],
    /// How to log in, for a 401.
    pub challenges: Challenges<'a>,
    /// The headers that the operator wants shown.
    pub headers: ResponseHeaders,
    /// The last change of the rule, as far as this installation knows it.
    pub change: Option<Change>,
    /// The operator's own page.
    pub page: Option<&'a Page>,
    /// The head of the upstream's answer, where there was one that is now replaced.
    pub upstream: Option<&'a HeaderMap>,
}

/// The ways to log in that a route offers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Challenges<'a> {
    /// A source takes bearer tokens.
    pub bearer: bool,
    /// The header of a source that takes API keys.
    pub api_key_header: Option<&'a str>,
    /// The realm of a source that takes user and password.
    pub basic_realm: Option<&'a str>,
}

impl<'a> From<&'a [Challenge]> for Challenges<'a> {
    fn from(list: &'a [Challenge]) -> Challenges<'a> {
        let mut challenges = Challenges::default();
        for challenge in list {
            match challenge {
                Challenge::Bearer => challenges.bearer = true,
                Challenge::ApiKey { header } => challenges.api_key_header = Some(header.as_str()),
                Challenge::Basic { realm } => challenges.basic_realm = Some(realm),
            }
        }
        challenges
    }
}

/// Which of our headers answers carry (`[response_headers]`). `x-request-id` always stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeaders {
    /// `x-portcullis-decision`
    pub decision: bool,
    /// `x-portcullis-rule`
    pub rule: bool,
    /// `x-portcullis-reason`
    pub reason: bool,
    /// `x-portcullis-policy`
    pub policy: bool,
    /// `x-portcullis-shadow`
    pub shadow: bool,
    /// `proxy-status`
    pub proxy_status: bool,
}

impl Default for ResponseHeaders {
    fn default() -> ResponseHeaders {
        ResponseHeaders {
            decision: true,
            rule: true,
            reason: true,
            policy: true,
            shadow: true,
            proxy_status: true,
        }
    }
}

/// The answer to a refused request.
pub fn answer(refusal: &Refusal<'_>) -> Response<Bytes> {
    let Some(view) = View::new(refusal) else { return silent(refusal) };
    let head = refusal.facts.target.method == Method::HEAD;
    let (format, body) = if accept::is_grpc(refusal.facts.headers) {
        (Format::Grpc, Bytes::new())
    } else {
        match accept::negotiate(refusal.facts.headers) {
            Format::Html => match html::page(refusal.page).and_then(|page| html::render(page, &view)) {
                Some(page) => (Format::Html, page),
                None => (Format::Text, text::render(&view)),
            },
            Format::Text => (Format::Text, text::render(&view)),
            Format::Json | Format::Grpc => (Format::Json, json::render(&view)),
        }
    };
    let mut headers = fields::of_refusal(refusal, &view, format);
    let mut status = view.status;
    if format == Format::Grpc {
        status = StatusCode::OK;
        grpc::add_status(&view, &mut headers);
    }
    let body = if head && format != Format::Grpc {
        // RFC 9110 section 9.3.2: the fields of the answer to GET, and no content.
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        Bytes::new()
    } else {
        body
    };
    respond(status, headers, body)
}

/// Whether the nearest grants are needed for the answer. They are dear, so they are not looked for
/// otherwise (the decision log may want them too). A rule that refuses is not outvoted by any grant.
pub fn wants_nearest(denial: &Denial, identity: &Identity, level: Level) -> bool {
    denial.rule == Builtin::DefaultDeny.into()
        && match level {
            Level::Silent | Level::Id => false,
            Level::Rule => identity.who().is_some(),
            Level::Full => true,
        }
}

/// What an unrouted path gives: no body, no header of ours but the request id.
fn silent(refusal: &Refusal<'_>) -> Response<Bytes> {
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(fields::REQUEST_ID, refusal.request_id.clone());
    headers.insert(header::CACHE_CONTROL, fields::NO_STORE);
    // A fault says nothing about the policy, since only what was allowed gets that far. Calling a
    // broken service absent would make clients and search engines forget it.
    let status = match refusal.denial.stage {
        Stage::Fault => status(refusal.denial),
        _ => StatusCode::NOT_FOUND,
    };
    respond(status, headers, Bytes::new())
}

fn status(denial: &Denial) -> StatusCode {
    StatusCode::from_u16(denial.status()).unwrap_or(StatusCode::FORBIDDEN)
}

fn respond(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
