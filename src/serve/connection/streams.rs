//! The tasks of HTTP/2's streams, on the thread of their connection.
//!
//! hyper asks for the next piece of an answer only once the client has made room for it (RFC 9113 section 5.2),
//! so a client that never does would keep the stream, and what it was allowed, for ever. Bytes say nothing of
//! it: the client may send PINGs all the while. So here each stream is looked at by itself.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

/// Spawns them. One whose client makes no room for what has come is dropped, which resets the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    /// How long a client may take to make any.
    pub(super) patience: Duration,
}

impl<F: Future + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(Stream {
            future: Some(future),
            patience: self.patience,
            room: Room::Unasked,
            timer: None,
        });
    }
}

/// What an answer said when it was last asked for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// It was not asked: there is no answer yet.
    Unasked,
    /// The upstream has nothing.
    Waits,
    /// There was a piece, and the next one is asked for when there is room for it; since when.
    Wanted(Instant),
}

thread_local! {
    /// Whether the answer that was asked in this turn had a piece; none: none was asked.
    static HAD: Cell<Option<bool>> = const { Cell::new(None) };
}

/// An answer was asked for its next piece.
pub(super) fn asked(had: bool) {
    HAD.set(Some(had));
}

pin_project! {
    struct Stream<F> {
        #[pin]
        future: Option<F>,
        patience: Duration,
        room: Room,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        HAD.set(None);
        if future.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match (HAD.get(), *this.room) {
            (Some(true), _) => *this.room = Room::Wanted(Instant::now()),
            (Some(false), _) => *this.room = Room::Waits,
            (None, _) => {}
        }
        let Room::Wanted(since) = *this.room else {
            *this.timer = None;
            return Poll::Pending;
        };
        let until = since + *this.patience;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() < until && timer.as_mut().poll(cx).is_ready() {
            timer.as_mut().reset(until);
        }
        if timer.as_mut().poll(cx).is_ready() {
            this.future.set(None);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
