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

/// What is known of a connection's bytes; shared by its stream, its service and its task.
#[derive(Debug)]
pub(crate) struct Wire {
    phase: Cell<Phase>,
    /// When the phase began.
    since: Cell<Instant>,
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
            since: Cell::new(Instant::now()),
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
        self.since.set(Instant::now());
        self.silent.set(false);
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
        if self.phase.get() == Phase::Idle && now >= self.since.get() + self.wakefulness() {
            self.silent.set(true);
        }
    }

    /// How long a connection that is idle stays ready for its next request.
    fn wakefulness(&self) -> Duration {
        let idle = self.timeouts.get().idle;
        if self.http2.get() { idle } else { idle.min(AWAKE) }
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
            Phase::Busy => Some(self.since.get() + self.wakefulness()),
            Phase::Idle if !self.silent.get() => Some(self.since.get() + self.wakefulness()),
            Phase::FirstByte | Phase::Head | Phase::Idle | Phase::Resting => self.read_deadline(),
        }
    }

    /// When to look again where the next look would have been in the past: a request takes long. The
    /// longer it has taken, the later.
    fn later_look(&self, now: Instant) -> Instant {
        now + (now - self.since.get()).clamp(self.wakefulness(), self.timeouts.get().idle)
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

    const BOUNDARIES: [usize; 4] = [1, 7, 64, 4096];

    /// Requests one after the other, each sent when the one before was answered, in pieces of a
    /// size. What the bytes say of each.
    fn conversation(requests: &[(&str, &str, &str, Framed)], piece: usize) -> Vec<Altered> {
        let wire = wire();
        let one = |(head, rest, target, body): &(&str, &str, &str, Framed)| {
            head.as_bytes().chunks(piece).for_each(|piece| wire.on_read(piece));
            let method = head.split(' ').next().unwrap_or_default();
            let altered = wire.begin(method, &target.parse().expect("a target"), *body);
            rest.as_bytes().chunks(piece).for_each(|piece| wire.on_read(piece));
            wire.end();
            altered
        };
        requests.iter().map(one).collect()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_stands_in_a_body_does_not_matter() {
        let multipart = "--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\
                         GET /a HTTP/1.1\r\n\r\nGET /b#c HTTP/1.1\r\n\r\n--x--\r\n";
        let length = multipart.len() as u64;
        let chunked = format!("{length:x}\r\n{multipart}\r\n0\r\n\r\n");
        let post = "POST /up HTTP/1.1\r\nHost: a\r\n\r\n";
        let get = ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "", "/a", Framed::Absent);
        let fragment = ("GET /b#c HTTP/1.1\r\n\r\n", "", "/b", Framed::Absent);
        for piece in BOUNDARIES {
            let sized = (post, multipart, "/up", Framed::Sized(length));
            let chunked = (post, &*chunked, "/up", Framed::Chunked);
            for up in [sized, chunked] {
                let said = conversation(&[up, get, get, up, up, get, fragment, get], piece);
                let targets: Vec<_> = said.iter().map(|altered| altered.target).collect();
                let want = [None, None, None, None, None, None, Some(Builtin::Fragment), None];
                assert_eq!(targets, want, "{piece} {:?}", up.3);
                assert!(said.iter().all(|altered| !altered.length));
            }
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_request_sent_with_a_body_is_found_behind_it() {
        let wire = wire();
        wire.on_read(b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET /b#c HTTP/1.1\r\n\r\n");
        assert!(begin(&wire, "POST", "/a", Framed::Sized(5)));
        wire.end();
        assert_eq!(altered(&wire, "GET", "/b", Framed::Absent), Some(Builtin::Fragment));
        wire.on_read(b"POST /c HTTP/1.1\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /d HTTP/1.1\r\n\r\n");
        assert!(begin(&wire, "POST", "/c", Framed::Chunked));
        wire.end();
        assert!(begin(&wire, "GET", "/d", Framed::Absent));
        wire.end();
        wire.on_read(b"POST /c HTTP/1.1\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /d#e HTTP/1.1\r\n\r\n");
        assert!(begin(&wire, "POST", "/c", Framed::Chunked));
        wire.end();
        assert!(!begin(&wire, "GET", "/d", Framed::Absent));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_line_that_stands_elsewhere_too_hides_no_length() {
        let wire = wire();
        wire.on_read(
            b"POST /a HTTP/1.1\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
            POST /t HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\
            X: POST /t HTTP/1.1\r\n\r\n16\r\n\nPOST /t HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
        );
        assert!(begin(&wire, "POST", "/a", Framed::Chunked));
        wire.end();
        assert!(wire.begin("POST", &"/t".parse().expect("a target"), Framed::Chunked).length);
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
        assert!(!altered("POST /a HTTP/1.1\r\nContent-Length-Hint: 3\r\n\r\n").length);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_kept_is_bounded() {
        let wire = wire();
        wire.on_read(b"POST /a HTTP/1.1\r\n\r\n");
        assert!(begin(&wire, "POST", "/a", Framed::Chunked));
        for _ in 0..100 {
            wire.on_read(&[b'x'; 8192]);
        }
        wire.end();
        wire.on_read(b"GET /b HTTP/1.1\r\n\r\n");
        assert!(wire.head.borrow().len() <= KEPT);
        assert!(begin(&wire, "GET", "/b", Framed::Absent));
        wire.end();
        // Much that was sent ahead: what did not fit is looked for behind what did.
        for _ in 0..10_000 {
            wire.on_read(b"GET /c HTTP/1.1\r\n\r\n");
        }
        assert!(wire.head.borrow().len() <= KEPT);
        assert!(begin(&wire, "GET", "/c", Framed::Absent));
    }
}
