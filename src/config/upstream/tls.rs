//! TLS towards upstreams: files become a client configuration at every load, so that what cannot be
//! used is found before anything is replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::client::{ResolvesClientCert, WantsClientCert};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, SignatureScheme};

use super::super::tls::{Certificate, MAX_PEM, Reader};
use crate::policy::diagnostic::Place;

/// How an upstream's servers are verified, and what is shown to them.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// PEM file of the authorities; the system's if absent.
    pub ca: Option<PathBuf>,
    /// What is shown to the servers.
    pub certificate: Option<Certificate>,
    /// The name that is asked for and verified, if it is not the server's host.
    pub sni: Option<String>,
    /// Where it is configured.
    pub place: Place,
    /// What the files hold; none until they are read.
    pub built: Option<Built>,
}

/// What the files hold, ready to use.
#[derive(Clone, Debug)]
pub struct Built {
    /// Offers HTTP/2 and HTTP/1.1.
    pub either: Arc<ClientConfig>,
    /// Offers HTTP/1.1 alone, for what cannot be asked over HTTP/2.
    pub http1: Arc<ClientConfig>,
    digest: [u8; 32],
}

/// Connections are kept over a reload that changes neither the name nor what the files hold.
impl PartialEq for ClientTls {
    fn eq(&self, other: &ClientTls) -> bool {
        let digest = |tls: &ClientTls| tls.built.as_ref().map(|built| built.digest);
        self.sni == other.sni && digest(self) == digest(other)
    }
}

impl ClientTls {
    /// The files it is made of.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let shown = self.certificate.iter().flat_map(|files| [&files.cert, &files.key]);
        self.ca.iter().chain(shown).map(PathBuf::as_path)
    }

    /// Reads the files; an error says which cannot be used, and why.
    pub(in crate::config) fn build(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        let mut context = Context::new(&SHA256);
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                let bad = |why: &dyn std::fmt::Display| format!("`{}` cannot be used: {why}", path.display());
                let text = reader(path, MAX_PEM).map_err(|why| bad(&why))?;
                context.update(text.as_bytes());
                for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
                    let certificate = certificate.map_err(|error| bad(&error))?;
                    roots.add(certificate).map_err(|error| bad(&error))?;
                }
                if roots.is_empty() {
                    return Err(bad(&"it holds no certificate"));
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                context.update(b"system");
            }
        }
        let shown = match &self.certificate {
            Some(files) => {
                let key = files.read(reader).map_err(|error| error.to_string())?.key;
                context.update(b"certificate");
                for certificate in &key.cert {
                    context.update(certificate);
                }
                Some(key)
            }
            None => None,
        };
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?.with_root_certificates(roots);
        let mut http1 = with_certificate(builder, shown);
        let mut either = http1.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        either.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        self.built = Some(Built { either: Arc::new(either), http1: Arc::new(http1), digest });
        Ok(())
    }
}

fn with_certificate(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    shown: Option<Arc<CertifiedKey>>,
) -> ClientConfig {
    match shown {
        Some(key) => builder.with_client_cert_resolver(Arc::new(Shown(key))),
        None => builder.with_no_client_auth(),
    }
}

/// Shows the one certificate to whoever asks for one.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
