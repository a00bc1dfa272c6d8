//! What proxies say about their clients: only trusted ones are believed, and only as far as they go.
#![no_main]

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use portcullis::policy::Policy;

mod support;

static POLICIES: LazyLock<[Arc<Policy>; 2]> = LazyLock::new(|| {
    ["x-forwarded-for", "forwarded"].map(|header| {
        support::policy(&format!(
            "server.trusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\"]\nserver.client_address = \"{header}\"\n"
        ))
    })
});

fuzz_target!(|data: (bool, Vec<&[u8]>)| {
    let (forwarded, values) = data;
    let policy = &POLICIES[usize::from(forwarded)];
    for peer in ["10.0.0.1", "192.0.2.7"] {
        let mut sample = support::sample(peer);
        for value in &values {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                sample.headers.append(if forwarded { "forwarded" } else { "x-forwarded-for" }, value);
            }
        }
        let client = policy.admit_sample(&sample).client;
        let peer: IpAddr = peer.parse().expect("an address");
        assert_eq!(client.peer, peer);
        if peer.to_string() == "192.0.2.7" {
            assert_eq!(client.ip, peer, "a stranger was believed");
        }
    }
});
