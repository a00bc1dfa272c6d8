//! Who asks: credentials into identities, and whether someone is demanded.
//!
//! [`Authn`] is `[authn]` compiled. A request's way through it: [`Authn::presented`] finds the one
//! credential that is shown, [`Authn::verify`] believes it or names the rule that does not, and
//! [`Authn::check`] is the gate. Nothing here fetches, waits or knows the time: fetched keys come in
//! as a [`KeyRing`], withdrawn credentials as [`Revocations`], a slow password check goes out as a
//! [`PasswordCheck`]. [`TokenCache`] remembers what was verified. Certificates that TLS verified are
//! known by [`Authn::certified`].
//!
//! Keys and lists that stand in files are part of `Authn`: a policy with local keys is complete in
//! itself, and a request never meets the keys of another policy than the one that judges it.

mod api_key;
mod basic;
mod cache;
mod carrier;
mod claims;
mod compile;
mod fingerprint;
mod json;
mod jwt;
mod keys;
mod mtls;
mod raw;
mod revoked;
#[cfg(test)]
mod tests;

pub use api_key::hash_key;
pub use basic::PasswordCheck;
pub use cache::{Bounds, Hit, TokenCache, Window};
pub use carrier::{Credential, Presented};
pub(crate) use claims::is_subject;
pub use compile::DEMO_KEYS;
pub use fingerprint::{Fingerprint, Stamp};
pub use keys::{KeyRing, Keys, Origin, Skipped};
pub use mtls::out_of_time;
pub use raw::RawAuthn;
pub use revoked::{RawRevocations, Revocations};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;
use jiff::Timestamp;

use self::api_key::KeyHeader;
use self::basic::Passwords;
use self::carrier::Carried;
use self::jwt::{Issuer, KeySource, Refused, Token};
use self::mtls::CertificateSource;
use super::diagnostic::At;
use super::intake::Limits;
use super::route::AuthnWord;
use crate::decision::{Builtin, Denial, Stage, StepOutcome, Trace, Verdict};
use crate::facts::{Facts, Holder, Identity, Problem};

/// The compiled sources of identity.
#[derive(Clone, Debug)]
pub struct Authn {
    jwt: Box<[Issuer]>,
    /// By header field.
    headers: Box<[KeyHeader]>,
    basic: Option<Passwords>,
    /// Those of client certificates.
    certificates: Box<[CertificateSource]>,
    /// The policy's own list; the shell may know of more.
    revoked: Arc<Revocations>,
    challenges: Box<[Challenge]>,
    fingerprint: Fingerprint,
    /// The longest credential that is looked at, in bytes.
    limit: usize,
    demo: Box<[At<Box<str>>]>,
}

/// What verifying came to.
#[derive(Debug)]
pub enum Verification {
    /// Believed or not.
    Done(Result<Arc<Holder>, Problem>),
    /// Not believed, for want of a key that the key set of this address may have by now. Worth a
    /// fetch that waits for nobody and happens seldom, whoever asks how often.
    MissingKey {
        /// Why it is refused now.
        problem: Problem,
        /// The key set's address.
        url: Arc<str>,
    },
    /// A password: slow on purpose, to be run where it blocks nobody.
    Slow(PasswordCheck),
}

/// A way to show a credential, as a 401 offers it (RFC 9110 section 11.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// `Bearer`: a token.
    Bearer,
    /// A key in a header field.
    ApiKey {
        /// The field.
        header: HeaderName,
    },
    /// `Basic`: user and password.
    Basic {
        /// What the browser shows; visible ASCII without quotes.
        realm: Box<str>,
    },
}

/// A key set that the shell fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteKeySet<'a> {
    /// The source that verifies with it. Several may name the same address.
    pub source: &'a str,
    /// Where it is.
    pub url: &'a Arc<str>,
    /// How often it is fetched.
    pub refresh: Duration,
}

/// No sources: nothing is believed.
impl Default for Authn {
    fn default() -> Authn {
        Authn {
            jwt: Box::default(),
            headers: Box::default(),
            basic: None,
            certificates: Box::default(),
            revoked: Arc::default(),
            challenges: Box::default(),
            fingerprint: Fingerprint::default(),
            limit: Limits::default().credential,
            demo: Box::default(),
        }
    }
}

impl Authn {
    /// Whether there is any source that a request can show a credential to.
    pub fn has_sources(&self) -> bool {
        !self.challenges.is_empty()
    }

    /// Verifies a credential.
    pub fn verify(
        &self,
        credential: &Credential<'_>,
        keys: &KeyRing,
        revoked: &Revocations,
        now: Timestamp,
    ) -> Verification {
        let verified = match credential.carried {
            Carried::Bearer(token) => match self.verify_token(token, keys, now) {
                Ok(holder) => Ok(Arc::new(holder)),
                Err(Refused { problem, url: Some(url) }) => return Verification::MissingKey { problem, url },
                Err(Refused { problem, url: None }) => Err(problem),
            },
            Carried::ApiKey { header, key } => match self.headers.get(header) {
                Some(header) => header.verify(key, now),
                None => Err(Problem::new(Builtin::KeyUnknown, "no source reads this header field")),
            },
            Carried::Basic(encoded) => match &self.basic {
                Some(passwords) => match passwords.check(encoded, &self.revoked) {
                    Ok(check) => return Verification::Slow(check),
                    Err(problem) => Err(problem),
                },
                None => Err(Problem::new(Builtin::UnknownScheme, "no source reads passwords")),
            },
        };
        Verification::Done(match verified {
            Ok(holder) if self.is_revoked(&holder, revoked) => Err(Problem {
                claimed: Some(holder),
                ..Problem::new(Builtin::Revoked, "the credential is in a list of revoked ones")
            }),
            verified => verified,
        })
    }

    /// A token is judged by the source of its issuer, and by no other.
    fn verify_token(&self, token: &[u8], keys: &KeyRing, now: Timestamp) -> Result<Holder, Refused> {
        let token = Token::parse(token)?;
        let named = token.issuer()?;
        let issuer = self.jwt.iter().find(|issuer| *issuer.issuer == *named);
        let unknown = || Problem::new(Builtin::Issuer, "no source has the token's issuer");
        issuer.ok_or_else(unknown)?.verify(token, keys, now)
    }

    /// Whether a credential was withdrawn, by the policy's own list or the shell's.
    #[inline]
    pub fn is_revoked(&self, holder: &Holder, revoked: &Revocations) -> bool {
        self.revoked.covers(holder) || revoked.covers(holder)
    }

    /// What verifications rest on at the moment. Those of another stamp count for nothing.
    #[inline]
    pub fn stamp(&self, keys: &KeyRing) -> Stamp {
        Stamp::new(self.fingerprint, keys.fingerprint())
    }

    /// How long a verification counts, if nothing else changes; `None` if no source vouches for it.
    pub fn window(&self, holder: &Holder, now: Timestamp) -> Option<Window> {
        if holder.bearer {
            let issuer = self.jwt.iter().find(|issuer| issuer.id == holder.source)?;
            let (from, until) = issuer.window(holder);
            return until.map(|until| Window { from, until });
        }
        Some(Window { from: None, until: now.saturating_add(PASSWORD_LIFE).unwrap_or(now) })
    }

    /// The key sets that the shell fetches.
    pub fn remote_key_sets(&self) -> impl Iterator<Item = RemoteKeySet<'_>> {
        self.jwt.iter().filter_map(|issuer| match &issuer.keys {
            KeySource::Url { url, refresh } => {
                Some(RemoteKeySet { source: &issuer.id, url, refresh: *refresh })
            }
            KeySource::Local(_) => None,
        })
    }

    /// What a 401 on a route offers. Never empty where one can happen: without any source, a token is
    /// asked for that nobody could verify, since a 401 must ask for something.
    pub fn challenges(&self, route: AuthnWord) -> &[Challenge] {
        match route {
            AuthnWord::Off => &[],
            _ if self.challenges.is_empty() => &[Challenge::Bearer],
            AuthnWord::Inherit | AuthnWord::Optional | AuthnWord::Required => &self.challenges,
        }
    }

    /// How a holder shows who it is, by the source that verified it; none for a client certificate, and for
    /// a source that this policy does not have.
    pub fn way_of(&self, holder: &Holder) -> Option<Challenge> {
        let is = |known: &Arc<Holder>| known.source == holder.source;
        if self.jwt.iter().any(|issuer| issuer.id == holder.source) {
            return Some(Challenge::Bearer);
        }
        if self.basic.as_ref().is_some_and(|basic| basic.users.values().any(|user| is(&user.holder))) {
            return self.challenges.iter().find(|way| matches!(way, Challenge::Basic { .. })).cloned();
        }
        let mut headers = self.headers.iter();
        let key = headers.find(|header| header.keys.values().any(is));
        key.map(|header| Challenge::ApiKey { header: header.name.clone() })
    }

    /// Whether a subject can show who it is in a way: keys and passwords are each for one that the policy
    /// names, tokens for whomever their issuers say.
    pub fn may_show(&self, way: &Challenge, subject: &str) -> bool {
        let is = |holder: &Arc<Holder>| *holder.subject == *subject;
        match way {
            Challenge::Bearer => true,
            Challenge::Basic { .. } => {
                self.basic.as_ref().is_some_and(|basic| basic.users.values().any(|user| is(&user.holder)))
            }
            Challenge::ApiKey { header } => {
                let mut headers = self.headers.iter().filter(|own| own.name == *header);
                headers.any(|own| own.keys.values().any(is))
            }
        }
    }

    /// The sources that may call somebody by this name: issuers and certificates anybody, keys and users whom
    /// the policy names.
    pub fn may_call(&self, subject: &str) -> Vec<String> {
        let named = |holder: &Arc<Holder>| *holder.subject == *subject;
        let issuers = self.jwt.iter().map(|issuer| &*issuer.id);
        let keys = self.headers.iter().flat_map(|header| header.keys.values());
        let users = self.basic.iter().flat_map(|basic| basic.users.values().map(|user| &user.holder));
        let holders = keys.chain(users).filter(|holder| named(holder)).map(|holder| &*holder.source);
        let sources: BTreeSet<&str> = issuers.chain(holders).collect();
        sources.into_iter().map(str::to_owned).collect()
    }

    /// The header fields that must not reach the upstream, because they carry, or could carry, a
    /// credential that was meant for this gateway.
    pub fn private_headers(
        &self,
        route: AuthnWord,
        identity: &Identity,
    ) -> impl Iterator<Item = &HeaderName> {
        let read = route != AuthnWord::Off;
        let forwarded = identity.who().is_some_and(|who| {
            self.jwt.iter().any(|issuer| issuer.forward && issuer.id == who.holder.source)
        });
        let authorization = Some(&AUTHORIZATION).filter(|_| read && !forwarded);
        let keys = self.headers.iter().filter(move |_| read).map(|header| &header.name);
        authorization.into_iter().chain(keys)
    }

    /// The header fields in which API keys are read.
    pub fn key_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter().map(|header| &header.name)
    }

    /// The sources whose keys ship with portcullis and are known to everybody.
    pub fn demo_keys_used(&self) -> &[At<Box<str>>] {
        &self.demo
    }

    /// Judges whether someone is demanded here, and whether what was shown is valid.
    pub fn check(&self, facts: &Facts<'_>, route: AuthnWord, trace: Option<&mut Trace>) -> Verdict {
        let refuse = |rule: Builtin| Denial::builtin(Stage::Authn, rule);
        let verdict = match facts.identity {
            Identity::Valid(_) => Verdict::Pass(Builtin::Identified.into()),
            Identity::Invalid(problem) => {
                Verdict::Deny(Denial { until: problem.until, ..refuse(problem.rule).because(problem.reason) })
            }
            Identity::Nobody if route == AuthnWord::Required => Verdict::Deny(refuse(Builtin::AuthnRequired)),
            Identity::Nobody => Verdict::Pass(Builtin::Anonymous.into()),
        };
        if let Some(trace) = trace {
            let (rule, outcome) = match verdict {
                Verdict::Pass(rule) => (rule, StepOutcome::Pass),
                Verdict::Deny(denial) => (denial.rule, StepOutcome::Deny(denial.reason)),
                Verdict::Answer(rule) => (rule.into(), StepOutcome::Pass),
            };
            trace.rule(Stage::Authn, rule, outcome, note(facts.identity, route));
        }
        verdict
    }
}

/// The facts behind the gate's verdict, for the operator.
fn note(identity: &Identity, route: AuthnWord) -> String {
    match identity {
        Identity::Nobody if route == AuthnWord::Required => {
            "this route demands a credential, and none was shown".to_owned()
        }
        Identity::Nobody => "no credential was shown, and none is demanded".to_owned(),
        Identity::Invalid(problem) => problem.note.to_string(),
        Identity::Valid(who) => {
            let holder = &who.holder;
            let list = |names: &[Box<str>]| match names {
                [] => "none".to_owned(),
                names => names.join(", "),
            };
            let mut note =
                format!("`{}` by source `{}`, roles: {}", holder.subject, holder.source, list(&holder.roles));
            for (names, why) in [
                (&holder.ignored_roles, "not in the source's `roles_allowed`"),
                (&who.undeclared, "not declared"),
            ] {
                if !names.is_empty() {
                    note.push_str(&format!("; dropped, since {why}: {}", list(names)));
                }
            }
            note
        }
    }
}

/// How long a password counts as checked.
const PASSWORD_LIFE: Duration = Duration::from_secs(60);
