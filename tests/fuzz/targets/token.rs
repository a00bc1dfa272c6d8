//! A bearer token that nobody signed: whatever it says, it is nobody's.
#![no_main]

use std::sync::{Arc, LazyLock};

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use portcullis::facts::Identity;
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
[[authn.jwt]]
id = "corp"
issuer = "https://id.example.com"
audience = ["orders"]
algorithms = ["HS256"]
secret_file = "hmac.secret"
"#,
    )
});

fuzz_target!(|data: (Option<(&str, &str, &[u8])>, &[u8])| {
    let (parts, raw) = data;
    let mut value = b"Bearer ".to_vec();
    match parts {
        Some((header, claims, signature)) => {
            let encoded = [header.as_bytes(), claims.as_bytes(), signature].map(base64url);
            value.extend_from_slice(encoded.join(".").as_bytes());
        }
        None => value.extend_from_slice(raw),
    }
    let Ok(value) = HeaderValue::from_bytes(&value) else { return };
    let mut sample = support::sample("192.0.2.1");
    sample.headers.insert("authorization", value);
    let admitted = POLICY.admit_sample(&sample);
    let identity = POLICY.identify_sample(admitted.route, &sample, &World::default());
    assert!(!matches!(identity, Identity::Valid(_)));
});

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * at) & 63) as usize]));
        }
    }
    text
}
