//! Certificates with their keys, from files: at every load, so that what cannot be used is found before
//! anything is replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::load::read_pem;
use crate::policy::diagnostic::Place;

/// Files of a certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// PEM file of the chain.
    pub cert: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
    /// Where the configuration names them, for error messages.
    pub place: Place,
}

/// A certificate that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
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

impl Certificate {
    /// Reads the chain and its key.
    pub fn load(&self) -> Result<Arc<CertifiedKey>, CertificateError> {
        let text = read_pem(&self.cert).map_err(|why| unusable(&self.cert, &why))?;
        let chain = CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(&self.cert, &error))?;
        if chain.is_empty() {
            return Err(unusable(&self.cert, &"it holds no certificate"));
        }
        let text = read_pem(&self.key).map_err(|why| unusable(&self.key, &why))?;
        let key =
            PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| unusable(&self.key, &error))?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        certified.map(Arc::new).map_err(|error| CertificateError::Mismatch {
            cert: self.cert.display().to_string(),
            key: self.key.display().to_string(),
            why: error.to_string(),
        })
    }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> CertificateError {
    CertificateError::File { path: path.display().to_string(), why: why.to_string() }
}
