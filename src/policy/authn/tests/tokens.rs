//! A maker of tokens, good and bad. The keys are made anew in every run; signatures are those of
//! `jsonwebtoken`, so that what is read here was not written here.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::{AUDIENCE, ISSUER, now};

/// A key that signs, and its public half.
pub(super) struct Signer {
    pub(super) algorithm: Algorithm,
    pub(super) key: EncodingKey,
    /// The public half as a JSON Web Key with `kid` and `alg`.
    pub(super) public: Value,
}

/// The keys of the issuer: RS256, PS256 (with the same RSA key), ES256, ES384, EdDSA.
pub(super) fn issuer_keys() -> &'static [Signer] {
    static KEYS: LazyLock<Vec<Signer>> = LazyLock::new(|| {
        let rsa = rsa_key();
        let edwards = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        let point = Ed25519KeyPair::from_pkcs8_maybe_unchecked(edwards.as_ref()).unwrap();
        let x = URL_SAFE_NO_PAD.encode(point.public_key());
        vec![
            Signer::new(Algorithm::RS256, "rsa", rsa.clone(), None),
            Signer::new(Algorithm::PS256, "pss", rsa, None),
            Signer::new(Algorithm::ES256, "p256", ec_key(Algorithm::ES256), None),
            Signer::new(Algorithm::ES384, "p384", ec_key(Algorithm::ES384), None),
            Signer::new(
                Algorithm::EdDSA,
                "ed",
                EncodingKey::from_ed_der(edwards.as_ref()),
                Some(json!({"kty": "OKP", "crv": "Ed25519", "x": x})),
            ),
        ]
    });
    &KEYS
}

/// The issuer's RSA key.
pub(super) fn rsa() -> &'static Signer {
    &issuer_keys()[0]
}

/// Somebody else's RSA key, which pretends to be the issuer's.
pub(super) fn attacker() -> &'static Signer {
    static KEY: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::RS256, "rsa", rsa_key(), None));
    &KEY
}

/// A shared secret.
pub(super) fn hmac(algorithm: Algorithm, secret: &[u8]) -> Signer {
    Signer::new(algorithm, "hmac", EncodingKey::from_secret(secret), None)
}

fn rsa_key() -> EncodingKey {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    // `jsonwebtoken` takes the PKCS#1 structure, which stands behind the 26 bytes of a PKCS#8 head.
    EncodingKey::from_rsa_der(&der.as_ref()[26..])
}

fn ec_key(algorithm: Algorithm) -> EncodingKey {
    let curve = match algorithm {
        Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        _ => &ECDSA_P384_SHA384_FIXED_SIGNING,
    };
    EncodingKey::from_ec_der(EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).unwrap().as_ref())
}

impl Signer {
    fn new(algorithm: Algorithm, id: &str, key: EncodingKey, public: Option<Value>) -> Signer {
        let public = public.unwrap_or_else(|| json!(Jwk::from_encoding_key(&key, algorithm).unwrap()));
        let public = with(
            public,
            &[("kid", json!(id)), ("alg", json!(format!("{algorithm:?}"))), ("use", json!("sig"))],
        );
        Signer { algorithm, key, public }
    }

    /// The header of its tokens.
    pub(super) fn header(&self) -> Value {
        json!({"alg": self.public["alg"], "typ": "JWT", "kid": self.public["kid"]})
    }

    /// A token with this header and payload, whatever they say.
    pub(super) fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// A token with its own header and these claims.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// A token with its own header, altered, and these claims.
    pub(super) fn token_with(&self, header: &[(&str, Value)], claims: &Value) -> String {
        self.sign(&with(self.header(), header).to_string(), &claims.to_string())
    }
}

/// A JSON Web Key Set of public halves.
pub(super) fn key_set<'s>(signers: impl IntoIterator<Item = &'s Signer>) -> String {
    let keys: Vec<&Value> = signers.into_iter().map(|signer| &signer.public).collect();
    json!({ "keys": keys }).to_string()
}

/// The claims of a good token.
pub(super) fn claims() -> Value {
    let now = now().as_second();
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "roles": ["user"], "iat": now - 10, "nbf": now - 10, "exp": now + 3600})
}

/// An object with some members replaced; `null` takes a member out.
pub(super) fn with(mut object: Value, members: &[(&str, Value)]) -> Value {
    for (name, value) in members {
        let members = object.as_object_mut().unwrap();
        match value {
            Value::Null => members.remove(*name),
            value => members.insert((*name).to_owned(), value.clone()),
        };
    }
    object
}
