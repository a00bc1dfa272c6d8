//! Decisions as they are made, as server-sent events.
//!
//! `decision` carries one record; `missed` says that the reader was too slow, or that more came than
//! anybody can follow, and some were left out.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::answer::{Answer, live};
use super::records::{Filter, parse};
use crate::audit::Recent;

/// Records of one batch beyond this are left out.
const MOST: usize = 200;

/// The least time between two batches, so that a busy gateway is not slowed by who looks.
const PAUSE: Duration = Duration::from_millis(200);

/// A connection without events is shown to be alive this often; proxies cut silent ones.
const ALIVE: Duration = Duration::from_secs(15);

/// Follows the decisions that a filter wants, as long as somebody reads: who is too slow is cut by the
/// connection, and the task ends with it.
pub(super) fn follow(recent: &Arc<Recent>, filter: Filter, right: OwnedSemaphorePermit) -> Answer {
    let mut watcher = recent.watch();
    let (sender, events) = mpsc::channel(4);
    tokio::spawn(async move {
        // Tells the reader that from now on nothing is missed.
        if sender.send(Bytes::from_static(b"event: ready\ndata: {}\n\n")).await.is_err() {
            return;
        }
        loop {
            let news = tokio::select! {
                news = timeout(ALIVE, watcher.news()) => news,
                () = sender.closed() => return,
            };
            let begin = Instant::now();
            let text = match news {
                Err(_) => ": still here\n\n".to_owned(),
                Ok(news) => {
                    let mut wanted: Vec<_> = parse(&news.lines).filter(|kept| filter.wants(kept)).collect();
                    wanted.sort_by(|a, b| a.ts().cmp(b.ts()));
                    let left_out = wanted.len().saturating_sub(MOST);
                    let mut text = String::new();
                    if news.missed || left_out > 0 {
                        // Writing into a string cannot fail.
                        let _ = write!(text, "event: missed\ndata: {{\"left_out\":{left_out}}}\n\n");
                    }
                    for kept in wanted.iter().skip(left_out) {
                        let id = kept.text("/decision_id").unwrap_or("");
                        let _ = write!(text, "event: decision\nid: {id}\ndata: {}\n\n", kept.line);
                    }
                    text
                }
            };
            if !text.is_empty() && sender.send(text.into()).await.is_err() {
                return;
            }
            tokio::select! {
                () = sleep_until(begin + PAUSE) => {}
                () = sender.closed() => return,
            }
        }
    });
    live(events, right)
}
