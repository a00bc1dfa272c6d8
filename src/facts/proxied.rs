//! The PROXY protocol: whom a header names that a proxy sends in front of a connection.
//!
//! The bytes are read by `proxy-header`; what is decided here is how many there may be, and what they
//! may say:
//!
//! - TCP over IPv4 or IPv6: the client.
//! - `LOCAL` (version 2): the proxy itself, as for its health checks.
//! - `UNKNOWN` (version 1), unspecified and unix addresses, UDP: refused. Who the client is is not said,
//!   and the proxy's own address would stand in every list where its clients do not.
//!
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The client's address.
    Client(SocketAddr),
    /// The proxy speaks for itself.
    Local,
}

/// What is still to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// So many bytes.
    Bytes(usize),
    /// All up to the end of the line.
    Line,
    /// Nothing.
    Nothing,
}

/// How much of a header is missing. Errors say why it cannot be one.
pub fn wanted(head: &[u8]) -> Result<Wanted, &'static str> {
    if head.len() < SIGNATURE.len() {
        // No header of either version is shorter.
        return Ok(Wanted::Bytes(SIGNATURE.len() - head.len()));
    }
    if head.starts_with(LINE) {
        return match head.last() {
            Some(b'\n') => Ok(Wanted::Nothing),
            _ if head.len() >= MAX_LINE => Err("the header is longer than its version allows"),
            _ => Ok(Wanted::Line),
        };
    }
    if !head.starts_with(SIGNATURE) {
        return Err("the connection does not begin with a PROXY protocol header");
    }
    let Some(length) = head.get(14..16) else { return Ok(Wanted::Bytes(16 - head.len())) };
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    if length > MAX_LENGTH {
        return Err("the header is longer than 16 KiB");
    }
    match (16 + length).saturating_sub(head.len()) {
        0 => Ok(Wanted::Nothing),
        missing => Ok(Wanted::Bytes(missing)),
    }
}

/// What a whole header says. Errors say why it is not taken.
pub fn said(head: &[u8]) -> Result<Said, &'static str> {
    let malformed = "the header is malformed";
    // The parser takes a `+` in front of a port.
    if head.starts_with(LINE) && head.contains(&b'+') {
        return Err(malformed);
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (header, length) = ProxyHeader::parse(head, config).map_err(|_| malformed)?;
    if length != head.len() {
        return Err(malformed);
    }
    match header.proxied_address() {
        Some(address) if address.protocol == Protocol::Stream => {
            Ok(Said::Client(SocketAddr::new(address.source.ip().to_canonical(), address.source.port())))
        }
        Some(_) => Err("the header is about a datagram"),
        None if head.starts_with(SIGNATURE) && head.get(12) == Some(&LOCAL) => Ok(Said::Local),
        None => Err("the header names no address of the client"),
    }
}

/// How version 1 begins.
const LINE: &[u8] = b"PROXY ";
/// The longest line of version 1, with its end.
pub const MAX_LINE: usize = 107;
/// How version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and the command that says that the proxy speaks for itself.
const LOCAL: u8 = 0x20;
/// More than any balancer sends behind the addresses.
const MAX_LENGTH: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut head = SIGNATURE.to_vec();
        head.extend([command, family]);
        head.extend((payload.len() as u16).to_be_bytes());
        head.extend(payload);
        head
    }

    /// What comes of bytes that arrive one by one.
    fn outcome(bytes: &[u8]) -> Result<Said, &'static str> {
        for end in 0..=bytes.len() {
            match wanted(&bytes[..end])? {
                Wanted::Nothing => return said(&bytes[..end]),
                Wanted::Bytes(_) | Wanted::Line => {}
            }
        }
        Err("cut off")
    }

    fn client(text: &str) -> Result<Said, &'static str> {
        Ok(Said::Client(text.parse().expect("an address")))
    }

    #[test]
    fn both_versions_name_clients() {
        assert_eq!(outcome(b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\nGET"), client("192.0.2.1:4711"));
        assert_eq!(outcome(b"PROXY TCP6 2001:db8::1 ::1 4711 443\r\n"), client("[2001:db8::1]:4711"));
        assert_eq!(outcome(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 443\r\n"), client("192.0.2.1:1"));
        let four = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
        assert_eq!(outcome(&v2(0x21, 0x11, &four)), client("192.0.2.1:4711"));
        let with_more = [&four[..], &[4, 0, 2, 0, 0]].concat();
        assert_eq!(outcome(&v2(0x21, 0x11, &with_more)), client("192.0.2.1:4711"));
        assert_eq!(outcome(&v2(0x20, 0, &[])), Ok(Said::Local));
        assert_eq!(outcome(&v2(0x20, 0x11, &four)), Ok(Said::Local));
    }

    #[test]
    fn what_names_no_client_is_refused() {
        let none = Err("the header names no address of the client");
        assert_eq!(outcome(b"PROXY UNKNOWN\r\n"), none);
        assert_eq!(outcome(b"PROXY UNKNOWN ::1 ::1 1 2\r\n"), none);
        assert_eq!(outcome(&v2(0x21, 0, &[])), none);
        assert_eq!(outcome(&v2(0x21, 0x31, &[b'/'; 216])), none);
        assert_eq!(outcome(&v2(0x21, 0x12, &[7; 12])), Err("the header is about a datagram"));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00",
            b"PROXYTCP4 192.0.2.1 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n",
            b"PROXY TCP4 192.0.2.01 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.1\r\n\r\n",
            &[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(),
            &v2(0x31, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x21, 0x21, &[0; 12]),
            &v2(0x21, 0x41, &[0; 12]),
            &v2(0x21, 0x31, &[0; 12]),
            &v2(0x21, 0x11, &[0; MAX_LENGTH + 1]),
        ] {
            let outcome = outcome(bytes);
            assert!(outcome.is_err_and(|why| why != "cut off"), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm_and_a_cut_header_is_never_taken(
            start in prop_oneof![Just(&b""[..]), Just(LINE), Just(&SIGNATURE[..])],
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [start, &rest].concat();
            let _ = outcome(&bytes);
            let _ = said(&bytes);
        }

        #[test]
        fn an_address_survives_its_header(ip in any::<std::net::IpAddr>(), port: u16, cut in 0usize..28) {
            let source = SocketAddr::new(ip, port);
            let to = if ip.is_ipv4() { "10.0.0.1:1" } else { "[::1]:1" };
            let address = proxy_header::ProxiedAddress::stream(source, to.parse().expect("an address"));
            let header = ProxyHeader::with_address(address);
            let want = SocketAddr::new(ip.to_canonical(), port);
            for version in [1, 2] {
                let mut bytes = Vec::new();
                if version == 1 { header.encode_v1(&mut bytes) } else { header.encode_v2(&mut bytes) }.expect("fits");
                prop_assert_eq!(outcome(&bytes), Ok(Said::Client(want)));
                bytes.truncate(bytes.len().saturating_sub(1).min(cut));
                prop_assert!(outcome(&bytes).is_err());
            }
        }
    }
}
