//! One HTTP/1.1 connection to an upstream, driven by whoever uses it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::body::RequestBody;
use super::breaker::Room;
use super::fault::Fault;
use super::io::UpstreamIo;

/// An HTTP/1.1 connection: both of hyper's halves, kept together.
#[derive(Debug)]
pub(crate) struct Link {
    sender: SendRequest<RequestBody>,
    driver: Box<Driver>,
    /// When its last answer ended.
    pub(super) idle_since: Instant,
    /// Its share of the upstream's connections, where they are limited.
    room: Option<Room>,
}

/// The half that reads and writes.
pub(super) type Driver = Connection<TokioIo<UpstreamIo>, RequestBody>;

/// Why an exchange failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Before anything was written; the request is whole.
    Unsent(Box<Request<RequestBody>>, Fault),
    /// Something was written.
    Broken(Fault),
}

impl Link {
    /// Speaks HTTP/1.1 on a stream.
    pub(super) async fn new(io: UpstreamIo, room: Option<Room>) -> Result<Link, Fault> {
        let (sender, driver) = http1::handshake(TokioIo::new(io)).await.map_err(|_| Fault::Connect)?;
        Ok(Link { sender, driver: Box::new(driver), idle_since: Instant::now(), room })
    }

    /// Its parts, for a connection that changes its protocol.
    pub(super) fn into_parts(self) -> (SendRequest<RequestBody>, Driver, Option<Room>) {
        (self.sender, *self.driver, self.room)
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
                Some(request) => Err(Failure::Unsent(Box::new(request), Fault::Reset)),
                None => Err(Failure::Broken(Fault::from_hyper(error.error()))),
            },
            None => Err(Failure::Broken(Fault::Reset)),
        }
    }
}
