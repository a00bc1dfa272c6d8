//! Certificates that clients showed in TLS, into identities.
//!
//! TLS has verified the certificate before any request came; what is decided here is whose it is. A
//! certificate belongs to the connection and not to the request, so it identifies only who shows
//! nothing else, and never conflicts with a credential that is shown.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::claims;
use super::raw::SubjectWord;
use super::revoked::Revocations;
use super::{Authn, Holder};
use crate::decision::Builtin;
use crate::facts::{Certificate, Problem};

/// `[[authn.mtls]]` compiled: certificates of one kind.
#[derive(Clone, Debug)]
pub(super) struct CertificateSource {
    pub(super) id: Box<str>,
    /// Which names may be the subject.
    pub(super) subject: SubjectWord,
    /// What such a name must be; empty: anything.
    pub(super) matching: Box<[NamePattern]>,
    /// Common names of the authorities; empty: any that the listener believes.
    pub(super) issuers: Box<[Box<str>]>,
    /// The roles of every holder.
    pub(super) roles: Vec<Box<str>>,
    /// The organizational units that count as roles.
    pub(super) unit_roles: Option<HashSet<Box<str>>>,
}

/// A name in which one `*` may stand for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamePattern {
    before: Box<str>,
    /// What stands behind the `*`, if there is one.
    after: Option<Box<str>>,
}

impl NamePattern {
    /// Reads a pattern. Nothing: it is empty, or has more than one `*`.
    pub(super) fn parse(text: &str) -> Option<NamePattern> {
        let (before, after) =
            text.split_once('*').map_or((text, None), |(before, after)| (before, Some(after)));
        let sound = !text.is_empty() && !after.is_some_and(|after| after.contains('*'));
        sound.then(|| NamePattern { before: before.into(), after: after.map(Into::into) })
    }

    fn matches(&self, name: &str) -> bool {
        match &self.after {
            None => *self.before == *name,
            Some(after) => name.strip_prefix(&*self.before).is_some_and(|rest| rest.ends_with(&**after)),
        }
    }
}

impl CertificateSource {
    /// The names that may be the subject.
    fn candidates<'c>(&'c self, certificate: &'c Certificate) -> impl Iterator<Item = &'c str> {
        let names = match self.subject {
            SubjectWord::Uri => &certificate.uris,
            SubjectWord::Dns => &certificate.dns,
            SubjectWord::Email => &certificate.emails,
            SubjectWord::CommonName => &certificate.common_names,
        };
        let matches = |name: &&str| {
            self.matching.is_empty() || self.matching.iter().any(|pattern| pattern.matches(name))
        };
        names.iter().map(|name| &**name).filter(matches)
    }

    /// Whose certificate it is. `Ok(None)`: it is none of this source's.
    fn holder(&self, certificate: &Certificate) -> Result<Option<Holder>, Problem> {
        let mut issuers = certificate.issuers.iter();
        if !self.issuers.is_empty() && !issuers.any(|issuer| self.issuers.contains(issuer)) {
            return Ok(None);
        }
        let mut candidates = self.candidates(certificate);
        let Some(subject) = candidates.next() else { return Ok(None) };
        if candidates.any(|other| other != subject) {
            return Err(Problem::new(
                Builtin::SubjectInvalid,
                "the certificate has more than one name that could be the subject",
            ));
        }
        if !claims::is_subject(subject) {
            return Err(Problem::new(
                Builtin::SubjectInvalid,
                "the subject of the certificate cannot be written into a header field",
            ));
        }
        let mut roles = self.roles.clone();
        let mut ignored_roles = Vec::new();
        if let Some(allowed) = &self.unit_roles {
            for unit in &certificate.units {
                if allowed.contains(unit) { &mut roles } else { &mut ignored_roles }.push(unit.clone());
            }
        }
        Ok(Some(Holder {
            source: self.id.clone(),
            subject: subject.into(),
            roles,
            ignored_roles,
            claims: claims_of(certificate),
            issued_at: Some(certificate.not_before),
            not_before: Some(certificate.not_before),
            expires_at: Some(certificate.not_after),
            token_id: Some(certificate.fingerprint.clone()),
            ..Holder::default()
        }))
    }
}

/// What `when` conditions may look at.
fn claims_of(certificate: &Certificate) -> Map<String, Value> {
    let Certificate { uris, dns, emails, common_names, units, issuers, fingerprint, .. } = certificate;
    let claims = json!({
        "uri": uris,
        "dns": dns,
        "email": emails,
        "cn": common_names,
        "ou": units,
        "issuer": issuers,
        "fingerprint": fingerprint,
    });
    match claims {
        Value::Object(claims) => claims,
        _ => Map::new(),
    }
}

impl Authn {
    /// Whether certificates identify anybody.
    pub fn reads_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Whose certificate it is, by the first source that knows it. `Ok(None)`: no source does.
    pub fn certified(
        &self,
        certificate: &Certificate,
        revoked: &Revocations,
    ) -> Result<Option<Arc<Holder>>, Problem> {
        for source in &self.certificates {
            let Some(holder) = source.holder(certificate)?.map(Arc::new) else { continue };
            if self.is_revoked(&holder, revoked) {
                return Err(Problem {
                    claimed: Some(holder),
                    ..Problem::new(Builtin::Revoked, "the certificate is in a list of revoked credentials")
                });
            }
            return Ok(Some(holder));
        }
        Ok(None)
    }
}

/// Why a certificate does not count at this time, though it did when the connection began.
pub fn out_of_time(certificate: &Certificate, now: Timestamp) -> Option<Problem> {
    if now > certificate.not_after {
        return Some(Problem::new(Builtin::Expired, "the client's certificate has run out"));
    }
    (now < certificate.not_before).then(|| Problem {
        until: Some(certificate.not_before),
        ..Problem::new(Builtin::NotYetValid, "the client's certificate is not valid yet")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_whole_name_or_has_one_star() {
        for (pattern, name, want) in [
            ("spiffe://a.test/x", "spiffe://a.test/x", true),
            ("spiffe://a.test/x", "spiffe://a.test/xy", false),
            ("spiffe://a.test/*", "spiffe://a.test/ns/x", true),
            ("spiffe://a.test/*", "spiffe://a.test.evil/ns/x", false),
            ("*.svc.test", "a.svc.test", true),
            ("*.svc.test", "svc.test", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*", "", true),
        ] {
            let parsed = NamePattern::parse(pattern).expect("a pattern");
            assert_eq!(parsed.matches(name), want, "{pattern} {name}");
        }
        assert_eq!((NamePattern::parse(""), NamePattern::parse("a*b*")), (None, None));
    }
}
