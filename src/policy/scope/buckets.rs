//! From a hash to the few things that may have it.
//!
//! A bucket is half a cache line. Of each thing it knows a byte of its hash, and all six are compared
//! at once; a bucket that is full says so, and the next one goes on for it. How many are looked at
//! depends on what was filed and never on who asks.

/// A table of numbers by their hashes.
#[derive(Clone, Debug, Default)]
pub(super) struct Buckets {
    /// A power of two of them, or none.
    buckets: Box<[Bucket]>,
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Bucket {
    /// A tag for each number, 0 where there is none; and [`GOES_ON`].
    tags: u64,
    numbers: [u32; SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 32);

const SLOTS: usize = 6;

/// In `tags`: something did not fit into this bucket.
const GOES_ON: u64 = 1 << 63;

/// What a bucket has for a hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// Which bucket.
    at: u32,
    /// The highest bit of the byte of each slot that has the tag.
    slots: u64,
}

impl Buckets {
    /// A table of these hashes, numbered from 0.
    pub(super) fn new(hashes: &[u64]) -> Buckets {
        if hashes.is_empty() {
            return Buckets::default();
        }
        let mut buckets = vec![Bucket::default(); (hashes.len() * 2 / 5).next_power_of_two()];
        let mask = buckets.len() - 1;
        for (hash, number) in hashes.iter().zip(0u32..) {
            let mut at = *hash as usize & mask;
            // There is room for more than twice as many.
            while !buckets[at].add(tag(*hash), number) {
                at = (at + 1) & mask;
            }
        }
        Buckets { buckets: buckets.into() }
    }

    /// What the bucket of a hash has for it, or a bucket behind that, `step` further on.
    #[inline]
    pub(super) fn find(&self, hash: u64, step: usize) -> (Found, bool) {
        let at = (hash as usize).wrapping_add(step) & self.buckets.len().wrapping_sub(1);
        let Some(bucket) = self.buckets.get(at) else { return (Found::default(), false) };
        // A byte of `differing` is 0 where the tag is the one that is asked for.
        let differing = bucket.tags ^ (LOW_BITS * tag(hash));
        let slots = !(((differing & LOWER_BITS) + LOWER_BITS) | differing) & HIGH_BITS;
        (Found { at: at as u32, slots }, bucket.tags & GOES_ON != 0)
    }

    /// The numbers that were found, the first bit of which is given.
    #[inline]
    pub(super) fn numbers(&self, found: Found) -> impl Iterator<Item = u32> + '_ {
        let mut slots = found.slots;
        std::iter::from_fn(move || {
            let slot = slots.trailing_zeros() / 8;
            slots &= slots.wrapping_sub(1);
            self.buckets.get(found.at as usize)?.numbers.get(slot as usize).copied()
        })
    }
}

impl Bucket {
    fn add(&mut self, tag: u64, number: u32) -> bool {
        let free = (0..SLOTS).find(|slot| self.tags >> (8 * slot) & 0xff == 0);
        match free {
            Some(slot) => {
                self.tags |= tag << (8 * slot);
                self.numbers[slot] = number;
            }
            None => self.tags |= GOES_ON,
        }
        free.is_some()
    }
}

impl Found {
    /// Whether there is anything.
    #[inline]
    pub(super) fn any(self) -> bool {
        self.slots != 0
    }
}

/// The upper bits of a hash, since the lower ones choose the bucket; never 0. Under test there are
/// just three tags, so that most of what is found is not what was asked for.
#[inline]
fn tag(hash: u64) -> u64 {
    const BITS: u32 = if cfg!(test) { 2 } else { 8 };
    (hash >> (64 - BITS)).max(1)
}

/// The lowest bit of each slot's tag, the highest, and all but that.
const LOW_BITS: u64 = 0x0000_0101_0101_0101;
const HIGH_BITS: u64 = LOW_BITS << 7;
const LOWER_BITS: u64 = HIGH_BITS - LOW_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers under a hash, wherever they went.
    fn numbers(buckets: &Buckets, hash: u64) -> Vec<u32> {
        let mut all = Vec::new();
        for step in 0.. {
            let (found, goes_on) = buckets.find(hash, step);
            all.extend(buckets.numbers(found));
            if !goes_on {
                break;
            }
        }
        all
    }

    #[test]
    fn whatever_was_filed_is_found_however_crowded_its_bucket_is() {
        let spread = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for hashes in [
            (0..1000).map(spread).collect::<Vec<u64>>(),
            (0..1000).map(|number| number << 56).collect(),
            vec![7; 1000],
            vec![spread(1)],
        ] {
            let buckets = Buckets::new(&hashes);
            for (hash, number) in hashes.iter().zip(0..) {
                assert!(numbers(&buckets, *hash).contains(&number), "{hash:x}");
            }
        }
    }

    #[test]
    fn what_has_another_tag_or_bucket_is_passed_over() {
        let spread = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let buckets = Buckets::new(&(0..1000).map(spread).collect::<Vec<u64>>());
        // Two or three to a bucket, of which a third has the tag.
        let found: usize = (1000..2000).map(|number| numbers(&buckets, spread(number)).len()).sum();
        assert!(found < 1500, "{found}");
        assert_eq!(numbers(&Buckets::new(&[]), 7), [] as [u32; 0]);
    }
}
