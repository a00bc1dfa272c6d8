//! A quick hash for tables whose keys come from the policy.
//!
//! Not keyed by a secret, and it need not be: a request only looks up, so it can at worst choose
//! which of the policy's clusters is read, and [`super::nodes`] keeps every cluster short.

/// 64 bits of a text. Equal texts of different kinds (host, segment) hash alike; the caller mixes
/// in where the text stands with [`mix`].
#[inline]
pub(super) fn hash(text: &[u8]) -> u64 {
    let length = (text.len() as u64).wrapping_mul(ODD);
    if let (Some(head), Some(tail)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        let mut state = length;
        if text.len() > 16 {
            for chunk in text.chunks_exact(8) {
                let word = chunk.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word));
                state = mix(state ^ word, ODD);
            }
        }
        return mix(u64::from_le_bytes(*head) ^ state, u64::from_le_bytes(*tail) ^ ODD);
    }
    let (head, tail) = match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (Some(head), Some(tail)) => (u32::from_le_bytes(*head), u32::from_le_bytes(*tail)),
        _ => (text.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)), 0),
    };
    mix(u64::from(head) << 32 | u64::from(tail), ODD.wrapping_add(length))
}

/// Multiplies to 128 bits and folds the halves together: every bit of the result depends on every
/// bit of both factors.
#[inline]
pub(super) const fn mix(a: u64, b: u64) -> u64 {
    let wide = a as u128 * b as u128;
    wide as u64 ^ (wide >> 64) as u64
}

/// An odd number with half of its bits set: the fractional part of the square root of 7.
const ODD: u64 = 0xa54f_f53a_5f1d_36f1;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn texts_of_every_length_and_with_one_changed_byte_differ() {
        let mut seen = HashSet::new();
        for length in 0..70 {
            let text = vec![b'a'; length];
            assert!(seen.insert(hash(&text)), "{length}");
            for at in 0..length {
                let mut other = text.clone();
                other[at] = b'b';
                assert!(seen.insert(hash(&other)), "{length} {at}");
            }
        }
    }
}
