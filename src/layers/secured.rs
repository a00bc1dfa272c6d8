//! What TLS said of a connection: the name that was asked for, and the certificate that was shown.
//!
//! The handshake verified the certificate by the configuration of its time. A connection outlives that:
//! under a newer configuration the chain is verified anew, once, before it counts for a request, so that
//! a certificate that was revoked since, or whose authority is gone, identifies nobody any more.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use jiff::Timestamp;
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::context::Snapshot;
use crate::config::{Clients, ListenerKey};
use crate::decision::Builtin;
use crate::facts::{Certificate, Identity, Problem};
use crate::policy::authn::out_of_time;

/// What TLS said of a connection.
#[derive(Debug)]
pub(crate) struct Secured {
    listener: ListenerKey,
    /// The name that the client asked for, in lower case.
    name: Option<Box<str>>,
    /// How certificates were verified in the handshake; none: none was asked for.
    verified_by: Option<[u8; 32]>,
    shown: Option<Shown>,
    known: RefCell<Known>,
}

/// A certificate that a client showed.
#[derive(Debug)]
pub(crate) struct Shown {
    /// What it says.
    pub(crate) certificate: Certificate,
    /// It and what came with it, as bytes.
    pub(crate) chain: Vec<CertificateDer<'static>>,
}

/// What a configuration makes of the connection.
#[derive(Clone, Debug)]
struct Known {
    /// The configuration; it is not kept from being dropped.
    by: Weak<Snapshot>,
    /// Whether every request needs a valid certificate.
    required: bool,
    /// Whose certificate it is.
    identity: Identity,
}

impl Secured {
    /// What a handshake told.
    pub(crate) fn new(
        listener: ListenerKey,
        name: Option<&str>,
        clients: Option<&Clients>,
        shown: Option<Shown>,
    ) -> Secured {
        Secured {
            listener,
            name: name.map(|name| name.to_ascii_lowercase().into()),
            verified_by: clients.map(|clients| clients.fingerprint),
            shown,
            known: RefCell::new(Known { by: Weak::new(), required: false, identity: Identity::Nobody }),
        }
    }

    /// Whether a host is another than the name that the client asked for, on a connection that was
    /// verified for that name alone.
    pub(crate) fn misdirects(&self, host: &str) -> bool {
        self.verified_by.is_some() && self.name.as_deref().is_some_and(|name| name != host)
    }

    /// Whether a certificate was shown.
    pub(crate) fn has_certificate(&self) -> bool {
        self.shown.is_some()
    }

    /// Who the certificate says asks. `Err`: the listener demands one, and this is none or no good one,
    /// whatever the request is and shows.
    pub(super) fn identity(&self, snapshot: &Arc<Snapshot>, now: Timestamp) -> Result<Identity, Problem> {
        let mut known = self.known.borrow_mut();
        if known.by.as_ptr() != Arc::as_ptr(snapshot) {
            *known = self.judge(snapshot, now);
        }
        let late = self.shown.as_ref().and_then(|shown| out_of_time(&shown.certificate, now));
        match (late, &known.identity) {
            (Some(problem), identity) if *identity != Identity::Nobody || known.required => {
                if known.required { Err(problem) } else { Ok(Identity::Invalid(problem)) }
            }
            (_, Identity::Invalid(problem)) if known.required => Err(problem.clone()),
            (_, identity) => Ok(identity.clone()),
        }
    }

    fn judge(&self, snapshot: &Arc<Snapshot>, now: Timestamp) -> Known {
        let by = Arc::downgrade(snapshot);
        let clients = match snapshot.settings.listener(self.listener) {
            // The listener goes on as it was until the restart that it waits for.
            None => None,
            Some(listener) => {
                let material = listener.tls.as_ref().and_then(|tls| tls.material.as_ref());
                let Some(clients) = material.and_then(|material| material.clients.as_ref()) else {
                    // Nobody says any more whose certificates are believed.
                    return Known { by, required: false, identity: Identity::Nobody };
                };
                Some(clients)
            }
        };
        let required = clients.is_some_and(|clients| clients.required);
        let identity = match &self.shown {
            None if required => {
                let note = "the listener has come to demand certificates since this connection began";
                Identity::Invalid(Problem::new(Builtin::AuthnRequired, note))
            }
            None => Identity::Nobody,
            Some(shown) => match clients.map_or(Ok(()), |clients| self.verify(shown, clients, now)) {
                Err(problem) => Identity::Invalid(problem),
                Ok(()) => snapshot.policy.certified(&shown.certificate, &snapshot.world),
            },
        };
        Known { by, required, identity }
    }

    fn verify(&self, shown: &Shown, clients: &Clients, now: Timestamp) -> Result<(), Problem> {
        if self.verified_by == Some(clients.fingerprint) {
            return Ok(());
        }
        let refused = |rule| Problem::new(rule, "the certificate is not valid by the configuration in force");
        let (leaf, others) = shown.chain.split_first().ok_or_else(|| refused(Builtin::AuthnRequired))?;
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        clients
            .verifier
            .verify_client_cert(leaf, others, now)
            .map(|_| ())
            .map_err(|error| refused(certificate_rule(&error).unwrap_or(Builtin::Signature)))
    }
}

/// The rule by which a client's certificate is refused, if that is what is wrong.
pub(crate) fn certificate_rule(error: &rustls::Error) -> Option<Builtin> {
    let error = match error {
        rustls::Error::NoCertificatesPresented => return Some(Builtin::AuthnRequired),
        rustls::Error::InvalidCertificate(error) => error,
        _ => return None,
    };
    Some(match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Builtin::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Builtin::NotYetValid,
        CertificateError::Revoked => Builtin::Revoked,
        CertificateError::UnknownIssuer => Builtin::Issuer,
        // Nobody can tell whether it was revoked.
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => Builtin::KeysUnavailable,
        CertificateError::BadEncoding => Builtin::CredentialMalformed,
        // The set is open: whatever else is wrong with it, it does not verify.
        _ => Builtin::Signature,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::compile;
    use crate::policy::World;
    use crate::policy::source::Sources;

    const POLICY: &str = "version = 1\nserver.listen = [\"127.0.0.1:1\"]\n[[authn.mtls]]\nid = \"services\"\n\
                          subject = \"uri\"\nmatch = \"spiffe:*\"\n";

    fn at(time: &str) -> Timestamp {
        time.parse().expect("a time")
    }

    fn snapshot(text: &str) -> Arc<Snapshot> {
        let setup = compile(Sources::single("test.toml", text), at("2026-01-01T00:00:00Z")).setup;
        Arc::new(Snapshot::new(setup.expect("no errors"), World::default(), 1, &[0; 32]))
    }

    /// A connection that showed a certificate with this name, which is good in 2026.
    fn secured(uri: &str) -> Secured {
        // A listener that the policy does not have, so that the handshake's word stands.
        let elsewhere = snapshot("version = 1\nserver.listen = [\"127.0.0.1:2\"]\n");
        let listener = elsewhere.settings.listener_keys()[0];
        let certificate = Certificate {
            uris: vec![uri.into()],
            not_before: at("2026-01-01T00:00:00Z"),
            not_after: at("2026-12-31T00:00:00Z"),
            ..Certificate::default()
        };
        Secured::new(listener, Some("APP.test"), None, Some(Shown { certificate, chain: Vec::new() }))
    }

    fn state(secured: &Secured, snapshot: &Arc<Snapshot>, time: &str) -> String {
        let identity = secured.identity(snapshot, at(time)).expect("nothing is demanded");
        match identity {
            Identity::Nobody => "nobody".to_owned(),
            Identity::Valid(who) => who.holder.subject.to_string(),
            Identity::Invalid(problem) => problem.rule.info().name.to_owned(),
        }
    }

    #[test]
    fn a_certificate_ends_while_its_connection_goes_on() {
        let snapshot = snapshot(POLICY);
        let known = secured("spiffe://a");
        for (time, want) in [
            ("2026-06-01T00:00:00Z", "spiffe://a"),
            ("2027-01-01T00:00:00Z", "authn/expired"),
            ("2025-12-31T23:59:59Z", "authn/not-yet-valid"),
            ("2026-06-02T00:00:00Z", "spiffe://a"),
        ] {
            assert_eq!(state(&known, &snapshot, time), want);
        }
        let stranger = secured("https://a");
        assert_eq!(state(&stranger, &snapshot, "2027-01-01T00:00:00Z"), "nobody");
    }

    #[test]
    fn another_configuration_judges_anew() {
        let known = secured("spiffe://a");
        let time = "2026-06-01T00:00:00Z";
        assert_eq!(state(&known, &snapshot(POLICY), time), "spiffe://a");
        let other = snapshot(&POLICY.replace("spiffe:*", "urn:*"));
        assert_eq!(state(&known, &other, time), "nobody");
    }

    #[test]
    fn only_where_certificates_are_asked_for_is_another_host_misdirected() {
        let mut secured = secured("spiffe://a");
        assert!(!secured.misdirects("other.test"));
        secured.verified_by = Some([0; 32]);
        assert!(secured.misdirects("other.test") && !secured.misdirects("app.test"));
    }
}
