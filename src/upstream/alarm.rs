//! A timer that is kept: it serves one wait after the other, and costs nothing while none is too long.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of a connection. It is only ever set earlier, and where it goes off too early it is set
/// again, so that most requests neither start nor stop one.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once the time has come.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wait_ends_in_its_own_time() {
        let begin = Instant::now();
        let mut alarm = Alarm::default();
        // Longer, shorter and longer again than the one before; the last has passed already.
        for (after, seen) in [(10, 10), (30, 30), (40, 40), (20, 40)] {
            let until = begin + Duration::from_secs(after);
            poll_fn(|cx| alarm.poll_until(cx, until)).await;
            assert_eq!(begin.elapsed().as_secs(), seen);
        }
        // A wait that is given up leaves a timer that is too early for the next one.
        let soon = begin + Duration::from_secs(50);
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll_until(cx, soon))).await.is_pending());
        let later = begin + Duration::from_secs(90);
        poll_fn(|cx| alarm.poll_until(cx, later)).await;
        assert_eq!(begin.elapsed().as_secs(), 90);
        // And one that is too late.
        let late = begin + Duration::from_secs(500);
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll_until(cx, late))).await.is_pending());
        let early = begin + Duration::from_secs(100);
        poll_fn(|cx| alarm.poll_until(cx, early)).await;
        assert_eq!(begin.elapsed().as_secs(), 100);
    }
}
