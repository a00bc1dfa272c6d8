//! The client's body on its way to the upstream.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::super::hygiene::Hygiene;
use super::BodyFailure;

/// What is sent to an upstream.
#[derive(Debug, Default)]
pub(crate) enum RequestBody {
    /// Nothing.
    #[default]
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
    /// What cleans its trailers, if they may pass.
    trailers: Option<Arc<Hygiene>>,
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
    /// When a piece of it last moved.
    moved: Cell<Option<Instant>>,
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

    /// When a piece of it last moved towards the upstream.
    pub(crate) fn moved(&self) -> Option<Instant> {
        self.moved.get()
    }

    /// A piece of it has moved.
    #[cfg(test)]
    pub(in crate::upstream) fn touch(&self) {
        self.moved.set(Some(Instant::now()));
    }

    /// Notes bytes that were read elsewhere.
    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
    }
}

impl ClientBody {
    /// Bounds the client's body: by `room` bytes in all, and by `patience` between two pieces.
    pub(crate) fn new(
        incoming: Incoming,
        trailers: Option<Arc<Hygiene>>,
        room: Option<u64>,
        patience: Duration,
        fate: Rc<Fate>,
    ) -> ClientBody {
        ClientBody { incoming, trailers, room, patience, timer: None, fate }
    }

    fn fail(&self, end: BodyEnd) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        self.fate.end.set(end);
        Poll::Ready(Some(Err(BodyFailure::Cut)))
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
            let mut frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_))) => return self.fail(BodyEnd::Broken),
                Poll::Ready(None) => {
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let patience = self.patience;
                    ready!(self.timer.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
                    return self.fail(BodyEnd::Broken);
                }
            };
            let now = Instant::now();
            self.fate.moved.set(Some(now));
            let deadline = now + self.patience;
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(deadline);
            }
            match frame.data_ref().map(|data| data.remaining() as u64) {
                Some(length) => {
                    self.fate.add(length);
                    match self.room.map(|room| room.checked_sub(length)) {
                        Some(None) => return self.fail(BodyEnd::TooLarge),
                        Some(Some(left)) => self.room = Some(left),
                        None => {}
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                // Trailers arrive where headers were judged already; they are dropped unless the
                // route asks for them, and then nothing may come that a judgement could rest on.
                None => {
                    if let (Some(hygiene), Some(trailers)) = (&self.trailers, frame.trailers_mut()) {
                        hygiene.clean_trailers(trailers);
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
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
