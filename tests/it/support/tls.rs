//! Certificates of authorities made for a test, and a client that speaks TLS over a blocking socket.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use super::client::{Response, read_response};

/// An authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Pair {
    pub cert: String,
    pub key: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    /// With this common name.
    pub fn new(name: &str) -> Authority {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Authority { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The same, as clients take it.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A certificate for a server of these names.
    pub fn server(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.issue(CertificateParams::new(names).expect("names"))
    }

    /// A certificate for a client, with the parameters changed as the test likes.
    pub fn client(&self, common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = params(common_name);
        change(&mut params);
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair {
            cert: cert.pem(),
            key: key.serialize_pem(),
            der: cert.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// A list that revokes the certificates with these serial numbers.
    pub fn revocations(&self, serials: &[u64]) -> String {
        self.revocations_until(serials, 2120)
    }

    /// The same, good until the beginning of a year.
    pub fn revocations_until(&self, serials: &[u64], year: i32) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list").pem().expect("PEM")
    }
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

impl Pair {
    /// As a list of revoked credentials names it.
    pub fn fingerprint(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.der);
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    /// Writes `NAME.pem` and `NAME.key` into a folder.
    pub fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), &self.cert).expect("written");
        std::fs::write(folder.join(format!("{name}.key")), &self.key).expect("written");
    }
}

/// How a client speaks TLS. Clones remember the same sessions.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

/// A connection.
pub struct TlsStream {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl TlsClient {
    /// Believes this authority, shows this certificate, and speaks these versions.
    pub fn with(
        authority: &Authority,
        shown: Option<&Pair>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate()).expect("a certificate");
        let builder = ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::try_from(pair.key_der.clone()).expect("a key");
                builder.with_client_auth_cert(vec![pair.der.clone()], key).expect("a pair")
            }
        };
        config.resumption = Resumption::in_memory_sessions(8);
        config.enable_early_data = true;
        TlsClient { config: Arc::new(config) }
    }

    /// With the versions of today.
    pub fn new(authority: &Authority, shown: Option<&Pair>) -> TlsClient {
        TlsClient::with(authority, shown, rustls::DEFAULT_VERSIONS)
    }

    /// Connects with this SNI and completes the handshake.
    pub fn connect(&self, address: SocketAddr, name: &str) -> io::Result<TlsStream> {
        self.connect_after(address, name, b"")
    }

    /// Connects to an address, which has no SNI.
    pub fn connect_unnamed(&self, address: SocketAddr) -> io::Result<TlsStream> {
        let mut config = ClientConfig::clone(&self.config);
        config.enable_sni = false;
        TlsClient { config: Arc::new(config) }.connect(address, "app.test")
    }

    /// The same, with bytes in front of the handshake.
    pub fn connect_after(&self, address: SocketAddr, name: &str, first: &[u8]) -> io::Result<TlsStream> {
        let mut socket = TcpStream::connect(address).expect("the gateway listens");
        socket.set_read_timeout(Some(Duration::from_secs(120))).expect("a timeout");
        socket.write_all(first)?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut connection =
            ClientConnection::new(Arc::clone(&self.config), name).expect("a usable configuration");
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(TlsStream { stream: StreamOwned::new(connection, socket) })
    }

    /// GET over a connection of its own, which is closed in an orderly way; nothing if TLS refuses.
    /// In TLS 1.3 a client learns with the first answer that its certificate was refused.
    pub fn get(&self, address: SocketAddr, name: &str, path: &str) -> Option<Response> {
        self.connect(address, name).ok()?.get(name, path)
    }
}

impl TlsStream {
    /// GET with this `Host` and the connection kept.
    pub fn get(&mut self, host: &str, path: &str) -> Option<Response> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    /// Says nothing; the answer to that.
    pub fn wait(&mut self) -> Option<Response> {
        read_response(&mut self.stream, false)
    }

    /// Sends bytes; the answer.
    pub fn send(&mut self, text: &str) -> Option<Response> {
        self.stream.write_all(text.as_bytes()).ok()?;
        read_response(&mut self.stream, text.starts_with("HEAD "))
    }

    /// The names on the certificate that the gateway showed.
    pub fn shown(&self) -> Vec<String> {
        let chain = self.stream.conn.peer_certificates().expect("a certificate");
        let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).expect("a certificate");
        let names = leaf.subject_alternative_name().expect("readable").expect("names");
        names.value.general_names.iter().map(ToString::to_string).collect()
    }

    /// Whether the handshake resumed an earlier session.
    pub fn resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether bytes could be sent before the handshake was over.
    pub fn early_data(&self) -> bool {
        self.stream.conn.is_early_data_accepted()
    }

    /// The version that was agreed on.
    pub fn version(&self) -> Option<rustls::ProtocolVersion> {
        self.stream.conn.protocol_version()
    }
}
