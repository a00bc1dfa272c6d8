//! The room's tests, by subject, and what they share.

mod basic;
mod cache;
mod carriers;
mod config;
mod forged;
mod gate;
mod keys;
mod tokens;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use self::tokens::{issuer_keys, key_set};
use super::revoked::read_document;
use super::*;
use crate::policy::code::Code;
use crate::policy::compile::Compile;
use crate::policy::diagnostic::{Diagnostics, FileId};
use crate::policy::network::Networks;
use crate::policy::raw::RawPolicy;
use crate::policy::rbac::Roles;
use crate::policy::route::RouteNames;
use crate::policy::rules::Rules;
use crate::policy::source::Sources;

const ISSUER: &str = "https://issuer.test";
const AUDIENCE: &str = "portcullis-lab";

/// One issuer with the keys of [`issuer_keys`], two API keys, one user.
const LAB: &str = r#"
    [rbac.role.user]
    [rbac.role.admin]
    [[authn.jwt]]
    id = "lab"
    issuer = "https://issuer.test"
    audience = ["portcullis-lab", "second"]
    algorithms = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]
    leeway = "60s"
    jwks = { file = "jwks.json" }
    roles = "roles"
    roles_allowed = ["user", "admin"]
    [[authn.api_key]]
    id = "lab-user"
    header = "x-api-key"
    hash = "sha256:LAB_USER_KEY"
    roles = ["user"]
    [[authn.api_key]]
    id = "ended"
    header = "x-api-key"
    hash = "sha256:ENDED_KEY"
    expires = 2027-01-01T00:00:00Z
    [[authn.basic]]
    id = "people"
    realm = "the lab"
    users = { file = "htpasswd" }
    roles = ["user"]
"#;

/// The user `alice` with the password `open sesame`, at the least cost there is.
fn htpasswd() -> String {
    let hash = bcrypt::hash_with_salt("open sesame", 4, [7; 16]).unwrap();
    format!("# people\n\nalice:{}\n", hash.format_for_version(bcrypt::Version::TwoY))
}

fn now() -> Timestamp {
    at("2026-11-24T12:00:00Z")
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// Compiles `[authn]` and the roles of a text.
fn compile(text: &str, files: &[(&str, &str)]) -> (Authn, Roles, Diagnostics) {
    let text = text
        .replace("sha256:LAB_USER_KEY", &hash_key(b"lab-user-key"))
        .replace("sha256:ENDED_KEY", &hash_key(b"ended-key"));
    let mut sources = Sources::single("test.toml", text.clone());
    for (path, text) in files {
        sources.attach(*path, *text);
    }
    let mut diagnostics = Diagnostics::default();
    let raw: Option<RawPolicy> = read_document("a policy file", FileId(0), &text, &mut diagnostics);
    let roles = raw
        .as_ref()
        .and_then(|raw| raw.rbac.as_ref())
        .map(|rbac| Roles::compile(&rbac.role, &mut diagnostics));
    let mut cx = Compile {
        sources: &sources,
        now: now(),
        diagnostics: &mut diagnostics,
        rules: Rules::default(),
        networks: Networks::default(),
        roles: roles.unwrap_or_default(),
        routes: RouteNames::default(),
    };
    let authn =
        raw.and_then(|raw| raw.authn).map(|raw| Authn::compile(&raw, 16 * 1024, &mut cx)).unwrap_or_default();
    (authn, cx.roles, diagnostics)
}

/// Compiles a text that has no problems.
fn authn(text: &str, files: &[(&str, &str)]) -> Authn {
    let (authn, _, diagnostics) = compile(text, files);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    authn
}

/// The sources of [`LAB`].
fn lab() -> Authn {
    authn(LAB, &[("jwks.json", &key_set(issuer_keys())), ("htpasswd", &htpasswd())])
}

/// The codes of a text's problems, in the order of their places.
fn problems(text: &str, files: &[(&str, &str)]) -> Vec<Code> {
    let (_, _, diagnostics) = compile(text, files);
    diagnostics.into_sorted().iter().map(|diagnostic| diagnostic.code).collect()
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// What becomes of what a request shows; `None`: it shows nothing.
fn identify(authn: &Authn, fields: &[(&'static str, &str)]) -> Option<Result<Arc<Holder>, Problem>> {
    identify_with(authn, fields, &KeyRing::default(), &Revocations::default())
}

fn identify_with(
    authn: &Authn,
    fields: &[(&'static str, &str)],
    keys: &KeyRing,
    revoked: &Revocations,
) -> Option<Result<Arc<Holder>, Problem>> {
    let headers = headers(fields);
    let credential = match authn.presented(AuthnWord::Optional, &headers) {
        Presented::Nothing => return None,
        Presented::Refused(problem) => return Some(Err(problem)),
        Presented::One(credential) => credential,
    };
    Some(match authn.verify(&credential, keys, revoked, now()) {
        Verification::Done(verified) => verified,
        Verification::MissingKey { problem, .. } => Err(problem),
        Verification::Slow(check) => check.run(revoked),
    })
}

fn bearer(authn: &Authn, token: &str) -> Result<Arc<Holder>, Problem> {
    identify(authn, &[("authorization", &format!("Bearer {token}"))]).unwrap()
}

/// The rule that refuses a token; `None`: it is believed.
fn refused(authn: &Authn, token: &str) -> Option<Builtin> {
    bearer(authn, token).err().map(|problem| problem.rule)
}
