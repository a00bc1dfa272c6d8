//! An upstream that speaks HTTP/2, in clear text or over TLS, and sends back what it is sent.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A listening server. Its thread ends with the test process.
pub struct Http2Server {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Http2Server {
    /// In clear text, with prior knowledge.
    pub fn start() -> Http2Server {
        Http2Server::start_with(None)
    }

    /// Over TLS, with the protocols that the configuration offers.
    pub fn start_with(tls: Option<Arc<rustls::ServerConfig>>) -> Http2Server {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a socket");
                let acceptor = tls.map(TlsAcceptor::from);
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
                    tokio::spawn(async move {
                        let Some(acceptor) = acceptor else {
                            count.fetch_add(1, Ordering::SeqCst);
                            return serve(stream, true).await;
                        };
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        count.fetch_add(1, Ordering::SeqCst);
                        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        serve(stream, http2).await;
                    });
                }
            });
        });
        Http2Server { address, connections }
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, http2: bool) {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(echo(request)) });
    let io = TokioIo::new(stream);
    let _ = if http2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
    };
}

/// Tells how it was asked, in fields, and sends the body back as it comes.
fn echo(request: Request<Incoming>) -> Response<Echo> {
    let version = format!("{:?}", request.version());
    let te = request.headers().get("te").cloned();
    let uri = request.uri().to_string();
    let mut response = Response::new(Echo { incoming: request.into_body(), ended: false });
    let headers = response.headers_mut();
    headers.insert("x-version", HeaderValue::try_from(version).expect("a value"));
    headers.insert("x-uri", HeaderValue::try_from(uri).expect("a value"));
    headers.insert("x-te", te.unwrap_or(HeaderValue::from_static("-")));
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// A body sent back, with a gRPC status behind it.
struct Echo {
    incoming: Incoming,
    ended: bool,
}

impl Body for Echo {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            Some(Ok(frame)) if frame.is_data() => Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            Some(Ok(_)) | None => {
                self.ended = true;
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }
}
