//! Sockets: binding, accepting, and how many connections may be open.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::ConnectionLimits;

/// Connections that wait to be accepted. The system cuts this to its own limit.
const BACKLOG: i32 = 4096;

/// Binds one listening socket for each worker thread to an address. With port 0 the first socket
/// finds a port and the others share it.
pub(super) fn bind(address: SocketAddr, threads: usize) -> io::Result<Vec<std::net::TcpListener>> {
    if threads > 1 && address.port() != 0 {
        // Sharing a port would let a second process take half of the connections unnoticed, so it
        // is made sure first that nobody else has it.
        drop(socket(address, false)?);
    }
    let first = socket(address, threads > 1)?;
    let bound = first.local_addr()?;
    let others = (1..threads).map(|_| socket(bound, true));
    std::iter::once(Ok(first)).chain(others).collect()
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        // `[::]` takes IPv4 clients too; their addresses are made canonical at accept.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Counts open connections of all threads, in total and by address.
#[derive(Debug)]
pub(super) struct Admission {
    /// How many the system has room for, and how many are here, whether they may stay or not.
    room: u32,
    here: AtomicU32,
    /// How many may stay, for the memory there is.
    most: u32,
    total: AtomicU32,
    by_address: Mutex<HashMap<IpAddr, u32>>,
}

/// A connection that is here.
#[derive(Debug)]
pub(super) struct Place(Arc<Admission>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.here.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A counted connection.
#[derive(Debug)]
pub(super) struct Seat {
    admission: Arc<Admission>,
    /// The address it counts for, once that is known.
    address: Option<IpAddr>,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Too many in all.
    Total,
    /// More than there is memory for.
    Memory,
    /// Too many from this address.
    Address,
}

impl Full {
    /// The setting that says so.
    pub(super) const fn limit(self) -> &'static str {
        match self {
            Full::Total => "limits.connections",
            Full::Memory => "the memory that the system grants",
            Full::Address => "limits.connections_per_address",
        }
    }
}

impl Admission {
    /// Nobody yet, and room for so many; `most` may stay.
    pub(super) fn new(room: u32, most: u32) -> Arc<Admission> {
        Arc::new(Admission {
            room,
            here: AtomicU32::new(0),
            most,
            total: AtomicU32::new(0),
            by_address: Mutex::default(),
        })
    }

    /// Whether there is no room for more, so that those who come have to wait outside.
    pub(super) fn is_crowded(&self) -> bool {
        self.here.load(Ordering::Relaxed) >= self.room
    }

    /// Somebody has come.
    pub(super) fn arrive(self: &Arc<Self>) -> Place {
        self.here.fetch_add(1, Ordering::Relaxed);
        Place(Arc::clone(self))
    }

    /// Counts a connection, if there is room for it.
    pub(super) fn enter(self: &Arc<Self>, limits: ConnectionLimits) -> Result<Seat, Full> {
        if self.total.fetch_add(1, Ordering::Relaxed) >= limits.total.min(self.most) {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err(if self.most < limits.total { Full::Memory } else { Full::Total });
        }
        Ok(Seat { admission: Arc::clone(self), address: None })
    }
}

impl Seat {
    /// Counts the connection for its address too, if there is room for one more of that.
    pub(super) fn of(mut self, peer: IpAddr, limits: ConnectionLimits) -> Result<Seat, Full> {
        let address = client_group(peer);
        let mut by_address = self.admission.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_insert(0);
        if *count >= limits.per_address {
            drop(by_address);
            return Err(Full::Address);
        }
        *count += 1;
        drop(by_address);
        self.address = Some(address);
        Ok(self)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.admission.total.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut by_address = self.admission.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 /64, which is what one customer gets.
pub(crate) fn client_group(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(four) => IpAddr::V4(four),
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !0u128 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn connections_are_counted_in_all_and_by_address() {
        let admission = Admission::new(3, u32::MAX);
        let limits = ConnectionLimits { total: 3, per_address: 2 };
        let enter = |text| admission.enter(limits).and_then(|seat| seat.of(address(text), limits));
        let a = enter("192.0.2.1").expect("room");
        let _b = enter("::ffff:192.0.2.1").expect("room");
        assert_eq!(enter("192.0.2.1").err(), Some(Full::Address));
        let _c = enter("2001:db8::1").expect("room");
        assert_eq!(enter("198.51.100.1").err(), Some(Full::Total));
        drop(a);
        assert!(enter("2001:db8::2").is_ok());
        assert_eq!(admission.by_address.lock().map(|map| map.len()).ok(), Some(2));
    }

    #[test]
    fn who_has_come_takes_room_until_they_go() {
        let admission = Admission::new(1, u32::MAX);
        assert!(!admission.is_crowded());
        let place = admission.arrive();
        assert!(admission.is_crowded());
        drop(place);
        assert!(!admission.is_crowded());
    }

    #[test]
    fn a_taken_port_is_an_error_however_many_threads() {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 2).expect("free ports exist");
        let taken = first[0].local_addr().expect("bound");
        assert!(bind(taken, 1).is_err());
        assert!(bind(taken, 2).is_err());
    }
}
