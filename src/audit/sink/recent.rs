//! The last records, for operators who look at a running gateway.
//!
//! Each runtime thread copies the lines that its sink has taken into a ring of its own, once for
//! each batch and behind the requests: what it costs does not depend on whether somebody looks, and
//! is a copy of the batch. Rings are read as a whole or from a cursor on; a reader that is too slow
//! misses the oldest lines, and is told so.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The rings of all threads.
#[derive(Debug, Default)]
pub struct Recent {
    kept: AtomicBool,
    rings: Mutex<Vec<Arc<Ring>>>,
    watchers: AtomicUsize,
    news: Notify,
}

/// The last lines of one thread.
#[derive(Debug, Default)]
pub(super) struct Ring {
    state: Mutex<State>,
}

/// INVARIANT: `bytes` holds the last `min(end, CAPACITY)` bytes, byte number `n` at `n % CAPACITY`.
#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// How many bytes there ever were.
    end: u64,
}

/// Follows the rings: where it has read to.
#[derive(Debug)]
pub struct Watcher {
    recent: Arc<Recent>,
    cursors: Vec<u64>,
}

/// What there is to read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Whole lines.
    pub lines: Vec<u8>,
    /// Whether lines were missed before these.
    pub missed: bool,
}

/// What one thread keeps: about two thousand records.
const CAPACITY: usize = 2 << 20;

impl Recent {
    /// Begins to keep records; before threads take handles of the log.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Whether any are kept.
    pub fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// A ring for another thread, if records are kept.
    pub(super) fn ring(&self) -> Option<Arc<Ring>> {
        self.is_kept().then(|| {
            let ring = Arc::<Ring>::default();
            self.lock().push(Arc::clone(&ring));
            ring
        })
    }

    /// Takes lines of one thread.
    pub(super) fn take(&self, ring: &Ring, lines: &[u8]) {
        ring.lock().take(lines);
        // Whoever began to watch after the lock was taken finds the lines by itself.
        if self.watchers.load(Ordering::Relaxed) > 0 {
            self.news.notify_waiters();
        }
    }

    /// All records that are kept, the lines of one thread after those of another.
    pub fn lines(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for ring in self.lock().iter() {
            ring.lock().read(0, &mut lines);
        }
        lines
    }

    /// Follows what comes from now on.
    pub fn watch(self: &Arc<Recent>) -> Watcher {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        let cursors = self.lock().iter().map(|ring| ring.lock().end).collect();
        Watcher { recent: Arc::clone(self), cursors }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Ring>>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// Waits for records.
    pub async fn news(&mut self) -> News {
        loop {
            let recent = Arc::clone(&self.recent);
            // Registered before the look, or what comes in between would be slept through.
            let notified = recent.news.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let news = self.look();
            if !news.lines.is_empty() {
                return news;
            }
            notified.await;
        }
    }

    fn look(&mut self) -> News {
        let mut news = News::default();
        let rings = self.recent.lock();
        // A thread that came later is read from its beginning.
        self.cursors.resize(rings.len(), 0);
        for (ring, cursor) in rings.iter().zip(&mut self.cursors) {
            let state = ring.lock();
            news.missed |= state.read(*cursor, &mut news.lines);
            *cursor = state.end;
        }
        news
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.recent.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ring {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, lines: &[u8]) {
        // Of more than the ring can hold the end counts.
        let lost = lines.len().saturating_sub(CAPACITY);
        self.end += lost as u64;
        let mut rest = lines.get(lost..).unwrap_or_default();
        while !rest.is_empty() {
            let at = (self.end % CAPACITY as u64) as usize;
            let count = rest.len().min(CAPACITY - at);
            let (now, later) = rest.split_at(count);
            match self.bytes.get_mut(at..at + count) {
                Some(old) => old.copy_from_slice(now),
                None => {
                    // The ring grows until it has gone round once.
                    self.bytes.resize(at, 0);
                    self.bytes.extend_from_slice(now);
                }
            }
            self.end += count as u64;
            rest = later;
        }
    }

    /// Appends the whole lines from a position on. Whether older ones were missed.
    fn read(&self, from: u64, out: &mut Vec<u8>) -> bool {
        let oldest = self.end - self.bytes.len().min(CAPACITY) as u64;
        let start = from.max(oldest);
        let begin = out.len();
        let mut at = start;
        while at < self.end {
            let place = (at % CAPACITY as u64) as usize;
            let count = (self.end - at).min((CAPACITY - place) as u64) as usize;
            out.extend_from_slice(self.bytes.get(place..place + count).unwrap_or_default());
            at += count as u64;
        }
        if start > from && start > 0 {
            // The first line lost its beginning.
            let read = out.get(begin..).unwrap_or_default();
            let cut = memchr::memchr(b'\n', read).map_or(read.len(), |at| at + 1);
            out.drain(begin..begin + cut);
        }
        start > from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize, length: usize) -> Vec<u8> {
        let mut line = format!("{number}:").into_bytes();
        line.resize(length, b'x');
        line.push(b'\n');
        line
    }

    #[test]
    fn the_last_whole_lines_are_kept_however_the_ring_goes_round() {
        let mut state = State::default();
        let lengths = [7, 100, 4099, 70_001];
        let mut all: Vec<Vec<u8>> = Vec::new();
        for number in 0..3_000 {
            let line = line(number, lengths[number % 4]);
            state.take(&line);
            all.push(line);
            if number % 500 == 250 {
                let mut out = Vec::new();
                let missed = state.read(0, &mut out);
                let mut size = 0;
                let kept: Vec<u8> = all
                    .iter()
                    .rev()
                    .take_while(|line| {
                        size += line.len();
                        size < CAPACITY || (!missed && size == CAPACITY)
                    })
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                    .flatten()
                    .copied()
                    .collect();
                assert!(out == kept, "{number}: {} and {}", out.len(), kept.len());
            }
        }
    }

    #[tokio::test]
    async fn a_watcher_hears_of_what_comes_and_of_what_it_missed() {
        let recent = Arc::new(Recent::default());
        assert!(recent.ring().is_none());
        recent.keep();
        let ring = recent.ring().unwrap();
        recent.take(&ring, b"before\n");
        let mut watcher = recent.watch();
        recent.take(&ring, b"one\n");
        assert_eq!(watcher.news().await, News { lines: b"one\n".to_vec(), missed: false });
        let later = recent.ring().unwrap();
        let waiting = async {
            tokio::task::yield_now().await;
            recent.take(&later, b"two\n");
        };
        let (news, ()) = tokio::join!(watcher.news(), waiting);
        assert_eq!(news.lines, b"two\n");
        for number in 0..300 {
            recent.take(&ring, &line(number, 10_000));
        }
        let news = watcher.news().await;
        assert!(news.missed && news.lines.len() < CAPACITY && news.lines.ends_with(b"x\n"));
        assert_eq!(recent.lines().len() - b"two\n".len(), news.lines.len());
    }
}
