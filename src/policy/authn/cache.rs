//! Credentials that were verified before, so that a signature is checked once and not at every use.
//!
//! What makes a hit safe:
//!
//! - the whole credential is compared, byte for byte; the hash only says where to look. (Of passwords
//!   a keyed HMAC is kept and compared, so that no password stays in memory.)
//! - it counts for the [`Stamp`] that verified it: other sources or keys, and it counts for nothing;
//! - `exp` and `nbf` are asked at every hit here, revocations by the caller;
//! - only what was verified comes in. Garbage is neither kept nor makes room for itself.
//!
//! The hash reads the end of a token, which is its signature, and the length. Two tokens of equal
//! hash push each other out; to make one on purpose takes a second valid signature with the same last
//! 32 characters. The comparison stops at the first difference, which would tell a guesser something
//! only after those 32 characters were right.
//!
//! Eviction is second chance (CLOCK): a hit marks its entry, and the hand passes over marked ones
//! once. A flood of tokens that are each used once therefore turns over its own entries.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::hmac;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::carrier::{Carried, Credential};
use super::fingerprint::Stamp;
use crate::decision::Version;
use crate::facts::Who;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Credentials.
    pub entries: usize,
    /// Bytes of credentials and of what they claim.
    pub bytes: usize,
}

/// When a verification counts: from one time on, before the other, leeway included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// From then on, if it has a beginning.
    pub from: Option<Timestamp>,
    /// Before then.
    pub until: Timestamp,
}

/// What was verified.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The holder, with its roles in one policy.
    pub who: Arc<Who>,
    /// The policy that the roles are of. In another one they must be resolved anew.
    pub version: Version,
    /// When it counts.
    pub window: Window,
}

/// The cache. Shared by all threads; hits take a read lock of one of its shards.
pub struct TokenCache {
    hasher: RandomState,
    /// Keys the HMAC under which passwords are kept.
    secret: hmac::Key,
    shards: Box<[RwLock<Shard>]>,
    bounds: Bounds,
}

/// A part of the cache with its own lock.
#[derive(Default)]
struct Shard {
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Hash to slot.
    index: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    hand: usize,
    bytes: usize,
}

struct Entry {
    hash: u64,
    shown: Shown<Box<str>>,
    stamp: Stamp,
    verified: Verified,
    weight: usize,
    /// Used since the hand last passed.
    marked: AtomicBool,
}

/// What is compared.
enum Shown<T> {
    Token(T),
    Password([u8; 32]),
}

impl TokenCache {
    /// An empty cache. Chance comes in as a value: `hasher` and `secret` are made by the shell at start.
    pub fn new(bounds: Bounds, hasher: RandomState, secret: &[u8; 32]) -> TokenCache {
        let share = Bounds { entries: bounds.entries.div_ceil(SHARDS), bytes: bounds.bytes.div_ceil(SHARDS) };
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        TokenCache { hasher, secret: hmac::Key::new(hmac::HMAC_SHA256, secret), shards, bounds: share }
    }

    /// What is known of a credential. The caller has still to ask whether it was revoked.
    pub fn get(&self, credential: &Credential<'_>, stamp: Stamp, now: Timestamp) -> Option<Verified> {
        let shown = self.shown(credential)?;
        let hash = self.hash(&shown);
        let shard = self.shard(hash).read().unwrap_or_else(PoisonError::into_inner);
        let slot = *shard.index.get(&hash)?;
        let entry = shard.slots.get(slot as usize)?.as_ref()?;
        if !entry.shown.same(&shown) || entry.stamp != stamp || !entry.verified.window.covers(now) {
            return None;
        }
        if !entry.marked.load(Relaxed) {
            entry.marked.store(true, Relaxed);
        }
        Some(entry.verified.clone())
    }

    /// Keeps what was verified. `stamp` is that of the sources and keys that verified it.
    pub fn put(&self, credential: &Credential<'_>, stamp: Stamp, verified: Verified, now: Timestamp) {
        let Some(shown) = self.shown(credential) else { return };
        let hash = self.hash(&shown);
        let weight = weight(&shown, &verified.who);
        if weight > self.bounds.bytes || self.bounds.entries == 0 {
            return;
        }
        let shown = match shown {
            Shown::Token(token) => Shown::Token(token.into()),
            Shown::Password(tag) => Shown::Password(tag),
        };
        let entry = Entry { hash, shown, stamp, verified, weight, marked: AtomicBool::new(false) };
        let mut shard = self.shard(hash).write().unwrap_or_else(PoisonError::into_inner);
        shard.insert(entry, self.bounds, now);
    }

    /// How many credentials are kept.
    pub fn len(&self) -> usize {
        self.each(|shard| shard.index.len())
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes they take, estimated.
    pub fn bytes(&self) -> usize {
        self.each(|shard| shard.bytes)
    }

    fn each(&self, of: impl Fn(&Shard) -> usize) -> usize {
        self.shards.iter().map(|shard| of(&shard.read().unwrap_or_else(PoisonError::into_inner))).sum()
    }

    /// What is compared for a credential. API keys are not kept: a digest and a look-up verify them.
    fn shown<'h>(&self, credential: &Credential<'h>) -> Option<Shown<&'h str>> {
        match credential.carried {
            Carried::Bearer(token) => Some(Shown::Token(token)),
            Carried::Basic(encoded) => {
                let tag = hmac::sign(&self.secret, encoded.as_bytes());
                tag.as_ref().first_chunk::<32>().copied().map(Shown::Password)
            }
            Carried::ApiKey { .. } => None,
        }
    }

    #[inline]
    fn hash(&self, shown: &Shown<&str>) -> u64 {
        let bytes = match shown {
            Shown::Token(token) => token.as_bytes(),
            Shown::Password(tag) => tag,
        };
        let mut hasher = self.hasher.build_hasher();
        hasher.write(bytes.last_chunk::<32>().map_or(bytes, |tail| tail));
        hasher.write_usize(bytes.len());
        hasher.finish()
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // The table inside a shard reads the low bits and the top seven.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

impl std::fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCache")
            .field("len", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Shard {
    fn insert(&mut self, entry: Entry, bounds: Bounds, now: Timestamp) {
        if let Some(slot) = self.index.get(&entry.hash) {
            self.remove(*slot as usize);
        }
        while self.index.len() >= bounds.entries || self.bytes + entry.weight > bounds.bytes {
            self.evict(entry.stamp, now);
        }
        let (hash, weight) = (entry.hash, entry.weight);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(entry);
                slot
            }
            None => {
                self.slots.push(Some(entry));
                (self.slots.len() - 1) as u32
            }
        };
        self.index.insert(hash, slot);
        self.bytes += weight;
    }

    /// Makes room for one entry: the first that is past its time, of another stamp, or was not used
    /// since the hand last passed. Looks at no more than [`SWEEP`] of them, so that a full cache of
    /// busy entries does not make one request wait.
    fn evict(&mut self, stamp: Stamp, now: Timestamp) {
        let mut looked = 0;
        loop {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            let slot = self.hand;
            self.hand += 1;
            let Some(Some(entry)) = self.slots.get(slot) else { continue };
            looked += 1;
            let dead = entry.stamp != stamp || now >= entry.verified.window.until;
            if dead || !entry.marked.swap(false, Relaxed) || looked >= SWEEP {
                self.remove(slot);
                return;
            }
        }
    }

    fn remove(&mut self, slot: usize) {
        if let Some(entry) = self.slots.get_mut(slot).and_then(Option::take) {
            self.index.remove(&entry.hash);
            self.bytes -= entry.weight;
            self.free.push(slot as u32);
        }
    }
}

impl Window {
    #[inline]
    fn covers(&self, now: Timestamp) -> bool {
        now < self.until && self.from.is_none_or(|from| now >= from)
    }
}

impl Shown<Box<str>> {
    #[inline]
    fn same(&self, other: &Shown<&str>) -> bool {
        match (self, other) {
            (Shown::Token(mine), Shown::Token(theirs)) => **mine == **theirs,
            (Shown::Password(mine), Shown::Password(theirs)) => mine == theirs,
            _ => false,
        }
    }
}

/// What an entry takes in memory, near enough: a token of many small claims takes many times its own
/// length once it is taken apart, so the claims are counted.
fn weight(shown: &Shown<&str>, who: &Who) -> usize {
    let holder = &who.holder;
    let token = match shown {
        Shown::Token(token) => token.len(),
        Shown::Password(_) => 0,
    };
    let lists = [&holder.roles, &holder.ignored_roles, &holder.scopes, &who.undeclared];
    let names: usize = lists.into_iter().flatten().map(|name| name.len() + size_of::<Box<str>>()).sum();
    size_of::<Entry>() + size_of::<Who>() + size_of_val(&**holder) + token + names + of_object(&holder.claims)
}

fn of_object(object: &Map<String, Value>) -> usize {
    object.iter().map(|(name, value)| name.len() + 2 * size_of::<String>() + of_value(value)).sum()
}

/// Nested no deeper than a token may be.
fn of_value(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(of_value).sum(),
            Value::Object(object) => of_object(object),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

/// Passes a hash through: the keys of the index are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        // Only `write_u64` is called, by the one key type there is.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Enough that threads seldom meet, few enough that each share of the bounds is of use.
const SHARDS: usize = 16;

/// How many entries an eviction looks at.
const SWEEP: usize = 64;
