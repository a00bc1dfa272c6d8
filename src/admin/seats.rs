//! Who is served at the admin listener, when more come than there is room for.
//!
//! Operators and probes must get in whatever others do. So nobody waits for a seat: where all are taken,
//! whoever has made no progress for the longest time gives his up, be it that he sends nothing or that he
//! reads nothing. One address has no more than a part of them. Only what is being worked on is kept, and
//! that is bounded too: requests of callers without the token ([`Seat::works`]) and streams of events
//! ([`Seat::streams`]) have seats of their own number, which leaves the others to probes, to the metrics
//! and to who shows the token. The socket has seats of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::serve::client_group;

/// All seats.
#[derive(Debug)]
pub(super) struct Seats {
    limits: Limits,
    taken: Mutex<Taken>,
    work: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    operators_streams: Arc<Semaphore>,
}

/// How many there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections.
    pub(super) all: usize,
    /// Connections of one address.
    pub(super) of_address: usize,
    /// Requests at once, of callers without the token.
    pub(super) work: usize,
    /// Streams of events at once, of callers without the token.
    pub(super) streams: usize,
    /// Streams of events at once, of the others.
    pub(super) operators_streams: usize,
}

/// Of the address. What is worked on leaves sixteen seats to whoever comes, even where all come from one
/// address, as they do on loopback.
pub(super) const LISTENER: Limits =
    Limits { all: 64, of_address: 48, work: 16, streams: 8, operators_streams: 8 };

/// Of the socket, which only the gateway's own user opens.
pub(super) const SOCKET: Limits =
    Limits { all: 24, of_address: 24, work: 0, streams: 0, operators_streams: 8 };

#[derive(Debug, Default)]
struct Taken {
    /// Counts what happens, since no more than the order matters.
    clock: u64,
    places: BTreeMap<u64, Place>,
}

#[derive(Debug)]
struct Place {
    address: Option<IpAddr>,
    /// When there was progress: it came, it asked, it has read an answer.
    since: u64,
    /// An answer is being made or sent.
    busy: bool,
    /// It does not read what is sent.
    stalled: bool,
    /// What it asked for is among what is bounded, or it may ask for anything.
    kept: bool,
    work: Option<OwnedSemaphorePermit>,
    leave: Arc<Notify>,
}

/// A seat that is taken, for as long as this lives.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    id: u64,
    leave: Arc<Notify>,
}

impl Seats {
    /// None is taken.
    pub(super) fn new(limits: Limits) -> Arc<Seats> {
        Arc::new(Seats {
            limits,
            taken: Mutex::default(),
            work: Arc::new(Semaphore::new(limits.work)),
            streams: Arc::new(Semaphore::new(limits.streams)),
            operators_streams: Arc::new(Semaphore::new(limits.operators_streams)),
        })
    }

    /// A seat for a connection, if need be that of another. None is left where all are kept.
    pub(super) fn take(self: &Arc<Self>, peer: Option<IpAddr>) -> Option<Arc<Seat>> {
        let address = peer.map(group);
        let mut taken = self.lock();
        let of_address = taken.places.values().filter(|place| place.address == address).count();
        let full = taken.places.len() >= self.limits.all;
        if full || of_address >= self.limits.of_address {
            // Who crowds out others of his own address does not crowd out anybody else.
            let near = |place: &Place| of_address < self.limits.of_address || place.address == address;
            let gives = taken.places.iter().filter(|(_, place)| place.can_go() && near(place));
            let id = gives.min_by_key(|(_, place)| place.since).map(|(id, _)| *id)?;
            if let Some(gone) = taken.places.remove(&id) {
                tracing::debug!(address = ?gone.address, "a seat at the admin listener was given to another");
                gone.leave.notify_one();
            }
        }
        let (id, leave) = (taken.tick(), Arc::<Notify>::default());
        let place = Place {
            address,
            since: id,
            busy: false,
            stalled: false,
            kept: false,
            work: None,
            leave: Arc::clone(&leave),
        };
        taken.places.insert(id, place);
        Some(Arc::new(Seat { seats: Arc::clone(self), id, leave }))
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl Place {
    fn can_go(&self) -> bool {
        !self.busy || self.stalled || !self.kept
    }
}

impl Seat {
    /// A request has come.
    pub(super) fn asks(&self) {
        self.change(|place, now| (place.busy, place.kept, place.since) = (true, false, now));
    }

    /// It is one of somebody who may ask for anything.
    pub(super) fn is_trusted(&self) {
        self.change(|place, _| place.kept = true);
    }

    /// It is one of somebody else, and means work: whether there is room for more of that.
    #[must_use]
    pub(super) fn works(&self) -> bool {
        let Ok(permit) = Arc::clone(&self.seats.work).try_acquire_owned() else { return false };
        self.change(|place, _| (place.work, place.kept) = (Some(permit), true));
        true
    }

    /// It is one for a stream of events: the right to it, if there is room.
    pub(super) fn streams(&self, trusted: bool) -> Option<OwnedSemaphorePermit> {
        let room = if trusted { &self.seats.operators_streams } else { &self.seats.streams };
        let permit = Arc::clone(room).try_acquire_owned().ok()?;
        self.change(|place, _| place.kept = true);
        Some(permit)
    }

    /// The answer is made; perhaps not all of it is sent.
    pub(super) fn answered(&self) {
        self.change(|place, _| place.busy = false);
    }

    /// What is sent is not read.
    pub(super) fn stalls(&self) {
        self.change(|place, _| place.stalled = true);
    }

    /// All there was to be sent is sent.
    pub(super) fn has_sent(&self) {
        self.change(|place, now| {
            (place.stalled, place.since) = (false, now);
            if !place.busy {
                place.work = None;
            }
        });
    }

    /// Returns when another needs the seat.
    pub(super) async fn is_given_up(&self) {
        self.leave.notified().await;
    }

    fn change(&self, change: impl FnOnce(&mut Place, u64)) {
        let mut taken = self.seats.lock();
        let now = taken.tick();
        if let Some(place) = taken.places.get_mut(&self.id) {
            change(place, now);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().places.remove(&self.id);
    }
}

/// What counts as one address. All of loopback is one machine, which has as many as it likes.
fn group(peer: IpAddr) -> IpAddr {
    let peer = peer.to_canonical();
    if peer.is_loopback() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { client_group(peer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Limits = Limits { all: 4, of_address: 3, work: 1, streams: 1, operators_streams: 1 };

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// Whether a seat is still its holder's.
    fn has(seat: &Arc<Seat>) -> bool {
        seat.seats.lock().places.contains_key(&seat.id)
    }

    #[test]
    fn whoever_comes_gets_the_seat_of_who_made_no_progress_for_the_longest_time() {
        let seats = Seats::new(FEW);
        let all =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"].map(|peer| seats.take(ip(peer)).unwrap());
        // The first asked and has read its answer, so the second is the last that did anything.
        all[0].asks();
        all[0].answered();
        all[0].has_sent();
        let next = seats.take(ip("192.0.2.5")).unwrap();
        assert_eq!(all.each_ref().map(has), [true, false, true, true]);
        drop(all);
        assert!(has(&next) && seats.lock().places.len() == 1);
    }

    #[test]
    fn one_address_crowds_out_nobody_but_itself() {
        let seats = Seats::new(FEW);
        let other = seats.take(ip("192.0.2.1")).unwrap();
        let mine: Vec<_> = (0..9).map(|low| seats.take(ip(&format!("2001:db8::{low}"))).unwrap()).collect();
        assert!(has(&other));
        assert_eq!(mine.iter().map(has).collect::<Vec<_>>()[6..], [true, true, true]);
        assert_eq!(mine.iter().filter(|seat| has(seat)).count(), 3);
        // All of loopback is one.
        let seats = Seats::new(FEW);
        let local: Vec<_> = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.2"]
            .iter()
            .map(|peer| seats.take(ip(peer)).unwrap())
            .collect();
        assert_eq!(local.iter().map(has).collect::<Vec<_>>(), [false, true, true, true]);
    }

    #[test]
    fn only_what_is_bounded_keeps_its_seat_and_only_while_it_is_read() {
        let seats = Seats::new(FEW);
        let [probe, work, stream, trusted] =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"].map(|peer| seats.take(ip(peer)).unwrap());
        for seat in [&probe, &work, &stream, &trusted] {
            seat.asks();
        }
        assert!(work.works() && !probe.works());
        let right = stream.streams(false);
        assert!(right.is_some() && probe.streams(false).is_none());
        assert!(trusted.streams(true).is_some() && trusted.streams(true).is_some());
        trusted.is_trusted();
        let next = seats.take(ip("192.0.2.5")).unwrap();
        assert_eq!([&probe, &work, &stream, &trusted].map(has), [false, true, true, true]);
        next.asks();
        next.is_trusted();
        // All are kept, so nobody else gets in; until one of them does not read its answer.
        assert!(seats.take(ip("192.0.2.6")).is_none());
        work.stalls();
        let last = seats.take(ip("192.0.2.6")).unwrap();
        assert!(!has(&work) && has(&last));
        // What was given up is no work any more.
        assert!(last.works());
        last.answered();
        assert!(!next.works());
        last.has_sent();
        assert!(next.works());
    }
}
