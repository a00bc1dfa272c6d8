//! What changes under the policy that is in force: fetched keys, bans, full trails.

use std::sync::Arc;

use super::Installer;
use crate::layers::{Snapshot, Verbose};
use crate::policy::authn::Keys;
use crate::policy::ip::Bans;

impl Installer {
    /// Changes what is in force. The lock keeps a reload from putting back what was.
    fn change<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        let _state = self.lock();
        let mut snapshot = Snapshot::clone(&self.current.load());
        let result = change(&mut snapshot);
        self.current.store(Arc::new(snapshot));
        result
    }

    /// Puts fetched keys in force.
    pub(crate) fn set_keys(&self, url: &str, keys: Keys) {
        self.change(|snapshot| snapshot.world.keys = Arc::new(snapshot.world.keys.with(url, keys)));
    }

    /// Takes fetched keys out of force.
    pub(crate) fn forget_keys(&self, url: &str) {
        self.change(|snapshot| snapshot.world.keys = Arc::new(snapshot.world.keys.without(url)));
    }

    /// Puts other bans in force.
    pub(crate) fn set_bans(&self, bans: Option<Arc<Bans>>) {
        self.change(|snapshot| snapshot.world.bans = bans);
    }

    /// Keeps trails as somebody asked, or no more; what was before.
    pub(crate) fn set_verbose(&self, verbose: Option<Arc<Verbose>>) -> Option<Arc<Verbose>> {
        self.change(|snapshot| std::mem::replace(&mut snapshot.verbose, verbose))
    }

    /// Keeps no more trails, if it is still this that keeps them.
    pub(crate) fn end_verbose(&self, verbose: &Arc<Verbose>) {
        let ended = self.change(|snapshot| {
            let ends = snapshot.verbose.as_ref().is_some_and(|now| Arc::ptr_eq(now, verbose));
            snapshot.verbose.take_if(|_| ends).is_some()
        });
        if ended {
            tracing::info!("the time of full trails has ended");
        }
    }
}
