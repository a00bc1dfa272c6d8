//! JSON Web Tokens: bytes into a holder, or the rule that refuses them.
//!
//! The signature is `jsonwebtoken`'s (aws-lc); what is read around it is read here, because that
//! crate looks at fewer things than must be looked at (`crit`, repeated names, claims of a wrong
//! type). Order matters to whoever reads the log:
//!
//! 1. form: three parts, strict base64url, strict JSON; nothing in a header is ever fetched or used
//!    as a key (`jwk`, `jku`, `x5u`, `x5c` are ignored);
//! 2. the source, by `iss`: a token is judged by the source of its issuer and by no other;
//! 3. algorithm, key, signature; nothing that is claimed counts before;
//! 4. types of claims, audience, subject; then `exp`, `nbf`. So `expired` is said of genuine tokens
//!    alone, and only those are recorded with what they claim.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::claims::{self, Claims, Names};
use super::fingerprint::Parts;
use super::json;
use super::keys::{KeyRing, Keys, MAX_ID};
use super::raw::ClaimPath;
use crate::decision::Builtin;
use crate::facts::{Holder, Problem};

/// `[[authn.jwt]]`, compiled.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    pub(super) id: Box<str>,
    pub(super) issuer: Box<str>,
    pub(super) audience: Box<[Box<str>]>,
    pub(super) algorithms: Box<[Algorithm]>,
    pub(super) leeway: SignedDuration,
    pub(super) keys: KeySource,
    pub(super) subject: ClaimPath,
    pub(super) roles: Option<ClaimPath>,
    /// `None`: `scope`, else `scp`.
    pub(super) scopes: Option<ClaimPath>,
    /// `None`: any role.
    pub(super) allowed: Option<HashSet<Box<str>>>,
    pub(super) forward: bool,
}

/// Where the keys of an issuer come from.
#[derive(Clone, Debug)]
pub(super) enum KeySource {
    /// The policy's own files.
    Local(Arc<Keys>),
    /// An address that the shell fetches.
    Url { url: Arc<str>, refresh: Duration },
}

/// A token, taken apart and not believed.
pub(super) struct Token<'t> {
    signed: &'t str,
    signature: &'t str,
    algorithm: Option<Algorithm>,
    key_id: Option<Box<str>>,
    claims: Claims,
}

/// Why a token is refused.
pub(super) struct Refused {
    pub(super) problem: Problem,
    /// The address whose key set lacks a key, if it may have it by now.
    pub(super) url: Option<Arc<str>>,
}

impl<'t> Token<'t> {
    /// Takes a token apart. Its length is bounded by its carrier.
    pub(super) fn parse(text: &'t [u8]) -> Result<Token<'t>, Problem> {
        let text = std::str::from_utf8(text).map_err(|_| malformed("the token is not text"))?;
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("the token does not have three parts"));
        };
        let signed = text.get(..header.len() + 1 + payload.len()).unwrap_or_default();
        let header = decode(header)
            .ok_or_else(|| malformed("the token's header is not one JSON object in base64url"))?;
        // RFC 7515 section 4.1.11: an extension that is not understood refuses the token, and none is
        // understood here. `b64` (RFC 7797) would change what is signed, so it is one even unannounced.
        if header.contains_key("crit") || header.get("b64").is_some_and(|b64| *b64 != Value::Bool(true)) {
            return Err(Problem::new(
                Builtin::CriticalHeader,
                "the token's header has an extension that must be understood",
            ));
        }
        let Some(Value::String(algorithm)) = header.get("alg") else {
            return Err(malformed("the token's header names no algorithm"));
        };
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= MAX_ID => Some(id.as_str().into()),
            Some(_) => return Err(malformed("the token's `kid` is not a string, or too long")),
        };
        let claims = decode(payload).ok_or_else(|| {
            malformed("the token's payload is not one JSON object in base64url, without repeated names")
        })?;
        Ok(Token { signed, signature, algorithm: algorithm.parse().ok(), key_id, claims })
    }

    /// Who claims to have issued it.
    pub(super) fn issuer(&self) -> Result<&str, Problem> {
        claims::required_string(self.claims.get("iss"), "the token has no `iss`", "`iss` is not a string")
    }
}

impl Issuer {
    /// Judges a token that claims to be of this issuer.
    pub(super) fn verify(&self, token: Token<'_>, ring: &KeyRing, now: Timestamp) -> Result<Holder, Refused> {
        let key_id = self.check_signature(&token, ring)?;
        Ok(self.read_claims(token.claims, key_id, now)?)
    }

    /// Judges what a genuine token claims.
    fn read_claims(
        &self,
        claims: Claims,
        key_id: Option<Box<str>>,
        now: Timestamp,
    ) -> Result<Holder, Problem> {
        let time = |name, wrong| claims::time(claims.get(name), wrong);
        let expires_at = time("exp", "`exp` is not a number")?
            .ok_or_else(|| Problem::new(Builtin::ClaimMissing, "the token has no `exp`"))?;
        let not_before = time("nbf", "`nbf` is not a number")?;
        let issued_at = time("iat", "`iat` is not a number")?;
        let token_id = match claims.get("jti") {
            None => None,
            Some(Value::String(id)) => Some(id.as_str().into()),
            Some(_) => return Err(claims::wrong_type("`jti` is not a string")),
        };
        self.check_audience(claims.get("aud"))?;
        let subject = claims::required_string(
            claims::find(&claims, &self.subject)?,
            "the token has no subject",
            "the subject is not a string",
        )?;
        if !claims::is_subject(subject) {
            return Err(Problem::new(
                Builtin::SubjectInvalid,
                "the subject is empty, too long, or cannot be written into a header field",
            ));
        }
        let (roles, ignored_roles) = self.roles(&claims)?;
        let holder = Holder {
            source: self.id.clone(),
            subject: subject.into(),
            roles,
            ignored_roles,
            scopes: self.scopes(&claims)?,
            issued_at,
            not_before,
            expires_at: Some(expires_at),
            token_id,
            key_id,
            bearer: true,
            claims,
        };
        self.check_times(holder, now)
    }

    /// The id of the key that made the signature, if it has one.
    fn check_signature(&self, token: &Token<'_>, ring: &KeyRing) -> Result<Option<Box<str>>, Refused> {
        let bad = |note: &'static str| Problem::new(Builtin::Signature, note);
        let algorithm = token
            .algorithm
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or_else(|| bad("the token's algorithm is not one of the source's"))?;
        let (keys, url) = match &self.keys {
            KeySource::Local(keys) => (Some(&**keys), None),
            KeySource::Url { url, .. } => (ring.get(url), Some(url)),
        };
        let missing =
            |rule, note: &'static str| Refused { problem: Problem::new(rule, note), url: url.cloned() };
        let keys =
            keys.ok_or_else(|| missing(Builtin::KeysUnavailable, "the key set has not been fetched yet"))?;
        let key = keys
            .find(token.key_id.as_deref(), algorithm)
            .map_err(|note| missing(Builtin::KeyUnknown, note))?;
        let signature = URL_SAFE_NO_PAD
            .decode(token.signature)
            .map_err(|_| malformed("the token's signature is not base64url"))?;
        if !key.verifies(algorithm, token.signed.as_bytes(), &signature) {
            return Err(bad("the signature does not verify with the key of the source").into());
        }
        Ok(key.id.clone())
    }

    fn check_audience(&self, claim: Option<&Value>) -> Result<(), Problem> {
        let wanted = |name: &str| self.audience.iter().any(|audience| **audience == *name);
        let named = match claim {
            None => return Err(Problem::new(Builtin::ClaimMissing, "the token has no `aud`")),
            Some(Value::String(name)) => wanted(name),
            Some(Value::Array(names)) if names.iter().all(Value::is_string) => {
                names.iter().filter_map(Value::as_str).any(wanted)
            }
            Some(_) => return Err(claims::wrong_type("`aud` is neither a string nor a list of strings")),
        };
        if named { Ok(()) } else { Err(Problem::new(Builtin::Audience, "the token is for another audience")) }
    }

    /// The roles that count, and those that this source may not bring.
    fn roles(&self, claims: &Claims) -> Result<(Names, Names), Problem> {
        let Some(value) = self.roles.as_ref().map(|path| claims::find(claims, path)).transpose()?.flatten()
        else {
            return Ok((Vec::new(), Vec::new()));
        };
        let allowed = |role: &str| self.allowed.as_ref().is_none_or(|allowed| allowed.contains(role));
        Ok(claims::names(value)?.into_iter().partition(|role| allowed(role)))
    }

    fn scopes(&self, claims: &Claims) -> Result<Vec<Box<str>>, Problem> {
        let value = match &self.scopes {
            Some(path) => claims::find(claims, path)?,
            None => claims.get("scope").or_else(|| claims.get("scp")),
        };
        value.map_or_else(|| Ok(Vec::new()), claims::scopes)
    }

    fn check_times(&self, holder: Holder, now: Timestamp) -> Result<Holder, Problem> {
        let (from, until) = self.window(&holder);
        let (rule, note, begins) = if until.is_some_and(|until| now >= until) {
            (Builtin::Expired, "the token is past its `exp`", None)
        } else if from.is_some_and(|from| now < from) {
            (Builtin::NotYetValid, "the token is before its `nbf`", holder.not_before)
        } else {
            return Ok(holder);
        };
        Err(Problem { until: begins, claimed: Some(Arc::new(holder)), ..Problem::new(rule, note) })
    }

    /// When the token is good, with leeway: from the first time on, before the second.
    pub(super) fn window(&self, holder: &Holder) -> (Option<Timestamp>, Option<Timestamp>) {
        let from = holder.not_before.map(|begin| begin.saturating_sub(self.leeway).unwrap_or(begin));
        let until = holder.expires_at.map(|end| end.saturating_add(self.leeway).unwrap_or(end));
        (from, until)
    }

    /// Everything that a verification rests on. A new field does not build until it is added here.
    pub(super) fn fingerprint(&self, parts: &mut Parts) {
        let Issuer {
            id,
            issuer,
            audience,
            algorithms,
            leeway,
            keys,
            subject,
            roles,
            scopes,
            allowed,
            forward: _,
        } = self;
        let path = |path: &ClaimPath| path.0.join("\0");
        let mut allowed: Vec<&str> = allowed.iter().flatten().map(|role| &**role).collect();
        allowed.sort_unstable();
        parts.add("jwt").add(id.as_bytes()).add(issuer.as_bytes());
        parts.add_all(audience.iter().map(|audience| audience.as_bytes()));
        parts.add(format!("{algorithms:?} {leeway:?}"));
        parts.add(format!(
            "{:?} {:?} {:?}",
            path(subject),
            roles.as_ref().map(path),
            scopes.as_ref().map(path)
        ));
        parts.add(if self.allowed.is_some() { "some" } else { "any" }).add_all(allowed.iter());
        match keys {
            KeySource::Local(keys) => parts.add("local").add_fingerprint(keys.fingerprint()),
            KeySource::Url { url, refresh: _ } => parts.add("url").add(url.as_bytes()),
        };
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused { problem, url: None }
    }
}

/// One part of a token. base64url without padding and without stray bits: a part has one spelling.
fn decode(part: &str) -> Option<Claims> {
    json::object(&URL_SAFE_NO_PAD.decode(part).ok()?)
}

fn malformed(note: &'static str) -> Problem {
    Problem::new(Builtin::CredentialMalformed, note)
}
