//! An HTTP/2 client, in clear text or over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Sends requests on one connection in clear text, all at once; the answers in the order of the requests.
/// Trailers are among the extensions of an answer.
pub fn exchange(address: SocketAddr, requests: Vec<Request<Bytes>>) -> Vec<Response<Bytes>> {
    run(async move {
        let stream = TcpStream::connect(address).await.expect("the gateway listens");
        over(stream, requests).await
    })
}

/// The same over TLS, with the protocols that are offered; the protocol that was agreed on.
pub fn exchange_tls(
    address: SocketAddr,
    root: CertificateDer<'static>,
    requests: Vec<Request<Bytes>>,
) -> Vec<Response<Bytes>> {
    run(async move {
        let stream = connect(address, root, &[b"h2", b"http/1.1"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        over(stream, requests).await
    })
}

/// The protocol that the gateway picks out of these.
pub fn agreed(address: SocketAddr, root: CertificateDer<'static>, offered: &[&[u8]]) -> Option<Vec<u8>> {
    run(async move {
        let stream = connect(address, root, offered).await;
        stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)
    })
}

/// Asks for something and never makes room for its body, until `done`.
pub fn read_nothing(address: SocketAddr, request: Request<Bytes>, done: impl FnOnce()) {
    run(async move {
        let stream = TcpStream::connect(address).await.expect("the gateway listens");
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(1);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("a connection");
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request.map(Full::new)).await.expect("the head of an answer");
        // Blocks the client as well, which has nothing more to say.
        done();
        drop(answer);
        driver.abort();
    })
}

/// Asks for something, and stays connected until the gateway has asked to leave (GOAWAY).
pub fn stay_until_asked_to_leave(address: SocketAddr, request: Request<Bytes>, then: impl FnOnce()) {
    run(async move {
        let stream = TcpStream::connect(address).await.expect("the gateway listens");
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a connection");
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request.map(Full::new)).await.expect("an answer");
        answer.into_body().collect().await.expect("a whole body");
        then();
        driver.await.expect("no panic").expect("an orderly end");
        drop(sender);
    })
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

async fn connect(
    address: SocketAddr,
    root: CertificateDer<'static>,
    offered: &[&[u8]],
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("a certificate");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(address).await.expect("the gateway listens");
    let name = "app.test".try_into().expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
}

async fn over<T>(stream: T, requests: Vec<Request<Bytes>>) -> Vec<Response<Bytes>>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a connection");
    let driver = tokio::spawn(connection);
    let mut sent = Vec::new();
    for request in requests {
        sender.ready().await.expect("an open connection");
        sent.push(sender.send_request(request.map(Full::new)));
    }
    let mut answers = Vec::new();
    for answer in sent {
        let (mut parts, body) = answer.await.expect("an answer").into_parts();
        let collected = body.collect().await.expect("a whole body");
        parts.extensions.insert(collected.trailers().cloned().unwrap_or_default());
        let bytes = collected.to_bytes();
        answers.push(Response::from_parts(parts, bytes));
    }
    driver.abort();
    answers
}
