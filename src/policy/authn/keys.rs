//! The keys that tokens are verified with.
//!
//! [`Keys`] is one key set, from a file, inline, a secret, or fetched by the shell; [`KeyRing`]
//! holds the fetched ones. Each key knows the algorithms it may be used with, from its kind and its
//! own `alg`: an RSA key can never check an HMAC, whatever a token says. Only public parts (and HMAC
//! secrets of the operator's own files) are kept.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;

use super::fingerprint::{Fingerprint, Parts};
use super::json;

/// A key set.
#[derive(Clone, Default)]
pub struct Keys {
    keys: Vec<Key>,
    skipped: Vec<Skipped>,
    fingerprint: Fingerprint,
}

/// A key of a set that cannot be used here, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its `kid`, or its place in the set.
    pub key: Box<str>,
    /// Why it is left out.
    pub why: &'static str,
}

/// Where a key set comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The operator's own files, which may hold secrets.
    Local,
    /// An address. A secret that can be fetched is none, so symmetric keys are left out.
    Fetched,
}

/// The key sets that were fetched, by address. Changes without a new policy.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    fetched: BTreeMap<Arc<str>, Arc<Keys>>,
    fingerprint: Fingerprint,
}

/// One key.
#[derive(Clone)]
pub(super) struct Key {
    /// Its `kid`.
    pub(super) id: Option<Box<str>>,
    /// What it may be used with.
    algorithms: Vec<Algorithm>,
    /// Bytes of an HMAC secret; 0 for other kinds.
    secret_length: usize,
    decoding: DecodingKey,
}

impl Keys {
    /// Reads a JSON Web Key Set (RFC 7517). Keys that cannot be used are left out and listed; a set
    /// without a usable key is refused, so that a broken answer never replaces good keys.
    pub fn parse(text: &str, origin: Origin) -> Result<Keys, String> {
        if text.len() > MAX_TEXT {
            return Err(format!("is larger than {} KiB", MAX_TEXT / 1024));
        }
        let mut set = json::object(text.as_bytes()).ok_or("is not a JSON object, or repeats a name")?;
        let Some(Value::Array(members)) = set.remove("keys") else {
            return Err("has no list `keys`".to_owned());
        };
        if members.len() > MAX_KEYS {
            return Err(format!("has more than {MAX_KEYS} keys"));
        }
        let mut keys = Keys::default();
        for (index, member) in members.into_iter().enumerate() {
            let named = member.get("kid").and_then(Value::as_str).filter(|id| id.len() <= MAX_ID);
            let name = named
                .map_or_else(|| format!("number {}", index + 1), |id| format!("`{}`", id.escape_debug()));
            let added = Key::from_jwk(member, origin).and_then(|key| keys.add(key));
            if let Err(why) = added {
                keys.skipped.push(Skipped { key: name.into(), why });
            }
        }
        match keys.skipped.first() {
            _ if !keys.keys.is_empty() => Ok(keys.sealed()),
            Some(first) => Err(format!("has no key that can be used: key {} {}", first.key, first.why)),
            None => Err("has no keys".to_owned()),
        }
    }

    /// Whether a text is a key set without a key, in good order: whoever offers that has withdrawn all of them.
    pub fn are_withdrawn(text: &str) -> bool {
        let set =
            Some(text).filter(|text| text.len() <= MAX_TEXT).and_then(|text| json::object(text.as_bytes()));
        let members = set.as_ref().and_then(|set| set.get("keys")?.as_array());
        members.is_some_and(Vec::is_empty)
    }

    /// The one key of a shared secret.
    pub fn secret(secret: &[u8]) -> Keys {
        let algorithms = AlgorithmFamily::Hmac.algorithms().to_vec();
        let decoding = DecodingKey::from_secret(secret);
        let key = Key { id: None, algorithms, secret_length: secret.len(), decoding };
        Keys { keys: vec![key], ..Keys::default() }.sealed()
    }

    /// The keys that were left out.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Whether any key can be used with one of these algorithms.
    pub fn fits(&self, algorithms: &[Algorithm]) -> bool {
        self.keys.iter().any(|key| key.algorithms.iter().any(|algorithm| algorithms.contains(algorithm)))
    }

    /// The length of the shortest HMAC secret, in bytes.
    pub(super) fn shortest_secret(&self) -> Option<usize> {
        self.keys.iter().map(|key| key.secret_length).filter(|length| *length > 0).min()
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The key for a token: the one its `kid` names, or, where it names none or no key of the set has
    /// an id, the only one that fits the algorithm. Keys are not tried one after the other.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, &'static str> {
        let id = id.filter(|_| self.keys.iter().any(|key| key.id.is_some()));
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| id.is_none() || key.id.as_deref() == id)
            .filter(|key| key.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err("the token names no key, and more than one would fit"),
            (None, _) if id.is_some() => Err("the key set has no such key for this algorithm"),
            (None, _) => Err("the key set has no key for this algorithm"),
        }
    }

    fn add(&mut self, key: Key) -> Result<(), &'static str> {
        let taken = |other: &Key| {
            key.id.is_some()
                && other.id == key.id
                && other.algorithms.iter().any(|algorithm| key.algorithms.contains(algorithm))
        };
        if self.keys.iter().any(taken) {
            return Err("has the id of another key");
        }
        self.keys.push(key);
        Ok(())
    }

    fn sealed(mut self) -> Keys {
        let mut parts = Parts::new();
        for key in &self.keys {
            parts.add(key.id.as_deref().map_or(String::new(), |id| format!("id {id}")));
            parts.add(format!("{:?}", key.algorithms));
            match key.decoding.kind() {
                jsonwebtoken::DecodingKeyKind::SecretOrDer(bytes) => parts.add(bytes),
                jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, e } => parts.add(n).add(e),
            };
        }
        self.fingerprint = parts.finish();
        self
    }
}

/// Says which keys there are, and nothing of what they are.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.iter().map(|key| (&key.id, &key.algorithms));
        f.debug_struct("Keys")
            .field("keys", &keys.collect::<Vec<_>>())
            .field("skipped", &self.skipped)
            .finish()
    }
}

impl Key {
    /// Whether this key made the signature. The algorithm is one of the key's own.
    ///
    /// The provider is named instead of looked up: the process-wide one of `jsonwebtoken` can be
    /// missing, and panics then.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &Vec<u8>) -> bool {
        let verifier = (aws_lc::DEFAULT_PROVIDER.verifier_factory)(&algorithm, &self.decoding);
        verifier.is_ok_and(|verifier| verifier.verify(signed, signature).is_ok())
    }

    fn from_jwk(member: Value, origin: Origin) -> Result<Key, &'static str> {
        let jwk: Jwk = serde_json::from_value(member).map_err(|_| "is not a JSON Web Key")?;
        let common = &jwk.common;
        if common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
            return Err("is not for signatures");
        }
        if common.key_operations.as_ref().is_some_and(|allowed| !allowed.contains(&KeyOperations::Verify)) {
            return Err("is not for verifying");
        }
        if common.key_id.as_ref().is_some_and(|id| id.len() > MAX_ID) {
            return Err("has an id that is too long");
        }
        let mut secret_length = 0;
        let (fitting, decoding) = match &jwk.algorithm {
            AlgorithmParameters::RSA(key) => (AlgorithmFamily::Rsa.algorithms(), rsa(&key.n, &key.e)?),
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => (&[Algorithm::ES256][..], ec(&key.x, &key.y, 32)?),
                EllipticCurve::P384 => (&[Algorithm::ES384][..], ec(&key.x, &key.y, 48)?),
                _ => return Err("is on a curve that is not supported"),
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (&[Algorithm::EdDSA][..], ed(&key.x)?)
            }
            AlgorithmParameters::OctetKey(_) if origin == Origin::Fetched => {
                return Err("is a secret that can be fetched");
            }
            AlgorithmParameters::OctetKey(key) => {
                let secret = bytes(&key.value)?;
                secret_length = secret.len();
                if secret.is_empty() {
                    return Err("is empty");
                }
                (AlgorithmFamily::Hmac.algorithms(), DecodingKey::from_secret(&secret))
            }
            _ => return Err("is of a kind that is not supported"),
        };
        let algorithms = match common.key_algorithm {
            None => fitting.to_vec(),
            Some(named) => {
                let named =
                    Algorithm::try_from(named).map_err(|_| "is for an algorithm that is not supported")?;
                if !fitting.contains(&named) {
                    return Err("is not of the kind that its `alg` needs");
                }
                vec![named]
            }
        };
        Ok(Key { id: jwk.common.key_id.map(Into::into), algorithms, secret_length, decoding })
    }
}

fn bytes(text: &str) -> Result<Vec<u8>, &'static str> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "is not encoded in base64url")
}

/// Keys are tried for their form when they are read: a broken one is reported then, and not by
/// refusing every token.
fn rsa(n: &str, e: &str) -> Result<DecodingKey, &'static str> {
    let trimmed = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    let (n, e) = (trimmed(bytes(n)?), trimmed(bytes(e)?));
    if !(256..=1024).contains(&n.len()) || n.first().is_none_or(|byte| *byte < 0x80) && n.len() == 256 {
        return Err("is an RSA key of less than 2048 or more than 8192 bits");
    }
    RsaPublicKeyComponents { n: &n, e: &e }
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .map_err(|_| "is not a valid RSA key")?;
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

fn ec(x: &str, y: &str, length: usize) -> Result<DecodingKey, &'static str> {
    let (x, y) = (bytes(x)?, bytes(y)?);
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    let parsed = match length {
        32 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point),
        _ => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &point),
    };
    if x.len() != length || y.len() != length || parsed.is_err() {
        return Err("is not a point on its curve");
    }
    Ok(DecodingKey::from_ec_der(&point))
}

fn ed(x: &str) -> Result<DecodingKey, &'static str> {
    let x = bytes(x)?;
    if x.len() != 32 || ParsedPublicKey::new(&ED25519, &x).is_err() {
        return Err("is not a valid Ed25519 key");
    }
    Ok(DecodingKey::from_ed_der(&x))
}

// === impl KeyRing ===

impl KeyRing {
    /// The ring with the keys of an address put in or replaced.
    pub fn with(&self, url: &str, keys: Keys) -> KeyRing {
        let mut fetched = self.fetched.clone();
        fetched.insert(url.into(), Arc::new(keys));
        KeyRing::of(fetched)
    }

    /// The ring without the keys of an address: what they would verify cannot be verified.
    pub fn without(&self, url: &str) -> KeyRing {
        let mut fetched = self.fetched.clone();
        fetched.remove(url);
        KeyRing::of(fetched)
    }

    fn of(fetched: BTreeMap<Arc<str>, Arc<Keys>>) -> KeyRing {
        if fetched.is_empty() {
            return KeyRing::default();
        }
        let mut parts = Parts::new();
        for (url, keys) in &fetched {
            parts.add(url.as_bytes()).add_fingerprint(keys.fingerprint);
        }
        KeyRing { fetched, fingerprint: parts.finish() }
    }

    /// The keys that were fetched from an address.
    pub fn get(&self, url: &str) -> Option<&Keys> {
        self.fetched.get(url).map(|keys| &**keys)
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// The largest key set that is read, in bytes.
const MAX_TEXT: usize = 1024 * 1024;

/// The most keys that a set may have.
const MAX_KEYS: usize = 256;

/// The longest `kid` that is looked up.
pub(super) const MAX_ID: usize = 256;
