//! Where credentials stand, and what else stands there.

use super::tokens::{claims, key_set, rsa};
use super::*;

/// The rule that refuses what a request shows.
fn rule(fields: &[(&'static str, &str)]) -> Option<Builtin> {
    identify(&lab(), fields).and_then(Result::err).map(|problem| problem.rule)
}

fn token() -> String {
    rsa().token(&claims())
}

#[test]
fn each_carrier_is_read() {
    let subject =
        |fields: &[(&'static str, &str)]| identify(&lab(), fields).unwrap().unwrap().subject.to_string();
    assert_eq!(subject(&[("authorization", &format!("Bearer {}", token()))]), "alice");
    assert_eq!(subject(&[("authorization", &format!("bEARER {}", token()))]), "alice");
    assert_eq!(subject(&[("x-api-key", "lab-user-key")]), "lab-user");
    assert_eq!(subject(&[("authorization", "basic YWxpY2U6b3BlbiBzZXNhbWU=")]), "alice");
}

#[test]
fn nothing_is_shown_where_nothing_stands_in_a_carrier() {
    assert!(identify(&lab(), &[]).is_none());
    assert!(
        identify(
            &lab(),
            &[("cookie", "token=x"), ("x-auth-token", "x"), ("proxy-authorization", "Bearer x")]
        )
        .is_none()
    );
}

#[test]
fn a_route_that_is_off_reads_nothing() {
    let fields = headers(&[("authorization", "Bearer x"), ("authorization", "y"), ("x-api-key", "z")]);
    assert!(matches!(lab().presented(AuthnWord::Off, &fields), Presented::Nothing));
    assert!(matches!(lab().presented(AuthnWord::Required, &fields), Presented::Refused(_)));
}

#[test]
fn a_scheme_that_no_source_reads_is_refused() {
    let token = token();
    for value in [&token, "", "Digest x", "Bearer,x", "Token x", "Negotiate YII=", "BearerX y", "\tBearer x"]
    {
        assert_eq!(rule(&[("authorization", value)]), Some(Builtin::UnknownScheme), "{value:?}");
    }
    let only_tokens = authn(
        "[[authn.jwt]]\nid = \"a\"\nissuer = \"i\"\naudience = \"a\"\nalgorithms = [\"RS256\"]\njwks = { file = \"k\" }",
        &[("k", &key_set([rsa()]))],
    );
    let basic = identify(&only_tokens, &[("authorization", "Basic YTpi")]).unwrap().unwrap_err();
    assert_eq!(basic.rule, Builtin::UnknownScheme);
    let nothing = identify(&Authn::default(), &[("authorization", "Bearer x")]).unwrap().unwrap_err();
    assert_eq!(nothing.rule, Builtin::UnknownScheme);
    assert!(identify(&Authn::default(), &[("x-api-key", "x")]).is_none());
}

#[test]
fn authorization_is_one_scheme_one_space_and_one_credential() {
    let token = token();
    for value in [
        "Bearer",
        "Bearer ",
        "Bearer  x",
        "Bearer \tx",
        &format!("Bearer {token} junk"),
        &format!("Bearer {token},Bearer {token}"),
        &format!("Bearer {token}, Bearer {token}"),
        "Bearer \"x\"",
        "Bearer =",
        "Bearer a=b",
        "Bearer é",
        "Basic a:b",
    ] {
        assert_eq!(rule(&[("authorization", value)]), Some(Builtin::CredentialMalformed), "{value:?}");
    }
}

#[test]
fn a_scheme_alone_is_said_to_be_one() {
    for value in ["Bearer", "Bearer ", "Basic"] {
        let problem = identify(&lab(), &[("authorization", value)]).unwrap().unwrap_err();
        assert_eq!(&*problem.note, "Authorization has a scheme and no credential");
    }
}

#[test]
fn an_api_key_is_known_or_not() {
    assert_eq!(rule(&[("x-api-key", "LAB-USER-KEY")]), Some(Builtin::KeyUnknown));
    assert_eq!(rule(&[("x-api-key", "lab-user-key,lab-user-key")]), Some(Builtin::KeyUnknown));
    assert_eq!(rule(&[("x-api-key", &hash_key(b"lab-user-key"))]), Some(Builtin::KeyUnknown));
    for value in ["", "lab-user-key lab-user-key", "lab-user-key, lab-user-key", "é"] {
        assert_eq!(rule(&[("x-api-key", value)]), Some(Builtin::CredentialMalformed), "{value:?}");
    }
}

#[test]
fn an_api_key_has_an_end() {
    let (lab, fields) = (lab(), headers(&[("x-api-key", "ended-key")]));
    let Presented::One(credential) = lab.presented(AuthnWord::Optional, &fields) else { unreachable!() };
    let at = |time| match lab.verify(&credential, &KeyRing::default(), &Revocations::default(), at(time)) {
        Verification::Done(done) => done.map_err(|problem| (problem.rule, problem.claimed.is_some())).err(),
        other => unreachable!("{other:?}"),
    };
    assert_eq!(at("2026-12-31T23:59:59Z"), None);
    assert_eq!(at("2027-01-01T00:00:00Z"), Some((Builtin::Expired, true)));
}

#[test]
fn an_api_key_counts_in_its_own_field_only() {
    let text = format!(
        "[[authn.api_key]]\nid = \"a\"\nheader = \"x-a\"\nhash = \"{}\"\n[[authn.api_key]]\nid = \"b\"\nheader = \"x-b\"\nhash = \"{}\"",
        hash_key(b"key-a"),
        hash_key(b"key-b")
    );
    let authn = authn(&text, &[]);
    assert!(identify(&authn, &[("x-a", "key-a")]).unwrap().is_ok());
    assert_eq!(identify(&authn, &[("x-a", "key-b")]).unwrap().unwrap_err().rule, Builtin::KeyUnknown);
}

#[test]
fn two_credentials_are_a_conflict_even_when_one_is_good() {
    let bearer = format!("Bearer {}", token());
    for fields in [
        &[("x-api-key", "lab-user-key"), ("x-api-key", "lab-admin-key")][..],
        &[("authorization", &bearer), ("authorization", "Bearer x")],
        &[("authorization", "Digest x"), ("authorization", &bearer)],
        &[("authorization", &bearer), ("x-api-key", "lab-user-key")],
        &[("authorization", "Digest x"), ("x-api-key", "lab-user-key")],
        &[("authorization", &bearer), ("authorization", &bearer.replace("Bearer", "bearer"))],
    ] {
        assert_eq!(rule(fields), Some(Builtin::CredentialConflict), "{fields:?}");
    }
}

#[test]
fn the_same_bytes_twice_in_one_carrier_are_one_credential() {
    let bearer = format!("Bearer {}", token());
    assert_eq!(rule(&[("authorization", &bearer), ("authorization", &bearer)]), None);
    assert_eq!(rule(&[("x-api-key", "lab-user-key"), ("x-api-key", "lab-user-key")]), None);
}

#[test]
fn a_credential_is_measured_before_it_is_read() {
    let long = "a".repeat(16 * 1024);
    assert_eq!(rule(&[("authorization", &format!("Bearer {long}"))]), Some(Builtin::CredentialMalformed));
    assert_eq!(rule(&[("x-api-key", &long)]), Some(Builtin::KeyUnknown));
    assert_eq!(rule(&[("x-api-key", &format!("{long}a"))]), Some(Builtin::CredentialMalformed));
}

#[test]
fn nothing_of_a_credential_is_printed() {
    let fields = headers(&[("authorization", "Basic YWxpY2U6b3BlbiBzZXNhbWU=")]);
    let (lab, revoked) = (lab(), Revocations::default());
    let Presented::One(credential) = lab.presented(AuthnWord::Optional, &fields) else { unreachable!() };
    let Verification::Slow(check) = lab.verify(&credential, &KeyRing::default(), &revoked, now()) else {
        unreachable!()
    };
    let printed = format!("{credential:?} {check:?} {lab:?}");
    for secret in ["YWxpY2U6", "open sesame", "$2y$", &hash_key(b"lab-user-key")[7..]] {
        assert!(!printed.contains(secret), "{secret}");
    }
}
