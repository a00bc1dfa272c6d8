//! The upstream's body on its way to the client.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::super::link::Link;
use super::super::pool::Pool;
use super::BodyFailure;

/// What an upstream answers.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// From a pooled connection, which goes back to its pool when the body has ended.
    Pooled(Box<PooledBody>),
    /// From a connection that something else drives.
    Driven(Incoming),
    /// Made here.
    Whole(Option<Bytes>),
}

/// The body of an answer together with the connection it comes over.
#[derive(Debug)]
pub(crate) struct PooledBody {
    incoming: Incoming,
    hold: Hold,
    pool: Rc<Pool>,
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
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
/// the pool looks after these, and takes them away from those that read nothing for too long.
#[derive(Debug)]
pub(in crate::upstream) struct Lent {
    link: RefCell<Option<Link>>,
    /// Since when the client has had something to read; none while the upstream has to send.
    unread: Cell<Option<Instant>>,
    patience: Duration,
}

impl Lent {
    /// Closes the connection if the client has read nothing for too long. Whether it goes on.
    pub(in crate::upstream) fn goes_on(&self) -> bool {
        let stalled = self.unread.get().is_some_and(|since| since.elapsed() > self.patience);
        if stalled {
            self.link.take();
        }
        !stalled
    }
}

impl PooledBody {
    /// The body of an answer that came over this link.
    pub(crate) fn new(incoming: Incoming, link: Link, pool: Rc<Pool>, patience: Duration) -> PooledBody {
        let mut body = PooledBody { incoming, hold: Hold::Link(link), pool, patience, timer: None };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        let link = match std::mem::replace(&mut self.hold, Hold::Nothing) {
            Hold::Nothing => None,
            Hold::Link(link) => Some(link),
            Hold::Lent(lent) => lent.link.take(),
        };
        if let Some(link) = link {
            self.pool.put(link);
        }
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
            let (link, unread) = (RefCell::new(Some(link)), Cell::new(None));
            let lent = Rc::new(Lent { link, unread, patience: self.patience });
            self.pool.watch(&lent);
            self.hold = Hold::Lent(lent);
        }
        if let Hold::Lent(lent) = &self.hold {
            lent.unread.set(Some(Instant::now()));
        }
    }

    fn fail(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        self.hold = Hold::Nothing;
        Poll::Ready(Some(Err(BodyFailure)))
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
                return this.fail();
            }
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(timer) = &mut this.timer {
                    timer.as_mut().reset(Instant::now() + this.patience);
                }
                if this.incoming.is_end_stream() {
                    this.give_back();
                } else {
                    this.lend();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => this.fail(),
            Poll::Ready(None) => {
                this.give_back();
                Poll::Ready(None)
            }
            Poll::Pending => {
                if let Hold::Lent(lent) = &this.hold {
                    lent.unread.set(None);
                }
                let patience = this.patience;
                ready!(this.timer.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
                this.fail()
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
            ResponseBody::Driven(incoming) => Pin::new(incoming)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|_| BodyFailure))),
            ResponseBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Pooled(body) => body.is_end_stream(),
            ResponseBody::Driven(incoming) => incoming.is_end_stream(),
            ResponseBody::Whole(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Pooled(body) => body.size_hint(),
            ResponseBody::Driven(incoming) => incoming.size_hint(),
            ResponseBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}
