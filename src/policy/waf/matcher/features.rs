//! Which bytes a text has: one pass over it answers what no rule could match and which
//! transformations change nothing.

use crate::policy::waf::bytes::ByteSet;

/// A bit for each set of bytes that anyone asks about; a text's features are the bits of the sets it
/// has a byte of.
pub(super) type Features = u128;

/// The sets that are asked about, as a table by byte.
#[derive(Clone)]
pub(super) struct FeatureTable {
    by_byte: Box<[Features; 256]>,
    sets: Vec<ByteSet>,
}

impl FeatureTable {
    pub(super) fn new() -> FeatureTable {
        FeatureTable { by_byte: Box::new([0; 256]), sets: Vec::new() }
    }

    /// The bit of a set; 0 when all bits are taken, which only means that nobody can ask.
    pub(super) fn bit(&mut self, set: ByteSet) -> Features {
        let at = match self.sets.iter().position(|known| *known == set) {
            Some(at) => at,
            None if self.sets.len() == Features::BITS as usize => return 0,
            None => {
                self.sets.push(set);
                let at = self.sets.len() - 1;
                for byte in set.iter() {
                    self.by_byte[usize::from(byte)] |= 1 << at;
                }
                at
            }
        };
        1 << at
    }

    /// The features of a text.
    #[inline]
    pub(super) fn of(&self, text: &[u8]) -> Features {
        // Two accumulators, so that one load need not wait for the other's.
        let mut pairs = text.chunks_exact(2);
        let (mut even, mut odd) = (0, 0);
        for pair in &mut pairs {
            even |= self.by_byte[usize::from(pair[0])];
            odd |= self.by_byte[usize::from(pair[1])];
        }
        pairs.remainder().iter().fold(even | odd, |all, byte| all | self.by_byte[usize::from(*byte)])
    }
}

impl std::fmt::Debug for FeatureTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FeatureTable").field(&self.sets).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_the_sets_that_a_text_meets() {
        let mut table = FeatureTable::new();
        let (quotes, digits) = (table.bit(ByteSet::of(b"'\"")), table.bit(ByteSet::range(b'0', b'9')));
        assert_eq!(table.bit(ByteSet::of(b"\"'")), quotes);
        for (text, want) in [("", 0), ("abc", 0), ("a'", quotes), ("1\"x", quotes | digits), ("x1", digits)] {
            assert_eq!(table.of(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn a_set_too_many_has_no_bit() {
        let mut table = FeatureTable::new();
        let bits: Vec<Features> = (0..=255).map(|byte| table.bit(ByteSet::of(&[byte]))).collect();
        assert!(bits[..128].iter().all(|bit| *bit != 0) && bits[128..].iter().all(|bit| *bit == 0));
    }
}
