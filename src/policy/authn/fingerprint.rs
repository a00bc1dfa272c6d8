//! What verified a credential, as a value: equal fingerprints verify equally.
//!
//! A cached verification is good for as long as nothing that it rests on has changed. A counter
//! would say "changed" at every reload and at every fetch of a key set; the digest of the content
//! says it when it is so.

use aws_lc_rs::digest::{Context, SHA256};

/// The digest of sources or keys: half of a SHA-256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint([u64; 2]);

/// Everything that a verification rests on, except revocations, which are asked at every hit: the
/// sources of the policy with the keys of its files, and the keys that were fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp([u64; 2]);

impl Stamp {
    /// Both in one. As good as the pair: to meet another pair by chance or on purpose is as hard as to
    /// guess a digest.
    #[inline]
    pub(super) fn new(sources: Fingerprint, fetched: Fingerprint) -> Stamp {
        let ([a, b], [c, d]) = (sources.0, fetched.0);
        Stamp([a ^ c, b ^ d])
    }
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
        self.add(other.0[0].to_le_bytes()).add(other.0[1].to_le_bytes())
    }

    pub(super) fn finish(self) -> Fingerprint {
        let digest = self.0.finish();
        let mut words = digest.as_ref().chunks_exact(8).filter_map(|word| word.first_chunk::<8>());
        Fingerprint([(); 2].map(|()| words.next().copied().map_or(0, u64::from_le_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&str]) -> Fingerprint {
        let mut fingerprint = Parts::new();
        parts.iter().for_each(|part| {
            fingerprint.add(part);
        });
        fingerprint.finish()
    }

    fn of_lists(lists: &[&[&str]]) -> Fingerprint {
        let mut fingerprint = Parts::new();
        lists.iter().for_each(|list| {
            fingerprint.add_all(list.iter());
        });
        fingerprint.finish()
    }

    #[test]
    fn parts_and_lists_do_not_run_together() {
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab", ""]), of(&["ab"]));
        assert_ne!(of_lists(&[&["a", "b"], &[]]), of_lists(&[&["a"], &["b"]]));
    }
}
