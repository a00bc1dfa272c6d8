//! API keys: only their digests are known, so a leaked policy file opens nothing.
//!
//! Keys are long and random, made by `portcullis hash-key` or like it; that is why a plain SHA-256
//! is enough, where a password needs a slow hash.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderName;
use jiff::Timestamp;

use crate::decision::Builtin;
use crate::facts::{Holder, Problem};

/// The SHA-256 of a key.
pub(super) type Digest = [u8; 32];

/// The keys that one header field may carry.
#[derive(Clone, Debug)]
pub(super) struct KeyHeader {
    pub(super) name: HeaderName,
    pub(super) keys: HashMap<Digest, Arc<Holder>>,
}

impl KeyHeader {
    /// The holder of a key. Looked up by digest, which tells a guesser nothing that leads to a key;
    /// then compared in constant time all the same.
    pub(super) fn verify(&self, key: &[u8], now: Timestamp) -> Result<Arc<Holder>, Problem> {
        let shown = hash(key);
        let found = self.keys.get_key_value(&shown);
        let (_, holder) = found
            .filter(|(known, _)| verify_slices_are_equal(*known, &shown).is_ok())
            .ok_or_else(|| Problem::new(Builtin::KeyUnknown, "no source has this API key"))?;
        if holder.expires_at.is_some_and(|end| now >= end) {
            let problem = Problem::new(Builtin::Expired, "the API key is past its `expires`");
            return Err(Problem { claimed: Some(holder.clone()), ..problem });
        }
        Ok(holder.clone())
    }
}

/// The hash of a key as a policy file holds it: `sha256:…`.
pub fn hash_key(key: &[u8]) -> String {
    let digits = hash(key).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    "sha256:".chars().chain(digits).collect()
}

/// Reads what [`hash_key`] prints.
pub(super) fn parse_hash(text: &str) -> Option<Digest> {
    let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64)?;
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = [pair.first()?, pair.get(1)?].map(|digit| char::from(*digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(digest)
}

/// The digest of a key.
pub(super) fn hash(key: &[u8]) -> Digest {
    digest(&SHA256, key).as_ref().first_chunk::<32>().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_is_printed() {
        // FIPS 180-4, the digest of "abc".
        let printed = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash_key(b"abc"), printed);
        assert_eq!(parse_hash(printed), Some(hash(b"abc")));
        assert_eq!(parse_hash(&printed.replace("sha256:ba", "sha256:BA")), Some(hash(b"abc")));
    }

    #[test]
    fn anything_else_is_no_hash() {
        let digits = "0".repeat(64);
        let signed = format!("sha256:+{}", "0".repeat(63));
        for text in [
            "",
            "sha256:",
            &digits,
            &format!("sha256:{digits}0"),
            &format!("md5:{digits}"),
            &signed,
            &format!("sha256:{}é", "0".repeat(62)),
        ] {
            assert_eq!(parse_hash(text), None, "{text}");
        }
    }
}
