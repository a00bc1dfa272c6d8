//! The service of one connection: a request is in flight until its answer has gone.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use pin_project_lite::pin_project;
use tower::Service;

use super::streams;
use crate::layers::{Arrival, Outgoing, Peer};
use crate::serve::wire::{Framed, Wire};
use crate::upstream::{BodyFailure, turn};

/// The stack as hyper calls it.
pub(super) struct Handler<S> {
    stack: std::cell::RefCell<S>,
    peer: Rc<Peer>,
    wire: Rc<Wire>,
}

impl<S> Handler<S> {
    /// For one connection.
    pub(super) fn new(stack: S, peer: Rc<Peer>, wire: Rc<Wire>) -> Handler<S> {
        Handler { stack: stack.into(), peer, wire }
    }
}

impl<S> hyper::service::Service<Request<Incoming>> for Handler<S>
where
    S: Service<Arrival, Response = Response<Outgoing>, Error = Infallible>,
{
    type Response = Response<Tracked>;
    type Error = Infallible;
    type Future = TrackedFuture<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let body = if request.headers().contains_key(header::TRANSFER_ENCODING) {
            Framed::Chunked
        } else if request.body().is_end_stream() {
            Framed::Absent
        } else {
            Framed::Sized(request.body().size_hint().exact().unwrap_or(0))
        };
        let begun = turn::look();
        let altered = self.wire.begin(request.method().as_str(), request.uri(), body);
        let busy = Busy(Rc::clone(&self.wire));
        // Every layer is always ready, so `poll_ready` has nothing to say.
        let future = self.stack.borrow_mut().call(Arrival {
            request,
            begun,
            peer: Rc::clone(&self.peer),
            target_altered: altered.target,
            length_dropped: altered.length,
        });
        TrackedFuture { future, busy: Some(busy) }
    }
}

/// A request in flight, as the deadlines see it.
#[derive(Debug)]
struct Busy(Rc<Wire>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

pin_project! {
    /// Keeps a request in flight until its answer has gone.
    pub(super) struct TrackedFuture<F> {
        #[pin]
        future: F,
        busy: Option<Busy>,
    }
}

impl<F> Future for TrackedFuture<F>
where
    F: Future<Output = Result<Response<Outgoing>, Infallible>>,
{
    type Output = Result<Response<Tracked>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match ready!(this.future.poll(cx)) {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let busy = this.busy.take();
        Poll::Ready(Ok(response.map(|body| Tracked { body, _busy: busy })))
    }
}

/// The body of an answer that keeps its request in flight.
#[derive(Debug)]
pub(super) struct Tracked {
    body: Outgoing,
    _busy: Option<Busy>,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        streams::asked(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
