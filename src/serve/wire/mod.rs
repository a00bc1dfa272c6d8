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

use http::Uri;
use tokio::time::Instant;

use self::head::{end_of_head, has_fragment, lengths_named, same_target};
pub(crate) use self::io::ClientIo;
use crate::config::Timeouts;
use crate::decision::Builtin;

/// What is known of a connection's bytes; shared by its stream, its service and its task.
#[derive(Debug)]
pub(crate) struct Wire {
    phase: Cell<Phase>,
    /// When the phase began.
    since: Cell<Instant>,
    /// The bytes since the last request began (or since the start), bounded.
    head: RefCell<Vec<u8>>,
    /// Whether `head` begins exactly where a request head does.
    aligned: Cell<bool>,
    /// Whether a deadline has passed, and which.
    expired: Cell<Option<Phase>>,
    timeouts: Cell<Timeouts>,
    /// HTTP/2 has frames, so its bytes are not kept, and several requests at once.
    http2: Cell<bool>,
    /// Requests in flight.
    requests: Cell<usize>,
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
    /// No longer HTTP.
    Tunnel,
}

/// How the body of a request is framed, as the parser understood it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// No body.
    Absent,
    /// By its length, or by frames.
    Sized,
    /// Transfer-Encoding: chunked.
    Chunked,
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

impl Wire {
    /// A connection that was accepted just now.
    pub(crate) fn new(timeouts: Timeouts) -> Rc<Wire> {
        Rc::new(Wire {
            phase: Cell::new(Phase::FirstByte),
            since: Cell::new(Instant::now()),
            head: RefCell::new(Vec::new()),
            aligned: Cell::new(true),
            expired: Cell::new(None),
            timeouts: Cell::new(timeouts),
            http2: Cell::new(false),
            requests: Cell::new(0),
        })
    }

    /// The connection speaks HTTP/2 from here on.
    pub(crate) fn set_http2(&self) {
        self.http2.set(true);
        self.head.take();
        self.enter(Phase::Idle);
    }

    /// The connection is no longer HTTP.
    pub(crate) fn set_tunnel(&self) {
        self.head.take();
        self.enter(Phase::Tunnel);
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(Instant::now());
    }

    fn on_read(&self, bytes: &[u8]) {
        match self.phase.get() {
            Phase::FirstByte | Phase::Idle if !self.http2.get() => self.enter(Phase::Head),
            // On HTTP/2 only requests count: neither PINGs nor a HEADERS frame that comes in drops
            // keep an idle connection open.
            Phase::FirstByte | Phase::Idle | Phase::Head | Phase::Busy | Phase::Tunnel => {}
        }
        if !self.http2.get() && self.phase.get() != Phase::Tunnel {
            self.keep(bytes);
        }
    }

    /// Keeps the first bytes of a head, but the last bytes of what may end in one.
    fn keep(&self, bytes: &[u8]) {
        let mut head = self.head.borrow_mut();
        let room = KEPT.saturating_sub(head.len());
        if bytes.len() <= room {
            head.extend_from_slice(bytes);
        } else if self.aligned.get() && self.phase.get() == Phase::Head {
            head.extend_from_slice(&bytes[..room]);
        } else {
            let tail = bytes.len().min(KEPT / 2);
            let surplus = (head.len() + tail).saturating_sub(KEPT).min(head.len());
            head.drain(..surplus);
            head.extend_from_slice(&bytes[bytes.len() - tail..]);
        }
    }

    /// A request head was parsed. What of it the parser did not hand on as it was sent; the answer
    /// is "nothing" only if the bytes say so.
    pub(crate) fn begin(&self, method: &str, uri: &Uri, body: Framed) -> Altered {
        self.requests.set(self.requests.get() + 1);
        self.enter(Phase::Busy);
        if self.http2.get() {
            return Altered::default();
        }
        let mut head = self.head.borrow_mut();
        let begin = if self.aligned.get() {
            same_target(&head, method, uri).then_some(0)
        } else {
            // Behind a body the head may begin anywhere in what was kept, so its request line is
            // looked for instead.
            let line = format!("{method} {uri} HTTP/1.");
            memchr::memmem::rfind(&head, line.as_bytes())
        };
        // A body brings its length, and the parser drops or joins what else is said of it.
        let named = match (begin, body) {
            (Some(begin), Framed::Sized | Framed::Chunked) => lengths_named(&head[begin..]),
            _ => 0,
        };
        let altered = Altered {
            target: match begin {
                Some(_) => None,
                None if self.aligned.get() && has_fragment(&head) => Some(Builtin::Fragment),
                None => Some(Builtin::BadTarget),
            },
            length: match body {
                Framed::Absent => false,
                Framed::Sized => named > 1,
                Framed::Chunked => named > 0,
            },
        };
        let end = if body == Framed::Absent { end_of_head(&head) } else { None };
        match end {
            // Without a body the next head begins right behind this one.
            Some(end) => {
                head.drain(..end);
                self.aligned.set(true);
            }
            None => {
                head.clear();
                self.aligned.set(false);
            }
        }
        if head.is_empty() && head.capacity() > 4096 {
            *head = Vec::new();
        }
        altered
    }

    /// A request was answered.
    pub(crate) fn end(&self) {
        self.requests.set(self.requests.get().saturating_sub(1));
        if self.requests.get() == 0 && self.phase.get() == Phase::Busy {
            let next_came = self.aligned.get() && !self.head.borrow().is_empty();
            self.enter(if next_came { Phase::Head } else { Phase::Idle });
        }
    }

    /// The bytes of a head that hyper refused, as far as they were kept.
    pub(crate) fn refused_head(&self) -> Vec<u8> {
        self.head.borrow().clone()
    }

    /// Whether part of a request head came.
    pub(crate) fn in_head(&self) -> bool {
        self.phase.get() == Phase::Head
    }

    /// Which deadline passed, if one did.
    pub(crate) fn expired(&self) -> Option<Phase> {
        self.expired.get()
    }

    /// Until when the next byte must come; none while the client has nothing to send.
    fn read_deadline(&self) -> Option<Instant> {
        let timeouts = self.timeouts.get();
        let after = match self.phase.get() {
            Phase::FirstByte => timeouts.first_byte,
            Phase::Head => timeouts.head,
            Phase::Idle => timeouts.idle,
            // A body that does not come is noticed by who waits for it.
            Phase::Busy | Phase::Tunnel => return None,
        };
        Some(self.since.get() + after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> Rc<Wire> {
        Wire::new(Timeouts::default())
    }

    fn altered(wire: &Wire, method: &str, uri: &str, body: Framed) -> Option<Builtin> {
        wire.begin(method, &uri.parse().expect("a target"), body).target
    }

    fn begin(wire: &Wire, method: &str, uri: &str, body: Framed) -> bool {
        altered(wire, method, uri, body).is_none()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_target_as_sent_is_compared_with_the_target_as_parsed() {
        for (sent, parsed, want) in [
            ("GET /a HTTP/1.1\r\n\r\n", "/a", None),
            ("\r\n\r\nGET /a?b HTTP/1.1\r\n\r\n", "/a?b", None),
            ("GET /a#b HTTP/1.1\r\n\r\n", "/a", Some(Builtin::Fragment)),
            ("\r\nGET /a#b HTTP/1.1\r\n\r\n", "/a", Some(Builtin::Fragment)),
            ("GET /a HTTP/1.1\r\nX: #\r\n\r\n", "/b", Some(Builtin::BadTarget)),
            ("GET http://h HTTP/1.1\r\n\r\n", "http://h/", None),
            ("GET http://h/x HTTP/1.1\r\n\r\n", "http://h/x", None),
            ("GET http://h/x#y HTTP/1.1\r\n\r\n", "http://h/x", Some(Builtin::Fragment)),
        ] {
            let wire = wire();
            wire.on_read(sent.as_bytes());
            assert_eq!(altered(&wire, "GET", parsed, Framed::Absent), want, "{sent:?}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn pipelined_heads_are_told_apart() {
        let wire = wire();
        wire.on_read(b"GET /a HTTP/1.1\r\nX: y\r\n\r\nGET /b#c HTTP/1.1\r\n\r\nGET /d HTTP/1.1\r\n\r\n");
        assert!(begin(&wire, "GET", "/a", Framed::Absent));
        wire.end();
        assert!(!begin(&wire, "GET", "/b", Framed::Absent));
        wire.end();
        assert!(begin(&wire, "GET", "/d", Framed::Absent));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_head_behind_a_body_is_looked_for() {
        let wire = wire();
        wire.on_read(b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\n");
        assert!(begin(&wire, "POST", "/a", Framed::Sized));
        wire.on_read(b"helloGET /b HTTP/1.1\r\n\r\n");
        wire.end();
        assert!(begin(&wire, "GET", "/b", Framed::Absent));
        wire.on_read(b"POST /c HTTP/1.1\r\nContent-Length: 5\r\n\r\n");
        assert!(begin(&wire, "POST", "/c", Framed::Sized));
        wire.on_read(b"helloGET /d#e HTTP/1.1\r\n\r\n");
        assert!(!begin(&wire, "GET", "/d", Framed::Absent));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_length_that_the_parser_dropped_is_seen() {
        let altered = |head: &str| {
            let wire = wire();
            wire.on_read(head.as_bytes());
            wire.begin("POST", &"/a".parse().expect("a target"), Framed::Chunked)
        };
        let both = "POST /a HTTP/1.1\r\nCONTENT-length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(altered(both).length);
        assert!(!altered("POST /a HTTP/1.1\r\nX-Content-Length: 3\r\n\r\nx\ncontent-length: 3").length);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_kept_is_bounded() {
        let wire = wire();
        wire.on_read(b"POST /a HTTP/1.1\r\n\r\n");
        assert!(begin(&wire, "POST", "/a", Framed::Sized));
        for _ in 0..100 {
            wire.on_read(&[b'x'; 8192]);
        }
        wire.on_read(b"GET /b HTTP/1.1\r\n\r\n");
        assert!(wire.head.borrow().len() <= KEPT);
        assert!(begin(&wire, "GET", "/b", Framed::Absent));
    }
}
