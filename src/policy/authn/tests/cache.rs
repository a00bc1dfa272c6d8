//! The cache: what it finds is what verifying would say, and nothing it keeps outlives its reasons.

use std::hash::RandomState;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tokens::{attacker, claims, hmac, rsa, with};
use super::*;
use crate::decision::Version;
use crate::facts::Who;
use crate::policy::{Frame, Policy, World};

const ROOMY: Bounds = Bounds { entries: 1600, bytes: 1 << 20 };

fn cache(bounds: Bounds) -> TokenCache {
    TokenCache::new(bounds, RandomState::new(), &[7; 32])
}

fn token_headers(token: &str) -> HeaderMap {
    headers(&[("authorization", &format!("Bearer {token}"))])
}

fn credential<'h>(authn: &Authn, headers: &'h HeaderMap) -> Credential<'h> {
    match authn.presented(AuthnWord::Optional, headers) {
        Presented::One(credential) => credential,
        other => unreachable!("{other:?}"),
    }
}

fn put(cache: &TokenCache, authn: &Authn, credential: &Credential<'_>, holder: Arc<Holder>) {
    let window = authn.window(&holder, now()).unwrap();
    let who = Arc::new(Who { holder, ..Who::default() });
    cache.put(credential, authn.stamp(&KeyRing::default()), Version::default(), window, who);
}

fn get(
    cache: &TokenCache,
    credential: &Credential<'_>,
    stamp: Stamp,
    time: Timestamp,
) -> Option<Arc<Holder>> {
    cache.get(credential, stamp, Version::default(), time).map(|hit| hit.who.holder.clone())
}

/// Verifies a token and keeps it, as the server does.
fn keep(cache: &TokenCache, authn: &Authn, token: &str) {
    let fields = token_headers(token);
    let credential = credential(authn, &fields);
    let Verification::Done(Ok(holder)) =
        authn.verify(&credential, &KeyRing::default(), &Revocations::default(), now())
    else {
        return;
    };
    put(cache, authn, &credential, holder);
}

fn found(cache: &TokenCache, authn: &Authn, token: &str, time: Timestamp) -> Option<Arc<Holder>> {
    let fields = token_headers(token);
    let credential = credential(authn, &fields);
    get(cache, &credential, authn.stamp(&KeyRing::default()), time)
}

#[test]
fn what_was_verified_is_found_until_its_end() {
    let (lab, cache) = (lab(), cache(ROOMY));
    let token = rsa().token(&claims());
    assert_eq!(found(&cache, &lab, &token, now()), None);
    keep(&cache, &lab, &token);
    assert_eq!(found(&cache, &lab, &token, now()), Some(bearer(&lab, &token).unwrap()));
    // `exp` is 13:00:00, `nbf` 11:59:50, the leeway 60 s.
    for (time, there) in [("13:00:59", true), ("13:01:00", false), ("11:58:50", true), ("11:58:49", false)] {
        assert_eq!(
            found(&cache, &lab, &token, at(&format!("2026-11-24T{time}Z"))).is_some(),
            there,
            "{time}"
        );
    }
}

#[test]
fn within_the_second_of_its_beginning_and_end_a_token_is_not_found_but_verified() {
    let (lab, cache) = (lab(), cache(ROOMY));
    let seconds = now().as_second() as f64;
    let token =
        rsa().token(&with(claims(), &[("nbf", json!(seconds + 60.5)), ("exp", json!(seconds + 100.5))]));
    let fields = token_headers(&token);
    let credential = credential(&lab, &fields);
    let holder = Holder {
        source: "lab".into(),
        bearer: true,
        not_before: Some(at("2026-11-24T12:01:00.5Z")),
        expires_at: Some(at("2026-11-24T12:01:40.5Z")),
        ..Holder::default()
    };
    put(&cache, &lab, &credential, Arc::new(holder));
    // With leeway the token is good from 12:00:00.5 to 12:02:40.5.
    for (time, there) in [
        ("12:00:00.2", false),
        ("12:00:00.7", false),
        ("12:00:01", true),
        ("12:02:39.9", true),
        ("12:02:40", false),
    ] {
        assert_eq!(
            found(&cache, &lab, &token, at(&format!("2026-11-24T{time}Z"))).is_some(),
            there,
            "{time}"
        );
    }
}

#[test]
fn what_was_refused_is_not_kept() {
    let (lab, cache) = (lab(), cache(ROOMY));
    for token in [attacker().token(&claims()), rsa().token(&with(claims(), &[("exp", json!(1))]))] {
        keep(&cache, &lab, &token);
        assert!(cache.is_empty() && found(&cache, &lab, &token, now()).is_none());
    }
}

#[test]
fn a_token_that_differs_in_one_byte_is_not_found() {
    let (lab, cache) = (lab(), cache(ROOMY));
    let token = rsa().token(&claims());
    keep(&cache, &lab, &token);
    for place in 0..token.len() {
        let mut other = token.clone().into_bytes();
        other[place] = if other[place] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        assert_eq!(found(&cache, &lab, &other, now()), None, "{place}");
    }
    assert_eq!(found(&cache, &lab, &token[1..], now()), None);
}

#[test]
fn other_sources_or_keys_find_nothing() {
    let (lab, cache) = (lab(), cache(ROOMY));
    let token = rsa().token(&claims());
    keep(&cache, &lab, &token);
    let (other, _, _) =
        compile(LAB, &[("jwks.json", &tokens::key_set([attacker()])), ("htpasswd", &htpasswd())]);
    assert_eq!(found(&cache, &other, &token, now()), None);
    let fields = token_headers(&token);
    let keys = Keys::parse(&tokens::key_set([rsa()]), Origin::Fetched).unwrap();
    let stamp = lab.stamp(&KeyRing::default().with("https://a.test", keys));
    assert!(get(&cache, &credential(&lab, &fields), stamp, now()).is_none());
}

#[test]
fn a_password_is_kept_for_a_minute_and_not_in_the_clear() {
    let (lab, cache) = (lab(), cache(ROOMY));
    let fields = headers(&[("authorization", "Basic YWxpY2U6b3BlbiBzZXNhbWU=")]);
    let credential = credential(&lab, &fields);
    let Verification::Slow(check) =
        lab.verify(&credential, &KeyRing::default(), &Revocations::default(), now())
    else {
        unreachable!()
    };
    let holder = check.run(&Revocations::default()).unwrap();
    put(&cache, &lab, &credential, holder);
    let stamp = lab.stamp(&KeyRing::default());
    assert!(get(&cache, &credential, stamp, at("2026-11-24T12:00:59Z")).is_some());
    assert!(get(&cache, &credential, stamp, at("2026-11-24T12:01:00Z")).is_none());
    let wrong = headers(&[("authorization", "Basic YWxpY2U6b3BlbiBTZXNhbWU=")]);
    assert!(get(&cache, &super::cache::credential(&lab, &wrong), stamp, now()).is_none());
}

#[test]
fn api_keys_are_not_kept() {
    let (lab, cache) = (lab(), cache(ROOMY));
    let fields = headers(&[("x-api-key", "lab-user-key")]);
    let holder = identify(&lab, &[("x-api-key", "lab-user-key")]).unwrap().unwrap();
    put(&cache, &lab, &credential(&lab, &fields), holder);
    assert!(cache.is_empty());
}

// === bounds ===

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A source whose tokens cost nothing to make.
fn cheap() -> Authn {
    let text = "[[authn.jwt]]\nid = \"a\"\nissuer = \"https://issuer.test\"\naudience = \"portcullis-lab\"\nalgorithms = [\"HS256\"]\nsecret_file = \"s\"";
    authn(text, &[("s", std::str::from_utf8(SECRET).unwrap())])
}

fn cheap_token(number: usize, pad: Value) -> String {
    hmac(jsonwebtoken::Algorithm::HS256, SECRET)
        .token(&with(claims(), &[("jti", json!(number.to_string())), ("pad", pad)]))
}

#[test]
fn entries_are_bounded_and_busy_ones_survive_a_flood() {
    let (authn, cache) = (cheap(), cache(Bounds { entries: 320, bytes: 1 << 30 }));
    let busy: Vec<String> = (0..50).map(|number| cheap_token(number, json!(0))).collect();
    busy.iter().for_each(|token| keep(&cache, &authn, token));
    for number in 0..2000 {
        keep(&cache, &authn, &cheap_token(1000 + number, json!(0)));
        assert!(busy.iter().all(|token| found(&cache, &authn, token, now()).is_some()), "{number}");
    }
    assert!(cache.len() <= 320 && cache.len() > 200, "{}", cache.len());
}

#[test]
fn bytes_are_bounded_and_count_what_claims_become() {
    let bounds = Bounds { entries: 100_000, bytes: 1 << 20 };
    let (authn, cache) = (cheap(), cache(bounds));
    for number in 0..300 {
        keep(&cache, &authn, &cheap_token(number, json!(vec![0; 500])));
        assert!(cache.bytes() <= bounds.bytes);
    }
    // A number takes two bytes in the token and sixteen or more once taken apart.
    assert!(cache.len() < bounds.bytes / (500 * 16) && cache.len() > 30, "{}", cache.len());
    let before = cache.len();
    keep(&cache, &authn, &cheap_token(0, json!(vec![0; 5000])));
    assert_eq!(cache.len(), before, "too large for a share of the bounds");
}

#[test]
fn keeping_the_same_token_again_replaces_it() {
    let (authn, cache) = (cheap(), cache(ROOMY));
    keep(&cache, &authn, &cheap_token(1, json!(0)));
    let bytes = cache.bytes();
    keep(&cache, &authn, &cheap_token(1, json!(0)));
    assert_eq!((cache.len(), cache.bytes()), (1, bytes));
}

#[test]
fn a_cache_of_nothing_keeps_nothing() {
    for bounds in [Bounds { entries: 0, bytes: 1 << 20 }, Bounds { entries: 100, bytes: 0 }] {
        let (authn, cache) = (cheap(), cache(bounds));
        keep(&cache, &authn, &cheap_token(1, json!(0)));
        assert!(cache.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever is kept and evicted, a hit is what verifying says at that time.
    #[test]
    fn a_hit_equals_verifying(steps in proptest::collection::vec((0..60usize, 0..2i64, -200..4000i64), 1..200)) {
        let (authn, cache) = (cheap(), cache(Bounds { entries: 32, bytes: 1 << 16 }));
        for (number, late, second) in steps {
            let exp = now().as_second() + 100 + 2000 * late;
            let token = hmac(jsonwebtoken::Algorithm::HS256, SECRET)
                .token(&with(claims(), &[("jti", json!(number.to_string())), ("exp", json!(exp))]));
            let time = Timestamp::from_second(now().as_second() + second).unwrap();
            let fields = token_headers(&token);
            let credential = credential(&authn, &fields);
            let direct = match authn.verify(&credential, &KeyRing::default(), &Revocations::default(), time) {
                Verification::Done(direct) => direct.ok(),
                other => unreachable!("{other:?}"),
            };
            if let Some(hit) = found(&cache, &authn, &token, time) {
                prop_assert_eq!(Some(hit), direct);
            } else {
                keep(&cache, &authn, &token);
            }
        }
    }
}

// === through the policy ===

/// A policy with one role that inherits another, or not.
fn policy(generation: u64, inherits: &str) -> Policy {
    let text = format!(
        "[rbac.role.user]\n[rbac.role.editor]\ninherits = [{inherits}]\n[[authn.jwt]]\nid = \"a\"\nissuer = \"https://issuer.test\"\n\
         audience = \"portcullis-lab\"\nalgorithms = [\"HS256\"]\nsecret_file = \"s\"\nroles = \"roles\""
    );
    let mut sources = Sources::single("test.toml", text.clone());
    sources.attach("s", std::str::from_utf8(SECRET).unwrap());
    let mut diagnostics = Diagnostics::default();
    let raw: RawPolicy = read_document("a policy file", FileId(0), &text, &mut diagnostics).unwrap();
    let policy = Policy::compile(&raw, &Frame::default(), &sources, now(), &mut diagnostics);
    let mut policy = policy.unwrap_or_else(|| unreachable!("{diagnostics:#?}"));
    policy.version.generation = generation;
    policy
}

fn roles(policy: &Policy, who: &Who) -> String {
    who.roles.iter().map(|role| policy.roles.name(role)).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_new_policy_resolves_the_roles_anew_and_keeps_the_verification() {
    let (old, new) = (policy(1, ""), policy(2, "\"user\""));
    let (cache, world) = (cache(ROOMY), World::default());
    let fields = token_headers(
        &hmac(jsonwebtoken::Algorithm::HS256, SECRET).token(&with(claims(), &[("roles", json!("editor"))])),
    );
    let credential = credential(&old.authn, &fields);
    let Identity::Valid(who) = old.identify(None, &fields, &world, now()) else { unreachable!() };
    let kept = old.remember(&cache, &credential, who.holder.clone(), &world, now());
    assert_eq!(kept, who);
    let recall = |policy: &Policy| policy.recall(&cache, &credential, &world, now()).unwrap();
    assert_eq!(roles(&old, &recall(&old)), "anyone authenticated editor");
    assert_eq!(roles(&new, &recall(&new)), "anyone authenticated user editor");
    // Resolved once, then shared.
    assert!(Arc::ptr_eq(&recall(&new), &recall(&new)));
    assert_eq!(roles(&old, &recall(&old)), "anyone authenticated editor");
}

#[test]
fn a_revocation_counts_at_the_next_hit() {
    let (policy, cache, mut world) = (policy(1, ""), cache(ROOMY), World::default());
    let fields = token_headers(
        &hmac(jsonwebtoken::Algorithm::HS256, SECRET).token(&with(claims(), &[("jti", json!("t1"))])),
    );
    let credential = credential(&policy.authn, &fields);
    let Identity::Valid(who) = policy.identify(None, &fields, &world, now()) else { unreachable!() };
    policy.remember(&cache, &credential, who.holder.clone(), &world, now());
    assert!(policy.recall(&cache, &credential, &world, now()).is_some());
    let list = Revocations::parse(FileId(0), "token_ids = [\"t1\"]", &mut Diagnostics::default()).unwrap();
    world.revoked = Arc::new(list);
    assert!(policy.recall(&cache, &credential, &world, now()).is_none());
    let Identity::Invalid(problem) = policy.identify(None, &fields, &world, now()) else { unreachable!() };
    assert_eq!(problem.rule, Builtin::Revoked);
}

#[test]
fn a_hit_allocates_nothing() {
    let (policy, cache, world) = (policy(1, ""), cache(ROOMY), World::default());
    let fields = token_headers(&hmac(jsonwebtoken::Algorithm::HS256, SECRET).token(&claims()));
    let Identity::Valid(who) = policy.identify(None, &fields, &world, now()) else { unreachable!() };
    policy.remember(&cache, &credential(&policy.authn, &fields), who.holder.clone(), &world, now());
    let mut hit = None;
    let now = now();
    let allocated = allocation_counter::measure(|| {
        let Presented::One(credential) = policy.authn.presented(AuthnWord::Optional, &fields) else { return };
        hit = policy.recall(&cache, &credential, &world, now);
    });
    assert!(hit.is_some());
    assert_eq!(allocated.count_total, 0);
    // The counter counts.
    assert!(
        allocation_counter::measure(|| drop(policy.identify(None, &fields, &world, now))).count_total > 0
    );
}
