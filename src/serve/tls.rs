//! TLS towards clients: certificates from files, chosen by SNI, one crypto provider.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::Certificate;

/// A certificate that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read or holds no PEM.
    #[error("`{path}` cannot be used: {why}")]
    File {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// The key does not fit the certificate, or its kind is not supported.
    #[error("the key `{key}` does not fit the certificate `{cert}`: {why}")]
    Mismatch {
        /// The certificate file.
        cert: String,
        /// The key file.
        key: String,
        /// Why.
        why: String,
    },
}

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
pub(crate) fn server_config(certificates: &[Certificate]) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = certificates.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder =
        builder.map_err(|error| TlsError::File { path: "(TLS)".to_owned(), why: error.to_string() })?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(BySni { certificates }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Early data can be replayed, so it is never taken (RFC 8470).
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn load(certificate: &Certificate) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(&read(&certificate.cert)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(&certificate.cert, &error))?;
    if chain.is_empty() {
        return Err(unusable(&certificate.cert, &"it holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&certificate.key)?)
        .map_err(|error| unusable(&certificate.key, &error))?;
    let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    certified.map(Arc::new).map_err(|error| TlsError::Mismatch {
        cert: certificate.cert.display().to_string(),
        key: certificate.key.display().to_string(),
        why: error.to_string(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.display().to_string(), why: why.to_string() }
}
