//! A POST to the collector.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Sends to one collector, a connection for each message: they are few.
pub(super) struct Collector {
    base: Uri,
    connector: TlsConnector,
}

/// A collector that takes longer takes nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer says little.
const MAX_ANSWER: usize = 64 << 10;

impl Collector {
    /// At this address, under which `/v1/traces` and `/v1/metrics` are.
    pub(super) fn new(base: Uri) -> Result<Collector, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(Collector { base, connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Sends a body; why it was not taken, if it was not.
    pub(super) async fn post(&self, path: &str, body: String) -> Result<(), String> {
        match timeout(PATIENCE, self.send(path, body)).await {
            Ok(sent) => sent,
            Err(_) => Err("it takes too long".to_owned()),
        }
    }

    async fn send(&self, path: &str, body: String) -> Result<(), String> {
        let authority = self.base.authority().ok_or("it has no host")?;
        let https = self.base.scheme_str() == Some("https");
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
        let path = format!("{}{path}", self.base.path().trim_end_matches('/'));
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().map_err(|_| "its path is not valid")?;
        let fields = request.headers_mut();
        fields.insert(
            header::HOST,
            HeaderValue::from_str(authority.as_str()).map_err(|error| error.to_string())?,
        );
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
        if !https {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let stream = self.connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        exchange(stream, request).await
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(), String> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    driver.abort();
    if status == StatusCode::OK {
        return Ok(());
    }
    let answer = answer.map(|answer| answer.to_bytes()).unwrap_or_default();
    let answer: String = String::from_utf8_lossy(&answer).chars().take(200).collect();
    Err(format!("it answers {status}: {}", answer.escape_debug()))
}
