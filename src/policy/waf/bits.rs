//! Sets of tests, as bits. Holds 256 without allocation.

use smallvec::SmallVec;

/// A set of small numbers below a size that its owner knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    words: SmallVec<[u64; 4]>,
}

impl Bits {
    /// The empty set, with room for the numbers below `size`.
    pub(super) fn none(size: usize) -> Bits {
        Bits { words: SmallVec::from_elem(0, size.div_ceil(64)) }
    }

    /// The set of all numbers below `size`.
    pub(super) fn all(size: usize) -> Bits {
        let mut bits = Bits::none(size);
        (0..size).for_each(|at| bits.insert(at));
        bits
    }

    /// Empties the set and gives it room for the numbers below `size`.
    pub(super) fn reset(&mut self, size: usize) {
        self.words.clear();
        self.words.resize(size.div_ceil(64), 0);
    }

    pub(super) fn insert(&mut self, at: usize) {
        if let Some(word) = self.words.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    /// Takes a number out.
    pub(super) fn take(&mut self, at: usize) {
        if let Some(word) = self.words.get_mut(at / 64) {
            *word &= !(1 << (at % 64));
        }
    }

    pub(super) fn contains(&self, at: usize) -> bool {
        self.words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// How many numbers are in it.
    pub(super) fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Keeps the numbers for which this holds.
    pub(super) fn retain(&mut self, mut holds: impl FnMut(usize) -> bool) {
        for (index, word) in self.words.iter_mut().enumerate() {
            for bit in ones(*word) {
                if !holds(index * 64 + bit) {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    pub(super) fn meets(&self, other: &Bits) -> bool {
        self.words.iter().zip(&other.words).any(|(mine, theirs)| mine & theirs != 0)
    }

    pub(super) fn add(&mut self, other: &Bits) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }

    pub(super) fn keep(&mut self, other: &Bits) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= theirs;
        }
    }

    pub(super) fn remove(&mut self, other: &Bits) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= !theirs;
        }
    }

    /// The words, for loops that combine several sets at once.
    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// The words, to write.
    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// The numbers, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| ones(*word).map(move |bit| index * 64 + bit))
    }
}

/// The places of the set bits of a word, ascending.
pub(super) fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (word != 0).then(|| {
            let bit = word.trailing_zeros() as usize;
            word &= word - 1;
            bit
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        let mut bits = Bits::none(300);
        [0, 63, 64, 299].into_iter().for_each(|at| bits.insert(at));
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63, 64, 299]);
        assert!(bits.contains(64) && !bits.contains(65) && !bits.contains(5000));
        let mut rest = Bits::all(300);
        rest.remove(&bits);
        assert_eq!(rest.iter().count(), 296);
        assert!(!rest.meets(&bits));
        rest.add(&bits);
        assert_eq!(rest, Bits::all(300));
        rest.keep(&bits);
        assert_eq!(rest, bits);
    }
}
