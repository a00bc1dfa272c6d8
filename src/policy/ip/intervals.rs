//! Addresses as intervals that can be computed with. For lints and differences.

use std::iter;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::IpSet;

/// A set of addresses, as the sorted places where "outside" turns into "inside" and back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Intervals {
    four: Vec<u32>,
    six: Vec<u128>,
}

impl Intervals {
    pub(super) fn of(set: &IpSet) -> Intervals {
        let (four, six) = set.turns();
        Intervals { four: four.into(), six: six.into() }
    }

    /// All other addresses.
    pub(super) fn complement(self) -> Intervals {
        Intervals { four: complement(self.four, 0), six: complement(self.six, 0) }
    }

    /// These addresses but for the others.
    pub(super) fn without(&self, others: &Intervals) -> Intervals {
        Intervals { four: without(&self.four, &others.four), six: without(&self.six, &others.six) }
    }

    /// Whether all of the others are among these.
    pub(super) fn covers(&self, others: &Intervals) -> bool {
        let left = others.without(self);
        left.four.is_empty() && left.six.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.four.is_empty() && self.six.is_empty()
    }

    /// How much work it is to compute with it.
    pub(super) fn size(&self) -> usize {
        self.four.len() + self.six.len()
    }
}

impl IpSet {
    /// The addresses that are in this set and not in the other, as the fewest networks that have just these.
    pub fn without(&self, others: &IpSet) -> impl Iterator<Item = IpNet> + use<> {
        let Intervals { four, six } = Intervals::of(self).without(&Intervals::of(others));
        let four = intervals(four).flat_map(|(first, end)| {
            let last = end.map_or(u32::MAX, |end| end - 1);
            Ipv4Subnets::new(Ipv4Addr::from(first), Ipv4Addr::from(last), 0).map(IpNet::V4)
        });
        let six = intervals(six).flat_map(|(first, end)| {
            let last = end.map_or(u128::MAX, |end| end - 1);
            Ipv6Subnets::new(Ipv6Addr::from(first), Ipv6Addr::from(last), 0).map(IpNet::V6)
        });
        four.chain(six)
    }
}

/// Where each interval begins, and where the numbers behind it do, if there are any.
fn intervals<N>(turns: Vec<N>) -> impl Iterator<Item = (N, Option<N>)> {
    let mut turns = turns.into_iter();
    iter::from_fn(move || Some((turns.next()?, turns.next())))
}

fn complement<N: PartialEq + Copy>(mut turns: Vec<N>, least: N) -> Vec<N> {
    if turns.first() == Some(&least) {
        turns.remove(0);
    } else {
        turns.insert(0, least);
    }
    turns
}

/// Goes along both lists, and turns wherever being in the first and not in the second begins or ends.
fn without<N: Ord + Copy>(mine: &[N], others: &[N]) -> Vec<N> {
    let (mut mine, mut others) = (mine.iter().peekable(), others.iter().peekable());
    let (mut in_mine, mut in_others, mut inside) = (false, false, false);
    let mut turns = Vec::new();
    while let Some(at) = mine.peek().into_iter().chain(others.peek()).min().copied().copied() {
        while mine.next_if_eq(&&at).is_some() {
            in_mine = !in_mine;
        }
        while others.next_if_eq(&&at).is_some() {
            in_others = !in_others;
        }
        if inside != (in_mine && !in_others) {
            inside = !inside;
            turns.push(at);
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use ipnet::{IpNet, Ipv4Net, Ipv6Net};
    use proptest::prelude::*;

    use super::*;

    /// Networks at both ends of each family, 16 addresses large.
    fn nets() -> impl Strategy<Value = Vec<IpNet>> {
        let net = (any::<bool>(), any::<bool>(), 0u8..16, 28u8..=32).prop_map(|(four, high, low, length)| {
            let net = if four {
                let base = if high { u32::MAX - 15 } else { 0 };
                IpNet::V4(Ipv4Net::new(Ipv4Addr::from(base + u32::from(low)), length).unwrap())
            } else {
                let base = if high { u128::MAX - 15 } else { 0 };
                IpNet::V6(Ipv6Net::new(Ipv6Addr::from(base + u128::from(low)), length + 96).unwrap())
            };
            net.trunc()
        });
        prop::collection::vec(net, 0..6)
    }

    fn universe() -> Vec<IpAddr> {
        let four = (0..16).chain(u32::MAX - 15..=u32::MAX).chain([1 << 20]).map(|n| Ipv4Addr::from(n).into());
        let six =
            (0..16).chain(u128::MAX - 15..=u128::MAX).chain([1 << 80]).map(|n| Ipv6Addr::from(n).into());
        four.chain(six).collect()
    }

    proptest! {
        #[test]
        fn sets_are_computed_with_address_by_address(one in nets(), other in nets(), all_but in any::<bool>()) {
            let (one, other) = (IpSet::new(one), IpSet::new(other));
            let (a, b) = (Intervals::of(&one), Intervals::of(&other));
            let a = if all_but { a.complement() } else { a };
            let in_a = |address: &IpAddr| one.contains(*address) != all_but;
            let covers = universe().iter().all(|address| !other.contains(*address) || in_a(address));
            prop_assert_eq!(a.covers(&b), covers);
            let covered = universe().iter().all(|address| !in_a(address) || other.contains(*address));
            prop_assert_eq!(b.covers(&a), covered);
            let left = a.without(&b);
            let none = !universe().iter().any(|address| in_a(address) && !other.contains(*address));
            prop_assert_eq!(left.is_empty(), none);
        }

        #[test]
        fn what_one_set_has_and_another_has_not_is_told_in_networks(one in nets(), other in nets()) {
            let (one, other) = (IpSet::new(one), IpSet::new(other));
            let nets: Vec<IpNet> = one.without(&other).collect();
            for address in universe() {
                let wanted = one.contains(address) && !other.contains(address);
                prop_assert_eq!(nets.iter().any(|net| net.contains(&address)), wanted, "{}", address);
            }
            // The fewest: no two of them are halves of a third.
            prop_assert_eq!(IpNet::aggregate(&nets).len(), nets.len());
        }
    }
}
