//! Credentials over sockets: tokens whose keys are fetched, rotated and withdrawn; passwords; what of
//! them an upstream sees.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{Gateway, Response, Upstream, get_local, request, wait_until};

/// A signing key of an issuer.
struct Key {
    id: &'static str,
    pair: rcgen::KeyPair,
}

impl Key {
    fn new(id: &'static str) -> Key {
        Key { id, pair: rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key") }
    }

    /// Its public half (RFC 7518 section 6.2).
    fn public(&self) -> Value {
        let point = self.pair.public_key_raw();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id,
                "x": part(1..33), "y": part(33..65) })
    }

    /// A token of it, valid for an hour, with these claims beside the usual ones.
    fn token(&self, claims: Value) -> String {
        let now = Timestamp::now().as_second();
        let mut all = json!({ "iss": "https://id.test", "aud": "orders", "sub": "alice", "iat": now,
                              "exp": now + 3600, "roles": ["reader"] });
        for (name, value) in claims.as_object().expect("claims") {
            all[name] = value.clone();
        }
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_der(self.pair.serialized_der());
        jsonwebtoken::encode(&header, &all, &key).expect("a token")
    }
}

/// An issuer that publishes its keys.
struct Issuer {
    upstream: Upstream,
    keys: Arc<Mutex<Option<Value>>>,
}

impl Issuer {
    fn new(keys: &[&Key]) -> Issuer {
        let shared = Arc::new(Mutex::new(None));
        let published = Arc::clone(&shared);
        let upstream = Upstream::answering(move |_| match &*published.lock().expect("not poisoned") {
            Some(keys) => {
                let body = Value::to_string(keys);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
                format!("{head}: {}\r\n\r\n{body}", body.len()).into_bytes()
            }
            None => b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_vec(),
        });
        let issuer = Issuer { upstream, keys: shared };
        issuer.publish(keys);
        issuer
    }

    fn publish(&self, keys: &[&Key]) {
        let list: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        *self.keys.lock().expect("not poisoned") =
            if list.is_empty() { None } else { Some(json!({ "keys": list })) };
    }
}

fn config(origin: &Upstream, issuer: &Issuer, more: &str) -> String {
    format!(
        r#"{}
[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "origin"
authn = "required"

[authn]
revoked = {{ file = "revoked.toml" }}

[[authn.jwt]]
id = "corp"
issuer = "https://id.test"
audience = ["orders"]
algorithms = ["ES256"]
jwks = {{ url = "http://{}/keys", refresh = "1m" }}
roles = "roles"
roles_allowed = ["reader"]
{more}

[rbac.role.reader]

[[rbac.grant]]
id = "read"
roles = ["reader"]
"#,
        origin.table("origin"),
        issuer.upstream.address
    )
}

fn start(origin: &Upstream, issuer: &Issuer, more: &str) -> Gateway {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("revoked.toml"), "token_ids = []\n").expect("written");
    Gateway::start_in(folder, &config(origin, issuer, more), &[])
}

fn bearer(gateway: &Gateway, token: &str) -> Response {
    request(gateway.address, "GET", "/x", &[("Authorization", &format!("Bearer {token}"))], b"")
}

/// The answer, once keys were fetched.
fn settled(gateway: &Gateway, token: &str) -> Response {
    wait_until(|| {
        let response = bearer(gateway, token);
        (response.rule() != "authn/keys-unavailable").then_some(response)
    })
}

#[test]
fn keys_are_fetched_and_a_rotated_key_is_found() {
    let (origin, old, new) = (Upstream::start(), Key::new("old"), Key::new("new"));
    let issuer = Issuer::new(&[&old]);
    let gateway = start(&origin, &issuer, "");
    let response = settled(&gateway, &old.token(json!({})));
    assert_eq!((response.status, response.rule()), (200, "rbac/read"));
    // Signed with a key that nobody has published is refused; published, it is found by itself.
    let token = new.token(json!({}));
    let response = bearer(&gateway, &token);
    assert_eq!((response.status, response.rule()), (401, "authn/key-unknown"));
    issuer.publish(&[&old, &new]);
    wait_until(|| (bearer(&gateway, &token).status == 200).then_some(()));
    let age = get_local(gateway.admin.expect("an admin listener"), "/metrics").text();
    assert!(age.contains("portcullis_jwks_age_seconds{source=\"corp\"} "), "{age}");
}

#[test]
fn keys_that_cannot_be_had_are_a_503_until_they_can() {
    let (origin, key) = (Upstream::start(), Key::new("one"));
    let issuer = Issuer::new(&[]);
    let gateway = start(&origin, &issuer, "");
    let token = key.token(json!({}));
    let response = bearer(&gateway, &token);
    assert_eq!((response.status, response.rule()), (503, "authn/keys-unavailable"));
    assert_eq!(response.json()["temporary"], true);
    assert!(response.header("retry-after").is_some() && response.header("www-authenticate").is_none());
    issuer.publish(&[&key]);
    let response = settled(&gateway, &token);
    assert_eq!(response.status, 200);
    // What was fetched once serves on while the issuer is away.
    issuer.publish(&[]);
    assert_eq!(bearer(&gateway, &key.token(json!({ "sub": "bob" }))).status, 200);
    assert!(origin.received().len() >= 2);
}

#[test]
fn the_upstream_learns_who_asks_from_us_alone() {
    let (origin, key) = (Upstream::start(), Key::new("one"));
    let issuer = Issuer::new(&[&key]);
    for (more, forwarded) in [("", false), ("forward = true", true)] {
        let gateway = start(&origin, &issuer, more);
        let token = key.token(json!({ "sub": "al\u{e9}x" }));
        assert_eq!(settled(&gateway, &token).status, 200);
        let lie = [
            ("Authorization", &*format!("Bearer {token}")),
            ("X-Portcullis-Subject", "root"),
            ("X-Portcullis-Roles", "admin"),
            ("X-Portcullis-Rule", "rbac/anything"),
        ];
        assert_eq!(request(gateway.address, "GET", "/lie", &lie, b"").status, 200);
        let received = origin.received().pop().expect("forwarded");
        assert_eq!(received.line, "GET /lie HTTP/1.1");
        assert_eq!(received.all("x-portcullis-roles"), ["reader"]);
        assert_eq!(received.all("x-portcullis-rule"), ["rbac/read"]);
        assert_eq!(received.all("x-portcullis-subject").len(), 1);
        assert_ne!(received.all("x-portcullis-subject"), ["root"]);
        assert_eq!(!received.all("authorization").is_empty(), forwarded);
    }
}

#[test]
fn a_revocation_counts_at_once_also_for_a_token_that_was_verified_before() {
    let (origin, key) = (Upstream::start(), Key::new("one"));
    let issuer = Issuer::new(&[&key]);
    let gateway = start(&origin, &issuer, "");
    let (stolen, fine) = (key.token(json!({ "jti": "t-1" })), key.token(json!({ "jti": "t-2" })));
    assert_eq!((settled(&gateway, &stolen).status, bearer(&gateway, &fine).status), (200, 200));
    let before = bearer(&gateway, &fine).header("x-portcullis-policy").map(str::to_owned);
    gateway.write("revoked.toml", "token_ids = [\"t-1\"]\n");
    wait_until(|| (bearer(&gateway, &stolen).rule() == "authn/revoked").then_some(()));
    let response = bearer(&gateway, &fine);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("x-portcullis-policy").map(str::to_owned), before);
    // A list that cannot be read does not let anybody in again.
    gateway.write("revoked.toml", "token_ids = [\"t-1\"\n");
    wait_until(|| {
        let status = get_local(gateway.admin.expect("an admin listener"), "/api/status").json();
        status.to_string().contains("revoked.toml").then_some(())
    });
    assert_eq!(bearer(&gateway, &stolen).rule(), "authn/revoked");
}

#[test]
fn an_expired_token_is_refused_for_good() {
    // The same request never passes again: whoever waits waits for nothing.
    let origin = Upstream::start();
    let key = Key::new("a");
    let issuer = Issuer::new(&[&key]);
    let gateway = start(&origin, &issuer, "");
    settled(&gateway, &key.token(json!({})));
    let now = Timestamp::now().as_second();
    let expired = bearer(&gateway, &key.token(json!({ "iat": now - 7200, "exp": now - 3600 })));
    let told = expired.json();
    assert_eq!(
        (expired.status, expired.rule(), &told["reason"]),
        (401, "authn/expired", &"token_expired".into())
    );
    assert_eq!((&told["temporary"], told.get("until")), (&false.into(), None));
    assert_eq!(expired.header("retry-after"), None);
    // Of one that is not valid yet it is known when it is.
    let early = bearer(&gateway, &key.token(json!({ "nbf": now + 1800 })));
    assert_eq!((early.rule(), &early.json()["temporary"]), ("authn/not-yet-valid", &true.into()));
    assert!(early.header("retry-after").is_some());
}

#[test]
fn rubbish_is_a_401_by_name_and_nothing_more() {
    let (origin, key) = (Upstream::start(), Key::new("one"));
    let issuer = Issuer::new(&[&key]);
    let gateway = start(&origin, &issuer, "");
    settled(&gateway, &key.token(json!({})));
    let good = key.token(json!({}));
    let (head, rest) = good.split_once('.').expect("three parts");
    let (body, signature) = rest.split_once('.').expect("three parts");
    let deep = URL_SAFE_NO_PAD.encode("[".repeat(3000));
    let rubbish = [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        "a.b.c".into(),
        format!("{head}.{body}."),
        format!("{head}.{body}.{}", "A".repeat(86)),
        format!("{head}.{body}.{signature}="),
        format!("{head}.{body}.{signature}.x"),
        format!("{head}.{deep}.{signature}"),
        format!("{deep}.{body}.{signature}"),
        format!("{body}.{head}.{signature}"),
        "é".repeat(100),
        "A".repeat(15_000),
        format!("{}.{}.{}", "A".repeat(4000), "B".repeat(4000), "C".repeat(4000)),
    ];
    for token in &rubbish {
        let response = bearer(&gateway, token);
        assert_eq!(response.status, 401, "{token}");
        assert!(response.rule().starts_with("authn/"), "{token}: {}", response.rule());
        assert!(response.header("www-authenticate").is_some());
    }
    let too_long = bearer(&gateway, &"A".repeat(20_000));
    assert_eq!(too_long.status, 401);
    assert!(origin.received().len() <= 1);
    let metrics = get_local(gateway.admin.expect("an admin listener"), "/metrics").text();
    assert!(metrics.contains("portcullis_panics_total 0"), "{metrics}");
}

#[test]
fn passwords_are_checked_and_never_passed_on() {
    let origin = Upstream::start();
    let gateway = Gateway::start(&format!(
        r#"{}
[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "origin"
authn = "required"

[[authn.basic]]
id = "people"
realm = "the lab"

[[authn.basic.user]]
name = "carol"
hash = "$argon2id$v=19$m=19456,t=2,p=1$Q915DN/KVgT5kCzG3yf/Lw$vu04pmj6OSUzX35wLguXLbtu77pc8gRSZlYP4kOagbo"
roles = ["reader"]

[rbac.role.reader]

[[rbac.grant]]
id = "read"
roles = ["reader"]
"#,
        origin.table("origin")
    ));
    let ask = |user: &str, password: &str| {
        let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        request(gateway.address, "GET", "/x", &[("Authorization", &text)], b"")
    };
    assert_eq!(ask("carol", "correct horse").status, 200);
    assert_eq!(ask("carol", "correct horse").status, 200);
    let received = origin.received();
    assert!(received.iter().all(|request| request.all("authorization").is_empty()));
    assert_eq!(received[0].all("x-portcullis-subject"), ["carol"]);
    for (user, password) in [("carol", "wrong"), ("eve", "correct horse"), ("", "")] {
        let response = ask(user, password);
        assert_eq!(response.status, 401, "{user}");
        assert_eq!(response.header("www-authenticate"), Some("Basic realm=\"the lab\", charset=\"UTF-8\""));
    }
    assert_eq!(origin.received().len(), 2);
}
