//! Passwords: right, wrong, unknown, and hashes that are not taken.

use argon2::password_hash::CustomizedPasswordHasher;
use argon2::{Argon2, Params};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn argon2(password: &str, m_cost: u32) -> String {
    let params = Params::new(m_cost, 1, 1, None).unwrap();
    let hash = Argon2::default().hash_password_with_params(password.as_bytes(), b"salt salt salt", params);
    hash.unwrap().to_string()
}

fn bcrypt(password: &str) -> String {
    bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap().format_for_version(bcrypt::Version::TwoY)
}

fn people() -> Authn {
    let text = format!(
        r#"
        [rbac.role.user]
        [rbac.role.admin]
        [[authn.basic]]
        id = "people"
        roles = ["user"]
        user = [
            {{ name = "ann", hash = "{}", roles = ["admin"] }},
            {{ name = "bob", hash = "{}" }},
            {{ name = "long", hash = "{}" }},
        ]
        "#,
        argon2("pass:word ü", 8),
        bcrypt("hunter2"),
        bcrypt(&"p".repeat(72)),
    );
    authn(&text, &[])
}

fn show(text: &str) -> Result<Arc<Holder>, Builtin> {
    shown(&format!("Basic {}", STANDARD.encode(text)))
}

fn shown(value: &str) -> Result<Arc<Holder>, Builtin> {
    identify(&people(), &[("authorization", value)]).unwrap().map_err(|problem| problem.rule)
}

#[test]
fn a_right_password_is_believed() {
    let ann = show("ann:pass:word ü").unwrap();
    assert_eq!(
        (&*ann.source, &*ann.subject, ann.roles.join("|").as_str(), ann.bearer),
        ("people", "ann", "user|admin", false)
    );
    assert_eq!(show("bob:hunter2").unwrap().roles.join("|"), "user");
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_the_same_refusal() {
    for text in [
        "ann:",
        "ann:hunter2",
        "bob:hunter2 ",
        "bob:Hunter2",
        "eve:hunter2",
        "eve:pass:word ü",
        "Ann:pass:word ü",
    ] {
        assert_eq!(show(text), Err(Builtin::Password), "{text}");
    }
}

#[test]
fn an_unknown_user_is_compared_with_somebodys_hash() {
    // What is compared is chosen by the name, and always the same for it.
    let people = people();
    for name in ["eve", "mallory", "trent", ""] {
        let fields =
            headers(&[("authorization", &format!("Basic {}", STANDARD.encode(format!("{name}x:p"))))]);
        let Presented::One(credential) = people.presented(AuthnWord::Optional, &fields) else {
            unreachable!()
        };
        let verification = people.verify(&credential, &KeyRing::default(), &Revocations::default(), now());
        assert!(matches!(verification, Verification::Slow(_)));
    }
}

#[test]
fn bcrypt_takes_72_bytes_and_not_their_beginning() {
    assert!(show(&format!("long:{}", "p".repeat(72))).is_ok());
    assert_eq!(show(&format!("long:{}", "p".repeat(73))), Err(Builtin::Password));
    assert_eq!(show(&format!("long:{}", "p".repeat(71))), Err(Builtin::Password));
}

#[test]
fn what_is_not_user_and_password_is_malformed() {
    for text in [
        "bob",
        "",
        ":hunter2",
        "bob:hunter2\0",
        "bob:hunter2\r\n",
        "b\u{85}ob:x",
        &format!("bob:{}", "p".repeat(1025)),
    ] {
        if !text.is_empty() {
            assert_eq!(show(text), Err(Builtin::CredentialMalformed), "{text:?}");
        }
    }
    for value in ["Basic Ym9iOmh1bnRlcjI", "Basic Ym9iOmh1bnRlcjJ=", "Basic _-__", "Basic /w=="] {
        assert_eq!(shown(value).err(), Some(Builtin::CredentialMalformed), "{value}");
    }
}

#[test]
fn a_revoked_user_is_refused_after_the_password_only() {
    let mut diagnostics = Diagnostics::default();
    let list = "subjects = { bob = 2026-01-01T00:00:00Z }";
    let revoked = Revocations::parse(FileId(0), list, &mut diagnostics).unwrap();
    let rule = |text: &str| {
        let value = format!("Basic {}", STANDARD.encode(text));
        identify_with(&people(), &[("authorization", &value)], &KeyRing::default(), &revoked)
            .unwrap()
            .err()
            .map(|problem| problem.rule)
    };
    assert_eq!(rule("bob:hunter2"), Some(Builtin::Revoked));
    assert_eq!(rule("bob:x"), Some(Builtin::Password));
    assert_eq!(rule("ann:pass:word ü"), None);
}

#[test]
fn the_list_of_the_policy_itself_counts_too() {
    let text = format!(
        "[authn.revoked]\nfile = \"revoked\"\n[[authn.basic]]\nid = \"p\"\nuser = [{{ name = \"bob\", hash = \"{}\" }}]",
        bcrypt("hunter2")
    );
    let authn = authn(&text, &[("revoked", "subjects = { bob = 2026-01-01T00:00:00Z }")]);
    let value = format!("Basic {}", STANDARD.encode("bob:hunter2"));
    let problem = identify(&authn, &[("authorization", &value)]).unwrap().unwrap_err();
    assert_eq!(problem.rule, Builtin::Revoked);
}

#[test]
fn hashes_that_are_guessed_in_no_time_are_refused_with_their_name() {
    let line = |hash: &str| {
        let text = "[[authn.basic]]\nid = \"people\"\nusers = { file = \"htpasswd\" }";
        let (_, _, diagnostics) = compile(text, &[("htpasswd", &format!("bob:{hash}\n"))]);
        let problem =
            diagnostics.iter().next().map(|diagnostic| diagnostic.message.clone()).unwrap_or_default();
        // The hash itself is not repeated.
        assert!(hash.is_empty() || !problem.contains(hash), "{problem}");
        problem
    };
    for (hash, says) in [
        ("$apr1$abcdefgh$0123456789abcdef012345", "MD5"),
        ("$1$abcdefgh$0123456789abcdef012345", "MD5"),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
        ("$6$salt$hash", "SHA-crypt"),
        ("abJnggxhB/yWI", "crypt hash or no hash"),
        ("hunter2", "crypt hash or no hash"),
        ("", "crypt hash or no hash"),
        ("$2x$04$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb5Crp5w7dbK", "broken bcrypt"),
        ("$2y$04$short", "not a complete bcrypt hash"),
        ("$2y$31$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb5Crp5w7dbK", "cost"),
        ("$argon2id$v=19$m=8,t=1,p=1", "not a complete argon2 hash"),
        ("$argon2id$", "argon2"),
    ] {
        assert!(line(hash).contains(says), "{hash}: {}", line(hash));
    }
    let dear = argon2("x", 8).replace("m=8", "m=4194304");
    assert!(line(&dear).contains("256 MiB"));
}
