//! Who may do what, and who did it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::uri;

use super::token::Token;
use crate::deny::escape_for_terminal;
use crate::facts::Authority;

/// The rights of this listener.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) token: Option<Token>,
    pub(super) metrics_need_token: bool,
    /// Whether it listens on loopback.
    pub(super) loopback: bool,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Over TCP.
    Address(SocketAddr),
    /// Over the socket that only its owner may open; the user, as the kernel says.
    Socket(Option<u32>),
}

/// Somebody who makes a request.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) origin: Origin,
    /// Whether the caller may change things.
    pub(super) trusted: bool,
    /// Whether the caller may read.
    pub(super) reads: bool,
    /// Whether the caller may read the metrics.
    pub(super) scrapes: bool,
    /// Who it says it is.
    actor: Option<String>,
}

impl Access {
    /// Who asks. Reading is open on loopback, but only to a loopback `Host` and without a foreign
    /// `Origin`, so that no web page reads through a browser (DNS rebinding, cross-site requests).
    /// `target`: the host that the request target names, where it names one; it is asked for then,
    /// whatever `Host` says (RFC 9112, section 3.2.2).
    pub(super) fn caller(
        &self,
        origin: Origin,
        target: Option<&uri::Authority>,
        headers: &HeaderMap,
    ) -> Caller {
        let trusted = matches!(origin, Origin::Socket(_)) || self.has_token(headers);
        let local_peer = match origin {
            Origin::Address(peer) => self.loopback && peer.ip().to_canonical().is_loopback(),
            Origin::Socket(_) => true,
        };
        let local = local_peer
            && only(headers, &HOST).is_some_and(is_local_host)
            && target.is_none_or(|target| is_local(target.as_str()))
            && (!headers.contains_key(ORIGIN) || only(headers, &ORIGIN).is_some_and(is_local_origin));
        let reads = trusted || local;
        // Metrics are read like all else where that is open on loopback alone. On another address,
        // `metrics = "open"` is what opens them, and scrapers come by any name.
        let scrapes = trusted || (!self.metrics_need_token && (local || !self.loopback));
        let actor = headers.get(ACTOR).and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
        let actor = actor.map(str::trim).filter(|actor| !actor.is_empty());
        let actor = actor.map(|actor| {
            let cut: String = actor.chars().take(LONGEST_ACTOR).collect();
            escape_for_terminal(&cut).into_owned()
        });
        Caller { origin, trusted, reads, scrapes, actor }
    }

    /// Whether the token is shown. The name of the scheme is of any case (RFC 9110, section 11.1).
    fn has_token(&self, headers: &HeaderMap) -> bool {
        let shown = only(headers, &AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.split_once(' '));
        let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"));
        let shown = shown.map(|(_, shown)| shown.trim_matches(' '));
        self.token.as_ref().zip(shown).is_some_and(|(token, shown)| token.is(shown))
    }
}

/// The value of a field that stands exactly once: of two, nobody knows which one counts.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a `Host` names this machine: a host and perhaps a port, and nothing else.
fn is_local_host(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(is_local)
}

/// Whether an `Origin` is a page of this machine: a scheme, a host and perhaps a port, as browsers
/// write it. `null` and lists are somebody else's.
fn is_local_origin(value: &HeaderValue) -> bool {
    let text = value.to_str().unwrap_or("");
    let authority = ["http://", "https://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
    authority.is_some_and(is_local)
}

/// Whether an authority names this machine.
fn is_local(authority: &str) -> bool {
    Authority::parse_str(authority).is_ok_and(|authority| {
        let host = authority.host().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// A name has no more characters.
const LONGEST_ACTOR: usize = 64;

/// The field in which a caller that has the token may say who it is.
const ACTOR: &str = "x-portcullis-actor";

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.origin, &self.actor) {
            (Origin::Address(peer), Some(actor)) => write!(f, "{actor}, from {}", peer.ip().to_canonical()),
            (Origin::Address(peer), None) => write!(f, "the token, from {}", peer.ip().to_canonical()),
            (Origin::Socket(Some(user)), Some(actor)) => write!(f, "{actor}, user {user} on this machine"),
            (Origin::Socket(Some(user)), None) => write!(f, "user {user} on this machine"),
            (Origin::Socket(None), Some(actor)) => write!(f, "{actor}, on this machine"),
            (Origin::Socket(None), None) => write!(f, "somebody on this machine"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&HeaderName, &str)]) -> HeaderMap {
        let value = |value: &str| HeaderValue::from_bytes(value.as_bytes()).unwrap();
        fields.iter().map(|(name, text)| ((*name).clone(), value(text))).collect()
    }

    fn access(loopback: bool) -> Access {
        let token = Some(Token::of("0123456789abcdef"));
        Access { token, metrics_need_token: false, loopback }
    }

    fn caller(loopback: bool, fields: &[(&HeaderName, &str)]) -> Caller {
        let peer = Origin::Address(SocketAddr::from(([127, 0, 0, 1], 50_000)));
        access(loopback).caller(peer, None, &headers(fields))
    }

    #[test]
    fn only_a_host_that_is_nothing_but_this_machine_reads() {
        for host in ["localhost", "localhost:9901", "LOCALHOST.", "127.0.0.1:9901", "[::1]:9901"] {
            assert!(caller(true, &[(&HOST, host)]).reads, "{host}");
        }
        for host in [
            "",
            "gateway.example",
            "//localhost",
            "http://localhost",
            "gateway.example//localhost",
            "x//127.0.0.1:9901",
            "localhost/",
            "user@localhost",
            "localhost:port",
            "localhost, gateway.example",
            "localhost.example",
            "127.0.0.1.example",
            "2130706433",
        ] {
            assert!(!caller(true, &[(&HOST, host)]).reads, "{host}");
            assert!(!caller(true, &[(&HOST, host)]).scrapes, "{host}");
        }
        assert!(!caller(true, &[]).reads);
        assert!(!caller(true, &[(&HOST, "localhost"), (&HOST, "localhost")]).reads);
    }

    #[test]
    fn only_an_origin_of_this_machine_reads() {
        for origin in ["http://localhost", "http://127.0.0.1:9901", "https://[::1]"] {
            assert!(caller(true, &[(&HOST, "localhost"), (&ORIGIN, origin)]).reads, "{origin}");
        }
        for origin in [
            "",
            "null",
            "localhost",
            "//localhost",
            "https://evil.test//localhost",
            "https://evil.test//http://localhost",
            "http://localhost/",
            "http:localhost",
            "ftp://localhost",
            "https://evil.test",
            "http://localhost https://evil.test",
        ] {
            assert!(!caller(true, &[(&HOST, "localhost"), (&ORIGIN, origin)]).reads, "{origin}");
        }
        let two = [(&HOST, "localhost"), (&ORIGIN, "http://localhost"), (&ORIGIN, "https://evil.test")];
        assert!(!caller(true, &two).reads);
    }

    #[test]
    fn the_host_of_the_target_counts_too() {
        let peer = Origin::Address(SocketAddr::from(([127, 0, 0, 1], 50_000)));
        let reads = |target: &str| {
            let target = target.parse().unwrap();
            access(true).caller(peer, Some(&target), &headers(&[(&HOST, "localhost")])).reads
        };
        assert!(reads("localhost:9901") && !reads("gateway.example"));
    }

    #[test]
    fn elsewhere_metrics_are_open_by_any_name_and_nothing_else_is() {
        let scraper = caller(false, &[(&HOST, "gateway.example:9901")]);
        assert!(scraper.scrapes && !scraper.reads && !scraper.trusted);
        assert!(!caller(false, &[(&HOST, "localhost")]).reads);
    }

    #[test]
    fn the_scheme_of_the_token_is_of_any_case() {
        for shown in ["Bearer", "bearer", "BEARER", "Bearer "] {
            let shown = format!("{shown} 0123456789abcdef");
            assert!(caller(false, &[(&AUTHORIZATION, &shown)]).trusted, "{shown}");
        }
        for shown in ["0123456789abcdef", "Basic 0123456789abcdef", "Bearer0123456789abcdef", "bearer"] {
            assert!(!caller(false, &[(&AUTHORIZATION, shown)]).trusted, "{shown}");
        }
        let right = "Bearer 0123456789abcdef";
        assert!(!caller(false, &[(&AUTHORIZATION, right), (&AUTHORIZATION, "Bearer x")]).trusted);
    }

    #[test]
    fn a_name_cannot_hide_or_turn_what_stands_beside_it() {
        let actor = HeaderName::from_static(ACTOR);
        let said = |name: &str| caller(true, &[(&actor, name)]).to_string();
        assert_eq!(said("J\u{fc}rgen"), "J\u{fc}rgen, from 127.0.0.1");
        assert_eq!(said("a\u{202e}b\t"), "a\\u{202e}b, from 127.0.0.1");
        assert_eq!(said(&"x".repeat(100)).len(), LONGEST_ACTOR + ", from 127.0.0.1".len());
    }
}
