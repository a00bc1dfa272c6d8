//! A certificate of ours with its key, and the names it covers.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;

use super::{MAX_PEM, Reader, TlsError, unusable};
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

/// DNS names.
type Names = Box<[Box<str>]>;

/// A certificate that is shown to clients.
#[derive(Clone, Debug)]
pub struct Served {
    /// Chain and key.
    pub key: Arc<CertifiedKey>,
    /// The DNS names it covers, in lower case; one that begins with `*.` covers one more label.
    pub names: Names,
    /// When it ends.
    pub ends: Timestamp,
}

impl Certificate {
    /// Reads the chain and its key, both whatever is wrong with the first.
    pub(in crate::config) fn read(&self, reader: &mut Reader<'_>) -> Result<Served, TlsError> {
        let cert = reader(&self.cert, MAX_PEM).map_err(|why| unusable(&self.cert, &why));
        let key = reader(&self.key, MAX_PEM).map_err(|why| unusable(&self.key, &why));
        let (cert, key) = (cert?, key?);
        let chain = CertificateDer::pem_slice_iter(cert.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(&self.cert, &error))?;
        let leaf = chain.first().ok_or_else(|| unusable(&self.cert, &"it holds no certificate"))?;
        let (names, ends) = look(leaf).map_err(|why| unusable(&self.cert, &why))?;
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| unusable(&self.key, &error))?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| {
            TlsError::Mismatch {
                cert: self.cert.display().to_string(),
                key: self.key.display().to_string(),
                why: error.to_string(),
            }
        })?;
        Ok(Served { key: Arc::new(key), names, ends })
    }
}

/// The names of the Subject Alternative Name, and the end. A Common Name has not counted as a name since
/// RFC 6125.
fn look(leaf: &CertificateDer<'_>) -> Result<(Names, Timestamp), &'static str> {
    let (_, leaf) =
        x509_parser::parse_x509_certificate(leaf).map_err(|_| "its first certificate is broken")?;
    let names = leaf.subject_alternative_name().map_err(|_| "its certificate names its subject twice")?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let dns = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
        _ => None,
    });
    let ends = Timestamp::from_second(leaf.validity().not_after.timestamp());
    Ok((dns.collect(), ends.map_err(|_| "its certificate ends beyond the calendar")?))
}
