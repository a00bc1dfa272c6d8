//! A request in words, made into the value that a policy judges.
//!
//! `explain` fills it from the command line, `test` from a case file. Both then hand the same
//! [`Sample`] to `Policy::decide`, with nothing added but what no client could leave out.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::config::Setup;
use crate::facts::{Certificate, Holder, Scheme};
use crate::policy::intake::AddressSource;
use crate::policy::{Caller, Policy, Sample, World};

/// A request as somebody described it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// The request target as sent: `/path?query`, or a whole URL for the absolute form.
    pub(super) target: Uri,
    /// Whether a fragment was sent with it.
    pub(super) fragment: bool,
    pub(super) version: Version,
    pub(super) scheme: Scheme,
    /// The Host field; none: `localhost`, unless the fields have one.
    pub(super) host: Option<HeaderValue>,
    /// The other fields, in order.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The other end of the connection; none: the client itself.
    pub(super) peer: Option<IpAddr>,
    /// The client's address.
    pub(super) ip: IpAddr,
    /// The certificate that the client showed.
    pub(super) certificate: Option<Arc<Certificate>>,
}

/// Somebody whose credential is taken as verified.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    pub(super) subject: String,
    pub(super) roles: Vec<String>,
    pub(super) scopes: Vec<String>,
    pub(super) claims: Map<String, Value>,
}

/// What keys and revocations the policy is judged with away from a running gateway.
pub(super) fn world(_setup: &Setup) -> World {
    World::default()
}

impl Request {
    /// The sample of this request. Adds a Host and a Content-Length where none are given, and
    /// writes the client's address where a trusted peer would.
    pub(super) fn sample(self, policy: &Policy, now: Timestamp, caller: Caller) -> Sample {
        let Request { method, target, fragment, version, scheme, host, mut headers, body, .. } = self;
        let Request { peer, ip, certificate, .. } = self;
        let local = || HeaderValue::from_static("localhost");
        if host.is_some() || !headers.contains_key(header::HOST) {
            headers.insert(header::HOST, host.unwrap_or_else(local));
        }
        let framed = headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING)
            || body.is_empty();
        if !framed {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        if let Some((name, value)) = peer.and_then(|_| forwarding(policy.proxies.source, ip)) {
            headers.entry(name).or_insert(value);
        }
        let peer = peer.unwrap_or(ip);
        Sample {
            now,
            scheme,
            method,
            uri: target,
            fragment,
            version,
            headers,
            body,
            peer,
            certificate,
            caller,
        }
    }
}

/// The field in which a proxy names its client.
fn forwarding(source: AddressSource, ip: IpAddr) -> Option<(HeaderName, HeaderValue)> {
    let (name, text) = match (source, ip) {
        (AddressSource::Peer, _) => return None,
        (AddressSource::XForwardedFor, ip) => (HeaderName::from_static("x-forwarded-for"), ip.to_string()),
        (AddressSource::Forwarded, IpAddr::V4(ip)) => (header::FORWARDED, format!("for={ip}")),
        (AddressSource::Forwarded, IpAddr::V6(ip)) => (header::FORWARDED, format!("for=\"[{ip}]\"")),
    };
    Some((name, HeaderValue::from_str(&text).ok()?))
}

impl Person {
    /// The holder of a credential that says all this.
    pub(super) fn caller(self) -> Caller {
        let Person { subject, roles, scopes, mut claims } = self;
        claims.entry("sub").or_insert_with(|| subject.as_str().into());
        let names = |names: Vec<String>| names.into_iter().map(String::into_boxed_str).collect();
        Caller::Assumed(Arc::new(Holder {
            source: ASSUMED.into(),
            subject: subject.into(),
            roles: names(roles),
            scopes: names(scopes),
            claims,
            bearer: true,
            ..Holder::default()
        }))
    }
}

/// The source of an identity that nobody verified.
pub(super) const ASSUMED: &str = "assumed";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::policy::source::Sources;

    fn sample(server: &str, change: impl FnOnce(&mut Request)) -> Sample {
        let text = format!("version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\n{server}");
        let setup = config::compile(Sources::single("a", text), Timestamp::UNIX_EPOCH).setup.unwrap();
        let mut request = Request {
            method: Method::GET,
            target: Uri::from_static("/"),
            fragment: false,
            version: Version::HTTP_11,
            scheme: Scheme::Http,
            host: None,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            peer: None,
            ip: IpAddr::from([192, 0, 2, 7]),
            certificate: None,
        };
        change(&mut request);
        request.sample(&setup.policy, Timestamp::UNIX_EPOCH, Caller::FromHeaders)
    }

    fn check(sample: &Sample, name: &str, want: &[&str]) {
        let values: Vec<_> = sample.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, want.iter().map(|want| want.as_bytes()).collect::<Vec<_>>(), "{name}");
    }

    #[test]
    fn what_no_client_could_leave_out_is_added() {
        let plain = sample("", |_| {});
        check(&plain, "host", &["localhost"]);
        check(&plain, "content-length", &[]);
        assert_eq!(plain.headers.len(), 1);
        check(&sample("", |request| request.body = Bytes::from_static(b"abc")), "content-length", &["3"]);
    }

    #[test]
    fn what_was_given_is_left_as_it_is() {
        let given = sample("", |request| {
            request.headers.append("host", HeaderValue::from_static("a"));
            request.headers.append("host", HeaderValue::from_static("b"));
            request.headers.append("content-length", HeaderValue::from_static("9"));
            request.body = Bytes::from_static(b"abc");
        });
        check(&given, "host", &["a", "b"]);
        check(&given, "content-length", &["9"]);
    }

    #[test]
    fn a_peer_before_the_client_names_it_in_the_configured_field() {
        let behind = |request: &mut Request| request.peer = Some(IpAddr::from([10, 0, 0, 1]));
        let xff = sample("", behind);
        check(&xff, "x-forwarded-for", &["192.0.2.7"]);
        assert_eq!(xff.peer, IpAddr::from([10, 0, 0, 1]));
        check(&sample("client_address = \"forwarded\"", behind), "forwarded", &["for=192.0.2.7"]);
        let peer = sample("client_address = \"peer\"", behind);
        assert_eq!(peer.headers.len(), 1);
    }
}
