//! Collections that outlive the request: found again, changed for those that come later, let go.

use super::expand::Shown;
use super::parts::Text;
use super::run::Judge;
use super::state::{Held, Transaction, full_name};
use crate::policy::waf::memory::{Kept, Update};

impl Judge<'_, '_> {
    /// From here on the collection is about this one: what is remembered of it are its variables.
    pub(super) fn recall(&self, kept: Kept, key: &Text, transaction: &mut Transaction) {
        let key = self.scene(transaction, Shown::Whole).text(key);
        if let Some(owner) = transaction.owners.get_mut(kept as usize) {
            *owner = Some(key.into());
        }
        let Some((memory, owner)) = transaction.kept(kept) else { return };
        for (name, value) in memory.recall(owner, self.now()) {
            let full = full_name(kept.name(), &name);
            let slot = self.program.slots.find(&full).ok_or(full);
            super::effects::put(slot, value.into(), transaction);
        }
    }

    /// Keeps a variable for later requests, where it is in a collection that is about somebody; what it
    /// is now, after what others have counted meanwhile.
    pub(super) fn remember(
        &self,
        full: &str,
        new: Held,
        added: Option<i64>,
        transaction: &Transaction,
    ) -> Held {
        let Some((kept, name)) = Kept::of(full) else { return new };
        let Some((memory, owner)) = transaction.kept(kept) else { return new };
        let update = match (added, new.remembered()) {
            (Some(amount), _) => Update::Add(amount),
            (None, Some(value)) => Update::Put(value),
            (None, None) => Update::Remove,
        };
        let lasts = self.program.settings.collection_timeout;
        memory.update(owner, name, update, self.now(), lasts).map_or(Held::Nothing, Held::from)
    }

    pub(super) fn expire(&self, kept: Kept, name: &Text, seconds: &Text, transaction: &Transaction) {
        let Some((memory, owner)) = transaction.kept(kept) else { return };
        let scene = self.scene(transaction, Shown::Whole);
        let name = String::from_utf8_lossy(&scene.text(name)).to_ascii_lowercase();
        memory.expire(owner, &name, self.now().saturating_add(scene.number(seconds)));
    }

    fn now(&self) -> i64 {
        self.facts.map_or(0, |facts| facts.now.as_second())
    }
}
