//! Whose certificates clients may show: authorities, and lists of what they revoked.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::{MAX_CRL, MAX_PEM, Problem, Reader, TlsError, unusable};
use crate::policy::diagnostic::Place;

/// Whether clients show certificates, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// PEM file of the authorities that are believed.
    pub ca: PathBuf,
    /// Where the configuration names it.
    pub place: Place,
    /// Whether a connection without a certificate is refused.
    pub required: bool,
    /// PEM files of revocation lists. With any, every certificate below an authority must be covered by
    /// one that has not run out.
    pub crls: Vec<(PathBuf, Place)>,
}

/// How client certificates are verified.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Verifies a chain.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// Whether a connection without a certificate is refused.
    pub required: bool,
    /// Equal for equal authorities and lists: a chain that passed one verifier passes the other.
    pub fingerprint: [u8; 32],
}

impl ClientAuth {
    /// Reads the files. Nothing: there are problems.
    pub(super) fn read(&self, reader: &mut Reader<'_>, problems: &mut Vec<Problem>) -> Option<Clients> {
        let before = problems.len();
        let mut digest = Context::new(&SHA256);
        digest.update(&[u8::from(self.required)]);
        let mut roots = RootCertStore::empty();
        match reader(&self.ca, MAX_PEM).map_err(|why| unusable(&self.ca, &why)) {
            Ok(text) => {
                if let Err(error) = self.authorities(&text, &mut roots, &mut digest) {
                    problems.push((self.place, error, CA_HELP));
                }
            }
            Err(error) => problems.push((self.place, error, CA_HELP)),
        }
        let mut crls = Vec::new();
        for (path, place) in &self.crls {
            let read = reader(path, MAX_CRL).map_err(|why| unusable(path, &why)).and_then(|text| {
                let lists = CertificateRevocationListDer::pem_slice_iter(text.as_bytes())
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| unusable(path, &error))?;
                if lists.is_empty() {
                    return Err(unusable(path, &"it holds no revocation list"));
                }
                Ok(lists)
            });
            match read {
                Ok(lists) => crls.extend(lists),
                Err(error) => problems.push((*place, error, CRL_HELP)),
            }
        }
        if problems.len() > before {
            return None;
        }
        for list in &crls {
            digest.update(list);
        }
        let provider = Arc::new(provider::default_provider());
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).with_crls(crls);
        if !self.crls.is_empty() {
            // A list that has run out says nothing of what was revoked since.
            builder = builder.enforce_revocation_expiration();
        }
        if !self.required {
            builder = builder.allow_unauthenticated();
        }
        match builder.build() {
            Ok(verifier) => {
                let mut fingerprint = [0; 32];
                fingerprint.copy_from_slice(digest.finish().as_ref());
                Some(Clients { verifier, required: self.required, fingerprint })
            }
            Err(error) => {
                let (path, place) =
                    self.crls.first().map_or((&self.ca, self.place), |(path, place)| (path, *place));
                problems.push((place, unusable(path, &error), CRL_HELP));
                None
            }
        }
    }

    fn authorities(
        &self,
        text: &str,
        roots: &mut RootCertStore,
        digest: &mut Context,
    ) -> Result<(), TlsError> {
        for authority in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let authority = authority.map_err(|error| unusable(&self.ca, &error))?;
            digest.update(&authority);
            roots.add(authority).map_err(|error| unusable(&self.ca, &error))?;
        }
        if roots.is_empty() {
            return Err(unusable(&self.ca, &"it holds no certificate"));
        }
        Ok(())
    }
}

const CA_HELP: &str = "`client_ca` is a PEM file of the authorities whose clients may come";
const CRL_HELP: &str = "`client_crl` lists PEM files of revocation lists (`-----BEGIN X509 CRL-----`)";
