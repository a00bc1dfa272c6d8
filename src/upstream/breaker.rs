//! Limits on what an upstream is asked to do at once, over all threads, with a bounded queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::fault::Fault;
use crate::config::upstream::UpstreamLimits;

/// The room that an upstream has, and the queue in front of it.
#[derive(Debug)]
pub(crate) struct Breaker {
    requests: Option<Hall>,
    connections: Option<Hall>,
    queue: u32,
    patience: Duration,
}

/// Places of one kind, and how many wait for one.
#[derive(Debug)]
struct Hall {
    places: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// Room that somebody has; given back when dropped.
pub(super) type Room = OwnedSemaphorePermit;

impl Breaker {
    /// All of it free.
    pub(super) fn new(limits: &UpstreamLimits) -> Breaker {
        let hall = |limit: u32| Hall {
            places: Arc::new(Semaphore::new((limit as usize).min(Semaphore::MAX_PERMITS))),
            waiting: AtomicU32::new(0),
        };
        Breaker {
            requests: limits.requests.map(hall),
            connections: limits.connections.map(hall),
            queue: limits.pending,
            patience: limits.patience,
        }
    }

    /// Room for a request, for which there may be a wait.
    pub(super) async fn request(&self) -> Result<Option<Room>, Fault> {
        self.enter(self.requests.as_ref()).await
    }

    /// Room for a connection, for which there may be a wait.
    pub(super) async fn connection(&self) -> Result<Option<Room>, Fault> {
        self.enter(self.connections.as_ref()).await
    }

    /// Whether somebody waits for a connection that another holds unused.
    pub(super) fn is_short_of_connections(&self) -> bool {
        self.connections.as_ref().is_some_and(|hall| hall.waiting.load(Ordering::Relaxed) > 0)
    }

    async fn enter(&self, hall: Option<&Hall>) -> Result<Option<Room>, Fault> {
        let Some(Hall { places, waiting }) = hall else { return Ok(None) };
        if let Ok(room) = Arc::clone(places).try_acquire_owned() {
            return Ok(Some(room));
        }
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(waiting);
        if before >= self.queue {
            return Err(Fault::Overload);
        }
        match timeout(self.patience, Arc::clone(places).acquire_owned()).await {
            Ok(Ok(room)) => Ok(Some(room)),
            Ok(Err(_)) | Err(_) => Err(Fault::Overload),
        }
    }
}

/// A place in the queue, left when dropped: also by a client that hangs up.
struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(requests: u32, pending: u32) -> UpstreamLimits {
        UpstreamLimits {
            requests: Some(requests),
            connections: None,
            pending,
            patience: Duration::from_secs(2),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once_and_a_slow_one_in_the_end() {
        let breaker = Breaker::new(&limits(1, 1));
        let held = breaker.request().await.expect("room");
        assert!(held.is_some());
        let (waits, refused) = tokio::join!(breaker.request(), breaker.request());
        assert_eq!((waits.err(), refused.err()), (Some(Fault::Overload), Some(Fault::Overload)));
        let (next, ()) = tokio::join!(breaker.request(), async { drop(held) });
        assert!(next.expect("room was made").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_queue_makes_place_in_it() {
        let breaker = Breaker::new(&limits(1, 1));
        let held = breaker.request().await;
        let gone = timeout(Duration::from_millis(1), breaker.request()).await;
        assert!(gone.is_err());
        let hall = breaker.requests.as_ref().expect("a limit");
        assert_eq!(hall.waiting.load(Ordering::Relaxed), 0);
        drop(held);
    }

    #[tokio::test]
    async fn without_a_limit_there_is_no_room_to_give_back() {
        let breaker = Breaker::new(&UpstreamLimits { requests: None, ..limits(1, 0) });
        assert!(breaker.request().await.expect("no limit").is_none());
        assert!(!breaker.is_short_of_connections());
    }
}
