//! TLS towards clients: certificates chosen by SNI, one crypto provider, and who may resume.
//!
//! A resumed session does not verify the client's certificate again, so listeners that ask for one let
//! nobody resume: what was revoked, has run out, or is of an authority that is gone fails at the next
//! handshake. The other listeners resume by tickets, whose key is that of the process and changes every
//! few hours; a ticket holds nothing that a decision rests on. Early data can be replayed, so it is
//! never taken (RFC 8470).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::config::{Material, Served};

/// The versions that are spoken; those before have been withdrawn (RFC 8996).
static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Makes tickets for the listeners where sessions may be resumed.
pub(super) fn tickets() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    aws_lc_rs::Ticketer::new()
}

/// What a listener's handshakes need.
pub(super) fn server_config(
    material: &Material,
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&VERSIONS)?;
    let builder = match &material.clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(BySni::new(&material.certificates)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if material.clients.is_some() {
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = Arc::clone(tickets);
    }
    Ok(Arc::new(config))
}

/// Chooses the certificate whose names cover the SNI; the first one if none does. Of several, the
/// first whose key the client can use, so that an ECDSA and an RSA certificate may stand together.
#[derive(Debug)]
struct BySni {
    certificates: Vec<Arc<CertifiedKey>>,
    /// By whole name.
    exact: HashMap<Box<str>, Vec<usize>>,
    /// By what stands behind the `*`, with its dot.
    wildcard: HashMap<Box<str>, Vec<usize>>,
}

impl BySni {
    fn new(served: &[Served]) -> BySni {
        let (mut exact, mut wildcard) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (at, served) in served.iter().enumerate() {
            for name in &served.names {
                let (map, key) = match name.strip_prefix('*') {
                    Some(rest) if rest.starts_with('.') => (&mut wildcard, rest),
                    _ => (&mut exact, &**name),
                };
                map.entry(key.into()).or_default().push(at);
            }
        }
        BySni { certificates: served.iter().map(|served| Arc::clone(&served.key)).collect(), exact, wildcard }
    }

    /// The certificates that cover a name in lower case, the more exact ones first.
    fn covering<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<CertifiedKey>> + use<'a> {
        let behind = name.find('.').and_then(|dot| self.wildcard.get(&name[dot..]));
        let places = self.exact.get(name).into_iter().chain(behind).flatten();
        places.filter_map(|place| self.certificates.get(*place))
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let lower;
        let name = match hello.server_name() {
            Some(name) if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                lower = name.to_ascii_lowercase();
                Some(&*lower)
            }
            name => name,
        };
        let mut named = name.into_iter().flat_map(|name| self.covering(name));
        named.find(usable).or_else(|| self.certificates.first()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rustls::pki_types::PrivateKeyDer;

    use super::*;

    fn served(names: &[&str]) -> Served {
        let made = rcgen::generate_simple_self_signed(vec!["x".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider).expect("a pair");
        Served {
            key: Arc::new(key),
            names: names.iter().map(|name| Box::from(*name)).collect(),
            ends: Timestamp::MAX,
        }
    }

    #[test]
    fn an_exact_name_goes_before_a_wildcard_and_a_wildcard_is_one_label() {
        let served = [served(&["*.app.test"]), served(&["a.app.test", "app.test"]), served(&["*"])];
        let by_sni = BySni::new(&served);
        let places = |name: &str| -> Vec<usize> {
            let place = |key: &Arc<CertifiedKey>| served.iter().position(|s| Arc::ptr_eq(&s.key, key));
            by_sni.covering(name).filter_map(place).collect()
        };
        assert_eq!(places("a.app.test"), [1, 0]);
        assert_eq!(places("b.app.test"), [0]);
        assert_eq!(places("app.test"), [1]);
        for name in ["a.b.app.test", "other.test", "test", ""] {
            assert!(places(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn only_listeners_without_client_certificates_let_sessions_be_resumed() {
        let tickets = tickets().expect("random bytes");
        let plain = Material { certificates: [served(&["app.test"])].into(), clients: None };
        let config = server_config(&plain, &tickets).expect("a configuration");
        assert!(config.ticketer.enabled() && config.max_early_data_size == 0);
    }
}
