//! Which policy judged.

use std::fmt;

/// Generation and content hash of a policy, written `7-3f9a2c1d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Counts the policies this process has accepted, from 1. 0: never installed in a server.
    pub generation: u64,
    /// The first 32 bits of the SHA-256 over the canonical content.
    pub hash: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.generation, self.hash)
    }
}
