//! A client of which the record keeps only a part (`[log] client`): which addresses it may have had, as far
//! as a policy tells them apart, and which of them stands for it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::audit::Line;
use crate::cli::request::Request;
use crate::decision::{Decision, Outcome};
use crate::facts::{Body, Identity};
use crate::policy::condition::Unheld;
use crate::policy::network::AddressList;
use crate::policy::{Caller, Policy, World};

/// More addresses are not tried.
const MOST: usize = 512;

/// A client whose address is not known.
#[derive(Clone, Debug)]
pub(super) struct Hidden {
    /// What is kept of it: a network, or a hash.
    pub(super) kept: String,
    /// Whether the decision is another for other addresses that it may have had, or may be.
    pub(super) matters: bool,
}

impl Hidden {
    /// The network that the address is of, unless nothing is known of it.
    fn net(&self) -> Option<IpNet> {
        self.kept.parse().ok()
    }

    /// What is known of the address, and which one was taken for it, as a sentence without its end.
    pub(super) fn words(&self, stands: IpAddr) -> String {
        let (kept, known) = (&self.kept, self.net().is_some());
        let others = match (self.matters, known) {
            (false, true) => "every other address of it is judged alike",
            (false, false) => "every other address is judged alike",
            (true, true) => "other addresses of it may be judged otherwise",
            (true, false) => "other addresses may be judged otherwise",
        };
        format!("{kept}, for the record keeps no more of it: {stands} stands for it here, and {others}")
    }

    /// Says of what a condition saw that it was not the client's own address, where that matters.
    pub(super) fn hedge(&self, unheld: &mut Unheld) {
        let seen = unheld.parts.iter_mut().flat_map(|part| &mut part.seen);
        for seen in seen.filter(|_| self.matters) {
            if let Some(stands) = seen.strip_prefix("client.ip is ") {
                *seen = format!("client.ip is not kept, and {stands}, which stands for it, is not in it");
            }
        }
    }

    /// Where the request must come from, to be made again.
    pub(super) fn origin(&self) -> String {
        match self.net() {
            Some(net) => format!("the client's address in {net}"),
            None => "the client's address".to_owned(),
        }
    }

    /// What a policy decides for each kind of address that the client may have had, and whether those are
    /// all kinds. `asked`: the request, with whatever address, and who makes it.
    fn judged(
        &self,
        policy: &Policy,
        world: &World,
        asked: (&Request, &Caller),
        now: Timestamp,
    ) -> (Vec<(IpAddr, Decision)>, bool) {
        let decide = |ip: IpAddr| {
            let request = Request { ip, ..asked.0.clone() };
            let sample = request.sample(policy, now, asked.1.clone());
            (ip, policy.decide(&sample, world, None))
        };
        let (kinds, all) = kinds(policy, asked, now, self.net());
        (kinds.into_iter().map(decide).collect(), all)
    }

    /// What a policy decides whatever the address was; none if that depends on it.
    pub(super) fn whatever(
        &self,
        policy: &Policy,
        world: &World,
        asked: (&Request, &Caller),
        now: Timestamp,
    ) -> Option<Decision> {
        let (judged, all) = self.judged(policy, world, asked, now);
        alike(&judged, all).then(|| judged.into_iter().next().map(|(_, decision)| decision)).flatten()
    }
}

/// What a record keeps of a client, and the address that stands for it: one for which the decision is the
/// recorded one, if there is one.
pub(super) fn hide(
    line: &Line<'_>,
    policy: &Policy,
    asked: (&Request, &Caller),
    now: Timestamp,
) -> (Hidden, IpAddr) {
    let mut hidden = Hidden { kept: line.client.ip.to_string(), matters: true };
    let (judged, all) = hidden.judged(policy, &World::default(), asked, now);
    hidden.matters = !alike(&judged, all);
    let recorded = |(_, decision): &&(IpAddr, Decision)| {
        let denied = matches!(decision.outcome, Outcome::Deny(_));
        denied == (&*line.decision == "deny") && policy.rules.name(decision.rule()) == &*line.rule
    };
    let stands = judged.iter().find(recorded).or(judged.first()).map_or(asked.0.ip, |(ip, _)| *ip);
    (hidden, stands)
}

/// Whether all of these are one and the same decision, and there can be no other.
fn alike(judged: &[(IpAddr, Decision)], all: bool) -> bool {
    let told = |decision: &Decision| (matches!(decision.outcome, Outcome::Deny(_)), decision.rule());
    let first = judged.first().map(|(_, decision)| told(decision));
    all && judged.iter().all(|(_, decision)| Some(told(decision)) == first)
}

/// One address of each kind that the rules about a request tell apart: between two borders of networks all
/// are judged alike. And whether those are all kinds. `within`: the network that it is of, where that is known.
fn kinds(
    policy: &Policy,
    (request, caller): (&Request, &Caller),
    now: Timestamp,
    within: Option<IpNet>,
) -> (Vec<IpAddr>, bool) {
    let sample = request.clone().sample(policy, now, caller.clone());
    let admitted = policy.admit_sample(&sample);
    let facts = policy.facts(&admitted, &sample.headers, &Identity::Nobody, &Body::Absent, now);
    let mut borders = BTreeSet::new();
    match within {
        Some(net) => drop(borders.insert(net.network())),
        None => borders.extend([IpAddr::from([0u8; 4]), IpAddr::from([0u8; 16])]),
    }
    let first = borders.clone();
    let is_possible = |ip: &IpAddr| within.is_none_or(|net| net.contains(ip));
    let mut lists: Vec<&AddressList> = policy.ip.lists_about(&facts);
    lists.extend(policy.rbac.conditions().flat_map(|condition| condition.address_lists()));
    for found in lists.into_iter().flat_map(AddressList::networks) {
        borders
            .extend([Some(found.net.network()), behind(found.net)].into_iter().flatten().filter(is_possible));
        if borders.len() > MOST {
            return (first.into_iter().collect(), false);
        }
    }
    (borders.into_iter().collect(), true)
}

/// The address behind the last one of a network, if there is one.
fn behind(net: IpNet) -> Option<IpAddr> {
    match net.broadcast() {
        IpAddr::V4(last) => u32::from(last).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(last) => u128::from(last).checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::facts::Scheme;
    use crate::policy::source::Sources;

    const POLICY: &str = r#"
version = 1
[server]
listen = ["127.0.0.1:0"]
[upstream.app]
servers = ["builtin:echo"]
[[route]]
id = "all"
path = "/{*rest}"
upstream = "app"
[network]
office = ["203.0.113.64/26", "198.51.100.0/24", "2001:db8::/32"]
[[ip.rule]]
id = "some"
path = "/a/{*rest}"
deny = ["203.0.113.8/29", "203.0.113.255", "10.0.0.0/8"]
except = ["203.0.113.10/31"]
[[ip.rule]]
id = "elsewhere"
path = "/b"
deny = ["203.0.113.0/25"]
[[rbac.grant]]
id = "near"
roles = ["anyone"]
when = 'client.ip in "office"'
"#;

    fn request(path: &'static str) -> Request {
        Request {
            method: http::Method::GET,
            target: http::Uri::from_static(path),
            fragment: false,
            version: http::Version::HTTP_11,
            scheme: Scheme::Http,
            host: None,
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::new(),
            peer: None,
            ip: IpAddr::from([0, 0, 0, 0]),
            certificate: None,
        }
    }

    /// Of every address: the decision is that of the last kind that begins before it.
    #[test]
    fn every_address_is_judged_as_the_kind_that_it_is_of() {
        let now = Timestamp::UNIX_EPOCH;
        let setup = config::compile(Sources::single("a", POLICY), now).setup.unwrap();
        for path in ["/a/x", "/b", "/c"] {
            let request = request(path);
            for kept in ["203.0.113.0/24", "203.0.113.8/30", "hash:00ff"] {
                let hidden = Hidden { kept: kept.to_owned(), matters: true };
                let (judged, all) =
                    hidden.judged(&setup.policy, &World::default(), (&request, &Caller::FromHeaders), now);
                assert!(all, "{path} {kept}");
                for last in 0..=255 {
                    let ip = IpAddr::from([203, 0, 113, last]);
                    if hidden.net().is_some_and(|net| !net.contains(&ip)) {
                        continue;
                    }
                    let (_, of_kind) = judged.iter().rfind(|(first, _)| *first <= ip).unwrap();
                    let own = Request { ip, ..request.clone() };
                    let sample = own.sample(&setup.policy, now, Caller::FromHeaders);
                    let own = setup.policy.decide(&sample, &World::default(), None);
                    assert_eq!(own.rule(), of_kind.rule(), "{path} {kept} {ip}");
                }
            }
        }
    }

    #[test]
    fn an_address_that_nothing_looks_at_does_not_matter() {
        let now = Timestamp::UNIX_EPOCH;
        let text = POLICY.replace("when = 'client.ip in \"office\"'\n", "");
        let setup = config::compile(Sources::single("a", text), now).setup.unwrap();
        for (path, known) in [("/c", true), ("/a/x", false), ("/b", false)] {
            let hidden = Hidden { kept: "hash:00ff".to_owned(), matters: true };
            let decision = hidden.whatever(
                &setup.policy,
                &World::default(),
                (&request(path), &Caller::FromHeaders),
                now,
            );
            assert_eq!(decision.is_some(), known, "{path}");
        }
    }
}
