//! The body of an answer from a connection that has a task of its own: HTTP/2, or one that might have
//! changed its protocol and did not.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::super::multiplex::Stream;
use super::super::server::Flight;
use super::{BodyFailure, Clock, Lent};

/// A body that something else drives.
#[derive(Debug)]
pub(crate) struct StreamBody {
    /// Shared with the server, which takes it away from a client that reads nothing for too long.
    lent: Rc<Lent>,
    clock: Clock,
    hint: SizeHint,
    ended: bool,
    /// The place that it has among the streams of its connection, and among the requests in flight.
    held: Option<(Option<Stream>, Flight)>,
}

/// What a client holds while it reads: dropped by the server that looks after it, it ends the stream.
pub(super) type Held = RefCell<Option<Incoming>>;

impl StreamBody {
    /// The body of an answer.
    pub(in crate::upstream) fn new(
        incoming: Incoming,
        stream: Option<Stream>,
        flight: Flight,
        clock: Clock,
    ) -> StreamBody {
        let (hint, ended) = (incoming.size_hint(), incoming.is_end_stream());
        let lent = Rc::new(Lent::stream(incoming, clock.patience));
        if !ended {
            flight.server().watch(&lent);
        }
        let held = (!ended).then_some((stream, flight));
        StreamBody { lent, clock, hint, ended, held }
    }

    fn end(&mut self) {
        self.ended = true;
        self.held = None;
        self.lent.let_go();
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let polled = this.lent.with_stream(|incoming| {
            let polled = Pin::new(&mut *incoming).poll_frame(cx);
            (polled, incoming.size_hint(), incoming.is_end_stream())
        });
        let Some((polled, hint, ended)) = polled else {
            // Taken away.
            this.end();
            return Poll::Ready(Some(Err(BodyFailure::Late)));
        };
        this.hint = hint;
        match polled {
            Poll::Ready(Some(Ok(_))) if this.clock.is_over() => {
                this.end();
                Poll::Ready(Some(Err(BodyFailure::Late)))
            }
            Poll::Ready(Some(Ok(frame))) => {
                this.clock.restart();
                if ended {
                    this.end();
                } else {
                    this.lent.read();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => {
                this.end();
                Poll::Ready(Some(Err(BodyFailure::Cut)))
            }
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                this.lent.waits();
                ready!(this.clock.poll_late(cx));
                this.end();
                Poll::Ready(Some(Err(BodyFailure::Late)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

/// Since when the client has had something to read; none while the upstream has to send.
pub(super) type Unread = Cell<Option<Instant>>;

/// Whether a client has read nothing for too long.
pub(super) fn is_stalled(unread: &Unread, patience: Duration) -> bool {
    unread.get().is_some_and(|since| since.elapsed() > patience)
}
