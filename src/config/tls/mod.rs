//! The TLS of a listener: which files it is made of, and what they hold.
//!
//! The files are read and parsed once at every load, so that what cannot be used is found before
//! anything is replaced, and a handshake parses nothing of ours. The loader gives what they hold to
//! [`Tls::material`]; a configuration whose files were not read has none and takes no connection.

mod certificate;
mod clients;

use std::path::Path;
use std::sync::Arc;

pub use certificate::{Certificate, Served};
pub use clients::{ClientAuth, Clients};

use crate::policy::diagnostic::Place;

/// The TLS settings of a listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificates with their keys; the first is the default.
    pub certificates: Vec<Certificate>,
    /// Whether clients show certificates, and whose.
    pub client: Option<ClientAuth>,
    /// What the files held; filled in by the loader.
    pub material: Option<Arc<Material>>,
}

/// What the files of a listener's TLS held.
#[derive(Debug)]
pub struct Material {
    /// The certificates, in the order of the configuration.
    pub certificates: Box<[Served]>,
    /// How client certificates are verified.
    pub clients: Option<Clients>,
}

/// A file that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or does not hold what it should.
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

/// Reads a text file of at most so many bytes, or says why not.
pub(in crate::config) type Reader<'r> = dyn FnMut(&Path, u64) -> Result<String, String> + 'r;

/// Something wrong, where the configuration names the file, and what the file should hold.
pub(super) type Problem = (Place, TlsError, &'static str);

impl Tls {
    /// Reads the files, all of them whatever is wrong with the first, so that every one is watched.
    pub(super) fn read(&self, reader: &mut Reader<'_>) -> Result<Material, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut certificates = Vec::new();
        for certificate in &self.certificates {
            match certificate.read(reader) {
                Ok(served) => certificates.push(served),
                Err(error) => problems.push((certificate.place, error, CERTIFICATE_HELP)),
            }
        }
        let clients = self.client.as_ref().and_then(|client| client.read(reader, &mut problems));
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Material { certificates: certificates.into(), clients })
    }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.display().to_string(), why: why.to_string() }
}

const CERTIFICATE_HELP: &str =
    "`cert` and `key` are PEM files: the chain, the server's own certificate first, and its key";

/// The largest certificate chain, bundle or key that is read.
pub(in crate::config) const MAX_PEM: u64 = 1 << 20;

/// The largest list of revoked certificates that is read.
const MAX_CRL: u64 = 64 << 20;
