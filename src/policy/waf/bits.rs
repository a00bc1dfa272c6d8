//! Sets of rules, as bits.
//!
//! The matcher combines several for every text of a request. 256 numbers stand inline, so that a set of
//! a usual policy is four words in a row and combining two of them a few instructions; a larger policy
//! pays for a loop.

/// A set of small numbers below a size that its owner knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    first: [u64; INLINE],
    rest: Vec<u64>,
}

/// A set whose numbers lie near each other: only the words that have some.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    /// The place of the first word.
    at: usize,
    words: Box<[u64]>,
}

/// The words that stand inline.
const INLINE: usize = 4;

impl Bits {
    /// The empty set, with room for the numbers below `size`.
    pub(super) fn none(size: usize) -> Bits {
        Bits { first: [0; INLINE], rest: vec![0; words_behind(size)] }
    }

    /// Empties the set and gives it room for the numbers below `size`.
    #[inline]
    pub(super) fn reset(&mut self, size: usize) {
        self.first = [0; INLINE];
        if size > INLINE * 64 || !self.rest.is_empty() {
            self.rest.clear();
            self.rest.resize(words_behind(size), 0);
        }
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        let word = self.first.get(at / 64).or_else(|| self.rest.get(at / 64 - INLINE));
        word.copied().unwrap_or(0)
    }

    #[inline]
    fn word_mut(&mut self, at: usize) -> Option<&mut u64> {
        match self.first.get_mut(at / 64) {
            Some(word) => Some(word),
            None => self.rest.get_mut(at / 64 - INLINE),
        }
    }

    #[inline]
    pub(super) fn insert(&mut self, at: usize) {
        if let Some(word) = self.word_mut(at) {
            *word |= 1 << (at % 64);
        }
    }

    /// Takes a number out.
    #[inline]
    pub(super) fn take(&mut self, at: usize) {
        if let Some(word) = self.word_mut(at) {
            *word &= !(1 << (at % 64));
        }
    }

    #[inline]
    pub(super) fn contains(&self, at: usize) -> bool {
        self.word(at) >> (at % 64) & 1 == 1
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first == [0; INLINE] && self.rest.iter().all(|word| *word == 0)
    }

    /// How many numbers are in it.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        let count = |words: &[u64]| words.iter().map(|word| word.count_ones()).sum::<u32>();
        count(&self.first) + count(&self.rest)
    }

    /// Keeps the numbers for which this holds.
    #[inline]
    pub(super) fn retain(&mut self, mut holds: impl FnMut(usize) -> bool) {
        for (index, word) in self.first.iter_mut().chain(&mut self.rest).enumerate() {
            for bit in ones(*word) {
                if !holds(index * 64 + bit) {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    #[inline]
    fn combine(&mut self, other: &Bits, op: impl Fn(u64, u64) -> u64) {
        for (mine, theirs) in self.first.iter_mut().zip(&other.first) {
            *mine = op(*mine, *theirs);
        }
        for (mine, theirs) in self.rest.iter_mut().zip(&other.rest) {
            *mine = op(*mine, *theirs);
        }
    }

    /// Adds the numbers of another set.
    #[inline]
    pub(super) fn add(&mut self, other: &Bits) {
        self.combine(other, |mine, theirs| mine | theirs);
    }

    /// Keeps the numbers that are in another set too.
    #[inline]
    pub(super) fn keep(&mut self, other: &Bits) {
        self.combine(other, |mine, theirs| mine & theirs);
    }

    /// Makes it the numbers that two other sets have in common.
    #[inline]
    pub(super) fn set_common(&mut self, one: &Bits, other: &Bits) {
        self.first = std::array::from_fn(|at| one.first[at] & other.first[at]);
        if !one.rest.is_empty() || !self.rest.is_empty() {
            self.rest.clear();
            self.rest.extend(one.rest.iter().zip(&other.rest).map(|(one, other)| one & other));
        }
    }

    /// Takes the numbers of another set out.
    #[inline]
    pub(super) fn remove(&mut self, other: &Bits) {
        self.combine(other, |mine, theirs| mine & !theirs);
    }

    /// Takes the numbers of a run out.
    #[inline]
    pub(super) fn remove_run(&mut self, run: &Run) {
        for (at, word) in run.entries() {
            if let Some(mine) = self.word_mut(at) {
                *mine &= !word;
            }
        }
    }

    /// Adds the numbers that two other sets have in common.
    #[inline]
    pub(super) fn add_common(&mut self, run: &Run, other: &Bits) {
        for (at, word) in run.entries() {
            let common = word & other.word(at);
            if let Some(mine) = self.word_mut(at) {
                *mine |= common;
            }
        }
    }

    /// Whether some number is in both.
    #[inline]
    pub(super) fn meets(&self, other: &Bits) -> bool {
        let meets = |mine: &[u64], theirs: &[u64]| {
            mine.iter().zip(theirs).fold(0, |all, (mine, theirs)| all | mine & theirs)
        };
        meets(&self.first, &other.first) != 0 || meets(&self.rest, &other.rest) != 0
    }

    /// Whether some number is not in the other set.
    #[inline]
    pub(super) fn exceeds(&self, other: &Bits) -> bool {
        let exceeds = |mine: &[u64], theirs: &[u64]| {
            mine.iter().zip(theirs).fold(0, |all, (mine, theirs)| all | mine & !theirs)
        };
        exceeds(&self.first, &other.first) != 0 || exceeds(&self.rest, &other.rest) != 0
    }

    /// The words in which it has numbers.
    pub(super) fn run(&self) -> Run {
        let words: Vec<u64> = self.first.iter().chain(&self.rest).copied().collect();
        let Some(at) = words.iter().position(|word| *word != 0) else { return Run::default() };
        let end = words.iter().rposition(|word| *word != 0).map_or(at, |last| last + 1);
        Run { at, words: words.get(at..end).unwrap_or_default().into() }
    }

    /// The numbers, ascending.
    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let words = self.first.iter().chain(&self.rest).enumerate();
        words.flat_map(|(index, word)| ones(*word).map(move |bit| index * 64 + bit))
    }
}

impl Run {
    /// The words, each with the number that its first bit stands for.
    #[inline]
    fn entries(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.words.iter().enumerate().map(|(index, word)| ((self.at + index) * 64, *word))
    }

    /// Whether some number is in both.
    #[inline]
    pub(super) fn meets(&self, other: &Bits) -> bool {
        self.entries().any(|(at, word)| word & other.word(at) != 0)
    }

    /// The numbers that are in both other sets too.
    #[inline]
    pub(super) fn common<'a>(&'a self, one: &'a Bits, other: &'a Bits) -> impl Iterator<Item = usize> + 'a {
        let words = self.entries().map(|(at, word)| (at, word & one.word(at) & other.word(at)));
        words.flat_map(|(at, word)| ones(word).map(move |bit| at + bit))
    }
}

/// How many words a set of this size has behind the inline ones.
fn words_behind(size: usize) -> usize {
    size.div_ceil(64).saturating_sub(INLINE)
}

/// The places of the set bits of a word, ascending.
#[inline]
fn ones(mut word: u64) -> impl Iterator<Item = usize> {
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

    impl Bits {
        /// The set of all numbers below `size`.
        pub(in crate::policy::waf) fn all(size: usize) -> Bits {
            let mut bits = Bits::none(size);
            (0..size).for_each(|at| bits.insert(at));
            bits
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        for size in [300, 256, 257, 64] {
            let mut bits = Bits::none(size);
            let members: Vec<usize> =
                [0, 63, 64, 255, 256, 299].into_iter().filter(|at| *at < size).collect();
            members.iter().for_each(|at| bits.insert(*at));
            assert_eq!(bits.iter().collect::<Vec<_>>(), members);
            assert_eq!(bits.len() as usize, members.len());
            assert!(bits.contains(63) && !bits.contains(62) && !bits.contains(5000));
            let mut rest = Bits::all(size);
            rest.remove(&bits);
            assert_eq!(rest.len() as usize, size - members.len());
            assert!(!rest.meets(&bits) && rest.exceeds(&bits));
            rest.add(&bits);
            assert_eq!(rest, Bits::all(size));
            assert!(rest.meets(&bits) && rest.exceeds(&bits) && !bits.exceeds(&rest));
            rest.keep(&bits);
            assert_eq!(rest, bits);
            let mut common = Bits::none(size);
            common.add_common(&bits.run(), &Bits::all(size));
            assert_eq!(common, bits);
            assert_eq!(bits.run().common(&common, &Bits::all(size)).collect::<Vec<_>>(), members);
            assert!(bits.run().meets(&common) && !bits.run().meets(&Bits::none(size)));
            assert!(!Bits::none(size).run().meets(&bits));
            common.remove_run(&bits.run());
            assert!(common.is_empty());
            common.set_common(&Bits::all(size), &bits);
            assert_eq!(common, bits);
            common.set_common(&rest, &Bits::none(size));
            assert_eq!(common, Bits::none(size));
            common.add(&bits);
            common.retain(|at| at > 63);
            common.take(64);
            assert_eq!(common.iter().next(), members.iter().copied().find(|at| *at > 64));
            common.reset(size);
            assert_eq!(common, Bits::none(size));
        }
    }
}
