//! What is refused before any request exists: heads that hyper could not read, and connections for
//! which there is no room.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::answer::render;
use super::context::{Context, Peer};
use super::judged::Judged;
use super::record::{CLIENT_GONE, End, Ending};
use crate::decision::{Builtin, Denial};

/// Records a head that hyper refused. `answered`: hyper answered, or else only closed.
pub(crate) fn record_head(
    context: &Rc<Context>,
    peer: &Rc<Peer>,
    rule: Builtin,
    answered: bool,
    head: &[u8],
) {
    let judged = Judged::unintelligible(context, peer, rule, head);
    let denial = Denial::builtin(rule.info().stage, rule);
    let status = if answered { denial.status() } else { CLIENT_GONE };
    record(context, &judged, &End::new(status, 0, Ending::Denied(denial)));
}

/// Records a connection that is not taken, and makes the answer to whatever it would ask.
pub(crate) fn turn_away(context: &Rc<Context>, peer: &Rc<Peer>, rule: Builtin) -> Vec<u8> {
    let judged = Judged::unintelligible(context, peer, rule, b"");
    let denial = Denial::builtin(rule.info().stage, rule);
    let (response, _) = render(&judged, &denial, &HeaderMap::new());
    let end = End::new(denial.status(), response.body().len() as u64, Ending::Denied(denial));
    record(context, &judged, &end);
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
