//! The upstream's body on its way to the client.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::super::link::Link;
use super::super::server::Flight;
use super::stream::{Held, Unread, is_stalled};
use super::{BodyFailure, Clock, Fate, StreamBody};

/// What an upstream answers.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// From a pooled connection, which goes back to its pool when the body has ended.
    Pooled(Box<PooledBody>),
    /// From a connection that something else drives.
    Driven(Box<StreamBody>),
    /// Made here.
    Whole(Option<Bytes>),
}

/// The body of an answer together with the connection it comes over.
#[derive(Debug)]
pub(crate) struct PooledBody {
    incoming: Incoming,
    hold: Hold,
    /// None once the answer has ended.
    flight: Option<Flight>,
    /// What becomes of a client's body that streams, and may still be on its way.
    upload: Option<Rc<Fate>>,
    clock: Clock,
}

/// The connection of a body.
#[derive(Debug)]
enum Hold {
    /// Given back, or closed.
    Nothing,
    /// All of the body may be at hand.
    Link(Link),
    /// The client takes it in pieces.
    Lent(Rc<Lent>),
}

/// A connection that is held for a client. Nobody polls the body of a client that does not read, so
/// the server looks after these, and takes them away from those that read nothing for too long.
#[derive(Debug)]
pub(in crate::upstream) struct Lent {
    link: RefCell<Option<Link>>,
    stream: Held,
    /// Since when the client has had something to read; none while the upstream has to send.
    unread: Unread,
    patience: Duration,
}

impl Lent {
    fn link(link: Link, patience: Duration) -> Lent {
        let (link, stream) = (RefCell::new(Some(link)), RefCell::default());
        Lent { link, stream, unread: Cell::new(None), patience }
    }

    /// Lends a stream of a shared connection.
    pub(super) fn stream(incoming: Incoming, patience: Duration) -> Lent {
        let (link, stream) = (RefCell::default(), RefCell::new(Some(incoming)));
        Lent { link, stream, unread: Cell::new(None), patience }
    }

    /// Looks at the stream, if it is still there.
    pub(super) fn with_stream<T>(&self, look: impl FnOnce(&mut Incoming) -> T) -> Option<T> {
        self.stream.borrow_mut().as_mut().map(look)
    }

    /// The client has something to read, and more will come.
    pub(super) fn read(&self) {
        self.unread.set(Some(Instant::now()));
    }

    /// The client waits for the upstream.
    pub(super) fn waits(&self) {
        self.unread.set(None);
    }

    /// Nothing is held any more.
    pub(super) fn let_go(&self) {
        self.link.take();
        self.stream.take();
    }

    /// Closes the connection if the client has read nothing for too long. Whether it goes on.
    pub(in crate::upstream) fn goes_on(&self) -> bool {
        let stalled = is_stalled(&self.unread, self.patience);
        if stalled {
            self.let_go();
        }
        !stalled
    }
}

impl PooledBody {
    /// The body of an answer that came over this link.
    pub(in crate::upstream) fn new(
        incoming: Incoming,
        link: Link,
        flight: Flight,
        upload: Option<Rc<Fate>>,
        clock: Clock,
    ) -> PooledBody {
        let mut body = PooledBody { incoming, hold: Hold::Link(link), flight: Some(flight), upload, clock };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    /// The answer has ended well. A connection that still waits for a part of the request's body has
    /// no place for another request, so it is closed.
    fn give_back(&mut self) {
        let link = match std::mem::replace(&mut self.hold, Hold::Nothing) {
            Hold::Nothing => None,
            Hold::Link(link) => Some(link),
            Hold::Lent(lent) => lent.link.take(),
        };
        let undrained = self.upload.as_ref().is_some_and(|upload| !upload.is_over());
        if let (Some(link), Some(flight)) = (link.filter(|_| !undrained), self.flight.take()) {
            flight.server().put(link);
        }
        self.flight = None;
    }

    /// Lets the connection read. Whether it is gone.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.hold {
            Hold::Nothing => true,
            Hold::Link(link) => link.drive(cx).is_ready(),
            Hold::Lent(lent) => lent.link.borrow_mut().as_mut().is_none_or(|link| link.drive(cx).is_ready()),
        }
    }

    /// The client has something to read, and more will come.
    fn lend(&mut self) {
        if let Hold::Link(_) = &self.hold
            && let Hold::Link(link) = std::mem::replace(&mut self.hold, Hold::Nothing)
        {
            let lent = Rc::new(Lent::link(link, self.clock.patience));
            if let Some(flight) = &self.flight {
                flight.server().watch(&lent);
            }
            self.hold = Hold::Lent(lent);
        }
        if let Hold::Lent(lent) = &self.hold {
            lent.read();
        }
    }

    fn fail(&mut self, failure: BodyFailure) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        self.hold = Hold::Nothing;
        self.flight = None;
        Poll::Ready(Some(Err(failure)))
    }
}

impl Body for PooledBody {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        let this = &mut *self;
        let mut polled = Pin::new(&mut this.incoming).poll_frame(cx);
        if polled.is_pending() {
            // Nothing is at hand: let the connection read, then look again.
            let closed = this.drive(cx);
            polled = Pin::new(&mut this.incoming).poll_frame(cx);
            if closed && polled.is_pending() {
                return this.fail(BodyFailure::Cut);
            }
        }
        match polled {
            Poll::Ready(Some(Ok(_))) if this.clock.is_over() => this.fail(BodyFailure::Late),
            Poll::Ready(Some(Ok(frame))) => {
                this.clock.restart();
                if this.incoming.is_end_stream() {
                    this.give_back();
                } else {
                    this.lend();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => this.fail(BodyFailure::Cut),
            Poll::Ready(None) => {
                this.give_back();
                Poll::Ready(None)
            }
            Poll::Pending => {
                if let Hold::Lent(lent) = &this.hold {
                    lent.waits();
                }
                ready!(this.clock.poll_late(cx));
                this.fail(BodyFailure::Late)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        match &mut *self {
            ResponseBody::Pooled(body) => Pin::new(&mut **body).poll_frame(cx),
            ResponseBody::Driven(body) => Pin::new(&mut **body).poll_frame(cx),
            ResponseBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Pooled(body) => body.is_end_stream(),
            ResponseBody::Driven(body) => body.is_end_stream(),
            ResponseBody::Whole(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Pooled(body) => body.size_hint(),
            ResponseBody::Driven(body) => body.size_hint(),
            ResponseBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}
