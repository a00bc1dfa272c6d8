//! What is said about a configuration that cannot work, or should not.

use serde_json::json;

use super::tokens::{issuer_keys, key_set, rsa};
use super::*;

/// The problems of one JWT source with these lines in place of good ones.
fn jwt(lines: &[(&str, &str)]) -> Vec<Code> {
    let mut keys = vec![
        ("id", "\"corp\"".to_owned()),
        ("issuer", "\"https://id.test\"".to_owned()),
        ("audience", "[\"orders\"]".to_owned()),
        ("algorithms", "[\"RS256\"]".to_owned()),
        ("jwks", "{ file = \"jwks.json\" }".to_owned()),
    ];
    for (key, value) in lines {
        keys.retain(|(other, _)| other != key);
        if !value.is_empty() {
            keys.push((key, (*value).to_owned()));
        }
    }
    let lines: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    let text = format!("[rbac.role.user]\n[[authn.jwt]]\n{}", lines.concat());
    let secret = "0123456789abcdef0123456789abcdef";
    let set = key_set([rsa()]);
    problems(
        &text,
        &[("jwks.json", &set), ("secret", secret), ("short", "short"), ("empty", "\n"), ("bad", "{}")],
    )
}

#[test]
fn a_good_source_has_no_problems() {
    assert_eq!(jwt(&[]), []);
    assert_eq!(
        jwt(&[("audience", "\"orders\""), ("leeway", "\"5m\""), ("forward", "true"), ("scopes", "\"scp\"")]),
        []
    );
    assert_eq!(jwt(&[("roles", "\"realm_access.roles\""), ("roles_allowed", "[\"user\"]")]), []);
    assert_eq!(jwt(&[("roles", "[\"https://id.test/roles\"]")]), []);
    assert_eq!(jwt(&[("jwks", ""), ("secret_file", "\"secret\""), ("algorithms", "[\"HS256\"]")]), []);
    assert_eq!(jwt(&[("jwks", "{ url = \"https://id.test/jwks\", refresh = \"1h\" }")]), []);
    assert_eq!(jwt(&[("jwks", &format!("{{ inline = '''{}''' }}", key_set(issuer_keys())))]), []);
}

#[test]
fn a_path_that_is_written_as_in_a_condition_is_found() {
    for key in ["subject", "roles", "scopes"] {
        assert_eq!(jwt(&[(key, "\"claims.groups\"")]), [Code::ClaimPrefix], "{key}");
        assert_eq!(jwt(&[(key, "'claims.a.b'")]), [Code::ClaimPrefix], "{key}");
        // A claim may be called so, and then it is written as a list, or has nothing behind it.
        assert_eq!(jwt(&[(key, "[\"claims\", \"groups\"]")]), [], "{key}");
        assert_eq!(jwt(&[(key, "\"claims\"")]), [], "{key}");
    }
}

#[test]
fn values_that_would_let_nobody_or_anybody_in_are_errors() {
    assert_eq!(jwt(&[("issuer", "\"\"")]), [Code::BadValue]);
    assert_eq!(jwt(&[("audience", "[]")]), [Code::BadValue]);
    assert_eq!(jwt(&[("audience", "[\"a\", \"\"]")]), [Code::BadValue]);
    assert_eq!(jwt(&[("audience", "")]), [Code::MissingKey]);
    assert_eq!(jwt(&[("issuer", "")]), [Code::MissingKey]);
    assert_eq!(jwt(&[("algorithms", "[]")]), [Code::BadValue]);
    assert_eq!(jwt(&[("algorithms", "[\"none\"]")]), [Code::BadValue]);
    assert_eq!(jwt(&[("algorithms", "[\"rs256\"]")]), [Code::BadValue]);
    assert_eq!(jwt(&[("leeway", "\"6m\"")]), [Code::BadValue]);
    assert_eq!(jwt(&[("roles", "\"a..b\"")]), [Code::BadValue]);
    assert_eq!(jwt(&[("roles", "[]")]), [Code::BadValue]);
    assert_eq!(jwt(&[("rolse", "\"roles\"")]), [Code::UnknownKey]);
}

#[test]
fn keys_and_algorithms_must_fit() {
    assert_eq!(jwt(&[("algorithms", "[\"ES256\"]")]), [Code::Conflict]);
    assert_eq!(jwt(&[("algorithms", "[\"HS256\"]")]), [Code::Conflict]);
    assert_eq!(jwt(&[("algorithms", "[\"RS256\", \"HS256\"]")]), [Code::Conflict]);
    assert_eq!(jwt(&[("jwks", ""), ("secret_file", "\"secret\"")]), [Code::Conflict]);
    assert_eq!(jwt(&[("secret_file", "\"secret\"")]), [Code::Conflict]);
    assert_eq!(jwt(&[("jwks", "")]), [Code::MissingKey]);
    assert_eq!(jwt(&[("jwks", "{}")]), [Code::Conflict]);
    assert_eq!(jwt(&[("jwks", "{ file = \"jwks.json\", inline = \"{}\" }")]), [Code::Conflict]);
    assert_eq!(jwt(&[("jwks", "{ file = \"jwks.json\", refresh = \"1m\" }")]), [Code::Conflict]);
    assert_eq!(jwt(&[("jwks", "{ file = \"absent.json\" }")]), [Code::File]);
    assert_eq!(jwt(&[("jwks", "{ file = \"bad\" }")]), [Code::BadValue]);
    assert_eq!(
        jwt(&[("jwks", "{ url = \"https://id.test/\" }"), ("algorithms", "[\"HS256\"]")]),
        [Code::Conflict]
    );
}

#[test]
fn secrets_are_measured() {
    let hs = |file: &str, algorithms: &str| {
        jwt(&[("jwks", ""), ("secret_file", file), ("algorithms", algorithms)])
    };
    assert_eq!(hs("\"short\"", "[\"HS256\"]"), [Code::WeakSecret]);
    assert_eq!(hs("\"secret\"", "[\"HS256\", \"HS512\"]"), [Code::WeakSecret]);
    assert_eq!(hs("\"empty\"", "[\"HS256\"]"), [Code::BadValue]);
}

#[test]
fn addresses_of_key_sets_are_checked() {
    let url = |url: &str| jwt(&[("jwks", &format!("{{ url = \"{url}\" }}"))]);
    for good in
        ["https://id.test/jwks", "http://127.0.0.1:8080/jwks", "http://[::1]/jwks", "http://localhost/jwks"]
    {
        assert_eq!(url(good), [], "{good}");
    }
    assert_eq!(url("http://id.test/jwks"), [Code::PlainHttpKeys]);
    for bad in
        ["", "/jwks", "id.test/jwks", "file:///etc/passwd", "ftp://id.test/", "https://user:pw@id.test/"]
    {
        assert_eq!(url(bad), [Code::BadValue], "{bad}");
    }
    assert_eq!(jwt(&[("jwks", "{ url = \"https://id.test/\", refresh = \"1s\" }")]), [Code::BadValue]);
    assert_eq!(jwt(&[("jwks", "{ url = \"https://id.test/\", refresh = \"25h\" }")]), [Code::BadValue]);
}

#[test]
fn roles_that_a_source_may_bring_are_declared_ones() {
    let allowed = |names: &str| jwt(&[("roles", "\"roles\""), ("roles_allowed", names)]);
    assert_eq!(allowed("[\"usr\"]"), [Code::UnknownName]);
    assert_eq!(allowed("[\"anyone\"]"), [Code::ReservedId]);
    assert_eq!(allowed("[\"authenticated\"]"), [Code::ReservedId]);
    assert_eq!(allowed("[]"), []);
    assert_eq!(jwt(&[("roles_allowed", "[\"user\"]")]), [Code::Conflict]);
}

#[test]
fn a_key_that_is_left_out_is_mentioned() {
    let odd =
        json!({"keys": [rsa().public, {"kty": "EC", "crv": "secp256k1", "kid": "k", "x": "", "y": ""}]});
    assert_eq!(jwt(&[("jwks", &format!("{{ inline = '''{odd}''' }}"))]), [Code::KeySkipped]);
}

#[test]
fn ids_and_issuers_are_unique() {
    let source = |id: &str, issuer: &str| {
        format!(
            "[[authn.jwt]]\nid = \"{id}\"\nissuer = \"{issuer}\"\naudience = \"a\"\nalgorithms = [\"RS256\"]\njwks = {{ url = \"https://a.test\" }}\n"
        )
    };
    assert_eq!(problems(&(source("a", "1") + &source("b", "2")), &[]), []);
    assert_eq!(problems(&(source("a", "1") + &source("a", "2")), &[]), [Code::DuplicateId]);
    assert_eq!(problems(&(source("a", "1") + &source("b", "1")), &[]), [Code::Conflict]);
    let key =
        format!("[[authn.api_key]]\nid = \"a\"\nheader = \"x-api-key\"\nhash = \"{}\"\n", hash_key(b"k"));
    assert_eq!(problems(&(source("a", "1") + &key), &[]), [Code::DuplicateId]);
    assert_eq!(problems(&(key.clone() + &key.replace("\"a\"", "\"b\"")), &[]), [Code::DuplicateId]);
}

#[test]
fn api_keys_are_checked() {
    let key = |lines: &str| problems(&format!("[[authn.api_key]]\nid = \"a\"\n{lines}"), &[]);
    let hash = format!("hash = \"{}\"\n", hash_key(b"k"));
    assert_eq!(key(&format!("{hash}header = \"x-api-key\"")), []);
    for header in ["authorization", "Cookie", "host", "x_api_key", "x api key", "x.key", ""] {
        assert_eq!(key(&format!("{hash}header = \"{header}\"")), [Code::BadValue], "{header}");
    }
    assert_eq!(key("header = \"x-api-key\"\nhash = \"k\""), [Code::BadValue]);
    assert_eq!(key(&format!("{hash}header = \"x-api-key\"\nroles = [\"nobody\"]")), [Code::UnknownName]);
    assert_eq!(key(&format!("{hash}header = \"x-api-key\"\nroles = [\"anyone\"]")), [Code::ReservedId]);
    assert_eq!(key(&format!("{hash}header = \"x-api-key\"\nsubject = \"a\\nb\"")), [Code::BadValue]);
    assert_eq!(
        key(&format!("{hash}header = \"x-api-key\"\nexpires = 2026-01-01T00:00:00Z")),
        [Code::NeverValid]
    );
}

#[test]
fn user_lists_are_checked() {
    let users = |text: &str| {
        problems("[[authn.basic]]\nid = \"p\"\nusers = { file = \"users\" }", &[("users", text)])
    };
    assert_eq!(users(&htpasswd()), []);
    assert_eq!(users("# nobody\n"), [Code::File]);
    assert_eq!(users("alice"), [Code::BadValue]);
    assert_eq!(users(&format!("{0}{0}", htpasswd())), [Code::DuplicateId]);
    assert_eq!(users(":x\n a:x\nb:x"), [Code::BadValue; 5]);
    assert_eq!(problems("[[authn.basic]]\nid = \"p\"", &[]), [Code::MissingKey]);
    assert_eq!(
        problems("[[authn.basic]]\nid = \"p\"\nrealm = \"a\\\"b\"\nusers = { file = \"absent\" }", &[]),
        [Code::BadValue, Code::File]
    );
}

#[test]
fn revocations_are_part_of_the_policy() {
    let text = format!("{LAB}\n[authn.revoked]\nfile = \"revoked\"");
    let files = [
        ("jwks.json", key_set(issuer_keys())),
        ("htpasswd", htpasswd()),
        ("revoked", "api_keys = [\"lab-user\"]".into()),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let authn = authn(&text, &files);
    let problem = identify(&authn, &[("x-api-key", "lab-user-key")]).unwrap().unwrap_err();
    assert_eq!((problem.rule, problem.claimed.is_some()), (Builtin::Revoked, true));
    assert_eq!(problems("[authn]\nrevoked = { file = \"r\" }", &[("r", "x = 1")]), [Code::UnknownKey]);
    assert_eq!(problems("[authn]\nrevoked = { file = \"r\" }", &[]), [Code::File]);
}

#[test]
fn keys_of_the_demonstration_are_known() {
    let hash = hash_key(DEMO_KEYS[0].as_bytes());
    let text = format!("[[authn.api_key]]\nid = \"demo\"\nheader = \"x-api-key\"\nhash = \"{hash}\"");
    assert_eq!(authn(&text, &[]).demo_keys_used().iter().map(|id| &*id.value).collect::<Vec<_>>(), ["demo"]);
    assert!(lab().demo_keys_used().is_empty());
}

#[test]
fn files_are_put_together() {
    let read = |text: &str| -> RawAuthn {
        let raw: RawPolicy =
            read_document("a policy file", FileId(0), text, &mut Diagnostics::default()).unwrap();
        raw.authn.unwrap()
    };
    let key = "[[authn.api_key]]\nid = \"a\"\nheader = \"x-api-key\"\nhash = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\n";
    let mut first = read(&format!("[authn]\nmode = \"required\"\n{key}"));
    let mut diagnostics = Diagnostics::default();
    first.absorb(read(&format!("[authn]\nrevoked = {{ file = \"r\" }}\n{key}")), &mut diagnostics);
    assert!(diagnostics.is_empty());
    assert_eq!((first.default_for_routes(), first.api_key.len()), (AuthnWord::Required, 2));
    assert_eq!(first.files().map(|file| file.0.as_str()).collect::<Vec<_>>(), ["r"]);
    first.absorb(read("[authn]\nmode = \"optional\"\nrevoked = { file = \"s\" }"), &mut diagnostics);
    assert_eq!(
        diagnostics.iter().map(|diagnostic| diagnostic.code).collect::<Vec<_>>(),
        [Code::Conflict, Code::Conflict]
    );
}

/// The problems of one source of certificates with these lines.
fn mtls(lines: &str) -> Vec<Code> {
    problems(&format!("[rbac.role.user]\n[[authn.mtls]]\n{lines}"), &[])
}

#[test]
fn a_source_of_certificates_says_who_they_name() {
    assert_eq!(mtls("id = \"a\"\nsubject = \"uri\"\nroles = [\"user\"]"), []);
    assert_eq!(mtls("id = \"a\"\nsubject = \"cn\"\nmatch = \"*.test\"\nissuer = [\"CA 1\", \"CA 2\"]"), []);
    assert_eq!(mtls("id = \"a\"\nsubject = \"dns\"\nroles_from = \"ou\"\nroles_allowed = [\"user\"]"), []);
    assert_eq!(mtls("id = \"a\""), [Code::MissingKey]);
    assert_eq!(mtls("subject = \"uri\""), [Code::MissingKey]);
    assert_eq!(mtls("id = \"a\"\nsubject = \"serial\""), [Code::BadValue]);
    assert_eq!(mtls("id = \"a\"\nsubject = \"uri\"\nmatch = [\"a*b*\"]"), [Code::BadValue]);
    assert_eq!(mtls("id = \"a\"\nsubject = \"uri\"\nmatch = [\"\"]"), [Code::BadValue]);
    assert_eq!(mtls("id = \"a\"\nsubject = \"uri\"\nmatch = []"), [Code::BadValue]);
    assert_eq!(mtls("id = \"a\"\nsubject = \"uri\"\nissuer = []"), [Code::BadValue]);
    assert_eq!(mtls("id = \"a\"\nsubject = \"uri\"\nroles = [\"root\"]"), [Code::UnknownName]);
    assert_eq!(mtls("id = \"a\"\nsubject = \"uri\"\nroles = [\"authenticated\"]"), [Code::ReservedId]);
    assert_eq!(mtls("id = \"a\"\nsubject = \"uri\"\nroles_from = \"ou\""), [Code::Conflict]);
    assert_eq!(mtls("id = \"a\"\nsubject = \"uri\"\nroles_allowed = [\"user\"]"), [Code::Conflict]);
    let twice = "id = \"a\"\nsubject = \"uri\"\n[[authn.mtls]]\nid = \"a\"\nsubject = \"dns\"";
    assert_eq!(mtls(twice), [Code::DuplicateId]);
}
