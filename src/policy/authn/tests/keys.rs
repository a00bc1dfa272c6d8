//! Key sets: which keys are taken, which are left out, and where they come from.

use serde_json::{Value, json};

use super::tokens::{attacker, claims, issuer_keys, key_set, rsa, with};
use super::*;

fn parse(keys: &[Value], origin: Origin) -> Result<Keys, String> {
    Keys::parse(&json!({ "keys": keys }).to_string(), origin)
}

/// Why a key is left out of a set that has a good one too.
fn left_out(key: Value) -> Option<&'static str> {
    let good = with(attacker().public.clone(), &[("kid", json!("good"))]);
    let keys = parse(&[good, key], Origin::Local).unwrap();
    assert!(keys.skipped().len() < 2);
    keys.skipped().first().map(|skipped| skipped.why)
}

fn altered(members: &[(&str, Value)]) -> Option<&'static str> {
    left_out(with(rsa().public.clone(), members))
}

#[test]
fn keys_for_other_purposes_are_left_out() {
    assert_eq!(altered(&[]), None);
    assert_eq!(altered(&[("use", json!("enc"))]), Some("is not for signatures"));
    assert_eq!(altered(&[("key_ops", json!(["sign"]))]), Some("is not for verifying"));
    assert_eq!(altered(&[("key_ops", json!(["verify"]))]), None);
    assert_eq!(altered(&[("kty", json!("AKP"))]), Some("is of a kind that is not supported"));
    assert_eq!(altered(&[("kid", json!(1))]), Some("is not a JSON Web Key"));
    assert_eq!(left_out(json!("key")), Some("is not a JSON Web Key"));
}

#[test]
fn an_algorithm_that_the_key_cannot_do_leaves_it_out() {
    assert_eq!(altered(&[("alg", json!("HS256"))]), Some("is not of the kind that its `alg` needs"));
    assert_eq!(altered(&[("alg", json!("ES256"))]), Some("is not of the kind that its `alg` needs"));
    assert_eq!(altered(&[("alg", json!("RSA-OAEP"))]), Some("is for an algorithm that is not supported"));
    let p256 = with(issuer_keys()[2].public.clone(), &[("alg", json!("ES384"))]);
    assert_eq!(left_out(p256), Some("is not of the kind that its `alg` needs"));
}

#[test]
fn weak_and_broken_keys_are_left_out() {
    let short = "A".repeat(170);
    assert_eq!(
        altered(&[("n", json!(short))]),
        Some("is an RSA key of less than 2048 or more than 8192 bits")
    );
    // 2047 bits.
    let seven = format!("f{}w", "_".repeat(340));
    assert_eq!(
        altered(&[("n", json!(seven))]),
        Some("is an RSA key of less than 2048 or more than 8192 bits")
    );
    assert_eq!(altered(&[("n", json!("a+b"))]), Some("is not encoded in base64url"));
    assert_eq!(altered(&[("e", json!("AA"))]), Some("is not a valid RSA key"));
    let ec = |x: &str| left_out(with(issuer_keys()[2].public.clone(), &[("x", json!(x))]));
    assert_eq!(ec(&"A".repeat(43)), Some("is not a point on its curve"));
    assert_eq!(ec("AAAA"), Some("is not a point on its curve"));
    assert_eq!(
        left_out(with(issuer_keys()[4].public.clone(), &[("x", json!("AAAA"))])),
        Some("is not a valid Ed25519 key")
    );
}

#[test]
fn a_second_key_of_the_same_name_is_left_out() {
    let keys = parse(&[rsa().public.clone(), attacker().public.clone()], Origin::Local).unwrap();
    assert_eq!(keys.skipped(), [Skipped { key: "`rsa`".into(), why: "has the id of another key" }]);
}

#[test]
fn a_secret_counts_only_from_our_own_files() {
    let secret = json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"});
    assert!(parse(std::slice::from_ref(&secret), Origin::Local).is_ok());
    assert_eq!(
        parse(&[secret], Origin::Fetched).unwrap_err(),
        "has no key that can be used: key `s` is a secret that can be fetched"
    );
}

#[test]
fn a_set_without_usable_keys_is_no_set() {
    for text in [
        "",
        "[]",
        "{}",
        "{\"keys\": {}}",
        "{\"keys\": []}",
        "{\"keys\": [{}]}",
        "{\"keys\": [], \"keys\": []}",
        "<html>",
    ] {
        assert!(Keys::parse(text, Origin::Fetched).is_err(), "{text}");
    }
    let many = vec![rsa().public.clone(); 257];
    assert_eq!(parse(&many, Origin::Local).unwrap_err(), "has more than 256 keys");
    assert!(Keys::parse(&" ".repeat(1024 * 1024 + 1), Origin::Local).is_err());
}

#[test]
fn private_parts_are_dropped() {
    let keys = parse(&[with(rsa().public.clone(), &[("d", json!("c2VjcmV0"))])], Origin::Local).unwrap();
    assert!(keys.skipped().is_empty());
    assert!(!format!("{keys:?}").contains("c2VjcmV0"));
}

// === fetched keys ===

const REMOTE: &str = r#"
    [[authn.jwt]]
    id = "corp"
    issuer = "https://issuer.test"
    audience = "portcullis-lab"
    algorithms = ["RS256"]
    jwks = { url = "https://issuer.test/jwks.json", refresh = "1m" }
"#;

const URL: &str = "https://issuer.test/jwks.json";

fn ring(signer: &tokens::Signer) -> KeyRing {
    KeyRing::default().with(URL, Keys::parse(&key_set([signer]), Origin::Fetched).unwrap())
}

fn verify(authn: &Authn, token: &str, keys: &KeyRing) -> Verification {
    let fields = headers(&[("authorization", &format!("Bearer {token}"))]);
    let Presented::One(credential) = authn.presented(AuthnWord::Optional, &fields) else { unreachable!() };
    authn.verify(&credential, keys, &Revocations::default(), now())
}

#[test]
fn the_shell_is_told_what_to_fetch() {
    let authn = authn(REMOTE, &[]);
    let sets: Vec<_> =
        authn.remote_key_sets().map(|set| (set.source, &**set.url, set.refresh.as_secs())).collect();
    assert_eq!(sets, [("corp", URL, 60)]);
    assert_eq!(lab().remote_key_sets().count(), 0);
}

#[test]
fn a_set_without_keys_withdraws_all_and_a_broken_one_nothing() {
    for (text, wanted) in [
        (r#"{"keys":[]}"#, true),
        (r#"{"keys":[],"x":1}"#, true),
        (r#"{"keys":[{}]}"#, false),
        (r#"{"keys":{}}"#, false),
        ("{}", false),
        ("[]", false),
        ("", false),
        (r#"{"keys":[],"keys":[1]}"#, false),
    ] {
        assert_eq!(Keys::are_withdrawn(text), wanted, "{text}");
    }
}

#[test]
fn keys_that_are_not_there_yet_are_asked_for() {
    let authn = authn(REMOTE, &[]);
    let token = rsa().token(&claims());
    let Verification::MissingKey { problem, url } = verify(&authn, &token, &KeyRing::default()) else {
        unreachable!()
    };
    assert_eq!((problem.rule, &*url), (Builtin::KeysUnavailable, URL));
    let other = KeyRing::default()
        .with("https://other.test/", Keys::parse(&key_set([rsa()]), Origin::Fetched).unwrap());
    assert!(matches!(verify(&authn, &token, &other), Verification::MissingKey { .. }));
    assert!(matches!(verify(&authn, &token, &ring(rsa())), Verification::Done(Ok(_))));
    // Nor are those that were there.
    assert!(matches!(verify(&authn, &token, &ring(rsa()).without(URL)), Verification::MissingKey { .. }));
}

#[test]
fn a_key_that_a_fetched_set_lacks_is_asked_for_and_a_local_one_is_not() {
    let token = rsa().token_with(&[("kid", json!("new"))], &claims());
    let Verification::MissingKey { problem, .. } = verify(&authn(REMOTE, &[]), &token, &ring(rsa())) else {
        unreachable!()
    };
    assert_eq!(problem.rule, Builtin::KeyUnknown);
    assert!(matches!(verify(&lab(), &token, &KeyRing::default()), Verification::Done(Err(_))));
    // Nor is a wrong signature a reason to fetch.
    assert!(matches!(
        verify(&authn(REMOTE, &[]), &attacker().token(&claims()), &ring(rsa())),
        Verification::Done(Err(_))
    ));
}

#[test]
fn stamps_tell_keys_and_sources_apart_and_nothing_else() {
    let authn_remote = authn(REMOTE, &[]);
    let stamp = |ring: &KeyRing| authn_remote.stamp(ring);
    assert_eq!(stamp(&ring(rsa())), stamp(&ring(rsa())));
    assert_eq!(
        stamp(&ring(rsa())),
        stamp(&ring(attacker()).with(URL, Keys::parse(&key_set([rsa()]), Origin::Fetched).unwrap()))
    );
    assert_ne!(stamp(&ring(rsa())), stamp(&ring(attacker())));
    assert_ne!(stamp(&ring(rsa())), stamp(&KeyRing::default()));
    assert_eq!(stamp(&ring(rsa()).without(URL)), stamp(&KeyRing::default()));

    let empty = KeyRing::default();
    let same = authn(
        &format!("# a comment\n{LAB}"),
        &[("jwks.json", &key_set(issuer_keys())), ("htpasswd", &htpasswd())],
    );
    assert_eq!(lab().stamp(&empty), same.stamp(&empty));
    for (old, new) in [
        ("\"second\"]", "\"third\"]"),
        ("issuer = \"https://issuer.test\"", "issuer = \"https://issuer2.test\""),
        ("leeway = \"60s\"", "leeway = \"61s\""),
        ("roles = \"roles\"", "roles = \"groups\""),
        ("[\"user\", \"admin\"]", "[\"user\"]"),
        ("\"RS256\", ", ""),
        ("roles_allowed", "subject = \"email\"\nroles_allowed"),
        ("roles_allowed", "scopes = \"scp\"\nroles_allowed"),
        ("id = \"people\"", "id = \"others\""),
    ] {
        assert!(LAB.contains(old));
        let (other, _, _) = compile(
            &LAB.replacen(old, new, 1),
            &[("jwks.json", &key_set(issuer_keys())), ("htpasswd", &htpasswd())],
        );
        assert_ne!(lab().stamp(&empty), other.stamp(&empty), "{new}");
    }
    let another = bcrypt::hash_with_salt("another", 4, [7; 16]).unwrap();
    let users = format!("alice:{}", another.format_for_version(bcrypt::Version::TwoY));
    let (other, _, _) = compile(LAB, &[("jwks.json", &key_set(issuer_keys())), ("htpasswd", &users)]);
    assert_ne!(lab().stamp(&empty), other.stamp(&empty));
    let (other, _, _) = compile(LAB, &[("jwks.json", &key_set([rsa()])), ("htpasswd", &htpasswd())]);
    assert_ne!(lab().stamp(&empty), other.stamp(&empty));
    let (other, _, _) = compile(
        LAB,
        &[("jwks.json", &key_set(issuer_keys())), ("htpasswd", &htpasswd().replace("alice", "bob"))],
    );
    assert_ne!(lab().stamp(&empty), other.stamp(&empty));
}
