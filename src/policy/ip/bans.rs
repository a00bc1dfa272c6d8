//! The addresses and networks that are banned for a time, compiled.
//!
//! A ban is no part of the policy: it comes and goes without a new generation, so it is looked up
//! by the shell when a request is admitted and becomes a fact ([`Client::banned`]). The look-up asks
//! one table for each length of prefix that has a ban, whatever the number of bans.
//!
//! [`Client::banned`]: crate::facts::Client

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

/// Who is banned, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bans {
    /// One table for each length of prefix, of both families.
    tables: Vec<(u8, HashMap<IpNet, Timestamp>)>,
}

impl Bans {
    /// The bans of these networks. Of two for the same network the longer one counts. `None` for no
    /// ban, so that nobody looks anything up.
    pub fn new(bans: impl IntoIterator<Item = (IpNet, Timestamp)>) -> Option<Bans> {
        let mut tables: Vec<(u8, HashMap<IpNet, Timestamp>)> = Vec::new();
        for (net, until) in bans {
            let (net, length) = (net.trunc(), net.prefix_len());
            let at = tables.iter().position(|(other, _)| *other == length).unwrap_or_else(|| {
                tables.push((length, HashMap::new()));
                tables.len() - 1
            });
            if let Some((_, table)) = tables.get_mut(at) {
                table.entry(net).and_modify(|end| *end = until.max(*end)).or_insert(until);
            }
        }
        (!tables.is_empty()).then_some(Bans { tables })
    }

    /// Until when an address is banned; the last end, if several bans concern it. IPv4-mapped IPv6
    /// is IPv4.
    pub fn until(&self, address: IpAddr) -> Option<Timestamp> {
        let address = address.to_canonical();
        let ends = self.tables.iter().filter_map(|(length, table)| {
            let net = IpNet::new(address, *length).ok()?.trunc();
            table.get(&net).copied()
        });
        ends.max()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_address_is_banned_by_itself_and_by_its_networks_until_the_last_end() {
        let bans = [("192.0.2.7/32", 5), ("192.0.2.0/24", 9), ("2001:db8::/48", 3), ("192.0.2.7/32", 4)];
        let bans = Bans::new(bans.map(|(net, end)| (net.parse().unwrap(), at(end)))).unwrap();
        let check = |address: &str, want: Option<i64>| {
            assert_eq!(bans.until(address.parse().unwrap()), want.map(at), "{address}");
        };
        check("192.0.2.7", Some(9));
        check("192.0.2.8", Some(9));
        check("::ffff:192.0.2.8", Some(9));
        check("192.0.3.7", None);
        check("2001:db8::1", Some(3));
        check("2001:db8:1::1", None);
        assert_eq!(Bans::new([]), None);
    }

    proptest! {
        #[test]
        fn tables_find_what_a_walk_over_all_bans_finds(
            bans in prop::collection::vec((any::<u32>(), 20u8..=32, 0i64..9), 0..20),
            low in any::<u32>(),
        ) {
            let address = bans.first().map_or(low, |(net, ..)| net ^ (low & 0xff));
            let bans: Vec<(IpNet, Timestamp)> = bans
                .into_iter()
                .map(|(net, length, end)| (IpNet::new(IpAddr::from(net.to_be_bytes()), length).unwrap(), at(end)))
                .collect();
            let address = IpAddr::from(address.to_be_bytes());
            let want = bans.iter().filter(|(net, _)| net.trunc().contains(&address)).map(|(_, end)| *end).max();
            let got = Bans::new(bans).and_then(|bans| bans.until(address));
            prop_assert_eq!(got, want);
        }
    }
}
