//! Case files, read and checked: what `portcullis test` runs, and other tests with it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use jiff::Timestamp;
use toml::de::{DeTable, DeValue};

use super::raw::{RawCase, RawCertificate, RawExpect, RawFile, RawIdentity, RawRequest, VersionWord};
use crate::cli::request::{Person, Request};
use crate::facts::{Certificate, Scheme};
use crate::policy::code::Code;
use crate::policy::compile::unknown_name;
use crate::policy::decode::{Decode, Node, OneOrMany, place};
use crate::policy::diagnostic::{At, Diagnostics, FileId, Place};
use crate::policy::source::Sources;
use crate::policy::{Caller, Policy, Sample};

/// The cases of one file.
#[derive(Clone, Debug)]
pub struct CaseFile {
    /// The configuration that it names, resolved from its own folder.
    pub config: Option<PathBuf>,
    /// The cases that can be run, in order.
    pub cases: Vec<Case>,
}

/// A request, and what must become of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// What must become of the request.
    pub expect: RawExpect,
    /// Rules that must not fire.
    pub not_rules: Vec<At<String>>,
    request: Request,
    caller: Caller,
    at: Option<Timestamp>,
}

impl CaseFile {
    /// Reads the text of a case file, the first of the sources.
    pub fn read(sources: &Sources, diagnostics: &mut Diagnostics) -> Option<CaseFile> {
        let file = FileId::default();
        let text = sources.get(file).map_or("", |source| &*source.text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
            let at = place(file, &error.span().unwrap_or(0..0));
            diagnostics.push(Code::Syntax, at, error.message().trim_end().to_owned());
        }
        if !errors.is_empty() {
            return None;
        }
        let value = toml::Spanned::new(0..0, DeValue::Table(table.into_inner()));
        let raw = RawFile::decode(Node::new(file, &value), diagnostics)?;
        if raw.case.is_empty() && !diagnostics.lacks(raw.place, &["case"]) {
            diagnostics
                .push(Code::MissingKey, raw.place, "there is no case in this file")
                .help("a case is a table `[[case]]` with `name`, `request` and `expect`");
        }
        let config = raw.config.map(|path| sources.resolve(file, &path.value).into());
        let now = raw.now.map(|now| now.0);
        let cases = raw.case.into_iter().filter_map(|case| Case::new(case, now, diagnostics));
        Some(CaseFile { config, cases: cases.collect() })
    }
}

impl Case {
    fn new(raw: RawCase, now: Option<Timestamp>, diagnostics: &mut Diagnostics) -> Option<Case> {
        let RawCase { place, name, request, identity, at, expect, not_rules } = raw;
        let lost = diagnostics.is_partial(expect.place) || diagnostics.lacks(place, &["not_rules"]);
        if !expects_something(&expect) && not_rules.is_empty() && !lost {
            diagnostics
                .push(Code::MissingKey, expect.place, "this case expects nothing, so it cannot fail")
                .help("say at least `outcome = \"allow\"`, or `outcome = \"deny\"` with its `rule`");
        }
        let request = read_request(request, diagnostics)?;
        let at = at.map(|at| at.0).or(now);
        let caller = identity.map_or(Caller::FromHeaders, |identity| person(identity).caller());
        Some(Case { name: name.value, place, expect, not_rules, request, caller, at })
    }

    /// The request as the policy judges it. `now`: the time of cases that have none.
    pub fn sample(&self, policy: &Policy, now: Timestamp) -> Sample {
        self.request.clone().sample(policy, self.at.unwrap_or(now), self.caller.clone())
    }

    /// Reports names that the policy does not have: a misspelt rule would never fire, and a case
    /// that forbids it would always pass.
    pub fn check_names(&self, policy: &Policy, diagnostics: &mut Diagnostics) {
        let RawExpect { rule, reason, matched, not_matched, shadow, needs, .. } = &self.expect;
        let rules = rule.iter().chain(matched).chain(not_matched).chain(shadow).chain(&self.not_rules);
        for rule in rules.filter(|rule| policy.rules.by_name(rule).is_none()) {
            let written = policy.rules.iter().map(|(_, rule)| &*rule.name);
            let builtin = crate::decision::Builtin::ALL.iter().map(|rule| rule.info().name);
            unknown_name("rule", rule, rule.place, written.chain(builtin), diagnostics);
        }
        if let Some(reason) =
            reason.as_ref().filter(|reason| reason.parse::<crate::decision::Reason>().is_err())
        {
            let known = crate::decision::Reason::ALL.iter().map(|reason| reason.info().code);
            unknown_name("reason", reason, reason.place, known, diagnostics);
        }
        for role in needs.iter().flat_map(|needs| &needs.roles) {
            if policy.roles.get(role).is_none() {
                unknown_name(
                    "role",
                    role,
                    role.place,
                    policy.roles.iter().map(|(_, name)| name),
                    diagnostics,
                );
            }
        }
    }
}

fn expects_something(expect: &RawExpect) -> bool {
    let RawExpect {
        place: _,
        outcome,
        rule,
        stage,
        reason,
        status,
        sent_status,
        route,
        matched,
        not_matched,
        shadow,
        needs,
    } = expect;
    outcome.is_some()
        || rule.is_some()
        || stage.is_some()
        || reason.is_some()
        || status.is_some()
        || sent_status.is_some()
        || route.is_some()
        || needs.is_some()
        || ![matched, not_matched, shadow].into_iter().all(Vec::is_empty)
}

fn person(raw: RawIdentity) -> Person {
    let RawIdentity { place: _, subject, roles, scopes, claims } = raw;
    Person { subject, roles, scopes, claims: claims.unwrap_or_default().0 }
}

fn read_request(raw: RawRequest, diagnostics: &mut Diagnostics) -> Option<Request> {
    let target: Option<Uri> = match diagnostics.lacks(raw.place, &["path"]) {
        true => None,
        false => parse(&raw.path, "a request target", "write a path such as \"/orders/7?x=1\"", diagnostics),
    };
    let ip = |text: &At<String>, diagnostics: &mut Diagnostics| {
        parse::<IpAddr>(text, "an address", "write an address without port", diagnostics)
    };
    let client = match &raw.ip {
        Some(text) => ip(text, diagnostics),
        None => Some(IpAddr::from([127, 0, 0, 1])),
    };
    let peer = match &raw.peer {
        Some(text) => ip(text, diagnostics).map(Some),
        None => Some(None),
    };
    let body = read_body(&raw, diagnostics);
    let method = match &raw.method {
        Some(text) => parse(text, "a method", "", diagnostics),
        None => {
            Some(if raw.body.is_some() || raw.body_base64.is_some() { Method::POST } else { Method::GET })
        }
    };
    let headers = read_headers(&raw, diagnostics);
    let host = match &raw.host {
        Some(text) => value(text, diagnostics).map(Some),
        None => Some(None),
    };
    Some(Request {
        method: method?,
        target: target?,
        fragment: raw.path.contains('#'),
        version: match raw.version {
            Some(VersionWord::Http10) => Version::HTTP_10,
            Some(VersionWord::Http2) => Version::HTTP_2,
            Some(VersionWord::Http11) | None => Version::HTTP_11,
        },
        scheme: match raw.https == Some(true) || raw.certificate.is_some() {
            true => Scheme::Https,
            false => Scheme::Http,
        },
        host: host?,
        headers: headers?,
        body: body?,
        peer: peer?,
        ip: client?,
        certificate: raw.certificate.as_ref().map(|raw| Arc::new(certificate(raw))),
    })
}

/// A certificate as a verified one would be read; one that ends when nothing is judged any more.
fn certificate(raw: &RawCertificate) -> Certificate {
    let names = |names: &Option<OneOrMany<At<String>>>, lower: bool| -> Vec<Box<str>> {
        let text = |name: &At<String>| match lower {
            true => name.value.to_ascii_lowercase().into(),
            false => name.as_str().into(),
        };
        names.iter().flat_map(|names| &names.0).map(text).collect()
    };
    Certificate {
        uris: names(&raw.uri, false),
        dns: names(&raw.dns, true),
        emails: names(&raw.email, false),
        common_names: names(&raw.cn, false),
        units: names(&raw.ou, false),
        issuers: names(&raw.issuer, false),
        fingerprint: raw.fingerprint.as_ref().map_or("", |text| &text.value).into(),
        not_before: Timestamp::MIN,
        not_after: Timestamp::MAX,
    }
}

fn read_body(raw: &RawRequest, diagnostics: &mut Diagnostics) -> Option<Bytes> {
    match (&raw.body, &raw.body_base64) {
        (None, None) => Some(Bytes::new()),
        (Some(text), None) => Some(text.value.clone().into()),
        (None, Some(text)) => match STANDARD.decode(text.value.as_bytes()) {
            Ok(bytes) => Some(bytes.into()),
            Err(error) => {
                diagnostics.push(Code::BadValue, text.place, format!("this is not Base64: {error}"));
                None
            }
        },
        (Some(first), Some(second)) => {
            diagnostics
                .push(Code::Conflict, second.place, "`body` and `body_base64` exclude each other")
                .also(first.place, "the other body");
            None
        }
    }
}

fn read_headers(raw: &RawRequest, diagnostics: &mut Diagnostics) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut complete = true;
    for (name, values) in &raw.headers {
        let parsed: Option<HeaderName> = parse(name, "the name of a header field", "", diagnostics);
        for text in &values.0 {
            match (&parsed, value(text, diagnostics)) {
                (Some(name), Some(value)) => drop(headers.append(name, value)),
                _ => complete = false,
            }
        }
    }
    if let Some(kind) = &raw.content_type {
        headers.append(header::CONTENT_TYPE, value(kind, diagnostics)?);
    }
    if let (Some(host), true) = (&raw.host, headers.contains_key(header::HOST)) {
        diagnostics
            .push(Code::Conflict, host.place, "the Host field is given twice")
            .help("for two Host fields, leave `host` out and write `headers = { host = [\"a\", \"b\"] }`");
    }
    complete.then_some(headers)
}

fn value(text: &At<String>, diagnostics: &mut Diagnostics) -> Option<HeaderValue> {
    let value = HeaderValue::from_bytes(text.value.as_bytes()).ok();
    if value.is_none() {
        let message = "this value has control characters, which no header field can carry";
        diagnostics.push(Code::BadValue, text.place, message);
    }
    value
}

fn parse<T: std::str::FromStr>(
    text: &At<String>,
    what: &str,
    help: &str,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let parsed = text.value.parse().ok();
    if parsed.is_none() {
        let problem = diagnostics.push(Code::BadValue, text.place, format!("`{}` is not {what}", text.value));
        if !help.is_empty() {
            problem.help(help);
        }
    }
    parsed
}

/// A file that is no TOML at all has an error in every line; the first few are enough.
const MAX_SYNTAX_ERRORS: usize = 20;
