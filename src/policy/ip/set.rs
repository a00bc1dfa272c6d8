//! A set of addresses, compiled: the cost of a look-up does not grow with the list.
//!
//! Networks are merged into intervals of numbers, IPv4 and IPv6 apart; see [`Turns`].

use std::net::IpAddr;

use ipnet::IpNet;

use super::spared::Share;
use super::turns::Turns;

/// A set of addresses. Addresses are canonical: IPv4-mapped IPv6 is IPv4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpSet {
    four: Turns<u32>,
    six: Turns<u128>,
}

impl IpSet {
    /// The set of all addresses in these networks.
    pub fn new(nets: impl IntoIterator<Item = IpNet>) -> IpSet {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for net in nets {
            match net {
                IpNet::V4(net) => four.push((u32::from(net.network()), u32::from(net.broadcast()))),
                IpNet::V6(net) => {
                    let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
                    // The part of a network that spells IPv4 addresses is about IPv4.
                    if first >= MAPPED && last <= MAPPED_END {
                        four.push(((first - MAPPED) as u32, (last - MAPPED) as u32));
                    } else {
                        six.push((first, last));
                    }
                }
            }
        }
        IpSet { four: Turns::new(four), six: Turns::new(six) }
    }

    /// Whether the address is in the set. An IPv4-mapped address is looked up as IPv4, or a list
    /// could be walked around by spelling.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.four.encloses(u32::from(address)),
            IpAddr::V6(address) => self.six.encloses(u128::from(address)),
        }
    }

    /// Where outside turns into inside and back, among IPv4 and IPv6 addresses.
    pub(super) fn turns(&self) -> (&[u32], &[u128]) {
        (self.four.list(), self.six.list())
    }

    /// How much of a network is in the set.
    pub(super) fn share(&self, net: IpNet) -> Share {
        match net {
            IpNet::V4(net) => share(self.four.list(), u32::from(net.network()), u32::from(net.broadcast())),
            IpNet::V6(net) => share(self.six.list(), u128::from(net.network()), u128::from(net.broadcast())),
        }
    }

    /// Whether no address is in the set.
    pub fn is_empty(&self) -> bool {
        self.four.is_empty() && self.six.is_empty()
    }

    /// Whether every IPv4 address or every IPv6 address is in the set, however it is written
    /// (`0.0.0.0/0`, or its halves).
    pub fn covers_everything(&self) -> bool {
        self.four.is_all() || self.six.is_all()
    }
}

/// How much of the numbers from the first to the last lies inside, by the places where that turns.
fn share<N: Ord + Copy>(turns: &[N], first: N, last: N) -> Share {
    let before = turns.partition_point(|turn| *turn <= first);
    match turns.partition_point(|turn| *turn <= last) {
        upto if upto > before => Share::Part,
        _ if before % 2 == 1 => Share::All,
        _ => Share::Nothing,
    }
}

/// `::ffff:0.0.0.0` and `::ffff:255.255.255.255`.
const MAPPED: u128 = 0xffff_0000_0000;
const MAPPED_END: u128 = 0xffff_ffff_ffff;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use ipnet::{Ipv4Net, Ipv6Net};
    use proptest::prelude::*;

    use super::*;

    fn set(nets: &[&str]) -> IpSet {
        IpSet::new(nets.iter().map(|net| net.parse::<IpNet>().unwrap()))
    }

    fn check(nets: &[&str], address: &str, want: bool) {
        assert_eq!(set(nets).contains(address.parse().unwrap()), want, "{address} in {nets:?}");
    }

    #[test]
    fn first_and_last_addresses_belong_to_a_network() {
        for (address, want) in
            [("9.255.255.255", false), ("10.0.0.0", true), ("10.255.255.255", true), ("11.0.0.0", false)]
        {
            check(&["10.0.0.0/8"], address, want);
        }
        check(&["255.255.255.255/32"], "255.255.255.255", true);
        check(&["0.0.0.0/32"], "0.0.0.0", true);
        check(&["ffff::/16"], "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true);
        check(&["0.0.0.0/0", "10.0.0.0/8"], "192.0.2.1", true);
    }

    #[test]
    fn a_spelling_of_an_ipv4_address_is_that_address() {
        check(&["10.0.0.0/8"], "::ffff:10.1.2.3", true);
        check(&["::ffff:10.0.0.0/104"], "10.1.2.3", true);
        check(&["::/0"], "10.1.2.3", false);
        check(&["0.0.0.0/0"], "::1", false);
    }

    #[test]
    fn all_of_a_family_is_everything_however_it_is_written() {
        for nets in [&["0.0.0.0/0"][..], &["::/0"], &["128.0.0.0/1", "0.0.0.0/1"], &["8000::/1", "::/1"]] {
            assert!(set(nets).covers_everything(), "{nets:?}");
        }
        for nets in [&[][..], &["0.0.0.0/1"], &["::/1"], &["0.0.0.0/1", "8000::/1"]] {
            assert!(!set(nets).covers_everything(), "{nets:?}");
        }
        assert!(set(&[]).is_empty() && !set(&["::/128"]).is_empty());
    }

    #[test]
    fn a_crowded_bucket_is_searched_exactly() {
        // All odd addresses of a /20, beside one network that makes the buckets wide, and one far away.
        let crowded = (0..4096u32).step_by(2).map(|low| Ipv4Addr::from(0x0a00_0001 + low));
        let nets = crowded.map(|address| IpNet::from(IpAddr::V4(address)));
        let set = IpSet::new(nets.chain(["10.200.0.0/16", "240.0.0.0/4"].map(|net| net.parse().unwrap())));
        for low in 0..4096u32 {
            assert_eq!(set.contains(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + low))), low % 2 == 1);
        }
    }

    /// Addresses near each other, near the ends and all over.
    fn v4() -> impl Strategy<Value = u32> {
        prop_oneof![0u32..600, 0x0a00_0000u32..0x0a00_0400, (u32::MAX - 600)..=u32::MAX, any::<u32>()]
    }

    fn v6() -> impl Strategy<Value = u128> {
        prop_oneof![
            0u128..600,
            (MAPPED - 300)..(MAPPED + 300),
            (0u128..64).prop_map(|low| (0x2001_0db8_u128 << 96) + (low << 64) + low),
            (u128::MAX - 600)..=u128::MAX,
            any::<u128>()
        ]
    }

    fn net() -> impl Strategy<Value = IpNet> {
        let four = (v4(), 0u8..=32).prop_map(|(bits, length)| {
            IpNet::V4(Ipv4Net::new(Ipv4Addr::from(bits), length).unwrap().trunc())
        });
        let six = (v6(), 0u8..=128).prop_map(|(bits, length)| {
            IpNet::V6(Ipv6Net::new(Ipv6Addr::from(bits), length).unwrap().trunc())
        });
        prop_oneof![four, six]
    }

    /// The plain reading: one network after the other.
    fn naive(nets: &[IpNet], address: IpAddr) -> bool {
        let spelt = |net: &IpNet| match (net, address.to_canonical()) {
            (IpNet::V6(net), IpAddr::V4(address)) => {
                net.prefix_len() >= 96 && net.contains(&address.to_ipv6_mapped())
            }
            (net, address) => net.contains(&address),
        };
        nets.iter().any(spelt)
    }

    proptest! {
        #[test]
        fn a_set_answers_as_a_scan_of_its_networks(
            nets in prop::collection::vec(net(), 0..60),
            four in prop::collection::vec(v4(), 20),
            six in prop::collection::vec(v6(), 20),
        ) {
            let set = IpSet::new(nets.iter().copied());
            let edges = nets.iter().flat_map(|net| [net.network(), net.broadcast()]);
            let four = four.into_iter().map(|bits| IpAddr::V4(Ipv4Addr::from(bits)));
            let six = six.into_iter().map(|bits| IpAddr::V6(Ipv6Addr::from(bits)));
            for address in edges.chain(four).chain(six) {
                prop_assert_eq!(set.contains(address), naive(&nets, address), "{}", address);
            }
        }
    }
}
