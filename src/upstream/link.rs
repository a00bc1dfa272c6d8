//! One connection to an upstream, driven by whoever uses it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::body::RequestBody;
use super::fault::Fault;
use super::flatten::write_flattened;
use crate::config::raw::ServerText;

/// An HTTP/1.1 connection: both of hyper's halves, kept together.
#[derive(Debug)]
pub(crate) struct Link {
    sender: SendRequest<RequestBody>,
    driver: Box<Connection<TokioIo<UpstreamIo>, RequestBody>>,
    /// When its last answer ended.
    pub(super) idle_since: Instant,
    /// Whether it has carried a request before.
    pub(super) used: bool,
}

/// Why an exchange over a link failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The link was closed before anything was written; the request is whole.
    Unsent(Box<Request<RequestBody>>),
    /// Something was written.
    Broken(Fault),
}

impl Link {
    /// Connects to a server.
    pub(super) async fn connect(server: &ServerText, patience: Duration) -> Result<Link, Fault> {
        let ServerText::Http { host, port, .. } = server else { return Err(Fault::Connect) };
        let connected = timeout(patience, TcpStream::connect((host.as_str(), *port))).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => return Err(Fault::Connect),
            Err(_) => return Err(Fault::Timeout),
        };
        // A streamed body must not wait for Nagle.
        let _ = stream.set_nodelay(true);
        let io = TokioIo::new(UpstreamIo(stream));
        let (sender, driver) = http1::handshake(io).await.map_err(|_| Fault::Connect)?;
        Ok(Link { sender, driver: Box::new(driver), idle_since: Instant::now(), used: false })
    }

    /// The two halves, for a connection that changes its protocol.
    pub(super) fn into_halves(
        self,
    ) -> (SendRequest<RequestBody>, Connection<TokioIo<UpstreamIo>, RequestBody>) {
        (self.sender, *self.driver)
    }

    /// Lets the connection read and write. Ready: it has ended.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut *self.driver).poll(cx).map(drop)
    }

    /// Whether a rested link may carry a request: one look ends the old exchange and sees a close.
    pub(super) async fn is_usable(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.drive(cx).is_pending())).await && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn exchange(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Failure> {
        self.used = true;
        let Link { sender, driver, .. } = self;
        let mut response = pin!(sender.try_send_request(request));
        let mut ended = false;
        let answer = poll_fn(|cx| {
            if !ended {
                ended = Pin::new(&mut **driver).poll(cx).is_ready();
            }
            match response.as_mut().poll(cx) {
                // Without its connection the answer can no longer come.
                Poll::Pending if ended => Poll::Ready(None),
                polled => polled.map(Some),
            }
        });
        match answer.await {
            Some(Ok(response)) => Ok(response),
            Some(Err(mut error)) => match error.take_message() {
                Some(request) => Err(Failure::Unsent(Box::new(request))),
                None => Err(Failure::Broken(Fault::from_hyper(error.error()))),
            },
            None => Err(Failure::Broken(Fault::Reset)),
        }
    }
}

/// The stream to an upstream; small pieces leave in one write.
#[derive(Debug)]
pub(super) struct UpstreamIo(TcpStream);

impl AsyncRead for UpstreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        write_flattened(Pin::new(&mut self.0), cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
