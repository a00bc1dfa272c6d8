//! The future of every layer: further in, answered here, or waiting for something slow.
//!
//! All layers have the same one, made by whichever has the last word: one look says where a request is,
//! however many layers it has passed, and its reply is not moved from one to the next.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::judged::Reply;

/// A wait that is long compared with an allocation.
pub(crate) type Slow = Pin<Box<dyn Future<Output = Result<Reply, Infallible>>>>;

pin_project! {
    /// Where a request is.
    #[project = ForkProjection]
    pub(crate) enum Fork<F> {
        /// Further in.
        Inner {
            #[pin]
            future: F,
        },
        /// Answered by this layer. Boxed so that the usual way in stays small.
        Done {
            reply: Option<Box<Reply>>,
        },
        /// Waiting for a body or a password.
        Slow {
            future: Slow,
        },
    }
}

impl<F> Fork<F> {
    /// Further in.
    pub(crate) fn inner(future: F) -> Fork<F> {
        Fork::Inner { future }
    }

    /// Answered here.
    pub(crate) fn done(reply: Reply) -> Fork<F> {
        Fork::Done { reply: Some(Box::new(reply)) }
    }

    /// Waiting for something slow.
    pub(crate) fn slow(future: impl Future<Output = Result<Reply, Infallible>> + 'static) -> Fork<F> {
        Fork::Slow { future: Box::pin(future) }
    }
}

impl<F: Future<Output = Result<Reply, Infallible>>> Future for Fork<F> {
    type Output = Result<Reply, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ForkProjection::Inner { future } => future.poll(cx),
            ForkProjection::Done { reply } => match reply.take() {
                Some(reply) => Poll::Ready(Ok(*reply)),
                // Polled after it was done; whoever does that waits for ever.
                None => Poll::Pending,
            },
            ForkProjection::Slow { future } => future.as_mut().poll(cx),
        }
    }
}
