//! One request as a value: what `explain`, `test` and the benches hand to `Policy::decide`.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, Version};
use jiff::Timestamp;

use crate::facts::{Holder, Scheme};

/// A request that never was on a socket.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it is judged.
    pub now: Timestamp,
    /// The scheme of the connection it would have come over.
    pub scheme: Scheme,
    /// The method.
    pub method: Method,
    /// The request target, without a fragment.
    pub uri: Uri,
    /// Whether a fragment was sent with the target. [`Uri`] has no place for one.
    pub fragment: bool,
    /// The protocol version.
    pub version: Version,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Who asks.
    pub caller: Caller,
}

/// Who asks, in a sample.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Whoever the header fields show.
    FromHeaders,
    /// This holder, as if its credential had been verified. Credentials in the fields are not read.
    Assumed(Arc<Holder>),
}
