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
//! The hash reads the end of a token, which is its signature. Two tokens of equal hash push each other
//! out; to make one on purpose takes a second valid signature with the same last
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

/// What is known of a credential.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The holder, with its roles.
    pub who: Arc<Who>,
    /// Whether the roles are those of the policy that asks; else they must be resolved anew.
    pub current: bool,
}

/// The cache. Shared by all threads; a hit takes the read lock of one of its shards.
pub struct TokenCache {
    /// Keys the hash.
    seeds: [u64; 4],
    /// Keys the HMAC under which passwords are kept.
    secret: hmac::Key,
    shards: Box<[RwLock<Shard>]>,
    /// Of one shard.
    bounds: Bounds,
}

/// A part of the cache with its own lock.
#[derive(Default)]
struct Shard {
    /// By hash. The entries stand in the table itself: among many thousands a hit waits for memory,
    /// and each step from one place to the next is another wait.
    entries: HashMap<u64, Entry, BuildHasherDefault<Hashed>>,
    /// The hashes, in the order in which the hand goes round; none where an entry is gone.
    ring: Vec<Option<u64>>,
    free: Vec<u32>,
    hand: usize,
    bytes: usize,
}

struct Entry {
    /// The token; or a zero byte, which no header field can hold, and the HMAC of a password.
    key: Box<[u8]>,
    who: Arc<Who>,
    stamp: Stamp,
    /// The policy whose roles `who` has.
    policy: u64,
    /// In whole seconds, rounded towards each other: where a fraction counts, verifying tells.
    from: i64,
    until: i64,
    /// Its place in the ring.
    place: u32,
    weight: u32,
    /// Used since the hand last passed.
    marked: AtomicBool,
}

impl TokenCache {
    /// An empty cache. Chance comes in as a value: `hasher` and `secret` are made by the shell at start.
    pub fn new(bounds: Bounds, hasher: RandomState, secret: &[u8; 32]) -> TokenCache {
        let share = Bounds { entries: bounds.entries.div_ceil(SHARDS), bytes: bounds.bytes.div_ceil(SHARDS) };
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        let seeds = [0u8, 1, 2, 3].map(|seed| hasher.hash_one(seed));
        TokenCache { seeds, secret: hmac::Key::new(hmac::HMAC_SHA256, secret), shards, bounds: share }
    }

    /// What is known of a credential. The caller has still to ask whether it was revoked.
    pub fn get(
        &self,
        credential: &Credential<'_>,
        stamp: Stamp,
        policy: Version,
        now: Timestamp,
    ) -> Option<Hit> {
        let mut tag = [0; TAG];
        let key = self.key(credential, &mut tag)?;
        let hash = self.hash(key);
        let shard = self.shard(hash).read().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.entries.get(&hash)?;
        // Asks for the memory of the count now, while the comparison waits for that of the token.
        let alive = Arc::strong_count(&entry.who) > 0;
        if !alive || entry.stamp != stamp || !entry.covers(now) || *entry.key != *key {
            return None;
        }
        if !entry.marked.load(Relaxed) {
            entry.marked.store(true, Relaxed);
        }
        Some(Hit { who: entry.who.clone(), current: entry.policy == number(policy) })
    }

    /// Keeps what was verified. `stamp` is that of the sources and keys that verified it, `policy`
    /// the one that the roles are of.
    pub fn put(
        &self,
        credential: &Credential<'_>,
        stamp: Stamp,
        policy: Version,
        window: Window,
        who: Arc<Who>,
    ) {
        let mut tag = [0; TAG];
        let Some(key) = self.key(credential, &mut tag) else { return };
        let hash = self.hash(key);
        let weight = weight(key, &who);
        if weight > self.bounds.bytes || self.bounds.entries == 0 {
            return;
        }
        let ceiling = |time: Timestamp| time.as_second() + i64::from(time.subsec_nanosecond() > 0);
        let entry = Entry {
            key: key.into(),
            who,
            stamp,
            policy: number(policy),
            from: window.from.map_or(i64::MIN, ceiling),
            until: window.until.as_second(),
            place: 0,
            weight: u32::try_from(weight).unwrap_or(u32::MAX),
            marked: AtomicBool::new(false),
        };
        let mut shard = self.shard(hash).write().unwrap_or_else(PoisonError::into_inner);
        shard.insert(hash, entry, self.bounds);
    }

    /// Replaces the roles of a hit by those of another policy.
    pub fn update(&self, credential: &Credential<'_>, stamp: Stamp, policy: Version, who: Arc<Who>) {
        let mut tag = [0; TAG];
        let Some(key) = self.key(credential, &mut tag) else { return };
        let hash = self.hash(key);
        let mut shard = self.shard(hash).write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = shard.entries.get_mut(&hash)
            && *entry.key == *key
            && entry.stamp == stamp
        {
            entry.who = who;
            entry.policy = number(policy);
        }
    }

    /// How many credentials are kept.
    pub fn len(&self) -> usize {
        self.sum(|shard| shard.entries.len())
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes they take, estimated.
    pub fn bytes(&self) -> usize {
        self.sum(|shard| shard.bytes)
    }

    fn sum(&self, of: impl Fn(&Shard) -> usize) -> usize {
        self.shards.iter().map(|shard| of(&shard.read().unwrap_or_else(PoisonError::into_inner))).sum()
    }

    /// What is compared for a credential. API keys are not kept: a digest and a look-up verify them.
    fn key<'k>(&self, credential: &Credential<'k>, tag: &'k mut [u8; TAG]) -> Option<&'k [u8]> {
        match credential.carried {
            Carried::Bearer(token) => Some(token),
            Carried::Basic(encoded) => {
                let code = hmac::sign(&self.secret, encoded);
                tag.last_chunk_mut::<32>()?.copy_from_slice(code.as_ref().first_chunk::<32>()?);
                Some(tag)
            }
            Carried::ApiKey { .. } => None,
        }
    }

    /// Multiplies the end of a key with seeds that nobody outside knows, half by half, to 128 bits each,
    /// and folds these together.
    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        let end = key.last_chunk::<32>().copied().unwrap_or_else(|| {
            let mut end = [0; 32];
            end.iter_mut().zip(key).for_each(|(at, byte)| *at = *byte);
            end
        });
        let word = |at: usize| {
            end.get(at..).and_then(<[u8]>::first_chunk::<8>).map_or(0, |word| u64::from_le_bytes(*word))
        };
        let [a, b, c, d] = self.seeds;
        let fold = |left: u64, right: u64| {
            let product = u128::from(left) * u128::from(right);
            product as u64 ^ (product >> 64) as u64
        };
        let half = fold(word(0) ^ a, word(8) ^ b);
        let whole = fold(word(16) ^ c ^ half, word(24) ^ d);
        fold(whole ^ key.len() as u64, a | 1)
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

impl Entry {
    #[inline]
    fn covers(&self, now: Timestamp) -> bool {
        (self.from..self.until).contains(&now.as_second())
    }
}

impl Shard {
    fn insert(&mut self, hash: u64, mut entry: Entry, bounds: Bounds) {
        self.remove(hash);
        while self.entries.len() >= bounds.entries || self.bytes + entry.weight as usize > bounds.bytes {
            self.evict();
        }
        entry.place = self.free.pop().unwrap_or_else(|| {
            self.ring.push(None);
            (self.ring.len() - 1) as u32
        });
        self.ring[entry.place as usize] = Some(hash);
        self.bytes += entry.weight as usize;
        self.entries.insert(hash, entry);
    }

    /// Makes room: removes the first entry that was not used since the hand last passed. What is past
    /// its end or of another stamp is never a hit, so it goes by itself. Looks at no more than [`SWEEP`]
    /// entries, so that a full cache of busy ones does not make one request wait.
    fn evict(&mut self) {
        let mut looked = 0;
        loop {
            if self.hand >= self.ring.len() {
                self.hand = 0;
            }
            let place = self.hand;
            self.hand += 1;
            let Some(hash) = self.ring.get(place).copied().flatten() else { continue };
            looked += 1;
            let busy = self.entries.get(&hash).is_some_and(|entry| entry.marked.swap(false, Relaxed));
            if !busy || looked >= SWEEP {
                self.remove(hash);
                return;
            }
        }
    }

    fn remove(&mut self, hash: u64) {
        if let Some(entry) = self.entries.remove(&hash) {
            self.bytes -= entry.weight as usize;
            self.ring[entry.place as usize] = None;
            self.free.push(entry.place);
        }
    }
}

/// A policy as one number. Policies that were never installed are not told apart by generation, so a
/// cache is not shared among such.
fn number(policy: Version) -> u64 {
    policy.generation << 32 | u64::from(policy.hash)
}

/// What an entry takes in memory, near enough: a token of many small claims takes many times its own
/// length once it is taken apart, so the claims are counted.
fn weight(key: &[u8], who: &Who) -> usize {
    let holder = &who.holder;
    let lists = [&holder.roles, &holder.ignored_roles, &holder.scopes, &who.undeclared];
    let names: usize = lists.into_iter().flatten().map(|name| name.len() + size_of::<Box<str>>()).sum();
    let fixed = size_of::<Entry>() + size_of::<Who>() + size_of_val(&**holder);
    fixed + key.len() + names + of_object(&holder.claims)
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

/// The length of a password's key: a zero byte and an HMAC.
const TAG: usize = 33;

/// How many entries an eviction looks at.
const SWEEP: usize = 64;
