//! The client's address and how it was derived.

use std::net::IpAddr;

use jiff::Timestamp;
use smallvec::SmallVec;

/// Where a request comes from. Addresses are canonical: IPv4-mapped IPv6 is IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address that is judged.
    pub ip: IpAddr,
    /// The other end of the TCP connection (or what the PROXY protocol said of it).
    pub peer: IpAddr,
    /// How `ip` was found.
    pub via: Derivation,
    /// Until when it is banned, where it is.
    pub banned: Option<Timestamp>,
}

/// How the client's address was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Derivation {
    /// The peer itself: no forwarding header is configured, the peer is not trusted, or it sent none.
    Peer,
    /// From the configured header of a trusted peer, walked from the right over these trusted hops.
    Header {
        /// The header's name.
        name: &'static str,
        /// The trusted hops that were passed over, from the right.
        trusted: SmallVec<[IpAddr; 2]>,
    },
    /// It was not: the header of a trusted peer cannot be read. `ip` is the peer's and nobody's.
    Unreadable,
}

impl Client {
    /// A client that is judged by its own address.
    pub fn direct(peer: IpAddr) -> Client {
        let peer = peer.to_canonical();
        Client { ip: peer, peer, via: Derivation::Peer, banned: None }
    }

    /// A client behind a trusted peer whose forwarding header cannot be read.
    pub fn unreadable(peer: IpAddr) -> Client {
        Client { via: Derivation::Unreadable, ..Client::direct(peer) }
    }

    /// The client's address, if it was established. A rule that favours addresses must ask here: the
    /// address of the proxy in front says nothing about the client behind it.
    pub fn established(&self) -> Option<IpAddr> {
        match self.via {
            Derivation::Peer | Derivation::Header { .. } => Some(self.ip),
            Derivation::Unreadable => None,
        }
    }

    /// The word in the decision log: `peer`, `x-forwarded-for`, `forwarded`, `unreadable`.
    pub fn via(&self) -> &'static str {
        match &self.via {
            Derivation::Peer => "peer",
            Derivation::Header { name, .. } => name,
            Derivation::Unreadable => "unreadable",
        }
    }
}
