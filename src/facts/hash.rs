//! Hashes of the texts that path and host patterns are about.
//!
//! A request's texts are hashed once, when its target is parsed, so that nobody who looks up
//! patterns has to read them again. Equal texts at equal places have equal hashes, and that is all a
//! reader may rely on: whoever asks chooses the texts, so whatever a hash finds must be compared.
//!
//! Not keyed by a secret, and it need not be: a request only looks up. What it can choose is where,
//! never how long that takes.

/// Where a text stands: the number of its segment, or a place that no segment has.
pub type HashPlace = u32;

/// The hash of a text.
pub fn hash_text(place: HashPlace, text: &[u8]) -> u64 {
    hash_within(place, text, 0, text.len())
}

/// The hash of a part of a text. What stands around the part is read along where that is faster, and
/// does not matter.
#[inline]
pub(super) fn hash_within(place: HashPlace, text: &[u8], start: usize, end: usize) -> u64 {
    let seed = u64::from(place).wrapping_mul(STEP) ^ ODD;
    let length = end.saturating_sub(start);
    if length <= BLOCK {
        return mix(seed, read(text, start, end));
    }
    let mut hash = seed.wrapping_add(length as u64);
    let mut at = start;
    while at + BLOCK < end {
        hash = mix(hash, read(text, at, at + BLOCK));
        at += BLOCK;
    }
    // The last block overlaps with the one before.
    mix(hash, read(text, end - BLOCK, end))
}

/// How many bytes are mixed in at once.
const BLOCK: usize = 16;

/// The bytes from `start` to `end`, no more than [`BLOCK`], filled up with zeros. Always reads a
/// whole block if there is one, so that nothing branches on the length.
#[inline]
fn read(text: &[u8], start: usize, end: usize) -> u128 {
    let first = end.max(BLOCK) - BLOCK;
    let bits = |bytes: usize| 8 * bytes as u32;
    match text.get(first..).and_then(<[u8]>::first_chunk::<BLOCK>) {
        Some(block) => {
            let behind = first + BLOCK - end;
            let around = behind + start.saturating_sub(first);
            u128::from_le_bytes(*block).unbounded_shl(bits(behind)).unbounded_shr(bits(around))
        }
        None => {
            let bytes = text.get(start..end).unwrap_or_default();
            bytes.iter().rev().fold(0, |word, byte| word << 8 | u128::from(*byte))
        }
    }
}

/// Multiplies to 128 bits and folds the halves together: every bit of the result depends on every
/// bit of both factors.
#[inline]
fn mix(seed: u64, block: u128) -> u64 {
    let product = u128::from(block as u64 ^ seed) * u128::from((block >> 64) as u64 ^ OTHER);
    product as u64 ^ (product >> 64) as u64
}

/// Odd numbers with about half of their bits set: fractional parts of square roots.
const ODD: u64 = 0xa54f_f53a_5f1d_36f1;
const OTHER: u64 = 0x9b05_688c_2b3e_6c1f;
const STEP: u64 = 0x510e_527f_ade6_82d1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_stands_around_a_part_does_not_matter(
            before in "[ab]{0,20}", part in "[a-c]{0,70}", behind in "[ab]{0,20}", place in 0u32..3,
        ) {
            let text = format!("{before}{part}{behind}");
            let (start, end) = (before.len(), before.len() + part.len());
            prop_assert_eq!(hash_within(place, text.as_bytes(), start, end), hash_text(place, part.as_bytes()));
        }

        #[test]
        fn another_text_or_place_has_another_hash(one in "[a-c]{0,40}", other in "[a-c]{0,40}") {
            prop_assume!(one != other);
            prop_assert_ne!(hash_text(0, one.as_bytes()), hash_text(0, other.as_bytes()));
            prop_assert_ne!(hash_text(0, one.as_bytes()), hash_text(1, one.as_bytes()));
        }
    }
}
