//! The header fields of our answers, and those that we add to an upstream's.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::accept::Format;
use super::view::{View, shown_name};
use super::{Challenges, Refusal, ResponseHeaders, html, kept};
use crate::decision::{Notes, Reason, RuleRef, Stage};
use crate::facts::{Facts, Identity};
use crate::policy::Policy;
use crate::policy::disclosure::Level;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const DECISION: HeaderName = HeaderName::from_static("x-portcullis-decision");
const RULE: HeaderName = HeaderName::from_static("x-portcullis-rule");
const REASON: HeaderName = HeaderName::from_static("x-portcullis-reason");
const POLICY: HeaderName = HeaderName::from_static("x-portcullis-policy");
const SHADOW: HeaderName = HeaderName::from_static("x-portcullis-shadow");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// Those of our headers that a page may need to read, for Access-Control-Expose-Headers.
pub(crate) const OUR_HEADERS: &str = "x-request-id, x-portcullis-decision, x-portcullis-rule, \
    x-portcullis-reason, x-portcullis-policy, x-portcullis-shadow, proxy-status, retry-after, www-authenticate";
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

// === impl refusals ===

/// All fields of the answer to a refused request.
pub(super) fn of_refusal(refusal: &Refusal<'_>, view: &View<'_>, format: Format) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(match format {
            Format::Json => "application/problem+json",
            Format::Html => "text/html; charset=utf-8",
            Format::Text => "text/plain; charset=utf-8",
            Format::Grpc => "application/grpc",
        }),
    );
    if format == Format::Html {
        let page = html::page(refusal.page);
        insert(&mut headers, header::CONTENT_SECURITY_POLICY, page.map(html::Page::content_security_policy));
    }
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(header::VARY, HeaderValue::from_static("authorization, cookie, accept"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(REQUEST_ID, refusal.request_id.clone());

    let shown = refusal.headers;
    if shown.decision {
        headers.insert(DECISION, HeaderValue::from_static(view.decision));
    }
    if let Some(rule) = &view.rule {
        if shown.rule {
            insert(&mut headers, RULE, rule_value(rule.rule, rule.builtin));
        }
        if shown.reason {
            headers.insert(REASON, HeaderValue::from_static(rule.reason.info().code));
        }
        if shown.policy {
            insert(&mut headers, POLICY, HeaderValue::from_str(rule.policy.as_str()).ok());
        }
        if let Some(seconds) = rule.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
    }
    if let Some(full) = &view.full
        && shown.shadow
    {
        add_shadow(full.policy, full.notes, &mut headers);
    }
    if shown.proxy_status {
        add_proxy_status(refusal, view, &mut headers);
    }
    match view.status.as_u16() {
        401 => add_challenges(refusal.challenges, refusal.facts, &mut headers),
        403 => add_scope_challenge(refusal, view, &mut headers),
        405 => insert(&mut headers, header::ALLOW, allowed_methods(refusal, view)),
        _ => {}
    }
    headers
}

/// RFC 9209. The entry of the hop that is nearest to the client stands last.
fn add_proxy_status(refusal: &Refusal<'_>, view: &View<'_>, headers: &mut HeaderMap) {
    for earlier in refusal.upstream.iter().flat_map(|upstream| upstream.get_all(PROXY_STATUS)) {
        headers.append(PROXY_STATUS, earlier.clone());
    }
    let error = match &view.rule {
        Some(_) => error_type(refusal.denial.reason, view.stage),
        None => coarse_error_type(view.status.as_u16(), view.stage),
    };
    let parts: &[&str] = match &view.rule {
        None => &["portcullis; error=", error],
        Some(rule) => &["portcullis; error=", error, "; details=\"", rule.rule, "\""],
    };
    if let Ok(value) = HeaderValue::try_from(parts.concat()) {
        headers.append(PROXY_STATUS, value);
    }
}

/// An error type that says no more than the status does.
fn coarse_error_type(status: u16, stage: Stage) -> &'static str {
    match (stage, status) {
        (Stage::Fault, 504) => "http_response_timeout",
        (Stage::Fault, 503) => "proxy_internal_response",
        (Stage::Fault, _) => "destination_unavailable",
        _ => "http_request_denied",
    }
}

/// The error type of RFC 9209 section 2.3.
fn error_type(reason: Reason, stage: Stage) -> &'static str {
    match (stage, reason) {
        (Stage::Fault, Reason::UpstreamDns) => "dns_error",
        (Stage::Fault, Reason::UpstreamRefused) => "connection_refused",
        (Stage::Fault, Reason::UpstreamConnectTimeout) => "connection_timeout",
        (Stage::Fault, Reason::UpstreamTls) => "tls_protocol_error",
        (Stage::Fault, Reason::UpstreamCertificate) => "tls_certificate_error",
        (Stage::Fault, Reason::UpstreamConnect | Reason::UpstreamUnavailable) => "destination_unavailable",
        (Stage::Fault, Reason::UpstreamTimeout) => "http_response_timeout",
        (Stage::Fault, Reason::UpstreamReset) => "connection_terminated",
        (Stage::Fault, Reason::UpstreamProtocol) => "http_protocol_error",
        (Stage::Fault, Reason::UpstreamOverloaded) => "connection_limit_reached",
        // Generated here without asking the next hop.
        (Stage::Fault, Reason::Overloaded) => "proxy_internal_response",
        (Stage::Fault, _) => "proxy_internal_error",
        _ => "http_request_denied",
    }
}

/// RFC 9110 section 11.6.1: a 401 has at least one challenge.
fn add_challenges(challenges: Challenges<'_>, facts: &Facts<'_>, headers: &mut HeaderMap) {
    let Challenges { bearer, api_key_header, basic_realm } = challenges;
    if bearer || (api_key_header.is_none() && basic_realm.is_none()) {
        // RFC 6750 section 3.1: no error code when nothing was shown.
        let shown = matches!(facts.identity, Identity::Invalid(_));
        let value = if shown { BEARER_INVALID } else { BEARER };
        headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
    }
    if let Some(name) = api_key_header {
        let value = format!("ApiKey realm=\"portcullis\", header=\"{}\"", quotable(name));
        append(headers, header::WWW_AUTHENTICATE, HeaderValue::try_from(value).ok());
    }
    let others = bearer || api_key_header.is_some();
    if let Some(realm) = basic_realm.filter(|_| !others || !is_script_fetch(facts.headers)) {
        // A browser answers a Basic challenge to a script's request with a window that asks for a
        // password, in the middle of a page. An unknown scheme says the same and opens nothing.
        let scheme = if is_script_fetch(facts.headers) { "xBasic" } else { "Basic" };
        let value = format!("{scheme} realm=\"{}\", charset=\"UTF-8\"", quotable(realm));
        append(headers, header::WWW_AUTHENTICATE, HeaderValue::try_from(value).ok());
    }
}

const BEARER: &str = "Bearer realm=\"portcullis\"";
const BEARER_INVALID: &str = "Bearer realm=\"portcullis\", error=\"invalid_token\"";

/// Whether the request was made by a script in a page rather than by someone who opened the page.
fn is_script_fetch(headers: &HeaderMap) -> bool {
    headers.get(SEC_FETCH_MODE).is_some_and(|mode| mode != "navigate")
        || headers.contains_key(X_REQUESTED_WITH)
}

/// RFC 6750 section 3.1: the token is good, and not for this.
fn add_scope_challenge(refusal: &Refusal<'_>, view: &View<'_>, headers: &mut HeaderMap) {
    let Some(rule) = &view.rule else { return };
    let bearer = refusal.facts.identity.who().is_some_and(|who| who.holder.bearer);
    if rule.reason != Reason::ScopeMissing || !bearer {
        return;
    }
    let mut value = String::from("Bearer error=\"insufficient_scope\"");
    if let Some(needs) = &rule.needs {
        value.push_str(", scope=\"");
        for (index, scope) in needs.names().enumerate() {
            if index > 0 {
                value.push(' ');
            }
            value.push_str(&quotable(scope));
        }
        value.push('"');
    }
    append(headers, header::WWW_AUTHENTICATE, HeaderValue::try_from(value).ok());
}

/// RFC 9110 section 15.5.6: a 405 lists what is allowed instead. Which methods the policy adds to
/// the standard ones is known from level `rule` on.
fn allowed_methods(refusal: &Refusal<'_>, view: &View<'_>) -> Option<HeaderValue> {
    let extra = if view.rule.is_some() { &refusal.policy.intake.extension_methods[..] } else { &[] };
    if extra.is_empty() {
        return Some(HeaderValue::from_static(STANDARD_METHODS));
    }
    let mut list = STANDARD_METHODS.to_owned();
    for method in extra {
        list.push_str(", ");
        list.push_str(method.as_str());
    }
    HeaderValue::try_from(list).ok()
}

/// What the intake gate passes in every policy.
const STANDARD_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Text for the inside of a quoted string: what could end it or the field is left out.
fn quotable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect()
}

// === impl allows ===

/// What is said about an allowed request.
#[derive(Clone, Copy, Debug)]
pub struct Allowance<'a> {
    /// The policy that judged.
    pub policy: &'a Policy,
    /// The grant.
    pub rule: RuleRef,
    /// Shadow hits.
    pub notes: &'a Notes,
    /// How much this caller is told.
    pub level: Level,
    /// The value of `x-request-id`.
    pub request_id: &'a HeaderValue,
    /// The headers that the operator wants shown.
    pub headers: ResponseHeaders,
    /// Whether the decision looked at the address, a cookie, a key or a certificate, so that another
    /// caller might not have been allowed the same.
    pub personal: bool,
}

/// Adds our words about an allow to the upstream's answer. The upstream's own fields of these names
/// were removed before; its `proxy-status` stays.
pub fn mark(headers: &mut HeaderMap, allowance: &Allowance<'_>) {
    let Allowance { policy, rule, notes, level, request_id, headers: shown, personal } = *allowance;
    headers.insert(REQUEST_ID, request_id.clone());
    if personal && !headers.contains_key(header::CACHE_CONTROL) {
        // Caches know by themselves that an answer to `Authorization` is one caller's
        // (RFC 9111 section 3.5). Of addresses, cookies and keys they do not know it.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    if level == Level::Silent {
        return;
    }
    if shown.decision {
        headers.insert(DECISION, HeaderValue::from_static("allow"));
    }
    if level < Level::Rule {
        return;
    }
    let full = level == Level::Full;
    if shown.rule {
        let builtin = match rule {
            RuleRef::Builtin(builtin) => Some(builtin.info().name),
            RuleRef::Written(_) => None,
        };
        insert(headers, RULE, rule_value(shown_name(policy, rule, full), builtin));
    }
    if shown.policy {
        insert(headers, POLICY, kept::version(policy.version));
    }
    if full && shown.shadow {
        add_shadow(policy, notes, headers);
    }
}

// === values ===

fn rule_value(name: &str, builtin: Option<&'static str>) -> Option<HeaderValue> {
    match builtin {
        Some(name) => Some(HeaderValue::from_static(name)),
        None => kept::name(name),
    }
}

fn add_shadow(policy: &Policy, notes: &Notes, headers: &mut HeaderMap) {
    if notes.shadow.is_empty() {
        return;
    }
    let names: Vec<&str> = notes.shadow.iter().map(|hit| policy.rules.name(hit.rule)).collect();
    insert(headers, SHADOW, HeaderValue::try_from(names.join(", ")).ok());
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.append(name, value);
    }
}
