//! What a policy judges by that is not in its text.

use std::sync::Arc;

use super::authn::{KeyRing, Revocations};
use super::ip::Bans;
use crate::facts::Client;

/// What changes without a new policy generation.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The keys that were fetched; those in files are part of the policy.
    pub keys: Arc<KeyRing>,
    /// Credentials that were withdrawn, beyond those of the policy's own list.
    pub revoked: Arc<Revocations>,
    /// Addresses that are banned for a time; none, mostly.
    pub bans: Option<Arc<Bans>>,
}

impl World {
    /// Adds to what is known of a client whether it is banned.
    #[inline]
    pub fn note_ban(&self, client: &mut Client) {
        if let Some(bans) = &self.bans {
            client.banned = bans.until(client.ip);
        }
    }
}
