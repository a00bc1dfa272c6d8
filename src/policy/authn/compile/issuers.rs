//! `[[authn.jwt]]`: an issuer of tokens, its keys and what they may be used for.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::{DEMO_KEYS, Work};
use crate::policy::authn::jwt::{Issuer, KeySource};
use crate::policy::authn::keys::{Keys, Origin};
use crate::policy::authn::raw::{ClaimPath, RawJwt, RawKeySet};
use crate::policy::code::Code;
use crate::policy::decode::Name;
use crate::policy::diagnostic::{At, Place};

impl Work<'_, '_> {
    pub(super) fn issuer(&mut self, raw: &RawJwt, only: bool) -> Option<Issuer> {
        let id = self.id(&raw.id);
        if raw.issuer.is_empty() && !self.cx.diagnostics.lacks(raw.place, &["issuer"]) {
            self.bad(raw.issuer.place, "the issuer is empty", "write the `iss` of its tokens");
        }
        if raw.audience.0.is_empty() && !self.cx.diagnostics.lacks(raw.place, &["audience"]) {
            self.bad(raw.place, "`audience` is empty", "write the `aud` of tokens for this service");
        }
        for audience in raw.audience.0.iter().filter(|audience| audience.is_empty()) {
            self.bad(audience.place, "an audience is empty", "write the `aud` of tokens for this service");
        }
        let leeway = raw.leeway.as_ref().map_or(LEEWAY, |leeway| leeway.value.0);
        if let Some(at) = raw.leeway.as_ref().filter(|_| leeway > MAX_LEEWAY) {
            self.bad(
                at.place,
                "a leeway is at most 5m",
                "it is for clocks that differ; longer lives are the issuer's to give",
            );
        }
        if let (Some(roles), None, false) = (&raw.roles, &raw.roles_allowed, only) {
            self.cx
                .diagnostics
                .push_unless_lost(
                    raw.place,
                    &["roles_allowed"],
                    Code::RolesNotAllowed,
                    roles.place,
                    format!("`{id}` may bring no roles"),
                )
                .about(format!("authn/{id}"))
                .help(
                    "with several issuers, each needs `roles_allowed`: the roles that its tokens may bring",
                );
        }
        if let (None, Some(allowed), false) =
            (&raw.roles, &raw.roles_allowed, self.cx.diagnostics.lacks(raw.place, &["roles"]))
        {
            let place = allowed.first().map_or(raw.place, |name| name.place);
            self.conflict(
                place,
                "`roles_allowed` needs `roles`",
                "say which claim lists the roles: `roles = \"roles\"`",
            );
        }
        for path in [&raw.subject, &raw.roles, &raw.scopes].into_iter().flatten() {
            self.prefixed(path, &id);
        }
        let allowed = match &raw.roles_allowed {
            Some(names) => Some(self.roles(names).into_iter().collect()),
            None if only => None,
            None => Some(HashSet::new()),
        };
        let algorithms: Vec<Algorithm> = raw.algorithms.iter().map(|word| word.value.into()).collect();
        let keys = self.key_source(raw, &algorithms)?;
        Some(Issuer {
            id,
            issuer: raw.issuer.as_str().into(),
            audience: raw.audience.0.iter().map(|audience| audience.as_str().into()).collect(),
            algorithms: algorithms.into(),
            leeway: SignedDuration::try_from(leeway).unwrap_or(SignedDuration::ZERO),
            keys,
            subject: raw.subject.as_ref().map_or_else(|| ClaimPath::top("sub"), |path| path.value.clone()),
            roles: raw.roles.as_ref().map(|path| path.value.clone()),
            scopes: raw.scopes.as_ref().map(|path| path.value.clone()),
            allowed,
            forward: raw.forward == Some(true),
        })
    }

    /// Reports the path of a claim that is written as in a `when`. An array of names means what it says.
    fn prefixed(&mut self, path: &At<ClaimPath>, id: &str) {
        let [first, rest @ ..] = &*path.value.0 else { return };
        let source = self.cx.sources.get(path.place.file);
        let text = source.and_then(|source| source.text.get(path.place.start as usize..));
        let is_text = text.is_some_and(|text| text.starts_with(['"', '\'']));
        if &**first != "claims" || rest.is_empty() || !is_text {
            return;
        }
        let own = rest.join(".");
        let message = format!("`{id}` looks for a claim that is called `claims`");
        self.cx
            .diagnostics
            .push(Code::ClaimPrefix, path.place, message)
            .about(format!("authn/{id}"))
            .help(format!("the path begins inside the claims: write \"{own}\""));
    }

    fn key_source(&mut self, raw: &RawJwt, algorithms: &[Algorithm]) -> Option<KeySource> {
        let place = raw.algorithms.first().map_or(raw.place, |word| word.place);
        let lost = self.cx.diagnostics.lacks(raw.place, &["algorithms"]);
        if algorithms.is_empty() && !lost {
            self.bad(
                raw.place,
                "`algorithms` is empty",
                "list those that the issuer signs with, such as [\"RS256\"]",
            );
        }
        let secret = algorithms.iter().any(|algorithm| algorithm.family() == AlgorithmFamily::Hmac);
        let mixed = secret && algorithms.iter().any(|algorithm| algorithm.family() != AlgorithmFamily::Hmac);
        if mixed {
            // The oldest of all forgeries makes a public key pass for a secret.
            self.conflict(
                place,
                "HMAC and public-key algorithms stand in one source",
                "make two sources of them",
            );
        }
        if algorithms.is_empty() || lost || mixed {
            // Whether the keys fit cannot be told; whether they are there can.
            for file in raw.secret_file.iter().chain(raw.jwks.as_ref().and_then(|jwks| jwks.file.as_ref())) {
                self.text(file);
            }
            return None;
        }
        match (&raw.jwks, &raw.secret_file) {
            (None, None) => {
                self.cx
                    .diagnostics
                    .push_unless_lost(
                        raw.place,
                        &["jwks", "secret_file"],
                        Code::MissingKey,
                        raw.place,
                        "[[authn.jwt]] lacks the key `jwks` or `secret_file`",
                    )
                    .help(
                        "say where the keys are: `jwks = { url = \"https://…\" }`, `jwks = { file = \"…\" }`",
                    );
                None
            }
            (Some(jwks), Some(_)) => {
                self.conflict(
                    jwks.place,
                    "`jwks` and `secret_file` exclude each other",
                    "keep the one that holds the keys",
                );
                None
            }
            (None, Some(file)) if !secret => {
                self.conflict(
                    file.place,
                    "`secret_file` is for HS256, HS384 and HS512",
                    "use `jwks` for public keys",
                );
                None
            }
            (None, Some(file)) => {
                let (_, text) = self.text(file)?;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                if text.is_empty() {
                    self.bad(file.place, "the secret is empty", "");
                    return None;
                }
                self.look_for_demo_key(&raw.id, text);
                self.local(Keys::secret(text.as_bytes()), algorithms, file.place)
            }
            (Some(jwks), None) => self.key_set(jwks, algorithms, secret),
        }
    }

    fn key_set(&mut self, raw: &RawKeySet, algorithms: &[Algorithm], secret: bool) -> Option<KeySource> {
        if let (Some(refresh), None, false) =
            (&raw.refresh, &raw.url, self.cx.diagnostics.lacks(raw.place, &["url"]))
        {
            self.conflict(refresh.place, "`refresh` needs `url`", "remove it; a file is watched");
        }
        let (place, text) = match (&raw.file, &raw.url, &raw.inline) {
            (Some(file), None, None) => (file.place, self.text(file)?.1),
            (None, None, Some(inline)) => (inline.place, inline.as_str().into()),
            (None, Some(url), None) => return self.url(url, raw, secret),
            _ => {
                if !self.cx.diagnostics.lacks(raw.place, &["file", "url", "inline"]) {
                    let message = "`jwks` takes one of `file`, `url`, `inline`";
                    self.conflict(raw.place, message, "keep one of them");
                }
                return None;
            }
        };
        match Keys::parse(&text, Origin::Local) {
            Ok(keys) => self.local(keys, algorithms, place),
            Err(why) => {
                self.bad(
                    place,
                    format!("the key set {why}"),
                    "a key set is JSON: {\"keys\": [{\"kty\": \"RSA\", …}]}",
                );
                None
            }
        }
    }

    fn local(&mut self, keys: Keys, algorithms: &[Algorithm], place: Place) -> Option<KeySource> {
        for skipped in keys.skipped() {
            let message = format!("key {} of the set is left out: it {}", skipped.key, skipped.why);
            self.cx.diagnostics.push(Code::KeySkipped, place, message);
        }
        if !keys.fits(algorithms) {
            self.conflict(
                place,
                "no key here can be used with any of the `algorithms`",
                "compare the kinds of the keys and their `alg`",
            );
            return None;
        }
        let needed = algorithms.iter().filter_map(|algorithm| hash_length(*algorithm)).max();
        if let (Some(needed), Some(shortest)) = (needed, keys.shortest_secret())
            && shortest < needed
        {
            let message = format!("the secret has {shortest} bytes, the hash {needed}");
            self.cx
                .diagnostics
                .push(Code::WeakSecret, place, message)
                .help("make one with `openssl rand -hex 32`");
        }
        Some(KeySource::Local(Arc::new(keys)))
    }

    fn url(&mut self, url: &At<String>, raw: &RawKeySet, secret: bool) -> Option<KeySource> {
        if secret {
            self.conflict(
                url.place,
                "a secret cannot come from an address",
                "use `secret_file` or `jwks = { file = … }`",
            );
            return None;
        }
        let refresh = raw.refresh.as_ref().map_or(REFRESH, |refresh| refresh.value.0);
        if let Some(at) = raw.refresh.as_ref().filter(|_| !(MIN_REFRESH..=MAX_REFRESH).contains(&refresh)) {
            self.bad(
                at.place,
                "`refresh` is from 10s to 24h",
                "a token with an unknown key has the set fetched earlier anyway",
            );
        }
        let parsed = url.parse::<Uri>().ok();
        let authority =
            parsed.as_ref().and_then(Uri::authority).filter(|authority| !authority.as_str().contains('@'));
        let scheme = parsed.as_ref().and_then(Uri::scheme_str);
        match (scheme, authority) {
            (Some("https"), Some(_)) => {}
            (Some("http"), Some(authority)) => {
                let host = authority.host().trim_matches(['[', ']']);
                let here =
                    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
                if !here {
                    self.cx
                        .diagnostics
                        .push(Code::PlainHttpKeys, url.place, "the key set is fetched without TLS")
                        .help("use https: whoever can answer in its place can make every token");
                }
            }
            _ => {
                self.bad(
                    url.place,
                    "this is not an address of a key set",
                    "write \"https://id.example.com/jwks.json\"",
                );
                return None;
            }
        }
        Some(KeySource::Url { url: url.as_str().into(), refresh })
    }

    fn look_for_demo_key(&mut self, id: &At<Name>, secret: &str) {
        if DEMO_KEYS.contains(&secret) {
            self.demo.push(At { value: id.as_str().into(), place: id.place });
        }
    }
}

/// The length of an HMAC algorithm's hash, which its secret must not be shorter than.
fn hash_length(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::HS256 => Some(32),
        Algorithm::HS384 => Some(48),
        Algorithm::HS512 => Some(64),
        _ => None,
    }
}

const LEEWAY: Duration = Duration::from_secs(30);
const MAX_LEEWAY: Duration = Duration::from_secs(5 * 60);

const REFRESH: Duration = Duration::from_secs(5 * 60);
const MIN_REFRESH: Duration = Duration::from_secs(10);
const MAX_REFRESH: Duration = Duration::from_secs(24 * 60 * 60);
