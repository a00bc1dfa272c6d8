//! Tokens: what is believed, and each way of being refused with its rule.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::tokens::{Signer, attacker, claims, hmac, issuer_keys, key_set, rsa, with};
use super::*;

/// The rule that refuses a token of the issuer with these claims in place of the good ones.
fn claiming(members: &[(&str, Value)]) -> Option<Builtin> {
    refused(&lab(), &rsa().token(&with(claims(), members)))
}

fn holder(members: &[(&str, Value)]) -> Arc<Holder> {
    bearer(&lab(), &rsa().token(&with(claims(), members))).unwrap()
}

fn roles(value: Value) -> (String, String) {
    let holder = holder(&[("roles", value)]);
    (holder.roles.join("|"), holder.ignored_roles.join("|"))
}

// === believed ===

#[test]
fn a_good_token_is_believed_with_each_algorithm() {
    for signer in issuer_keys() {
        let holder = bearer(&lab(), &signer.token(&claims())).unwrap();
        assert_eq!((&*holder.source, &*holder.subject, holder.bearer), ("lab", "alice", true));
        assert_eq!(holder.key_id.as_deref(), signer.public["kid"].as_str());
        assert_eq!(
            (holder.roles.join("|").as_str(), holder.expires_at),
            ("user", Some(at("2026-11-24T13:00:00Z")))
        );
    }
}

#[test]
fn hmac_tokens_are_believed_where_the_source_is_an_hmac_source() {
    let secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let text = r#"
        [[authn.jwt]]
        id = "lab"
        issuer = "https://issuer.test"
        audience = "portcullis-lab"
        algorithms = ["HS256", "HS384", "HS512"]
        secret_file = "secret"
    "#;
    let authn = authn(text, &[("secret", &format!("{secret}\n"))]);
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        assert_eq!(refused(&authn, &hmac(algorithm, secret.as_bytes()).token(&claims())), None);
        assert_eq!(refused(&authn, &hmac(algorithm, b"another").token(&claims())), Some(Builtin::Signature));
    }
    // A secret has no id, so whatever a token calls its key is not looked at.
    let named =
        hmac(Algorithm::HS256, secret.as_bytes()).token_with(&[("kid", json!("../../dev/null"))], &claims());
    assert_eq!(refused(&authn, &named), None);
}

#[test]
fn one_of_the_audiences_is_enough() {
    assert_eq!(claiming(&[("aud", json!(["other", "second"]))]), None);
}

#[test]
fn a_token_without_nbf_iat_jti_and_roles_is_believed() {
    let holder = holder(&[("nbf", json!(null)), ("iat", json!(null)), ("roles", json!(null))]);
    assert_eq!((holder.roles.len(), holder.issued_at, holder.not_before), (0, None, None));
}

#[test]
fn null_lists_no_roles() {
    let payload = claims().to_string().replace("[\"user\"]", "null");
    let holder = bearer(&lab(), &rsa().sign(&rsa().header().to_string(), &payload)).unwrap();
    assert_eq!((holder.roles.len(), holder.ignored_roles.len()), (0, 0));
}

#[test]
fn scopes_come_from_either_usual_claim() {
    assert_eq!(holder(&[("scope", json!("a b"))]).scopes.join("|"), "a|b");
    assert_eq!(holder(&[("scp", json!(["a", "b"]))]).scopes.join("|"), "a|b");
}

#[test]
fn roles_are_compared_whole_and_only_allowed_ones_count() {
    assert_eq!(roles(json!(["user", "admin"])), ("user|admin".into(), "".into()));
    assert_eq!(roles(json!("user")), ("user".into(), "".into()));
    assert_eq!(roles(json!("user,admin")), ("".into(), "user,admin".into()));
    assert_eq!(
        roles(json!(["not-admin", "administrator", "admin "])),
        ("".into(), "not-admin|administrator|admin ".into())
    );
    assert_eq!(roles(json!(["ADMIN", "anyone"])), ("".into(), "ADMIN|anyone".into()));
}

#[test]
fn fractions_of_seconds_are_times() {
    let now = now().as_second() as f64;
    assert_eq!(claiming(&[("exp", json!(now + 0.5)), ("nbf", json!(now - 0.5))]), None);
}

#[test]
fn extra_header_members_are_nothing_to_us() {
    let token = rsa().token_with(
        &[("jku", json!("http://127.0.0.1:9/")), ("x5u", json!("http://127.0.0.1:9/")), ("b64", json!(true))],
        &claims(),
    );
    assert_eq!(refused(&lab(), &token), None);
}

// === form ===

#[test]
fn a_token_has_three_parts_of_base64url_json() {
    let good = rsa().token(&claims());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
    for token in [
        "e30.e30",
        "x",
        "...",
        &format!("{header}.{payload}"),
        &format!("{good}.e30.e30"),
        &format!("{header}=.{payload}.{signature}"),
        &format!("{header}.{payload}.{signature}="),
        &format!("{header}.{payload}.{signature}+"),
        &format!("e30.{payload}.{signature}"),
        &format!("W10.{payload}.{signature}"),
        &rsa().sign(&rsa().header().to_string(), "[]"),
        &rsa().sign(&rsa().header().to_string(), "not json"),
        &rsa().sign(&json!({"typ": "JWT"}).to_string(), &claims().to_string()),
        &rsa().token_with(&[("alg", json!(["RS256"]))], &claims()),
        &rsa().token_with(&[("kid", json!(1))], &claims()),
        &rsa().token_with(&[("kid", json!("k".repeat(257)))], &claims()),
    ] {
        assert_eq!(refused(&lab(), token), Some(Builtin::CredentialMalformed), "{token}");
    }
}

#[test]
fn repeated_names_deep_nesting_and_infinite_numbers_are_malformed() {
    let payload = claims().to_string();
    let (body, header) = (payload.trim_end_matches('}'), rsa().header().to_string());
    let deep = format!("{body},\"a\":{}{}}}", "[".repeat(3000), "]".repeat(3000));
    for payload in [format!("{body},\"roles\":[\"admin\"]}}"), deep, format!("{body},\"a\":1e400}}")] {
        assert_eq!(refused(&lab(), &rsa().sign(&header, &payload)), Some(Builtin::CredentialMalformed));
    }
    let header = format!("{},\"alg\":\"none\"}}", header.trim_end_matches('}'));
    assert_eq!(refused(&lab(), &rsa().sign(&header, &payload)), Some(Builtin::CredentialMalformed));
}

#[test]
fn a_credential_beyond_the_limit_is_malformed() {
    assert_eq!(claiming(&[("pad", json!("A".repeat(48_000)))]), Some(Builtin::CredentialMalformed));
}

#[test]
fn critical_extensions_are_refused() {
    for header in [
        &[("crit", json!(["x-must-understand"])), ("x-must-understand", json!(1))][..],
        &[("crit", json!([]))],
        &[("crit", json!(["b64"])), ("b64", json!(false))],
        &[("b64", json!(false))],
    ] {
        assert_eq!(refused(&lab(), &rsa().token_with(header, &claims())), Some(Builtin::CriticalHeader));
    }
}

// === forgery ===

/// A token that was never signed, or not by this algorithm.
fn unsigned(algorithm: Value, signature: &str) -> String {
    let token = rsa().token_with(&[("alg", algorithm)], &claims());
    let (message, _) = token.rsplit_once('.').unwrap();
    format!("{message}.{signature}")
}

#[test]
fn the_algorithm_is_the_sources_choice() {
    for algorithm in ["none", "nOnE", "NONE", "", "HS256", "RS512", "rs256", "ES512"] {
        assert_eq!(refused(&lab(), &unsigned(json!(algorithm), "")), Some(Builtin::Signature), "{algorithm}");
        assert_eq!(
            refused(&lab(), &unsigned(json!(algorithm), "AAAA")),
            Some(Builtin::Signature),
            "{algorithm}"
        );
    }
    assert_eq!(
        refused(&lab(), &rsa().token_with(&[("alg", json!("none"))], &claims())),
        Some(Builtin::Signature)
    );
}

#[test]
fn a_public_key_is_never_a_secret() {
    let modulus = rsa().public["n"].as_str().unwrap();
    for secret in [&b""[..], b"k", modulus.as_bytes(), key_set([rsa()]).as_bytes()] {
        let token = hmac(Algorithm::HS256, secret).token_with(&[("kid", json!("rsa"))], &claims());
        assert_eq!(refused(&lab(), &token), Some(Builtin::Signature));
    }
}

#[test]
fn an_algorithm_of_another_kind_of_key_finds_no_key() {
    let token = |signer: &Signer, id: &str| signer.token_with(&[("kid", json!(id))], &claims());
    // The RSA key's own `alg` is RS256, though RSA could do PS256.
    assert_eq!(refused(&lab(), &token(&issuer_keys()[1], "rsa")), Some(Builtin::KeyUnknown));
    assert_eq!(refused(&lab(), &token(&issuer_keys()[2], "rsa")), Some(Builtin::KeyUnknown));
    assert_eq!(refused(&lab(), &token(rsa(), "p256")), Some(Builtin::KeyUnknown));
}

#[test]
fn keys_that_a_token_brings_are_not_used() {
    let evil = with(attacker().public.clone(), &[("kid", json!("evil"))]);
    for (header, rule) in [
        (&[("jwk", attacker().public.clone())][..], Builtin::Signature),
        (&[("jwk", evil), ("kid", json!("evil"))], Builtin::KeyUnknown),
        (&[("jku", json!("http://127.0.0.1:9/jwks.json")), ("kid", json!("evil"))], Builtin::KeyUnknown),
        (&[("x5u", json!("http://127.0.0.1:9/c.pem")), ("kid", json!("evil"))], Builtin::KeyUnknown),
    ] {
        assert_eq!(refused(&lab(), &attacker().token_with(header, &claims())), Some(rule));
    }
}

#[test]
fn a_key_id_is_a_name_to_look_up() {
    for id in ["../../../../dev/null", "x' UNION SELECT 'k'-- ", "nope", "", "RSA"] {
        let token = rsa().token_with(&[("kid", json!(id))], &claims());
        assert_eq!(refused(&lab(), &token), Some(Builtin::KeyUnknown), "{id}");
    }
}

#[test]
fn a_token_that_names_no_key_takes_the_only_one_that_fits() {
    let unnamed = &[("kid", json!(null))];
    assert_eq!(refused(&lab(), &rsa().token_with(unnamed, &claims())), None);
    assert_eq!(refused(&lab(), &attacker().token_with(unnamed, &claims())), Some(Builtin::Signature));
    let second = with(attacker().public.clone(), &[("kid", json!("second"))]);
    let set = json!({"keys": [rsa().public, second]}).to_string();
    let two = authn(LAB, &[("jwks.json", &set), ("htpasswd", &htpasswd())]);
    assert_eq!(refused(&two, &rsa().token_with(unnamed, &claims())), Some(Builtin::KeyUnknown));
}

#[test]
fn a_wrong_signature_is_a_forgery_whatever_else_is_wrong() {
    let (lab, signer) = (lab(), attacker());
    assert_eq!(refused(&lab, &signer.token(&claims())), Some(Builtin::Signature));
    for member in [
        ("exp", json!(1)),
        ("nbf", json!(9_999_999_999u64)),
        ("aud", json!("other")),
        ("sub", json!("a\r\nb")),
        ("exp", json!("1")),
    ] {
        let problem = bearer(&lab, &signer.token(&with(claims(), &[member]))).unwrap_err();
        assert_eq!((problem.rule, problem.claimed), (Builtin::Signature, None));
    }
    let good = rsa().token(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let admin = URL_SAFE_NO_PAD.encode(with(claims(), &[("roles", json!(["admin"]))]).to_string());
    assert_eq!(refused(&lab, &format!("{header}.{admin}.{signature}")), Some(Builtin::Signature));
    assert_eq!(refused(&lab, &format!("{message}.")), Some(Builtin::Signature));
    // 240 of its 256 bytes, in whole groups of base64.
    assert_eq!(refused(&lab, &good[..good.len() - 22]), Some(Builtin::Signature));
}

// === claims ===

#[test]
fn required_claims_must_be_there() {
    for name in ["exp", "iss", "aud", "sub"] {
        assert_eq!(claiming(&[(name, json!(null))]), Some(Builtin::ClaimMissing), "{name}");
    }
}

#[test]
fn claims_must_be_of_their_type() {
    for (name, value) in [
        ("exp", json!("9999999999")),
        ("exp", json!([9_999_999_999u64])),
        ("exp", json!(1e300)),
        ("exp", json!(u64::MAX)),
        ("nbf", json!("99999999999")),
        ("iat", json!({})),
        ("iss", json!([ISSUER])),
        ("aud", json!(7)),
        ("aud", json!([AUDIENCE, 7])),
        ("aud", json!({AUDIENCE: true})),
        ("sub", json!(7)),
        ("jti", json!(7)),
        ("scope", json!(7)),
        ("roles", json!([["admin"], {"admin": true}])),
        ("roles", json!({"admin": true})),
        ("roles", json!(true)),
    ] {
        assert_eq!(claiming(&[(name, value.clone())]), Some(Builtin::ClaimType), "{name}: {value}");
    }
    // `null` is a value too, and no time.
    let payload = claims().to_string().replacen("\"nbf\":", "\"nbf\":null,\"was\":", 1);
    assert_eq!(refused(&lab(), &rsa().sign(&rsa().header().to_string(), &payload)), Some(Builtin::ClaimType));
}

#[test]
fn issuer_and_audience_are_compared_whole() {
    for issuer in [
        "https://evil.test",
        "https://issuer.test.evil.test",
        "https://issuer.test/",
        "HTTPS://ISSUER.TEST",
        "",
    ] {
        assert_eq!(claiming(&[("iss", json!(issuer))]), Some(Builtin::Issuer), "{issuer}");
    }
    for audience in
        [json!("someone-else"), json!("portcullis-lab-evil"), json!([]), json!(""), json!(["portcullis"])]
    {
        assert_eq!(claiming(&[("aud", audience.clone())]), Some(Builtin::Audience), "{audience}");
    }
}

#[test]
fn a_subject_that_would_break_a_header_field_is_refused() {
    for subject in ["", "alice\r\nx-auth-roles: admin", "alice ", &"a".repeat(257)] {
        assert_eq!(claiming(&[("sub", json!(subject))]), Some(Builtin::SubjectInvalid), "{subject:?}");
    }
}

// === times ===

#[test]
fn a_token_ends_at_exp_and_leeway() {
    let ends = |second: i64| claiming(&[("exp", json!(now().as_second() + second))]);
    assert_eq!(ends(-59), None);
    assert_eq!(ends(-60), Some(Builtin::Expired));
    assert_eq!(ends(-3600), Some(Builtin::Expired));
    assert_eq!(claiming(&[("exp", json!(-1))]), Some(Builtin::Expired));
}

#[test]
fn a_token_begins_at_nbf_less_leeway() {
    let begins = |second: i64| claiming(&[("nbf", json!(now().as_second() + second))]);
    assert_eq!(begins(60), None);
    assert_eq!(begins(61), Some(Builtin::NotYetValid));
}

#[test]
fn what_a_genuine_token_claims_is_recorded_when_it_is_refused() {
    let token = rsa().token(&with(claims(), &[("exp", json!(now().as_second() - 3600))]));
    let problem = bearer(&lab(), &token).unwrap_err();
    assert_eq!(problem.claimed.map(|holder| holder.subject.to_string()).as_deref(), Some("alice"));
    let begin = now().as_second() + 3600;
    let token = rsa().token(&with(claims(), &[("nbf", json!(begin))]));
    let problem = bearer(&lab(), &token).unwrap_err();
    assert_eq!(problem.until.map(Timestamp::as_second), Some(begin));
    assert!(problem.claimed.is_some());
}

// === several issuers ===

#[test]
fn a_token_is_judged_by_the_source_of_its_issuer_alone() {
    let text = r#"
        [rbac.role.user]
        [[authn.jwt]]
        id = "one"
        issuer = "https://issuer.test"
        audience = "portcullis-lab"
        algorithms = ["RS256"]
        jwks = { file = "one.json" }
        roles = "roles"
        roles_allowed = ["user"]
        [[authn.jwt]]
        id = "two"
        issuer = "https://two.test"
        audience = "portcullis-lab"
        algorithms = ["RS256"]
        jwks = { file = "two.json" }
        roles = "roles"
    "#;
    let files = [("one.json", key_set([rsa()])), ("two.json", key_set([attacker()]))];
    let (authn, _, diagnostics) = compile(text, &files.each_ref().map(|(path, text)| (*path, text.as_str())));
    // The second may bring no roles, and is told so.
    assert_eq!(
        diagnostics.iter().map(|diagnostic| diagnostic.code).collect::<Vec<_>>(),
        [Code::RolesNotAllowed]
    );
    let of_two = with(claims(), &[("iss", json!("https://two.test"))]);
    assert_eq!(&*bearer(&authn, &rsa().token(&claims())).unwrap().source, "one");
    let holder = bearer(&authn, &attacker().token(&of_two)).unwrap();
    assert_eq!(
        (&*holder.source, holder.roles.len(), holder.ignored_roles.join("|").as_str()),
        ("two", 0, "user")
    );
    assert_eq!(refused(&authn, &rsa().token(&of_two)), Some(Builtin::Signature));
    assert_eq!(refused(&authn, &attacker().token(&claims())), Some(Builtin::Signature));
}

// === properties ===

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_refused_without_panic(text in "[ -~]{0,200}") {
        prop_assert!(refused(&lab(), &text).is_some());
    }

    #[test]
    fn parts_that_decode_are_refused_without_panic(header in "\\PC{0,60}", payload in "\\PC{0,60}", signature: Vec<u8>) {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let token = format!("{}.{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()), encode(&signature));
        prop_assert!(refused(&lab(), &token).is_some());
    }

    #[test]
    fn a_token_with_any_byte_changed_is_refused(signer in 0..5usize, place: prop::sample::Index, byte in 0x21u8..0x7f) {
        let mut token = issuer_keys()[signer].token(&claims()).into_bytes();
        let place = place.index(token.len());
        prop_assume!(token[place] != byte);
        token[place] = byte;
        prop_assert!(refused(&lab(), &String::from_utf8(token).unwrap()).is_some());
    }

    #[test]
    fn a_token_cut_or_extended_is_refused(signer in 0..5usize, place: prop::sample::Index, tail in "[A-Za-z0-9_=.-]{1,8}") {
        let token = issuer_keys()[signer].token(&claims());
        prop_assert!(refused(&lab(), &token[..place.index(token.len())]).is_some());
        let longer = token + &tail;
        prop_assert!(refused(&lab(), &longer).is_some());
    }
}
