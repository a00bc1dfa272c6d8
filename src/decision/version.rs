//! Which policy judged.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

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

/// What is not written as a version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAVersion;

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Version, NotAVersion> {
        let (generation, hash) = text.split_once('-').ok_or(NotAVersion)?;
        let hash = u32::from_str_radix(hash, 16).map_err(|_| NotAVersion)?;
        Ok(Version { generation: generation.parse().map_err(|_| NotAVersion)?, hash })
    }
}

/// A change of a rule between two policies that this installation has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When the newer policy was accepted.
    pub at: Timestamp,
    /// The last policy without the change.
    pub from: Version,
    /// The first one with it.
    pub to: Version,
}
