//! What does it cost to know who asks? Verified tokens among 10,000, in mixed order; first sights of
//! a token by algorithm; API keys. The anchor is a `HashMap` hit among 10,000, in the same run.

#![allow(missing_docs, reason = "criterion's macros make an undocumented main")]

use std::collections::HashMap;
use std::hash::RandomState;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use portcullis::facts::Identity;
use portcullis::policy::authn::{Bounds, Presented, TokenCache, Verification, hash_key};
use portcullis::policy::decode::{Part, TableReader, place};
use portcullis::policy::diagnostic::{Diagnostics, FileId};
use portcullis::policy::raw::RawPolicy;
use portcullis::policy::route::AuthnWord;
use portcullis::policy::source::Sources;
use portcullis::policy::{Frame, Policy, World};
use serde_json::json;
use toml::de::DeTable;

const TOKENS: usize = 10_000;

struct Lab {
    policy: Policy,
    world: World,
    now: Timestamp,
    keys: [(Algorithm, EncodingKey); 3],
}

/// One issuer for each algorithm, so that each bench knows what it measures.
fn lab() -> Lab {
    let rsa = KeyPair::generate(KeySize::Rsa2048).expect("keys can be made");
    let rsa: Pkcs8V1Der<'_> = rsa.as_der().expect("keys can be written");
    let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .expect("keys can be made");
    let keys = [
        (Algorithm::RS256, EncodingKey::from_rsa_der(&rsa.as_ref()[26..])),
        (Algorithm::ES256, EncodingKey::from_ec_der(ec.as_ref())),
        (Algorithm::HS256, EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef")),
    ];
    let mut text = "[rbac.role.user]\n[rbac.role.editor]\n[rbac.role.admin]\n".to_owned();
    for (algorithm, key) in &keys {
        let jwk = Jwk::from_encoding_key(key, *algorithm).expect("keys have public halves");
        text.push_str(&format!(
            "[[authn.jwt]]\nid = \"{}\"\nissuer = \"{algorithm:?}\"\naudience = \"portcullis\"\nalgorithms = [\"{algorithm:?}\"]\n\
             roles = \"roles\"\nroles_allowed = [\"user\", \"editor\", \"admin\"]\njwks = {{ inline = '''{}''' }}\n",
            format!("{algorithm:?}").to_lowercase(),
            json!({"keys": [jwk]}),
        ));
    }
    text.push_str(&format!(
        "[[authn.api_key]]\nid = \"batch\"\nheader = \"x-api-key\"\nhash = \"{}\"\n",
        hash_key(b"key")
    ));
    let document = DeTable::parse(&text).expect("the text is TOML");
    let mut diagnostics = Diagnostics::default();
    let mut reader =
        TableReader::new(FileId(0), "a policy", document.get_ref(), place(FileId(0), &document.span()));
    let raw = RawPolicy::read(&mut reader, &mut diagnostics).expect("the text is a policy");
    let now = Timestamp::from_second(1_800_000_000).expect("the time is in the calendar");
    let sources = Sources::single("bench.toml", text.clone());
    let policy = Policy::compile(&raw, &Frame::default(), &sources, now, &mut diagnostics)
        .expect("the policy compiles");
    Lab { policy, world: World::default(), now, keys }
}

impl Lab {
    /// The fields of a request with a token; RS256 ones are about 650 bytes long.
    fn request(&self, (algorithm, key): &(Algorithm, EncodingKey), number: usize) -> HeaderMap {
        let claims = json!({
            "iss": format!("{algorithm:?}"), "aud": "portcullis", "sub": format!("3f0e6c1a-user-{number}"),
            "roles": ["user", "editor", "reports-reader"], "scope": "items:read items:write",
            "iat": self.now.as_second(), "nbf": self.now.as_second(), "exp": self.now.as_second() + 3600,
        });
        let token = encode(&Header::new(*algorithm), &claims, key).expect("keys sign");
        let value = HeaderValue::try_from(format!("Bearer {token}")).expect("tokens are ASCII");
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    fn identify(&self, headers: &HeaderMap) -> bool {
        matches!(self.policy.identify(None, headers, &self.world, self.now), Identity::Valid(_))
    }

    fn recall(&self, cache: &TokenCache, headers: &HeaderMap) -> bool {
        match self.policy.authn.presented(AuthnWord::Optional, headers) {
            Presented::One(credential) => {
                self.policy.recall(cache, &credential, &self.world, self.now).is_some()
            }
            Presented::Nothing | Presented::Refused(_) => false,
        }
    }
}

/// An order that visits everything and that no prefetcher guesses.
fn mixed(count: usize) -> impl FnMut() -> usize {
    let mut state = 1usize;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % count
    }
}

fn tokens(c: &mut Criterion) {
    let lab = lab();
    let requests: Vec<HeaderMap> =
        (0..TOKENS).map(|number| lab.request(&lab.keys[number % 3], number)).collect();
    let rsa: Vec<HeaderMap> = (0..TOKENS / 10).map(|number| lab.request(&lab.keys[0], number)).collect();
    // The signatures of 10,000 RSA tokens would take a minute to make; their length is what matters
    // to a hit, so the long tokens of the cache are HMAC tokens with as many bytes.
    let long: Vec<HeaderMap> = (0..TOKENS)
        .map(|number| {
            let (algorithm, key) = &lab.keys[2];
            let claims = json!({
                "iss": "HS256", "aud": "portcullis", "sub": format!("3f0e6c1a-user-{number}"), "roles": ["user", "editor"],
                "exp": lab.now.as_second() + 3600, "pad": "x".repeat(323),
            });
            let token = encode(&Header::new(*algorithm), &claims, key).expect("keys sign");
            let value = HeaderValue::try_from(format!("Bearer {token}")).expect("tokens are ASCII");
            HeaderMap::from_iter([(header::AUTHORIZATION, value)])
        })
        .collect();
    assert!((650..670).contains(&(long[0][header::AUTHORIZATION].len() - "Bearer ".len())));

    let mut group = c.benchmark_group("token");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3));

    let anchor: HashMap<String, usize> =
        (0..TOKENS).map(|number| (format!("3f0e6c1a-user-{number}"), number)).collect();
    let names: Vec<String> = (0..TOKENS).map(|number| format!("3f0e6c1a-user-{number}")).collect();
    let mut next = mixed(TOKENS);
    group.bench_function("anchor: HashMap hit among 10,000", |b| {
        b.iter(|| anchor.get(black_box(&names[next()])))
    });

    for (name, requests) in [
        ("hit among 10,000, 658-byte tokens", &long),
        ("hit among 10,000, RS256 ES256 HS256 mixed", &requests),
    ] {
        let cache =
            TokenCache::new(Bounds { entries: 40_000, bytes: 256 << 20 }, RandomState::new(), &[7; 32]);
        for headers in requests {
            let Presented::One(credential) = lab.policy.authn.presented(AuthnWord::Optional, headers) else {
                return;
            };
            match lab.policy.authn.verify(&credential, &lab.world.keys, &lab.world.revoked, lab.now) {
                Verification::Done(Ok(holder)) => {
                    let _: Arc<_> = lab.policy.remember(&cache, &credential, holder, &lab.world, lab.now);
                }
                _ => return,
            }
        }
        assert!(requests.iter().all(|headers| lab.recall(&cache, headers)));
        let mut next = mixed(TOKENS);
        // A request's own bytes have just been read from its socket. So each is copied before the
        // clock runs, and what is measured is the cache's memory, not the request's.
        group.bench_function(name, |b| {
            b.iter_batched(
                || requests[next()].clone(),
                |headers| {
                    assert!(lab.recall(&cache, black_box(&headers)));
                    headers
                },
                BatchSize::NumIterations(64),
            );
        });
        let mut next = mixed(64);
        group.bench_function(format!("{name}; 64 busy ones"), |b| {
            b.iter(|| lab.recall(&cache, black_box(&requests[next()])));
        });
        let garbage = &rsa[0];
        group.bench_function(format!("miss beside {name}"), |b| {
            b.iter(|| lab.recall(&cache, black_box(garbage)))
        });
    }

    for (algorithm, place) in [("RS256", 0), ("ES256", 1), ("HS256", 2)] {
        let requests: Vec<HeaderMap> = (0..500).map(|number| lab.request(&lab.keys[place], number)).collect();
        let mut next = mixed(requests.len());
        assert!(requests.iter().all(|headers| lab.identify(headers)));
        group.bench_function(format!("first sight, {algorithm}"), |b| {
            b.iter(|| lab.identify(black_box(&requests[next()])))
        });
    }

    let key = HeaderMap::from_iter([(
        header::HeaderName::from_static("x-api-key"),
        HeaderValue::from_static("key"),
    )]);
    assert!(lab.identify(&key));
    group.bench_function("API key", |b| b.iter(|| lab.identify(black_box(&key))));
    let garbage =
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer e30.e30.e30"))]);
    group.bench_function("garbage", |b| b.iter(|| lab.identify(black_box(&garbage))));
    group.finish();
}

criterion_group!(benches, tokens);
criterion_main!(benches);
