//! Something that is done once, later, unless it is put off or called off.
//!
//! At most one task waits: whoever sets the timer anew ends the task that waited before.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

/// The timer.
#[derive(Debug, Default)]
pub(super) struct Timer {
    waiting: Mutex<Option<AbortHandle>>,
}

impl Timer {
    /// Does something after a time, and nothing of what was to be done before.
    pub(super) fn set(&self, left: Duration, then: impl FnOnce() + Send + 'static) {
        let task = tokio::spawn(async move {
            tokio::time::sleep(left).await;
            then();
        });
        self.replace(Some(task.abort_handle()));
    }

    /// Does nothing.
    pub(super) fn stop(&self) {
        self.replace(None);
    }

    fn replace(&self, waiting: Option<AbortHandle>) {
        let before =
            std::mem::replace(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner), waiting);
        if let Some(before) = before {
            before.abort();
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::runtime::Handle;
    use tokio::task::yield_now;
    use tokio::time::advance;

    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[tokio::test(start_paused = true)]
    async fn no_more_than_one_task_waits_and_none_that_has_nothing_to_do() {
        let (timer, done) = (Timer::default(), Arc::new(AtomicU32::new(0)));
        let set = |hours: u32| {
            let done = Arc::clone(&done);
            timer.set(HOUR * hours, move || {
                done.fetch_add(hours, Ordering::Relaxed);
            });
        };
        let waiting = async || {
            // What was ended is gone once it has been looked at.
            yield_now().await;
            Handle::current().metrics().num_alive_tasks()
        };
        let others = waiting().await;
        for hours in [8, 4, 2] {
            set(hours);
            assert_eq!(waiting().await - others, 1);
        }
        advance(HOUR * 9).await;
        assert_eq!((waiting().await - others, done.load(Ordering::Relaxed)), (0, 2));
        set(1);
        timer.stop();
        assert_eq!(waiting().await - others, 0);
        advance(HOUR * 9).await;
        assert_eq!(done.load(Ordering::Relaxed), 2);
    }
}
