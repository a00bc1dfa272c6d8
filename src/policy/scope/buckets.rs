//! From a hash to the few things that may have it.
//!
//! A bucket knows of each of its things a byte of its hash, and all six are compared at once; one that
//! is full says so, and the next one goes on for it. How many are looked at depends on what was filed
//! and never on who asks. The things of a bucket stand one behind the other, so that four buckets are
//! a cache line: most look-ups find nothing, and those should not wait for memory.

/// A table of things by their hashes.
#[derive(Clone, Debug, Default)]
pub(super) struct Buckets {
    /// A power of two of them, or none.
    buckets: Box<[Bucket]>,
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(16))]
struct Bucket {
    /// A tag for each thing, 0 where there is none; and [`GOES_ON`].
    tags: u64,
    /// The place of the first thing; the others follow.
    first: u32,
}

const _: () = assert!(size_of::<Bucket>() == 16);

const SLOTS: usize = 6;

/// In `tags`: something did not fit into this bucket.
const GOES_ON: u64 = 1 << 63;

/// What a bucket has for a hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// The place of the bucket's first thing.
    first: u32,
    /// The highest bit of the byte of each slot that has the tag.
    slots: u64,
}

impl Buckets {
    /// A table of things by these hashes, and the order in which the things must stand: for each
    /// place, which of them.
    pub(super) fn new(hashes: &[u64]) -> (Buckets, Vec<u32>) {
        if hashes.is_empty() {
            return Default::default();
        }
        let mut filed: Vec<(Bucket, [u32; SLOTS])> = Vec::new();
        filed.resize((hashes.len() * 2 / 5).next_power_of_two(), Default::default());
        let mask = filed.len() - 1;
        for (hash, number) in hashes.iter().zip(0u32..) {
            let mut at = *hash as usize & mask;
            // There is room for more than twice as many.
            loop {
                let (bucket, numbers) = &mut filed[at];
                if let Some(slot) = bucket.add(tag(*hash)) {
                    numbers[slot] = number;
                    break;
                }
                at = (at + 1) & mask;
            }
        }
        let mut order = Vec::with_capacity(hashes.len());
        let buckets = filed.into_iter().map(|(bucket, numbers)| {
            let first = order.len() as u32;
            order.extend_from_slice(&numbers[..bucket.len()]);
            Bucket { first, ..bucket }
        });
        (Buckets { buckets: buckets.collect() }, order)
    }

    /// What the bucket of a hash has for it, or a bucket behind that, `step` further on.
    #[inline]
    pub(super) fn find(&self, hash: u64, step: usize) -> (Found, bool) {
        let at = (hash as usize).wrapping_add(step) & self.buckets.len().wrapping_sub(1);
        let Some(bucket) = self.buckets.get(at) else { return (Found::default(), false) };
        // A byte of `differing` is 0 where the tag is the one that is asked for.
        let differing = bucket.tags ^ (LOW_BITS * tag(hash));
        let slots = !(((differing & LOWER_BITS) + LOWER_BITS) | differing) & HIGH_BITS;
        (Found { first: bucket.first, slots }, bucket.tags & GOES_ON != 0)
    }
}

impl Bucket {
    /// Files a tag: in which slot, if there is one left.
    fn add(&mut self, tag: u64) -> Option<usize> {
        let slot = self.len();
        if slot == SLOTS {
            self.tags |= GOES_ON;
            return None;
        }
        self.tags |= tag << (8 * slot);
        Some(slot)
    }

    fn len(&self) -> usize {
        (0..SLOTS).take_while(|slot| self.tags >> (8 * slot) & 0xff != 0).count()
    }
}

impl Found {
    /// Whether there is anything.
    #[inline]
    pub(super) fn any(self) -> bool {
        self.slots != 0
    }

    /// The places of what was found.
    #[inline]
    pub(super) fn places(self) -> impl Iterator<Item = u32> {
        let mut slots = self.slots;
        std::iter::from_fn(move || {
            let slot = slots.trailing_zeros() / 8;
            let place = (slots != 0).then(|| self.first.wrapping_add(slot));
            slots &= slots.wrapping_sub(1);
            place
        })
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

    /// What stands under a hash, wherever it went.
    fn numbers((buckets, order): &(Buckets, Vec<u32>), hash: u64) -> Vec<u32> {
        let mut all = Vec::new();
        for step in 0.. {
            let (found, goes_on) = buckets.find(hash, step);
            all.extend(found.places().map(|place| order[place as usize]));
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
            let filed = Buckets::new(&hashes);
            for (hash, number) in hashes.iter().zip(0..) {
                assert!(numbers(&filed, *hash).contains(&number), "{hash:x}");
            }
            let mut order = filed.1;
            order.sort_unstable();
            assert!(order.into_iter().eq(0..hashes.len() as u32), "each has one place");
        }
    }

    #[test]
    fn what_has_another_tag_or_bucket_is_passed_over() {
        let spread = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let filed = Buckets::new(&(0..1000).map(spread).collect::<Vec<u64>>());
        // Two or three to a bucket, of which a third has the tag.
        let found: usize = (1000..2000).map(|number| numbers(&filed, spread(number)).len()).sum();
        assert!(found < 1500, "{found}");
        assert_eq!(numbers(&Buckets::new(&[]), 7), [] as [u32; 0]);
    }
}
