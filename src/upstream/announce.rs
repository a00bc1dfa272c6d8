//! The PROXY protocol towards upstreams: who the client is, ahead of everything else on a connection
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! The destination is our own end of the connection: the address that the client connected to says
//! nothing to a server behind the gateway.

use std::net::{IpAddr, SocketAddr};

use crate::config::upstream::raw::ProxyProtocolWord;

/// The header in a version; `to` none where the connection has no address (a unix socket).
pub(super) fn header(version: ProxyProtocolWord, from: SocketAddr, to: Option<SocketAddr>) -> Vec<u8> {
    let to = to.unwrap_or(SocketAddr::new(from.ip(), 0));
    let (from, to) = alike(canonical(from), canonical(to));
    match version {
        ProxyProtocolWord::V1 => {
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()).into_bytes()
        }
        ProxyProtocolWord::V2 => {
            let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
            // Version 2, PROXY; then family and length.
            bytes.push(0x21);
            let (family, length) = if from.is_ipv4() { (0x11, 12u16) } else { (0x21, 36u16) };
            bytes.push(family);
            bytes.extend_from_slice(&length.to_be_bytes());
            for address in [from, to] {
                match address.ip() {
                    IpAddr::V4(ip) => bytes.extend_from_slice(&ip.octets()),
                    IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
                }
            }
            bytes.extend_from_slice(&from.port().to_be_bytes());
            bytes.extend_from_slice(&to.port().to_be_bytes());
            bytes
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Both of one family: the protocol knows no mix.
fn alike(from: SocketAddr, to: SocketAddr) -> (SocketAddr, SocketAddr) {
    let six = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if from.is_ipv4() == to.is_ipv4() { (from, to) } else { (six(from), six(to)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn version_1_is_a_line() {
        let check = |from, to: Option<&str>, want: &str| {
            let bytes = header(ProxyProtocolWord::V1, address(from), to.map(address));
            assert_eq!(String::from_utf8(bytes).expect("text"), want);
        };
        let to = Some("10.0.0.1:80");
        check("192.0.2.1:5", to, "PROXY TCP4 192.0.2.1 10.0.0.1 5 80\r\n");
        check("[::ffff:192.0.2.1]:5", to, "PROXY TCP4 192.0.2.1 10.0.0.1 5 80\r\n");
        check("[2001:db8::1]:5", to, "PROXY TCP6 2001:db8::1 ::ffff:10.0.0.1 5 80\r\n");
        check("192.0.2.1:5", None, "PROXY TCP4 192.0.2.1 192.0.2.1 5 0\r\n");
    }

    #[test]
    fn version_2_is_binary() {
        let bytes = header(ProxyProtocolWord::V2, address("192.0.2.1:258"), Some(address("10.0.0.1:80")));
        assert_eq!(bytes, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\x01\x02\0\x50");
        let six = header(ProxyProtocolWord::V2, address("[::1]:1"), Some(address("[::1]:2")));
        assert_eq!((six[13], six.len()), (0x21, 16 + 36));
    }
}
