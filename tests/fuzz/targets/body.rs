//! A whole request with a body under the core pack: bodies of every kind are read or refused by name.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use portcullis::decision::{Outcome, Trace};
use portcullis::policy::{Policy, World};

mod support;

static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    support::policy(
        r#"
[upstream.origin]
servers = ["builtin:echo"]
[[route]]
id = "all"
path = "/{*rest}"
upstream = "origin"
[[rbac.grant]]
id = "all"
roles = ["anyone"]
[waf]
packs = ["core"]
"#,
    )
});

const TYPES: [&str; 8] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "text/plain",
    "application/octet-stream",
    "application/json; charset=utf-16",
    "multipart/form-data; boundary=\"a b\"",
];

fuzz_target!(|data: (u8, Option<&[u8]>, &[u8])| {
    let (choice, written, body) = data;
    let mut sample = support::sample("192.0.2.1");
    sample.method = Method::POST;
    let kind = match written {
        Some(written) => HeaderValue::from_bytes(written).ok(),
        None => Some(HeaderValue::from_static(TYPES[usize::from(choice) % TYPES.len()])),
    };
    if let Some(kind) = kind {
        sample.headers.insert("content-type", kind);
    }
    sample.headers.insert("content-length", HeaderValue::from(body.len()));
    sample.body = Bytes::copy_from_slice(body);
    let world = World::default();
    let plain = POLICY.decide(&sample, &world, None);
    let traced = POLICY.decide(&sample, &world, Some(&mut Trace::default()));
    // To look on changes nothing.
    assert_eq!(plain.outcome, traced.outcome);
    if let Outcome::Deny(denial) = plain.outcome {
        assert!(!POLICY.rules.name(denial.rule).is_empty());
    }
});
