//! The client's connection as bytes: deadlines, and a bounded copy of the current request head.
//!
//! hyper parses; nothing here does. But hyper answers some malformed heads itself, before any
//! service exists, and it hands on a `Uri` that is not always what was sent (a fragment is
//! dropped). So a small copy of the bytes of the current head is kept beside it: for the record of
//! a head that hyper refused, and to compare the target as sent with the target as parsed.
//!
//! Deadlines live here too, because only here is it known that a client is silent: hyper's own
//! header timer costs an allocation a request, and its protocol sniffing has none.

mod head;
mod io;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use http::Uri;
use tokio::time::Instant;

use self::head::{end_of_head, has_fragment, lengths_named, lines_of, same_target};
pub(crate) use self::io::ClientIo;
use crate::config::Timeouts;
use crate::decision::Builtin;
use crate::upstream::turn;

/// What is known of a connection's bytes; shared by its stream, its service and its task.
#[derive(Debug)]
pub(crate) struct Wire {
    phase: Cell<Phase>,
    /// When the phase began; none: in this turn of the task.
    since: Cell<Option<Instant>>,
    /// Bytes that came and belong to no request yet (or to a body whose end only the parser knows),
    /// bounded.
    head: RefCell<Vec<u8>>,
    /// What is known of where in them the next head begins.
    start: Cell<Start>,
    /// How many bytes of the current body are still to come; they are not kept.
    body: Cell<u64>,
    /// Whether bytes behind those in `head` were left out.
    cut: Cell<bool>,
    /// Whether a deadline has passed, and which.
    expired: Cell<Option<Phase>>,
    timeouts: Cell<Timeouts>,
    /// HTTP/2 has frames, so its bytes are not kept, and several requests at once.
    http2: Cell<bool>,
    /// Requests in flight.
    requests: Cell<usize>,
    /// Nothing has come for so long that a pause is worth it.
    silent: Cell<bool>,
    /// The client does not take what is written.
    blocked: Cell<bool>,
    /// Whether there has been any.
    used: Cell<bool>,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Accepted; nothing came yet. TLS counts.
    FirstByte,
    /// Part of a request head came.
    Head,
    /// A request is being judged, forwarded, answered.
    Busy,
    /// Kept alive between requests.
    Idle,
    /// The same, and what a request needs is put away.
    Resting,
    /// No longer HTTP.
    Tunnel,
}

/// How the body of a request is framed, as the parser understood it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// No body.
    Absent,
    /// By this length.
    Sized(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// What is known of where in the kept bytes a head begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// With the first of them.
    First,
    /// Behind a chunked body. If the client waited for its answer, at this place, since what came
    /// before the answer was sent is the body.
    Behind(usize),
}

/// What a parsed head says otherwise than the head that was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Altered {
    /// The rule that says how the request target was altered.
    pub(crate) target: Option<Builtin>,
    /// A Content-Length beside Transfer-Encoding, or a second one, was dropped (RFC 9112 section 6.3).
    pub(crate) length: bool,
}

/// The longest head that is kept. A refused head is only shown cut, and a target is compared only
/// up to the limit that the intake gate sets anyway.
const KEPT: usize = 64 * 1024;

/// How long an idle connection keeps what its next request needs: its parser with 16 KiB of buffers.
const AWAKE: Duration = Duration::from_secs(1);

impl Wire {
    /// A connection that was accepted just now.
    pub(crate) fn new(timeouts: Timeouts) -> Rc<Wire> {
        Rc::new(Wire {
            phase: Cell::new(Phase::FirstByte),
            since: Cell::new(Some(Instant::now())),
            head: RefCell::new(Vec::new()),
            start: Cell::new(Start::First),
            body: Cell::new(0),
            cut: Cell::new(false),
            expired: Cell::new(None),
            timeouts: Cell::new(timeouts),
            http2: Cell::new(false),
            requests: Cell::new(0),
            silent: Cell::new(false),
            blocked: Cell::new(false),
            used: Cell::new(false),
        })
    }

    /// The connection speaks HTTP/2 from here on. Its first request has as long as a head of HTTP/1.1:
    /// frames that come in drops, or none, are silence too.
    pub(crate) fn set_http2(&self) {
        self.http2.set(true);
        self.head.take();
        self.enter(Phase::Head);
    }

    /// The connection is no longer HTTP.
    pub(crate) fn set_tunnel(&self) {
        self.head.take();
        self.enter(Phase::Tunnel);
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(turn::last_look());
        self.silent.set(false);
    }

    /// When the phase began, to the turn of the task.
    fn since(&self) -> Instant {
        self.since.get().unwrap_or_else(|| {
            let now = turn::last_look().unwrap_or_else(Instant::now);
            self.since.set(Some(now));
            now
        })
    }

    /// A turn of the connection's task ends: a phase that began in it, and has not ended, is timed.
    pub(crate) fn end_turn(&self) {
        self.since();
    }

    fn on_read(&self, bytes: &[u8]) {
        match self.phase.get() {
            Phase::FirstByte | Phase::Idle | Phase::Resting if !self.http2.get() => self.enter(Phase::Head),
            // On HTTP/2 only requests count: neither PINGs nor a HEADERS frame that comes in drops
            // keep an idle connection open.
            Phase::FirstByte | Phase::Idle | Phase::Resting | Phase::Head | Phase::Busy | Phase::Tunnel => {}
        }
        if !self.http2.get() && self.phase.get() != Phase::Tunnel {
            self.keep(bytes);
        }
    }

    /// Keeps what is not of a body of known length: the first bytes of what begins with a head, the
    /// last bytes of what may end in one.
    fn keep(&self, bytes: &[u8]) {
        let of_body = usize::try_from(self.body.get()).unwrap_or(usize::MAX).min(bytes.len());
        self.body.set(self.body.get() - of_body as u64);
        let bytes = &bytes[of_body..];
        let mut head = self.head.borrow_mut();
        let room = KEPT.saturating_sub(head.len());
        if bytes.len() <= room {
            head.extend_from_slice(bytes);
            return;
        }
        match self.start.get() {
            Start::First => {
                head.extend_from_slice(&bytes[..room]);
                self.cut.set(true);
            }
            Start::Behind(place) => {
                let tail = bytes.len().min(KEPT / 2);
                let surplus = (head.len() + tail).saturating_sub(KEPT).min(head.len());
                head.drain(..surplus);
                head.extend_from_slice(&bytes[bytes.len() - tail..]);
                self.start.set(Start::Behind(place.saturating_sub(surplus)));
            }
        }
    }

    /// A request head was parsed. What of it the parser did not hand on as it was sent; the answer
    /// is "nothing" only if the bytes say so.
    pub(crate) fn begin(&self, method: &str, uri: &Uri, body: Framed) -> Altered {
        self.requests.set(self.requests.get() + 1);
        self.used.set(true);
        self.enter(Phase::Busy);
        if self.http2.get() {
            return Altered::default();
        }
        let mut head = self.head.borrow_mut();
        let place = match self.start.get() {
            Start::First => 0,
            Start::Behind(place) => place.min(head.len()),
        };
        let (target, begin) = if same_target(&head[place..], method, uri) {
            (None, Some(place))
        } else if has_fragment(&head[place..]) {
            (Some(Builtin::Fragment), Some(place))
        } else if self.start.get() == Start::First {
            (Some(Builtin::BadTarget), None)
        } else {
            // It was sent before the body's answer. Where its line stands more than once, the most
            // is believed that any of them says.
            let lines = lines_of(&head, method, uri);
            let found = lines.iter().max_by_key(|line| lengths_named(&head[**line..])).copied();
            (found.is_none().then_some(Builtin::BadTarget), found)
        };
        // A body brings its length, and the parser drops or joins what else is said of it.
        let named = match (begin, body) {
            (Some(begin), Framed::Sized(_) | Framed::Chunked) => lengths_named(&head[begin..]),
            _ => 0,
        };
        let length = match body {
            Framed::Absent => false,
            Framed::Sized(_) => named > 1,
            Framed::Chunked => named > 0,
        };
        let end = begin.and_then(|begin| Some(begin + end_of_head(&head[begin..])?));
        let done = end.unwrap_or(head.len());
        head.drain(..done);
        let length_of_body = match body {
            Framed::Absent => Some(0),
            Framed::Sized(length) => Some(length),
            Framed::Chunked => None,
        };
        match length_of_body.filter(|_| end.is_some() && !self.cut.get()) {
            Some(length) => {
                let here = usize::try_from(length).unwrap_or(usize::MAX).min(head.len());
                head.drain(..here);
                self.body.set(length - here as u64);
                self.start.set(Start::First);
            }
            None => self.start.set(Start::Behind(0)),
        }
        self.cut.set(false);
        if head.is_empty() && head.capacity() > 4096 {
            *head = Vec::new();
        }
        Altered { target, length }
    }

    /// A request was answered.
    pub(crate) fn end(&self) {
        self.requests.set(self.requests.get().saturating_sub(1));
        if self.requests.get() == 0 && self.phase.get() == Phase::Busy {
            let kept = self.head.borrow().len();
            let next_came = self.start.get() == Start::First && kept > 0;
            if let Start::Behind(_) = self.start.get() {
                self.start.set(Start::Behind(kept));
            }
            self.enter(if next_came { Phase::Head } else { Phase::Idle });
        }
    }

    /// The bytes of a head that hyper refused, as far as they were kept.
    pub(crate) fn refused_head(&self) -> Vec<u8> {
        let head = self.head.borrow();
        match self.start.get() {
            Start::First => head.clone(),
            Start::Behind(place) => head.get(place..).unwrap_or_default().to_vec(),
        }
    }

    /// Whether part of a request head came.
    pub(crate) fn in_head(&self) -> bool {
        self.phase.get() == Phase::Head
    }

    /// Whether nothing of a request came that is not answered.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase.get(), Phase::FirstByte | Phase::Idle | Phase::Resting)
    }

    /// Puts a connection of HTTP/1.1 to rest that has been silent for a while. Only where every byte that
    /// came belongs to a request that was answered, and every byte of the answers has gone: the parser is
    /// given up, and whatever it knew with it. Whether it may.
    pub(crate) fn rest(&self) -> bool {
        if !self.silent.get() {
            return false;
        }
        let whole = self.start.get() == Start::First && self.body.get() == 0 && !self.cut.get();
        let done = self.requests.get() == 0 && !self.blocked.get() && self.head.borrow().is_empty();
        let may = self.phase.get() == Phase::Idle && whole && done;
        if may {
            self.phase.set(Phase::Resting);
            self.head.take();
        }
        may
    }

    /// Whether it rests.
    #[cfg(test)]
    pub(crate) fn is_resting(&self) -> bool {
        self.phase.get() == Phase::Resting
    }

    /// Notes that nothing has come for a while, if it is so.
    fn look(&self, now: Instant) {
        if self.phase.get() == Phase::Idle && now >= self.since() + self.wakefulness() {
            self.silent.set(true);
        }
    }

    /// How long a connection that is idle stays ready for its next request.
    fn wakefulness(&self) -> Duration {
        let idle = self.timeouts.get().idle;
        if self.http2.get() { idle } else { idle.min(AWAKE) }
    }

    /// How long a client may pause within a body, or in taking one.
    pub(crate) fn body_idle(&self) -> Duration {
        self.timeouts.get().body_idle
    }

    /// Whether there has been a request.
    pub(crate) fn is_used(&self) -> bool {
        self.used.get()
    }

    /// Which deadline passed, if one did.
    pub(crate) fn expired(&self) -> Option<Phase> {
        self.expired.get()
    }

    /// When to look at the deadline: when it passes, or, while the client has nothing to send, no later
    /// than what would begin now is worth a look. That may have passed for a request that takes long.
    fn next_look(&self) -> Option<Instant> {
        match self.phase.get() {
            Phase::Tunnel => None,
            Phase::Busy => Some(self.since() + self.wakefulness()),
            Phase::Idle if !self.silent.get() => Some(self.since() + self.wakefulness()),
            Phase::FirstByte | Phase::Head | Phase::Idle | Phase::Resting => self.read_deadline(),
        }
    }

    /// When to look again where the next look would have been in the past: a request takes long. The
    /// longer it has taken, the later.
    fn later_look(&self, now: Instant) -> Instant {
        now + (now - self.since()).clamp(self.wakefulness(), self.timeouts.get().idle)
    }

    /// Until when the next byte must come; none while the client has nothing to send.
    fn read_deadline(&self) -> Option<Instant> {
        let timeouts = self.timeouts.get();
        let after = match self.phase.get() {
            Phase::FirstByte => timeouts.first_byte,
            Phase::Head => timeouts.head,
            Phase::Idle | Phase::Resting => timeouts.idle,
            // A body that does not come is noticed by who waits for it.
            Phase::Busy | Phase::Tunnel => return None,
        };
        Some(self.since() + after)
    }
}

#[cfg(test)]
mod tests;
