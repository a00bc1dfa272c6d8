//! What a policy is told by the rest of the configuration.

use super::diagnostic::At;
use super::intake::{AddressSource, Limits};
use super::network::NetItem;

/// What a policy needs to know of the process it is compiled for.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// Sizes beyond which a request head is refused.
    pub limits: Limits,
    /// The proxies in front of us.
    pub trusted_proxies: Vec<At<NetItem>>,
    /// The header in which they name their clients.
    pub client_address: AddressSource,
    /// Header names that the gateway sets.
    pub managed_headers: Vec<http::HeaderName>,
    /// The upstreams that routes may name.
    pub upstreams: Vec<String>,
    /// How many bytes of a text that a WAF rule matched are kept for the record.
    pub waf_data: usize,
    /// The hash over the canonical content.
    pub hash: u32,
}
