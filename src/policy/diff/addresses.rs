//! Which addresses came into a list or went out of it.
//!
//! Lists are compared as sets: two halves of a network are the whole of it, and an address that stands in
//! a network already is nothing new.

use ipnet::IpNet;

use super::{ChangedName, ITSELF, Kind, Side};
use crate::decision::RuleRef;
use crate::policy::Policy;
use crate::policy::ip::IpSet;
use crate::policy::network::AddressList;

/// How a list of addresses differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressChange {
    /// The key of the rule that it stands under; none for a named network.
    pub list: Option<&'static str>,
    /// What came into it.
    pub added: Nets,
    /// What went out of it.
    pub removed: Nets,
}

/// Addresses, as the fewest networks that have just these.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nets {
    /// The first of them.
    pub first: Vec<IpNet>,
    /// How many there are besides.
    pub more: usize,
}

/// Says of changed networks and address rules what changed.
pub(super) fn tell(old: Side<'_>, new: Side<'_>, rules: &mut [ChangedName], definitions: &mut [ChangedName]) {
    for found in definitions {
        if let Some(name) = found.name.strip_prefix("network ") {
            let set = |side: Side<'_>| IpSet::new(side.policy.networks.addresses(name));
            let change = AddressChange::between(None, &set(old), &set(new));
            // A network that came or went may have had no addresses.
            if found.kind == Kind::Changed || !change.is_nothing() {
                found.addresses.push(change);
            }
        }
    }
    let own = |found: &&mut ChangedName| {
        // Of a rule that came or went all of it did, and of a network that it names that is told there.
        found.kind == Kind::Changed && found.because.iter().any(|because| **because == *ITSELF)
    };
    let of_addresses = |found: &&mut ChangedName| found.name.starts_with("ip/");
    for found in rules.iter_mut().filter(of_addresses).filter(own) {
        for (key, was, is) in lists(old.policy, new.policy, &found.name).into_iter().flatten() {
            if was.set() != is.set() {
                found.addresses.push(AddressChange::between(Some(key), was.set(), is.set()));
            }
        }
    }
}

/// The lists of an address rule, before and after; empty ones under keys that it does not have. Nothing of any
/// other rule: there may be thousands of those.
fn lists(old: &Policy, new: &Policy, rule: &str) -> Option<[(&'static str, AddressList, AddressList); 3]> {
    let (was, is) = (of(old, rule), of(new, rule));
    if was.is_none() && is.is_none() {
        return None;
    }
    Some(["allow", "deny", "except"].map(|key| {
        let list = |lists: &Option<[(&'static str, &AddressList); 2]>| {
            let found = lists.iter().flatten().find(|(known, _)| *known == key);
            found.map(|(_, list)| (*list).clone()).unwrap_or_default()
        };
        (key, list(&was), list(&is))
    }))
}

fn of<'p>(policy: &'p Policy, rule: &str) -> Option<[(&'static str, &'p AddressList); 2]> {
    match policy.rules.by_name(rule)? {
        RuleRef::Written(written) => policy.ip.lists(written),
        RuleRef::Builtin(_) => None,
    }
}

impl AddressChange {
    /// Whether nothing came and nothing went.
    fn is_nothing(&self) -> bool {
        self.added == Nets::default() && self.removed == Nets::default()
    }

    fn between(list: Option<&'static str>, was: &IpSet, is: &IpSet) -> AddressChange {
        AddressChange { list, added: Nets::of(is.without(was)), removed: Nets::of(was.without(is)) }
    }
}

impl Nets {
    fn of(mut nets: impl Iterator<Item = IpNet>) -> Nets {
        Nets { first: nets.by_ref().take(MOST).collect(), more: nets.count() }
    }
}

/// More are only counted: a list may have a million.
const MOST: usize = 10;
