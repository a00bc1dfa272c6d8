//! The collections of the WAF's rules (`initcol`), in memory: bounded, shared by all threads, kept over
//! reloads and not over restarts.
//!
//! Who is remembered is chosen by whoever sends requests, so the bounds are what matters: a fixed number of
//! bytes, and where they are used up, the one of a few that was not changed for the longest time goes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::policy::waf::{Kept, Memory, Owner, Remembered, Update};

/// What is remembered.
#[derive(Debug)]
pub struct Collections {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    /// Bytes that a shard may use.
    limit: usize,
}

#[derive(Debug, Default)]
struct Shard {
    /// By collection and key: whose state it is.
    places: HashMap<Kept, HashMap<Box<[u8]>, usize>>,
    owners: Vec<OwnerState>,
    bytes: usize,
    /// Counts changes.
    turn: u64,
    /// Where room was looked for last.
    hand: usize,
}

/// All that is remembered of one.
#[derive(Debug)]
struct OwnerState {
    kept: Kept,
    key: Box<[u8]>,
    values: Vec<(Box<str>, Value)>,
    /// Which change of its shard was its last.
    turn: u64,
    /// When all of it is forgotten.
    until: i64,
}

#[derive(Debug)]
struct Value {
    value: Remembered,
    /// When it is forgotten (`expirevar`).
    until: i64,
}

const SHARDS: usize = 16;
/// Bytes in all, with what keeping them costs.
const LIMIT: usize = 64 << 20;
/// The values of one owner.
const MAX_VALUES: usize = 64;
/// The bytes of a text, a name and a key; what is longer is cut.
const MAX_TEXT: usize = 2048;
const MAX_NAME: usize = 128;
const MAX_KEY: usize = 512;
/// What an owner and a value cost besides their texts.
const OVERHEAD: usize = 160;
/// How many are looked at when one has to go.
const LOOKS: usize = 16;

impl Default for Collections {
    fn default() -> Collections {
        Collections::bounded(LIMIT)
    }
}

impl Collections {
    /// With so many bytes in all.
    pub fn bounded(limit: usize) -> Collections {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Collections { hasher: RandomState::new(), shards, limit: limit / SHARDS }
    }

    /// The bytes in use.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).bytes).sum()
    }

    fn shard(&self, owner: Owner<'_>) -> Option<MutexGuard<'_, Shard>> {
        let number = self.hasher.hash_one(owner) as usize % SHARDS;
        self.shards.get(number).map(locked)
    }
}

/// A thread that panicked here left nothing half done that matters: at worst a count of bytes.
fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cut(owner: Owner<'_>) -> Owner<'_> {
    Owner { key: owner.key.get(..MAX_KEY).unwrap_or(owner.key), ..owner }
}

impl Memory for Collections {
    fn recall(&self, owner: Owner<'_>, now: i64) -> Vec<(Box<str>, Remembered)> {
        let owner = cut(owner);
        let Some(shard) = self.shard(owner) else { return Vec::new() };
        let Some(state) = shard.find(owner).filter(|state| state.until > now) else { return Vec::new() };
        let live = state.values.iter().filter(|(_, value)| value.until > now);
        live.map(|(name, value)| (name.clone(), value.value.clone())).collect()
    }

    fn update(
        &self,
        owner: Owner<'_>,
        name: &str,
        update: Update,
        now: i64,
        lasts: u32,
    ) -> Option<Remembered> {
        let owner = cut(owner);
        let name = name.get(..name.floor_char_boundary(MAX_NAME)).unwrap_or(name);
        let mut shard = self.shard(owner)?;
        let at = shard.place(owner, now);
        let changed = shard.change(at, name, update, now);
        shard.touch(at, now.saturating_add(i64::from(lasts)));
        shard.make_room(self.limit, now);
        changed
    }

    fn expire(&self, owner: Owner<'_>, name: &str, at: i64) {
        let owner = cut(owner);
        let Some(mut shard) = self.shard(owner) else { return };
        let Some(state) = shard.find_mut(owner) else { return };
        if let Some((_, value)) = state.values.iter_mut().find(|(known, _)| **known == *name) {
            value.until = at;
        }
    }
}

impl Shard {
    fn find(&self, owner: Owner<'_>) -> Option<&OwnerState> {
        self.owners.get(*self.places.get(&owner.kept)?.get(owner.key)?)
    }

    fn find_mut(&mut self, owner: Owner<'_>) -> Option<&mut OwnerState> {
        self.owners.get_mut(*self.places.get(&owner.kept)?.get(owner.key)?)
    }

    /// Where the owner is, made where it is not known. What it was until its end is forgotten.
    fn place(&mut self, owner: Owner<'_>, now: i64) -> usize {
        let known = self.places.entry(owner.kept).or_default();
        if let Some(at) = known.get(owner.key).copied() {
            if let Some(state) = self.owners.get_mut(at).filter(|state| state.until <= now) {
                self.bytes -= state.values.drain(..).map(|(name, value)| size(&name, &value)).sum::<usize>();
            }
            return at;
        }
        let at = self.owners.len();
        known.insert(owner.key.into(), at);
        self.bytes += OVERHEAD + 2 * owner.key.len();
        let (kept, key) = (owner.kept, owner.key.into());
        self.owners.push(OwnerState { kept, key, values: Vec::new(), turn: 0, until: i64::MAX });
        at
    }

    /// Changes a value of the owner at a place; what it is now.
    fn change(&mut self, at: usize, name: &str, update: Update, now: i64) -> Option<Remembered> {
        let state = self.owners.get_mut(at)?;
        let known = state.values.iter().position(|(known, _)| **known == *name);
        let old = known.map(|place| state.values.swap_remove(place));
        self.bytes -= old.as_ref().map_or(0, |(name, value)| size(name, value));
        let old = old.map(|(_, value)| value).filter(|value| value.until > now);
        let until = old.as_ref().map_or(i64::MAX, |value| value.until);
        let value = match update {
            Update::Remove => return None,
            Update::Put(Remembered::Text(text)) if text.len() > MAX_TEXT => {
                Remembered::Text(text.get(..MAX_TEXT).unwrap_or_default().into())
            }
            Update::Put(value) => value,
            Update::Add(amount) => {
                let before = old.map_or(0, |old| old.value.number());
                Remembered::Number(before.saturating_add(amount))
            }
        };
        if state.values.len() < MAX_VALUES {
            let kept = Value { value: value.clone(), until };
            self.bytes += size(name, &kept);
            state.values.push((name.into(), kept));
        }
        Some(value)
    }

    fn touch(&mut self, at: usize, until: i64) {
        self.turn += 1;
        if let Some(state) = self.owners.get_mut(at) {
            (state.turn, state.until) = (self.turn, until);
        }
    }

    /// Forgets owners until the rest is small enough; the one that was changed last stays.
    fn make_room(&mut self, limit: usize, now: i64) {
        while self.bytes > limit && self.owners.len() > 1 {
            let count = self.owners.len();
            let looked_at = (0..LOOKS).map(|look| (self.hand + look) % count);
            let states = looked_at.filter_map(|at| Some((at, self.owners.get(at)?)));
            let oldest = states.min_by_key(|(_, state)| (state.until > now, state.turn));
            let Some((at, _)) = oldest.filter(|(_, state)| state.turn != self.turn) else {
                self.hand = (self.hand + LOOKS) % count;
                continue;
            };
            self.hand = (self.hand + LOOKS) % count;
            self.forget(at);
        }
    }

    fn forget(&mut self, at: usize) {
        let gone = self.owners.swap_remove(at);
        let values = gone.values.iter().map(|(name, value)| size(name, value)).sum::<usize>();
        self.bytes -= OVERHEAD + 2 * gone.key.len() + values;
        if let Some(known) = self.places.get_mut(&gone.kept) {
            known.remove(&gone.key);
        }
        // The last one has moved to the free place.
        let moved = self.owners.get(at);
        if let Some(moved) = moved
            && let Some(place) = self.places.get_mut(&moved.kept).and_then(|known| known.get_mut(&moved.key))
        {
            *place = at;
        }
    }
}

fn size(name: &str, value: &Value) -> usize {
    let text = match &value.value {
        Remembered::Number(_) => 0,
        Remembered::Text(text) => text.len(),
    };
    OVERHEAD / 2 + name.len() + text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(key: &str) -> Owner<'_> {
        Owner { kept: Kept::Ip, key: key.as_bytes() }
    }

    fn add(collections: &Collections, key: &str, now: i64) -> Option<Remembered> {
        collections.update(ip(key), "count", Update::Add(1), now, 60)
    }

    fn number(number: i64) -> Option<Remembered> {
        Some(Remembered::Number(number))
    }

    fn names(collections: &Collections, key: &str, now: i64) -> Vec<Box<str>> {
        collections.recall(ip(key), now).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn counters_are_added_to_and_kept_apart() {
        let collections = Collections::default();
        assert_eq!((add(&collections, "a", 0), add(&collections, "a", 1)), (number(1), number(2)));
        assert_eq!(add(&collections, "b", 1), number(1));
        let user = Owner { kept: Kept::User, key: b"a" };
        assert_eq!(collections.recall(user, 1), []);
        assert_eq!(collections.recall(ip("a"), 1), [("count".into(), Remembered::Number(2))]);
        assert_eq!(collections.update(ip("a"), "count", Update::Remove, 1, 60), None);
        assert_eq!(collections.recall(ip("a"), 1), []);
    }

    #[test]
    fn an_owner_is_forgotten_after_its_last_change_and_a_value_at_its_time() {
        let collections = Collections::default();
        add(&collections, "a", 0);
        assert_eq!(names(&collections, "a", 59).len(), 1);
        assert_eq!(names(&collections, "a", 60).len(), 0);
        assert_eq!(add(&collections, "a", 60), number(1));
        collections.update(ip("a"), "seen", Update::Put(Remembered::Text((*b"yes").into())), 61, 60);
        collections.expire(ip("a"), "count", 70);
        assert_eq!(names(&collections, "a", 69).len(), 2);
        assert_eq!(names(&collections, "a", 70), ["seen".into()]);
        assert_eq!(add(&collections, "a", 70), number(1), "it begins anew");
    }

    #[test]
    fn room_is_bounded_and_who_is_busy_stays() {
        let collections = Collections::bounded(SHARDS * 20_000);
        for number in 0..20_000 {
            add(&collections, &format!("192.0.2.{number}"), number);
            add(&collections, "busy", number);
            assert!(collections.bytes() <= SHARDS * 20_000, "after {number}");
        }
        assert_eq!(collections.recall(ip("busy"), 20_000), [("count".into(), Remembered::Number(20_000))]);
        let kept =
            (0..20_000).filter(|number| !names(&collections, &format!("192.0.2.{number}"), 0).is_empty());
        assert!((50..5_000).contains(&kept.count()));
    }

    #[test]
    fn bytes_are_counted_exactly() {
        let collections = Collections::bounded(SHARDS * 4_000);
        let texts = ["", "x", &"y".repeat(5_000)];
        for number in 0..3_000_usize {
            let key = "k".repeat(number % 700);
            let text = Remembered::Text(texts[number % 3].as_bytes().into());
            let update = if number % 7 == 0 { Update::Remove } else { Update::Put(text) };
            collections.update(ip(&key), &"n".repeat(number % 200), update, number as i64, 5);
        }
        for shard in &collections.shards {
            let shard = locked(shard);
            let values = shard.owners.iter().flat_map(|one| &one.values);
            let owners: usize = shard.owners.iter().map(|one| OVERHEAD + 2 * one.key.len()).sum();
            assert_eq!(shard.bytes, owners + values.map(|(name, value)| size(name, value)).sum::<usize>());
            assert_eq!(shard.places.values().map(HashMap::len).sum::<usize>(), shard.owners.len());
        }
    }
}
