//! Tokens of issuers that the configurations of the figures name.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// The secret of [`SOURCE`], which stands in `secret.txt`.
pub const SECRET: &str = "a secret of thirty-two bytes, at least";

/// An issuer of HS256 tokens, and a role that they bring.
pub const SOURCE: &str = "[[authn.jwt]]\nid = \"corp\"\nissuer = \"https://id.test\"\naudience = [\"app\"]\n\
                          algorithms = [\"HS256\"]\nsecret_file = \"secret.txt\"\nroles = \"roles\"\n\
                          roles_allowed = [\"reader\"]\nleeway = \"0s\"\n[rbac.role.reader]\n";

/// Seconds since 1970, by the system.
pub fn now() -> i64 {
    Timestamp::now().as_second()
}

/// A token of [`SOURCE`] that ends at a time, with these claims instead of the usual ones.
pub fn token(expires: i64, claims: &Value) -> String {
    signed(&Header::new(Algorithm::HS256), &EncodingKey::from_secret(SECRET.as_bytes()), expires, claims)
}

/// The same, signed otherwise.
pub fn signed(header: &Header, key: &EncodingKey, expires: i64, claims: &Value) -> String {
    let mut all = json!({ "iss": "https://id.test", "aud": "app", "sub": "alice", "exp": expires, "roles": ["reader"] });
    for (name, value) in claims.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    jsonwebtoken::encode(header, &all, key).expect("a token")
}

/// A token in form only, of an issuer and with a key that nobody knows.
pub fn forged(issuer: &str, key: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({ "alg": "ES256", "typ": "JWT", "kid": key }));
    let claims = part(
        json!({ "iss": issuer, "aud": "app", "sub": "mallory", "exp": now() + 3600, "roles": ["reader"] }),
    );
    format!("{header}.{claims}.{}", "A".repeat(86))
}

/// GET of a path with a bearer token.
pub fn get(path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nAuthorization: Bearer {token}\r\n\r\n").into_bytes()
}
