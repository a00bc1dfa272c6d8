//! What verified a credential, as a value: equal fingerprints verify equally.
//!
//! A cached verification is good for as long as nothing that it rests on has changed. A counter
//! would say "changed" at every reload and at every fetch of a key set; the digest of the content
//! says it when it is so.

use aws_lc_rs::digest::{Context, SHA256};

/// The digest of sources or keys. Half of a SHA-256: nobody can make two sets of keys that share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(u128);

/// Everything that a verification rests on, except revocations, which are asked at every hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The sources of the policy, with the keys that stand in its files.
    pub sources: Fingerprint,
    /// The keys that were fetched.
    pub fetched: Fingerprint,
}

/// Makes a fingerprint of parts. Each part carries its length, so that no two lists of parts run
/// together to the same bytes.
pub(super) struct Parts(Context);

impl Parts {
    pub(super) fn new() -> Parts {
        Parts(Context::new(&SHA256))
    }

    pub(super) fn add(&mut self, part: impl AsRef<[u8]>) -> &mut Parts {
        let part = part.as_ref();
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    pub(super) fn add_all<P: AsRef<[u8]>>(
        &mut self,
        parts: impl IntoIterator<Item = P, IntoIter: ExactSizeIterator>,
    ) -> &mut Parts {
        let parts = parts.into_iter();
        self.0.update(&(parts.len() as u64).to_le_bytes());
        for part in parts {
            self.add(part);
        }
        self
    }

    pub(super) fn add_fingerprint(&mut self, other: Fingerprint) -> &mut Parts {
        self.add(other.0.to_le_bytes())
    }

    pub(super) fn finish(self) -> Fingerprint {
        let digest = self.0.finish();
        let half = digest.as_ref().first_chunk::<16>().copied().unwrap_or_default();
        Fingerprint(u128::from_le_bytes(half))
    }
}
