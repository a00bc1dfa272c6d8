//! TLS towards clients: certificates from files, chosen by SNI, one crypto provider.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::{Certificate, CertificateError};

/// Chooses the certificate whose names cover the SNI; the first one if none does.
#[derive(Debug)]
struct BySni {
    certificates: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello
            .server_name()
            .and_then(|name| rustls::pki_types::ServerName::try_from(name.to_owned()).ok());
        let covers = |key: &&Arc<CertifiedKey>| {
            let leaf =
                key.cert.first().and_then(|leaf| rustls::server::ParsedCertificate::try_from(leaf).ok());
            name.as_ref()
                .zip(leaf)
                .is_some_and(|(name, leaf)| rustls::client::verify_server_name(&leaf, name).is_ok())
        };
        self.certificates.iter().find(covers).or_else(|| self.certificates.first()).cloned()
    }
}

/// The TLS settings of a listener.
pub(crate) fn server_config(certificates: &[Certificate]) -> Result<Arc<ServerConfig>, CertificateError> {
    let certificates = certificates.iter().map(Certificate::load).collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder
        .map_err(|error| CertificateError::File { path: "(TLS)".to_owned(), why: error.to_string() })?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(BySni { certificates }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Early data can be replayed, so it is never taken (RFC 8470).
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}
