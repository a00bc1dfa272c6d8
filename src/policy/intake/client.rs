//! The client's address: one configured source, believed only from trusted peers, from the right.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header;
use smallvec::SmallVec;

use crate::decision::Builtin;
use crate::facts::{Client, Derivation};
use crate::policy::ip::IpSet;

/// Where a trusted peer says who its client is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressSource {
    /// Nowhere: the peer is the client.
    Peer,
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies in front of us, and how they name their clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Their addresses.
    pub proxies: IpSet,
    /// The one header that is read.
    pub source: AddressSource,
}

impl TrustedProxies {
    /// Whether a peer is one of them.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        !self.proxies.is_empty() && self.proxies.contains(peer)
    }

    /// Derives the client's address. From a trusted peer the configured header is walked from the
    /// right while hops are trusted; the first untrusted one is the client; all trusted: the
    /// leftmost. An element on the way that is no address is refused.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Client, Builtin> {
        let direct = Client::direct(peer);
        if self.source == AddressSource::Peer || !self.trusts(direct.peer) {
            return Ok(direct);
        }
        let (name, label) = match self.source {
            AddressSource::Peer => return Ok(direct),
            AddressSource::XForwardedFor => (X_FORWARDED_FOR, "x-forwarded-for"),
            AddressSource::Forwarded => (header::FORWARDED, "forwarded"),
        };
        let mut trusted: SmallVec<[IpAddr; 2]> = SmallVec::new();
        let mut last = None;
        for value in headers.get_all(&name).iter().rev() {
            let text = value.to_str().map_err(|_| Builtin::ForwardedMalformed)?;
            for element in self.elements_from_right(text) {
                let address = self.address(element?).ok_or(Builtin::ForwardedMalformed)?;
                last = Some(address);
                if !self.proxies.contains(address) {
                    let via = Derivation::Header { name: label, trusted };
                    return Ok(Client { ip: address, via, ..direct });
                }
                trusted.push(address);
            }
        }
        match last {
            None if headers.contains_key(&name) => Err(Builtin::ForwardedMalformed),
            None => Ok(direct),
            Some(leftmost) => {
                trusted.pop();
                Ok(Client { ip: leftmost, via: Derivation::Header { name: label, trusted }, ..direct })
            }
        }
    }

    fn elements_from_right<'a>(
        &self,
        text: &'a str,
    ) -> impl Iterator<Item = Result<&'a str, Builtin>> + use<'a> {
        // A quoted string may hold a comma only in `Forwarded`; there it can only be an extension
        // parameter, which nobody sends. Cutting inside it yields an unreadable element: refused.
        text.rsplit(',').map(|element| {
            let element = element.trim_matches([' ', '\t']);
            if element.is_empty() { Err(Builtin::ForwardedMalformed) } else { Ok(element) }
        })
    }

    fn address(&self, element: &str) -> Option<IpAddr> {
        match self.source {
            AddressSource::Peer => None,
            AddressSource::XForwardedFor => node_address(element),
            AddressSource::Forwarded => forwarded_for(element).and_then(node_address),
        }
    }
}

/// The `for` parameter of one element of `Forwarded`. An element without one, or with two, is
/// unreadable: nobody knows then whose hop it was.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.trim_matches([' ', '\t']).split_once('=')?;
        if name.eq_ignore_ascii_case("for") {
            let quoted = value.strip_prefix('"').map(|value| value.strip_suffix('"'));
            if found.replace(quoted.unwrap_or(Some(value))?).is_some() {
                return None;
            }
        }
    }
    found
}

/// An address with or without port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
/// The standard parser takes no leading zeros (CVE-2021-29922) and no zones.
fn node_address(text: &str) -> Option<IpAddr> {
    let bracketed =
        || text.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6);
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(bracketed)
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(address.to_canonical())
}

const X_FORWARDED_FOR: http::HeaderName = http::HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn derive(source: AddressSource, peer: &str, values: &[&'static str]) -> Result<String, Builtin> {
        let nets = ["127.0.0.20/32", "10.0.0.0/8"].iter().filter_map(|net| net.parse().ok());
        let proxies = TrustedProxies { proxies: IpSet::new(nets), source };
        let name = if source == AddressSource::Forwarded { "forwarded" } else { "x-forwarded-for" };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        let peer = peer.parse().map_err(|_| Builtin::Malformed)?;
        proxies.client(peer, &headers).map(|client| format!("{} {}", client.ip, client.via()))
    }

    fn xff(peer: &str, values: &[&'static str]) -> Result<String, Builtin> {
        derive(AddressSource::XForwardedFor, peer, values)
    }

    #[test]
    fn the_header_of_an_untrusted_peer_is_not_read() {
        assert_eq!(xff("127.0.0.1", &["8.8.8.8"]).as_deref(), Ok("127.0.0.1 peer"));
        assert_eq!(xff("127.0.0.1", &["rubbish"]).as_deref(), Ok("127.0.0.1 peer"));
    }

    #[test]
    fn the_first_untrusted_hop_from_the_right_is_the_client() {
        assert_eq!(
            xff("127.0.0.20", &["1.1.1.1, 8.8.8.8, 10.2.3.4"]).as_deref(),
            Ok("8.8.8.8 x-forwarded-for")
        );
        assert_eq!(xff("127.0.0.20", &["1.1.1.1", "8.8.8.8"]).as_deref(), Ok("8.8.8.8 x-forwarded-for"));
        assert_eq!(xff("::ffff:127.0.0.20", &["::ffff:8.8.8.8"]).as_deref(), Ok("8.8.8.8 x-forwarded-for"));
        assert_eq!(xff("127.0.0.20", &["[2001:db8::1]:443"]).as_deref(), Ok("2001:db8::1 x-forwarded-for"));
        assert_eq!(xff("127.0.0.20", &["8.8.8.8:4711"]).as_deref(), Ok("8.8.8.8 x-forwarded-for"));
    }

    #[test]
    fn all_trusted_is_the_leftmost_and_absent_is_the_peer() {
        assert_eq!(xff("127.0.0.20", &["10.0.0.1, 10.0.0.2"]).as_deref(), Ok("10.0.0.1 x-forwarded-for"));
        assert_eq!(xff("127.0.0.20", &[]).as_deref(), Ok("127.0.0.20 peer"));
    }

    #[test]
    fn what_cannot_be_read_on_the_way_is_refused_and_beyond_it_is_not_looked_at() {
        for value in ["10.1.1.1, unknown", "8.8.8.8, 012.0.0.1", "", "8.8.8.8,", "fe80::1%eth0", "_hidden"] {
            assert_eq!(xff("127.0.0.20", &[value]), Err(Builtin::ForwardedMalformed), "{value}");
        }
        assert_eq!(xff("127.0.0.20", &["unknown, 8.8.8.8"]).as_deref(), Ok("8.8.8.8 x-forwarded-for"));
    }

    #[test]
    fn forwarded_is_read_by_its_for_parameter() {
        let forwarded = |value| derive(AddressSource::Forwarded, "127.0.0.20", &[value]);
        assert_eq!(
            forwarded("for=1.1.1.1, for=\"[2001:db8::1]:80\";proto=https").as_deref(),
            Ok("2001:db8::1 forwarded")
        );
        assert_eq!(forwarded("For=8.8.8.8;by=1.2.3.4").as_deref(), Ok("8.8.8.8 forwarded"));
        for value in
            ["proto=https", "for=unknown", "for=_x", "8.8.8.8", "for=8.8.8.8;for=9.9.9.9", "for=\"8.8.8.8"]
        {
            assert_eq!(forwarded(value), Err(Builtin::ForwardedMalformed), "{value}");
        }
    }
}
