//! Who may do what, and who did it.

use std::fmt;
use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue, header};

use super::token::Token;

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
    /// Who it says it is.
    actor: Option<String>,
}

impl Access {
    /// Who asks. Reading is open on loopback, but only to a loopback `Host` and without a foreign
    /// `Origin`, so that no web page reads through a browser (DNS rebinding, cross-site requests).
    pub(super) fn caller(&self, origin: Origin, headers: &HeaderMap) -> Caller {
        let trusted = matches!(origin, Origin::Socket(_)) || self.has_token(headers);
        let local_peer = match origin {
            Origin::Address(peer) => self.loopback && peer.ip().to_canonical().is_loopback(),
            Origin::Socket(_) => true,
        };
        let local = local_peer
            && headers.get(header::HOST).is_some_and(is_local)
            && headers.get(header::ORIGIN).is_none_or(is_local);
        let actor = headers.get(ACTOR).and_then(|value| value.to_str().ok()).map(str::trim);
        let actor = actor.filter(|actor| !actor.is_empty()).map(|actor| actor.chars().take(64).collect());
        Caller { origin, trusted, reads: trusted || local, actor }
    }

    /// Whether the token is shown.
    fn has_token(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
        self.token.as_ref().zip(shown).is_some_and(|(token, shown)| token.is(shown))
    }
}

/// Whether a Host or an Origin names this machine.
fn is_local(value: &HeaderValue) -> bool {
    let text = value.to_str().unwrap_or("");
    let authority = text.rsplit_once("//").map_or(text, |(_, authority)| authority);
    crate::facts::Authority::parse_str(authority).is_ok_and(|authority| {
        let host = authority.host().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

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
