//! The host a request asks for: one, canonical, without user info.

use std::net::Ipv6Addr;

use http::HeaderValue;

use super::hash::hash_text;

/// A canonical authority: host in lower case, without trailing dot, with its port if one was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// INVARIANT: visible ASCII; `host_len` bytes of host, then nothing or `:port`.
    text: HeaderValue,
    host_len: usize,
    port: Option<u16>,
    /// Of the host; see [`hash_host`].
    hash: u64,
}

/// Not an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityError {
    /// Nothing there.
    Missing,
    /// Something else there: user info, a list, a bad port, bytes that no host has.
    Invalid,
}

impl Authority {
    /// Reads an authority as the Host field or the request target gives it.
    pub fn parse(raw: &HeaderValue) -> Result<Authority, AuthorityError> {
        let bytes = raw.as_bytes();
        let (host, port) = split_port(bytes)?;
        let cut = host.strip_suffix(b".").unwrap_or(host);
        check_host(cut)?;
        let clean = cut.len() == host.len()
            && !cut.iter().any(u8::is_ascii_uppercase)
            && bytes.len() == cut.len() + port.map_or(0, |port| 1 + decimal_len(port));
        if clean {
            return Ok(Authority { text: raw.clone(), host_len: cut.len(), port, hash: hash_host(cut) });
        }
        let mut text = cut.to_ascii_lowercase();
        if let Some(port) = port {
            text.extend_from_slice(format!(":{port}").as_bytes());
        }
        let hash = hash_host(text.get(..cut.len()).unwrap_or_default());
        let text = HeaderValue::from_bytes(&text).map_err(|_| AuthorityError::Invalid)?;
        Ok(Authority { text, host_len: cut.len(), port, hash })
    }

    /// Reads an authority from text.
    pub fn parse_str(raw: &str) -> Result<Authority, AuthorityError> {
        Authority::parse(&HeaderValue::from_str(raw).map_err(|_| AuthorityError::Invalid)?)
    }

    /// The host: lower case, no port, no trailing dot; IPv6 in brackets.
    pub fn host(&self) -> &str {
        std::str::from_utf8(self.host_bytes()).unwrap_or("")
    }

    /// The same as bytes, without a look at each of them.
    #[inline]
    pub fn host_bytes(&self) -> &[u8] {
        self.text.as_bytes().get(..self.host_len).unwrap_or_default()
    }

    /// The host's hash, as [`hash_host`] gives it.
    #[inline]
    pub fn host_hash(&self) -> u64 {
        self.hash
    }

    /// The port, if one was given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The value to write into a Host field.
    pub fn header(&self) -> &HeaderValue {
        &self.text
    }

    /// Whether both name the same host and port, where an absent port is `default_port`.
    pub fn same_as(&self, other: &Authority, default_port: u16) -> bool {
        self.host() == other.host() && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// The hash of a canonical host, or of its end beginning with a dot.
pub fn hash_host(host: &[u8]) -> u64 {
    hash_text(u32::MAX, host)
}

fn split_port(bytes: &[u8]) -> Result<(&[u8], Option<u16>), AuthorityError> {
    if bytes.is_empty() {
        return Err(AuthorityError::Missing);
    }
    let host_end = if bytes[0] == b'[' {
        memchr::memchr(b']', bytes).ok_or(AuthorityError::Invalid)? + 1
    } else {
        memchr::memchr(b':', bytes).unwrap_or(bytes.len())
    };
    let (host, rest) = bytes.split_at(host_end);
    match rest {
        b"" | b":" => Ok((host, None)),
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            let port = digits.iter().fold(0u32, |port, digit| port * 10 + u32::from(digit - b'0'));
            Ok((host, Some(u16::try_from(port).map_err(|_| AuthorityError::Invalid)?)))
        }
        _ => Err(AuthorityError::Invalid),
    }
}

fn check_host(host: &[u8]) -> Result<(), AuthorityError> {
    if let [b'[', address @ .., b']'] = host {
        let address = std::str::from_utf8(address).map_err(|_| AuthorityError::Invalid)?;
        return address.parse::<Ipv6Addr>().map(drop).map_err(|_| AuthorityError::Invalid);
    }
    if host.is_empty() {
        return Err(AuthorityError::Missing);
    }
    let mut label = 0;
    for &byte in host {
        match byte {
            b'.' if label == 0 => return Err(AuthorityError::Invalid),
            b'.' => label = 0,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            _ => return Err(AuthorityError::Invalid),
        }
    }
    if label == 0 || host.len() > 253 { Err(AuthorityError::Invalid) } else { Ok(()) }
}

fn decimal_len(port: u16) -> usize {
    port.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, want: Result<&str, AuthorityError>) {
        let got = Authority::parse_str(raw);
        let text = got.as_ref().map(|got| got.header().to_str().unwrap_or("?")).map_err(|error| *error);
        assert_eq!(text, want, "{raw}");
    }

    #[test]
    fn case_trailing_dot_and_empty_port_do_not_distinguish() {
        check("app.test", Ok("app.test"));
        check("APP.Test.", Ok("app.test"));
        check("app.test:", Ok("app.test"));
        check("App.test:8080", Ok("app.test:8080"));
        check("app.test:080", Ok("app.test:80"));
        check("[::1]:80", Ok("[::1]:80"));
        check("192.0.2.1", Ok("192.0.2.1"));
    }

    #[test]
    fn what_is_no_single_host_is_refused() {
        check("", Err(AuthorityError::Missing));
        check(":80", Err(AuthorityError::Missing));
        for raw in [
            "a@b", "a, b", "a b", "a/b", "a\\b", "a:b", "a:99999", "a:1:2", "a..b", ".a", "a..", "[::1",
            "[x]", "a%2eb", "a?b", "a#b", "[::1]x",
        ] {
            check(raw, Err(AuthorityError::Invalid));
        }
    }

    #[test]
    fn the_default_port_is_the_absent_port() {
        let parse = |raw| Authority::parse_str(raw).ok();
        let (plain, port) = (parse("a.test"), parse("a.test:80"));
        assert!(plain.clone().zip(port.clone()).is_some_and(|(a, b)| a.same_as(&b, 80)));
        assert!(plain.zip(port).is_some_and(|(a, b)| !a.same_as(&b, 443)));
    }
}
