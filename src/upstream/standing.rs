//! How well each server is, as all threads know it together.
//!
//! Two things take a server out: checks of its own (`health`), and requests that fail one after the
//! other (`outlier`). A server in use costs a request one load of a number that is almost never
//! written. What is known of a server survives a reload that keeps it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::breaker::Breaker;
use crate::config::Upstream;
use crate::config::raw::ServerText;
use crate::config::upstream::{Outlier, UpstreamLimits};

/// How one server stands.
#[derive(Debug)]
pub(crate) struct Standing {
    epoch: Instant,
    /// What speaks against it; almost always nothing.
    against: AtomicU32,
    /// Failures in a row.
    failures: AtomicU32,
    /// How often it was left alone, lately.
    ejections: AtomicU32,
    /// Until when it is left alone, in milliseconds since the epoch.
    until: AtomicU64,
}

/// Its checks fail.
const UNWELL: u32 = 1;
/// It is left alone for a while.
const EJECTED: u32 = 2;

/// How a server is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// In use.
    Up,
    /// Its checks fail.
    Unhealthy,
    /// Left alone after failures.
    Ejected,
}

impl Condition {
    /// Every condition.
    pub(crate) const ALL: [Condition; 3] = [Condition::Up, Condition::Unhealthy, Condition::Ejected];

    /// The word in the status and the metric.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Condition::Up => "up",
            Condition::Unhealthy => "unhealthy",
            Condition::Ejected => "ejected",
        }
    }
}

impl Standing {
    fn new(epoch: Instant) -> Standing {
        Standing {
            epoch,
            against: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            until: AtomicU64::new(0),
        }
    }

    /// Whether it may get requests.
    pub(super) fn is_usable(&self) -> bool {
        self.against.load(Ordering::Relaxed) == 0 || self.condition() == Condition::Up
    }

    /// How it is. The end of an ejection is noticed by whoever asks first.
    pub(crate) fn condition(&self) -> Condition {
        let against = self.against.load(Ordering::Relaxed);
        if against & EJECTED != 0 {
            if self.millis() < self.until.load(Ordering::Relaxed) {
                return Condition::Ejected;
            }
            self.against.fetch_and(!EJECTED, Ordering::Relaxed);
        }
        if against & UNWELL != 0 { Condition::Unhealthy } else { Condition::Up }
    }

    /// What its checks say.
    pub(super) fn checked(&self, well: bool) {
        if well {
            self.against.fetch_and(!UNWELL, Ordering::Relaxed);
        } else {
            self.against.fetch_or(UNWELL, Ordering::Relaxed);
        }
    }

    /// A request went well.
    pub(super) fn succeeded(&self) {
        // Seldom anything else than zero, and then nothing is written.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed; whether that is one too many in a row.
    pub(super) fn failed(&self, outlier: &Outlier) -> bool {
        outlier.failures > 0 && self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= outlier.failures
    }

    /// Leaves it alone for a while, longer each time.
    pub(super) fn eject(&self, outlier: &Outlier) {
        let now = self.millis();
        let forgotten = now.saturating_sub(self.until.load(Ordering::Relaxed)) > millis(outlier.max_eject);
        if forgotten {
            self.ejections.store(0, Ordering::Relaxed);
        }
        let times = self.ejections.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let rest = outlier.eject.saturating_mul(times).min(outlier.max_eject);
        self.until.store(now.saturating_add(millis(rest)), Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.against.fetch_or(EJECTED, Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        millis(self.epoch.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What all threads know of all servers.
#[derive(Debug)]
pub(crate) struct Board {
    epoch: Instant,
    standings: Mutex<HashMap<(String, ServerText), Arc<Standing>>>,
    breakers: Mutex<HashMap<(String, UpstreamLimits), Arc<Breaker>>>,
}

impl Default for Board {
    fn default() -> Board {
        Board { epoch: Instant::now(), standings: Mutex::default(), breakers: Mutex::default() }
    }
}

impl Board {
    /// The standing of a server of an upstream.
    pub(crate) fn standing(&self, upstream: &str, server: &ServerText) -> Arc<Standing> {
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = standings.entry((upstream.to_owned(), server.clone()));
        Arc::clone(entry.or_insert_with(|| Arc::new(Standing::new(self.epoch))))
    }

    /// The limits of an upstream, if it has any.
    pub(super) fn breaker(&self, upstream: &Upstream) -> Option<Arc<Breaker>> {
        let limits = upstream.limits;
        if limits.requests.is_none() && limits.connections.is_none() {
            return None;
        }
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = breakers.entry((upstream.name.clone(), limits));
        Some(Arc::clone(entry.or_insert_with(|| Arc::new(Breaker::new(&limits)))))
    }

    /// Forgets what no thread uses any more.
    pub(super) fn sweep(&self) {
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        standings.retain(|_, standing| Arc::strong_count(standing) > 1);
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        breakers.retain(|_, breaker| Arc::strong_count(breaker) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTLIER: Outlier = Outlier {
        failures: 3,
        eject: Duration::from_secs(10),
        max_eject: Duration::from_secs(25),
        share: 0.5,
    };

    fn fail(standing: &Standing, times: u32) -> bool {
        (0..times).fold(false, |_, _| standing.failed(&OUTLIER))
    }

    #[tokio::test(start_paused = true)]
    async fn only_failures_in_a_row_count() {
        let standing = Standing::new(Instant::now());
        assert!(!fail(&standing, 2));
        standing.succeeded();
        assert!(!fail(&standing, 2));
        assert!(fail(&standing, 1));
        let never = Outlier { failures: 0, ..OUTLIER };
        assert!(!standing.failed(&never));
    }

    #[tokio::test(start_paused = true)]
    async fn each_ejection_is_longer_up_to_a_bound_and_old_ones_are_forgotten() {
        let standing = Standing::new(Instant::now());
        for seconds in [10, 20, 25, 25] {
            standing.eject(&OUTLIER);
            assert_eq!(standing.condition(), Condition::Ejected);
            tokio::time::advance(Duration::from_millis(seconds * 1000 - 1)).await;
            assert!(!standing.is_usable(), "{seconds}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(standing.is_usable(), "{seconds}");
        }
        tokio::time::advance(Duration::from_secs(26)).await;
        standing.eject(&OUTLIER);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(standing.is_usable());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_an_ejection_does_not_make_a_sick_server_well() {
        let standing = Standing::new(Instant::now());
        standing.checked(false);
        standing.eject(&OUTLIER);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(standing.condition(), Condition::Unhealthy);
        standing.checked(true);
        assert!(standing.is_usable());
    }
}
