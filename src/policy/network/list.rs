//! A list of addresses as a rule uses it: a compiled set, and what it was made of.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::policy::decode::Name;
use crate::policy::ip::IpSet;

/// A list of addresses. Cheap to clone: rules with the same list share it.
#[derive(Clone, Debug, Default)]
pub struct AddressList {
    set: Arc<IpSet>,
    parts: Arc<[Part]>,
}

/// The addresses of one named network, or those that stand in the list itself.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: Option<Name>,
    pub(super) nets: Arc<[IpNet]>,
}

/// The network that contains an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The named network in whose list or file it stands, if it does not stand in the rule.
    pub name: Option<&'a Name>,
    /// The network.
    pub net: IpNet,
}

impl AddressList {
    pub(super) fn new(parts: Vec<Part>) -> AddressList {
        let set = IpSet::new(parts.iter().flat_map(|part| part.nets.iter().copied()));
        AddressList { set: Arc::new(set), parts: parts.into() }
    }

    /// Whether the address is in the list.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.set.contains(address)
    }

    /// Whether the list has no address.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// The compiled set, which equal lists share.
    pub fn set(&self) -> &IpSet {
        &self.set
    }

    /// The narrowest network that contains the address. Looks at one after the other: for
    /// explanations, never on the way of a request.
    pub fn find(&self, address: IpAddr) -> Option<Found<'_>> {
        let address = address.to_canonical();
        let found = self.parts.iter().flat_map(|part| {
            let within = part.nets.iter().filter(move |net| net.contains(&address));
            within.map(|net| Found { name: part.name.as_ref(), net: *net })
        });
        found.max_by_key(|found| found.net.prefix_len())
    }
}

impl AddressList {
    /// All its networks, in the order they are written in.
    pub fn networks(&self) -> impl Iterator<Item = Found<'_>> {
        self.parts
            .iter()
            .flat_map(|part| part.nets.iter().map(|net| Found { name: part.name.as_ref(), net: *net }))
    }

    /// The networks that have addresses in common with one, in the order they are written in.
    pub fn overlapping(&self, net: IpNet) -> impl Iterator<Item = Found<'_>> {
        self.parts.iter().flat_map(move |part| {
            let common = part.nets.iter().filter(move |other| other.contains(&net) || net.contains(*other));
            common.map(|other| Found { name: part.name.as_ref(), net: *other })
        })
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{} of `{name}`", self.net),
            None => write!(f, "{}", self.net),
        }
    }
}
