//! What stays the same over all tries of one request: what is said beside its fields, and how long things
//! may take.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::{HeaderValue, Request, header};
use tokio::time::Instant;

use super::added::Added;
use super::alarm::Alarm;
use super::body::{BodyEnd, Clock, Fate, RequestBody};
use super::fault::Fault;
use super::link::Failure;
use super::server::Server;
use crate::config::Timeouts;

/// What stays the same over all tries.
pub(super) struct Terms {
    pub(super) added: Added,
    pub(super) host: Option<HeaderValue>,
    pub(super) fate: Option<Rc<Fate>>,
    pub(super) timeouts: Timeouts,
    pub(super) deadline: Option<Instant>,
    pub(super) client: SocketAddr,
    pub(super) te_trailers: bool,
    pub(super) upgrade: bool,
    /// When the head of the answer came, where somebody has looked at the clock then.
    pub(super) answered: Cell<Option<Instant>>,
}

impl Terms {
    /// Puts among the fields of a request what stands beside them, for those who write these.
    pub(super) fn complete(&self, request: &mut Request<RequestBody>, server: &Server) {
        let host = self.host.as_ref().unwrap_or(server.authority());
        request.headers_mut().insert(header::HOST, host.clone());
        self.added.insert_into(request.headers_mut());
    }

    /// How the client's body ended so far.
    pub(super) fn end_of_body(&self) -> BodyEnd {
        self.fate.as_ref().map_or(BodyEnd::Well, |fate| fate.end())
    }

    /// How long connecting may take.
    pub(super) fn connect_patience(&self) -> Duration {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.map_or(self.timeouts.connect, |left| left.min(self.timeouts.connect))
    }

    /// The patience with an answer's body.
    pub(super) fn clock(&self) -> Clock {
        Clock::new(self.timeouts.body_idle, self.deadline)
    }

    /// Waits for the head of an answer. While the client's body still moves, the upstream is not late:
    /// it may well want all of it first.
    pub(super) async fn in_time<T>(
        &self,
        alarm: &mut Alarm,
        begin: Instant,
        exchange: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let patience = self.timeouts.upstream_first_byte;
        let mut exchange = pin!(exchange);
        let mut due = begin + patience;
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = exchange.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            loop {
                ready!(alarm.poll_until(cx, self.deadline.map_or(due, |deadline| deadline.min(due))));
                let moved = self.fate.as_ref().and_then(|fate| fate.moved());
                let later = moved.map(|moved| moved + patience).filter(|later| *later > due);
                match later {
                    Some(later) if self.deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                        due = later
                    }
                    _ => return Poll::Ready(Err(Failure::Broken(Fault::Timeout))),
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    fn terms(total: Option<Duration>) -> Terms {
        let timeouts = Timeouts { upstream_first_byte: Duration::from_secs(2), ..Timeouts::default() };
        Terms {
            added: Added::default(),
            host: None,
            fate: Some(Rc::default()),
            timeouts,
            deadline: total.map(|total| Instant::now() + total),
            client: ([127, 0, 0, 1], 1).into(),
            te_trailers: false,
            upgrade: false,
            answered: Cell::new(None),
        }
    }

    async fn uploading(terms: &Terms, seconds: u64, silence: u64) -> Result<(), Failure> {
        let upload = async {
            for _ in 0..seconds {
                sleep(Duration::from_secs(1)).await;
                terms.fate.iter().for_each(|fate| fate.touch());
            }
            sleep(Duration::from_secs(silence)).await;
            Ok(())
        };
        terms.in_time(&mut Alarm::default(), Instant::now(), upload).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_is_not_late_while_the_upload_moves() {
        assert!(uploading(&terms(None), 60, 1).await.is_ok());
        assert!(matches!(uploading(&terms(None), 60, 3).await, Err(Failure::Broken(Fault::Timeout))));
        assert!(matches!(uploading(&terms(None), 0, 3).await, Err(Failure::Broken(Fault::Timeout))));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_for_all_of_it_is_not_prolonged() {
        let begin = Instant::now();
        let ended = uploading(&terms(Some(Duration::from_secs(10))), 60, 1).await;
        assert!(matches!(ended, Err(Failure::Broken(Fault::Timeout))));
        assert_eq!(begin.elapsed().as_secs(), 10);
    }
}
