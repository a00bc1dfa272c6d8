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

use super::super::http1::Broken;
use super::super::link::Link;
use super::super::server::Flight;
use super::super::turn;
use super::stream::{Held, Unread, is_stalled};
use super::{BodyFailure, Clock, StreamBody};

/// What an upstream answers.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// From a pooled connection, which goes back to its pool when the body has ended.
    Pooled(Box<PooledBody>),
    /// From a connection that something else drives.
    Driven(Box<StreamBody>),
    /// Made here.
    Whole(Option<Bytes>),
    /// One of these, whose first bytes were read ahead.
    Ahead(Option<Bytes>, Box<ResponseBody>),
}

/// The body of an answer together with the connection it comes over.
#[derive(Debug)]
pub(crate) struct PooledBody {
    hold: Hold,
    /// None once the answer has ended.
    flight: Option<Flight>,
    clock: Clock,
}

/// What a connection says when it is asked for the next piece.
type Piece = Poll<Option<Result<Frame<Bytes>, Broken>>>;

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
    /// The body of an answer that comes over this link.
    pub(in crate::upstream) fn new(link: Link, flight: Flight, clock: Clock) -> PooledBody {
        PooledBody { hold: Hold::Link(link), flight: Some(flight), clock }
    }

    /// The answer has ended well. A connection that still waits for a part of the request's body, or
    /// that its server is about to close, has no place for another request.
    fn give_back(&mut self) {
        let link = match std::mem::replace(&mut self.hold, Hold::Nothing) {
            Hold::Nothing => None,
            Hold::Link(link) => Some(link),
            Hold::Lent(lent) => lent.link.take(),
        };
        if let (Some(link), Some(flight)) = (link.filter(Link::is_done), self.flight.take()) {
            flight.server().put(link, turn::look());
        }
        self.flight = None;
    }

    /// The next piece; none if the connection was taken away.
    fn poll_link(&mut self, cx: &mut Context<'_>) -> Option<Piece> {
        match &mut self.hold {
            Hold::Nothing => Some(Poll::Ready(None)),
            Hold::Link(link) => Some(link.poll_frame(cx)),
            Hold::Lent(lent) => lent.link.borrow_mut().as_mut().map(|link| link.poll_frame(cx)),
        }
    }

    /// How many bytes are still to come, if that is known.
    fn remaining(&self) -> Option<u64> {
        match &self.hold {
            Hold::Nothing => Some(0),
            Hold::Link(link) => link.remaining(),
            Hold::Lent(lent) => lent.link.borrow().as_ref().and_then(Link::remaining),
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
        let Some(polled) = this.poll_link(cx) else { return this.fail(BodyFailure::Late) };
        match polled {
            Poll::Ready(Some(Ok(_))) if this.clock.is_over() => this.fail(BodyFailure::Late),
            Poll::Ready(Some(Ok(frame))) => {
                this.clock.restart();
                if this.remaining() == Some(0) {
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
        self.remaining() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
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
            ResponseBody::Ahead(first, rest) => match first.take() {
                Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
                None => Pin::new(&mut **rest).poll_frame(cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Pooled(body) => body.is_end_stream(),
            ResponseBody::Driven(body) => body.is_end_stream(),
            ResponseBody::Whole(bytes) => bytes.is_none(),
            ResponseBody::Ahead(first, rest) => first.is_none() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Pooled(body) => body.size_hint(),
            ResponseBody::Driven(body) => body.size_hint(),
            ResponseBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            ResponseBody::Ahead(first, rest) => {
                let ahead = first.as_ref().map_or(0, |bytes| bytes.len() as u64);
                let rest = rest.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(ahead));
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper.saturating_add(ahead));
                }
                hint
            }
        }
    }
}
