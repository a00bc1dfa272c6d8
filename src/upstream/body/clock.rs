//! How long a body may be silent, and how long it may take in all.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The patience that a body meets. A body that is never waited for costs no timer.
#[derive(Debug)]
pub(in crate::upstream) struct Clock {
    /// Between two pieces.
    pub(super) patience: Duration,
    /// For the whole answer, where that is bounded.
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    /// Begins now.
    pub(in crate::upstream) fn new(patience: Duration, deadline: Option<Instant>) -> Clock {
        Clock { patience, deadline, timer: None }
    }

    /// A piece came.
    pub(super) fn restart(&mut self) {
        let until = self.until();
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(until);
        }
    }

    /// Nothing is at hand. Ready: there has been nothing for too long.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.until();
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(until))).as_mut().poll(cx)
    }

    /// Whether the whole has taken too long, also of a body that never pauses.
    pub(super) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn until(&self) -> Instant {
        let pause = Instant::now() + self.patience;
        self.deadline.map_or(pause, |deadline| deadline.min(pause))
    }
}
