//! Bodies on their way through: the client's towards the upstream, the upstream's towards the client.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::link::Link;
use super::pool::Pool;

/// What is sent to an upstream.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// Nothing.
    Empty,
    /// A body that was read for inspection.
    Whole(Option<Bytes>),
    /// A body that streams through.
    Stream(Box<ClientBody>),
}

/// The client's body, bounded in size and in silence.
#[derive(Debug)]
pub(crate) struct ClientBody {
    incoming: Incoming,
    /// Whether trailers may pass.
    trailers: bool,
    /// How much more may come.
    room: Option<u64>,
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    fate: Rc<Fate>,
}

/// What became of the client's body, for whoever has to explain why forwarding failed.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    end: Cell<BodyEnd>,
    bytes: Cell<u64>,
}

/// How the client's body ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// Not yet, or well.
    #[default]
    Well,
    /// It broke off, stalled, or was malformed.
    Broken,
    /// It was too long.
    TooLarge,
}

impl Fate {
    /// How it ended.
    pub(crate) fn end(&self) -> BodyEnd {
        self.end.get()
    }

    /// How many bytes came.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Notes bytes that were read elsewhere.
    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
    }
}

/// A body that failed; the details are in its [`Fate`] or in the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyFailure;

impl std::fmt::Display for BodyFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body ended early")
    }
}

impl std::error::Error for BodyFailure {}

impl ClientBody {
    /// Bounds the client's body: by `room` bytes in all, and by `patience` between two pieces.
    pub(crate) fn new(
        incoming: Incoming,
        trailers: bool,
        room: Option<u64>,
        patience: Duration,
        fate: Rc<Fate>,
    ) -> ClientBody {
        ClientBody { incoming, trailers, room, patience, timer: None, fate }
    }

    fn fail(&self, end: BodyEnd) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        self.fate.end.set(end);
        Poll::Ready(Some(Err(BodyFailure)))
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        loop {
            let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_))) => return self.fail(BodyEnd::Broken),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let patience = self.patience;
                    ready!(self.timer.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
                    return self.fail(BodyEnd::Broken);
                }
            };
            let deadline = Instant::now() + self.patience;
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(deadline);
            }
            match frame.data_ref() {
                Some(data) => {
                    let length = data.remaining() as u64;
                    self.fate.add(length);
                    match self.room.map(|room| room.checked_sub(length)) {
                        Some(None) => return self.fail(BodyEnd::TooLarge),
                        Some(Some(left)) => self.room = Some(left),
                        None => {}
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                // Trailers arrive where headers were judged already; they are dropped unless the
                // route asks for them.
                None if self.trailers => return Poll::Ready(Some(Ok(frame))),
                None => {}
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

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        match &mut *self {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            RequestBody::Stream(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Whole(bytes) => bytes.is_none(),
            RequestBody::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            RequestBody::Stream(body) => body.size_hint(),
        }
    }
}

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
pub(super) struct Lent {
    link: RefCell<Option<Link>>,
    /// Since when the client has had something to read; none while the upstream has to send.
    unread: Cell<Option<Instant>>,
    patience: Duration,
}

impl Lent {
    /// Closes the connection if the client has read nothing for too long. Whether it goes on.
    pub(super) fn goes_on(&self) -> bool {
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
