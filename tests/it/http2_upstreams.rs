//! Upstreams that are spoken to in HTTP/2 or TLS, and gRPC from end to end.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::sync::mpsc;

use crate::support::http2::exchange;
use crate::support::http2_server::Http2Server;
use crate::support::{Gateway, get};

fn config(server: &str, more: &str) -> String {
    format!(
        "[upstream.origin]\nservers = [\"{server}\"]\n{more}\n[[route]]\nid = \"all\"\npath = \"/{{*rest}}\"\n\
         upstream = \"origin\"\n[[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\n[server]\n\
         listen = [\"127.0.0.1:0\"]\nthreads = 1\n"
    )
}

/// A body that is sent piece by piece.
struct Pieces(mpsc::UnboundedReceiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

async fn talk(gateway: SocketAddr) -> (Response<()>, Vec<Bytes>, HeaderMap) {
    let stream = tokio::net::TcpStream::connect(gateway).await.expect("the gateway listens");
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    let (pieces, body) = mpsc::unbounded_channel();
    let request = Request::builder()
        .method("POST")
        .uri("http://app.test/pkg.Service/Talk")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Pieces(body))
        .expect("a request");
    let (parts, mut body) = sender.send_request(request).await.expect("an answer").into_parts();
    let mut heard = Vec::new();
    // Each message waits for the echo of the one before, so both directions must stream.
    for word in ["one", "two", "three"] {
        pieces.send(Bytes::from_static(word.as_bytes())).expect("the body is read");
        let frame = body.frame().await.expect("a piece").expect("a whole piece");
        heard.push(frame.into_data().expect("data"));
    }
    drop(pieces);
    let trailers = body.frame().await.expect("a frame").expect("a whole frame").into_trailers();
    (Response::from_parts(parts, ()), heard, trailers.expect("trailers"))
}

#[test]
fn grpc_streams_both_ways_and_its_trailers_pass() {
    let upstream = Http2Server::start();
    let gateway = Gateway::start(&config(&format!("h2c://{}", upstream.address), ""));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (head, heard, trailers) = runtime.block_on(talk(gateway.address));
    assert_eq!(head.headers()["x-version"], "HTTP/2.0");
    assert_eq!(head.headers()["x-te"], "trailers");
    assert_eq!(head.headers()["x-uri"], "http://app.test/pkg.Service/Talk");
    assert_eq!(heard, ["one", "two", "three"]);
    assert_eq!(trailers["grpc-status"], "0");
}

#[test]
fn requests_share_one_connection() {
    let upstream = Http2Server::start();
    let gateway = Gateway::start(&config(&format!("h2c://{}", upstream.address), ""));
    let ask = |number| {
        let uri = format!("http://app.test/{number}");
        Request::builder().uri(uri).version(Version::HTTP_2).body(Bytes::new()).expect("a request")
    };
    for answer in exchange(gateway.address, (0..40).map(ask).collect()) {
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(get(gateway.address, "/x").status, 200);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_server_that_speaks_no_http2_is_a_named_fault() {
    let upstream = crate::support::Upstream::start();
    let server = format!("h2c://{}", upstream.address);
    let gateway = Gateway::start(&config(&server, "timeouts = { first_byte = \"10s\" }"));
    let response = get(gateway.address, "/x");
    assert_eq!(response.status, 502, "{}", response.text());
    assert!(response.rule().starts_with("fault/upstream-"), "{}", response.rule());
}

/// A certificate for `app.test` that is its own authority, as files and as values.
fn certificate(folder: &Path) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["app.test".to_owned()]).expect("a certificate");
    fs::write(folder.join("app.pem"), made.cert.pem()).expect("written");
    fs::write(folder.join("app.key"), made.signing_key.serialize_pem()).expect("written");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    (made.cert.der().clone(), key)
}

fn server_config(
    (certificate, key): (CertificateDer<'static>, PrivateKeyDer<'static>),
    demands: bool,
    offers: &[&[u8]],
) -> Arc<rustls::ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
    let builder = rustls::ServerConfig::builder();
    let builder = match demands {
        true => builder.with_client_cert_verifier(verifier.build().expect("a verifier")),
        false => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(vec![certificate], key).expect("a certificate");
    config.alpn_protocols = offers.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

#[test]
fn tls_is_verified_and_speaks_what_the_server_offers() {
    for (offers, version) in [(BOTH, "HTTP/2.0"), (&BOTH[1..], "HTTP/1.1"), (&[], "HTTP/1.1")] {
        let folder = tempfile::tempdir().expect("a folder");
        let upstream =
            Http2Server::start_with(Some(server_config(certificate(folder.path()), false, offers)));
        let server = format!("https://{}", upstream.address);
        let tls = "tls = { ca = \"app.pem\", sni = \"app.test\" }";
        let gateway = Gateway::start_in(folder, &config(&server, tls), &[]);
        for _ in 0..3 {
            let response = get(gateway.address, "/x");
            assert_eq!((response.status, response.header("x-version")), (200, Some(version)));
        }
        assert_eq!(upstream.connections(), 1, "{version}");
    }
}

#[test]
fn a_server_that_does_not_prove_who_it_is_gets_no_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let upstream = Http2Server::start_with(Some(server_config(certificate(folder.path()), false, BOTH)));
    let server = format!("https://{}", upstream.address);
    // Unknown to the system; for another name.
    for tls in ["", "tls = { ca = \"app.pem\" }", "tls = { ca = \"app.pem\", sni = \"other.test\" }"] {
        let own = tempfile::tempdir().expect("a folder");
        fs::copy(folder.path().join("app.pem"), own.path().join("app.pem")).expect("copied");
        let gateway = Gateway::start_in(own, &config(&server, tls), &[]);
        let response = get(gateway.address, "/x");
        assert_eq!((response.status, response.rule()), (502, "fault/upstream-connect"), "{tls}");
        assert_eq!(response.header("x-portcullis-reason"), Some("upstream_certificate"), "{tls}");
        let status = response.header("proxy-status").expect("set");
        assert!(status.contains("error=tls_certificate_error"), "{status}");
    }
}

#[test]
fn a_client_certificate_is_shown_where_one_is_demanded() {
    let folder = tempfile::tempdir().expect("a folder");
    let upstream = Http2Server::start_with(Some(server_config(certificate(folder.path()), true, BOTH)));
    let server = format!("https://{}", upstream.address);
    let with = "tls = { ca = \"app.pem\", sni = \"app.test\", cert = \"app.pem\", key = \"app.key\" }";
    let without = "tls = { ca = \"app.pem\", sni = \"app.test\" }";
    for (tls, want) in [(with, 200), (without, 502)] {
        let own = tempfile::tempdir().expect("a folder");
        for name in ["app.pem", "app.key"] {
            fs::copy(folder.path().join(name), own.path().join(name)).expect("copied");
        }
        let gateway = Gateway::start_in(own, &config(&server, tls), &[]);
        assert_eq!(get(gateway.address, "/x").status, want, "{tls}");
    }
}

#[test]
fn what_speaks_no_tls_or_nothing_at_all_is_a_named_fault() {
    let plain = crate::support::Upstream::answering(|_| Vec::new());
    let gateway = Gateway::start(&config(&format!("https://{}", plain.address), ""));
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = format!("https://{}", silent.local_addr().expect("bound"));
    let listener_is_open = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let waiting = format!("https://{}", listener_is_open.local_addr().expect("bound"));
    drop(silent);
    let response = get(gateway.address, "/x");
    assert_eq!((response.status, response.rule()), (502, "fault/upstream-connect"));
    assert_eq!(response.header("x-portcullis-reason"), Some("upstream_tls"));
    // It takes connections (the system does) and never says anything.
    let gateway = Gateway::start(&config(&waiting, "timeouts = { connect = \"50ms\" }"));
    let response = get(gateway.address, "/x");
    assert_eq!((response.status, response.rule()), (504, "fault/upstream-timeout"));
    assert_eq!(response.header("x-portcullis-reason"), Some("upstream_connect_timeout"));
    assert!(response.header("proxy-status").expect("set").contains("error=connection_timeout"));
}
