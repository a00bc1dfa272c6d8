//! One HTTP/1.1 connection to an upstream, driven by whoever uses it.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body::Frame;
use tokio::time::Instant;

use super::added::Beside;
use super::alarm::Alarm;
use super::body::RequestBody;
use super::breaker::Room;
use super::fault::Fault;
use super::http1::{Broken, Connection};
use super::io::UpstreamIo;

/// An HTTP/1.1 connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// Large, and handed around.
    connection: Box<Connection<UpstreamIo>>,
    /// When its last answer ended.
    pub(super) idle_since: Instant,
    /// For the waits for its answers.
    pub(super) alarm: Alarm,
    /// Its share of the upstream's connections, where they are limited.
    room: Option<Room>,
}

/// Why an exchange failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Before anything was written; the request is whole. After any other failure its fields and body are
    /// gone.
    Unsent(Fault),
    /// Something was written, and the connection ended without a byte of an answer. The request may be
    /// sent again: it has no body, and a method without effect (RFC 9110 section 9.2.2).
    Unanswered(Unanswered),
    /// Something was written.
    Broken(Fault),
}

/// A request that was sent and not answered, as it was sent.
#[derive(Debug)]
pub(super) struct Unanswered {
    head: BytesMut,
    method: Method,
}

impl Link {
    /// Speaks HTTP/1.1 on a stream.
    pub(super) fn new(io: UpstreamIo, room: Option<Room>) -> Link {
        Link {
            connection: Box::new(Connection::new(io)),
            idle_since: Instant::now(),
            alarm: Alarm::default(),
            room,
        }
    }

    /// Its parts, for a connection that was not used yet and is to change its protocol.
    pub(super) fn into_parts(self) -> (UpstreamIo, Option<Room>) {
        (self.connection.into_io(), self.room)
    }

    /// Whether a rested link may carry a request: one look sees a close.
    pub(super) async fn is_usable(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.connection.is_usable(cx))).await
    }

    /// Whether its answer has ended, and another request may follow.
    pub(super) fn is_done(&self) -> bool {
        self.connection.is_done()
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn exchange(
        mut self,
        request: &mut Request<RequestBody>,
        beside: Beside<'_>,
    ) -> Result<(Link, Response<()>), Failure> {
        let harmless = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
            && matches!(request.body(), RequestBody::Empty);
        match self.connection.exchange(request, beside).await {
            Ok(response) => Ok((self, response)),
            Err(Broken::Unanswered) if harmless => Err(Failure::Unanswered(Unanswered {
                head: self.connection.into_unanswered(),
                method: request.method().clone(),
            })),
            Err(broken) => Err(Failure::Broken(fault(broken))),
        }
    }

    /// Sends a request that another connection did not answer.
    pub(super) async fn repeat(mut self, request: Unanswered) -> Result<(Link, Response<()>), Failure> {
        match self.connection.repeat(request.head, &request.method).await {
            Ok(response) => Ok((self, response)),
            Err(broken) => Err(Failure::Broken(fault(broken))),
        }
    }

    /// The body of the answer, if all of it is at hand.
    pub(super) fn whole_body(&mut self) -> Option<Bytes> {
        self.connection.whole_body()
    }

    /// How many bytes of the answer are still to come, if that is known.
    pub(super) fn remaining(&self) -> Option<u64> {
        self.connection.remaining()
    }

    /// The next piece of the answer's body. What is left of the request goes on being sent.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.connection.poll_frame(cx)
    }
}

fn fault(broken: Broken) -> Fault {
    match broken {
        Broken::Unanswered | Broken::Closed => Fault::Reset,
        Broken::Malformed => Fault::Protocol,
        Broken::Body => Fault::ClientBody,
    }
}
