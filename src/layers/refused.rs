//! What is refused before any request exists: heads that hyper could not read, and connections for
//! which there is no room.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::admit::request_id;
use super::answer::render;
use super::context::{Context, Peer};
use super::judged::Judged;
use super::record::{CLIENT_GONE, End, Ending};
use crate::decision::{Builtin, Denial};
use crate::facts::Body;

/// Records a head that hyper refused. `answered`: hyper answered, or else only closed.
pub(crate) fn record_head(
    context: &Rc<Context>,
    peer: &Rc<Peer>,
    rule: Builtin,
    answered: bool,
    head: &[u8],
) {
    let mut judged = Judged::unintelligible(context, peer, rule, head);
    look(&mut judged, peer, head);
    let denial = Denial::builtin(rule.info().stage, rule);
    let status = if answered { denial.status() } else { CLIENT_GONE };
    record(context, &judged, &End::new(status, 0, Ending::Denied(denial)));
}

/// Takes from a head that is no request what the record has use for: its id, and what the WAF's rules
/// say of it. Read line by line, as an application might that is more lenient than we are.
fn look(judged: &mut Judged, peer: &Peer, head: &[u8]) {
    let installed = Rc::clone(&judged.installed);
    let policy = &installed.snapshot.policy;
    let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(head.len());
    let mut rest = &head[start..];
    let mut lines = std::iter::from_fn(|| {
        let end = memchr::memchr(b'\n', rest)?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    });
    let Some(line) = lines.next() else { return };
    let mut headers = HeaderMap::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()).take(policy.intake.limits.fields) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (name, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let trusted = policy.proxies.trusts(peer.address.ip().to_canonical());
    if let Some(id) = request_id(&installed, &headers, trusted) {
        judged.request_id = id;
    }
    judged.admitted.target.line = Some(line.into());
    let body = if rest.is_empty() { Body::Absent } else { Body::Whole(Bytes::copy_from_slice(rest)) };
    let Judged { admitted, identity, progress, now, .. } = judged;
    policy.look_at_refused(&policy.facts(admitted, &headers, identity, &body, *now), progress);
}

/// Records a connection that is not taken, and makes the answer to whatever it would ask. `answered`: whether
/// that will be said.
pub(crate) fn turn_away(context: &Rc<Context>, peer: &Rc<Peer>, rule: Builtin, answered: bool) -> Vec<u8> {
    let judged = Judged::unintelligible(context, peer, rule, b"");
    let denial = Denial::builtin(rule.info().stage, rule);
    let (response, _) = render(&judged, &denial, &HeaderMap::new());
    let (status, out) = match answered {
        true => (denial.status(), response.body().len() as u64),
        false => (CLIENT_GONE, 0),
    };
    record(context, &judged, &End::new(status, out, Ending::Denied(denial)));
    http1(&response)
}

fn record(context: &Context, judged: &Judged, end: &End) {
    judged.count(context, end);
    context.log.push(&judged.line(context, end, None, &[]));
}

/// An answer as HTTP/1.1 writes it, after which the connection ends.
fn http1(response: &Response<Bytes>) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {}\r\nconnection: close\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    if !response.headers().contains_key(http::header::CONTENT_LENGTH) {
        bytes.extend_from_slice(format!("content-length: {}\r\n", response.body().len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(response.body());
    bytes
}
