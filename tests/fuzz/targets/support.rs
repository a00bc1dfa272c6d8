//! What the targets share: a policy from text, and a request from bytes.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, Version};
use jiff::Timestamp;
use portcullis::config;
use portcullis::facts::Scheme;
use portcullis::policy::source::Sources;
use portcullis::policy::{Caller, Policy, Sample};

/// 2026-01-01, so that a crash can be had again.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_767_225_600).expect("a time")
}

/// The policy of a configuration that must be good.
pub fn policy(tables: &str) -> Arc<Policy> {
    let text = format!("version = 1\nserver.listen = [\"127.0.0.1:0\"]\n{tables}");
    let mut sources = Sources::single("fuzz.toml", text);
    sources.attach("hmac.secret", "a secret that nobody guesses: 7c1b5e4f0d3a");
    let outcome = config::compile(sources, now());
    match outcome.setup {
        Some(setup) => Arc::new(setup.policy),
        None => panic!("{:?}", outcome.diagnostics),
    }
}

/// A GET of `/` from `peer`, to be filled in.
pub fn sample(peer: &str) -> Sample {
    let mut headers = HeaderMap::new();
    headers.insert("host", http::HeaderValue::from_static("fuzz.example"));
    Sample {
        now: now(),
        scheme: Scheme::Http,
        method: Method::GET,
        uri: Uri::from_static("/"),
        fragment: false,
        version: Version::HTTP_11,
        headers,
        body: Bytes::new(),
        peer: peer.parse::<IpAddr>().expect("an address"),
        certificate: None,
        caller: Caller::FromHeaders,
    }
}
