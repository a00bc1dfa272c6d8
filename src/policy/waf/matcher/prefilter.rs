//! One pass over a text for the literals of all units.
//!
//! Where the literals are few enough, the automaton of Aho and Corasick stands in a table of its own:
//! symbols instead of bytes, states numbered by their distance from the start so that the states that
//! texts keep to lie together, and the states at which a literal ends behind all others, so that one
//! comparison a byte tells them. Longer lists get the automaton of the `aho-corasick` crate, which
//! takes several look-ups a byte and far less room.

use std::collections::{BTreeMap, VecDeque};

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};

use crate::policy::waf::bits::Bits;
use crate::policy::waf::needs::fold;

/// The literals of a gate's units. Fully built when the policy is compiled: nothing about it depends
/// on what is searched.
#[derive(Clone, Debug, Default)]
pub(super) struct Prefilter(Engine);

#[derive(Clone, Debug, Default)]
enum Engine {
    #[default]
    Nothing,
    Table(Table),
    Compact(Compact),
}

/// Literals, and the units that need each.
type Literals<'a> = BTreeMap<&'a [u8], Vec<usize>>;

impl Prefilter {
    /// The literals of each unit; no literals: the unit is not in the prefilter.
    pub(super) fn new<'a>(units: impl ExactSizeIterator<Item = Option<&'a [Vec<u8>]>>) -> Prefilter {
        let size = units.len();
        let mut all = Literals::new();
        for (unit, literals) in units.enumerate() {
            for literal in literals.unwrap_or_default() {
                all.entry(literal).or_default().push(unit);
            }
        }
        if all.is_empty() {
            return Prefilter::default();
        }
        let table = Table::new(&all, size).map(Engine::Table);
        Prefilter(table.or_else(|| Compact::new(all).map(Engine::Compact)).unwrap_or_default())
    }

    /// Whether the literals stand in a table.
    #[cfg(test)]
    pub(super) fn is_table(&self) -> bool {
        matches!(self.0, Engine::Table(_))
    }

    /// Whether there is anything to look for.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.0, Engine::Nothing)
    }

    /// Adds to `hits` every unit one of whose literals stands in the text.
    #[inline]
    pub(super) fn scan(&self, text: &[u8], hits: &mut Bits) {
        match &self.0 {
            Engine::Nothing => {}
            Engine::Table(table) => table.scan(text, hits),
            Engine::Compact(compact) => compact.scan(text, hits),
        }
    }
}

// === the table ===

#[derive(Clone, Debug)]
struct Table {
    /// By byte: its symbol. Zero: in no literal.
    symbols: Box<[u8; 256]>,
    /// How many bits a symbol takes.
    bits: u32,
    /// By state and symbol: the next state.
    next: Vec<u16>,
    /// The first state at which a literal ends.
    first_match: u16,
    /// By state from there on: the units whose literals end there.
    hits: Vec<Bits>,
    /// One less than the length of the longest literal.
    overlap: usize,
}

/// From these lengths on, a text is walked through in parts.
const TWO_LANES: usize = 16;
const FOUR_LANES: usize = 64;

/// So much may parts overlap; it is less than half of the shortest text that is divided.
const MAX_OVERLAP: usize = 7;

/// How many bytes of literals may go into a table: a state takes about 128 bytes.
const MAX_TABLE_TEXT: usize = 32 << 10;

impl Table {
    /// `None`: it would be too large.
    fn new(literals: &Literals<'_>, size: usize) -> Option<Table> {
        if literals.keys().map(|literal| literal.len()).sum::<usize>() > MAX_TABLE_TEXT {
            return None;
        }
        let overlap = literals.keys().map(|literal| literal.len()).max()?.saturating_sub(1);
        if overlap > MAX_OVERLAP {
            return None;
        }
        let mut folded = [0u8; 256];
        let mut count = 0u8;
        for byte in literals.keys().copied().flatten() {
            let symbol = &mut folded[usize::from(*byte)];
            if *symbol == 0 {
                count = count.checked_add(1)?;
                *symbol = count;
            }
        }
        let bits = u8::BITS - count.leading_zeros();
        let tree = Tree::new(literals, &folded, 1 << bits, size);
        // Matching states go behind the others; apart from that the order stays.
        let (plain, matching): (Vec<usize>, Vec<usize>) =
            (0..tree.hits.len()).partition(|state| tree.hits[*state].is_empty());
        let order: Vec<usize> = plain.iter().chain(&matching).copied().collect();
        let mut numbers = vec![0u16; order.len()];
        for (number, state) in order.iter().enumerate() {
            numbers[*state] = u16::try_from(number).ok()?;
        }
        let row = |state: &usize| &tree.next[state << bits..(state + 1) << bits];
        Some(Table {
            symbols: Box::new(std::array::from_fn(|byte| folded[usize::from(fold(byte as u8))])),
            bits,
            next: order.iter().flat_map(row).map(|state| numbers[*state]).collect(),
            first_match: u16::try_from(plain.len()).ok()?,
            hits: matching.iter().map(|state| tree.hits[*state].clone()).collect(),
            overlap,
        })
    }

    fn scan(&self, text: &[u8], hits: &mut Bits) {
        match text.len() {
            0..TWO_LANES => self.walk(0, text, hits),
            TWO_LANES..FOUR_LANES => self.lanes::<2>(text, hits),
            FOUR_LANES.. => self.lanes::<4>(text, hits),
        }
    }

    /// Walks through several parts of the text at the same time, so that the look-up of one part need
    /// not wait for that of another. The parts overlap by what a literal may stand across.
    #[inline]
    #[expect(clippy::needless_range_loop, reason = "one place in several parts at once")]
    fn lanes<const LANES: usize>(&self, text: &[u8], hits: &mut Bits) {
        let length = (text.len() + (LANES - 1) * self.overlap) / LANES;
        let parts: [&[u8]; LANES] =
            std::array::from_fn(|lane| &text[lane * (length - self.overlap)..][..length]);
        let mut states = [0; LANES];
        let mut at = 0;
        while at < length {
            let mut ends = Ends::new();
            let end = length.min(at + CHUNK / LANES);
            for at in at..end {
                for lane in 0..LANES {
                    states[lane] = self.next(states[lane], parts[lane][at]);
                    ends.note(states[lane], self.first_match);
                }
            }
            self.drain(&ends, hits);
            at = end;
        }
        let done = (LANES - 1) * (length - self.overlap) + length;
        self.walk(states[LANES - 1], &text[done..], hits);
    }

    #[inline]
    fn walk(&self, mut state: u16, text: &[u8], hits: &mut Bits) {
        for chunk in text.chunks(CHUNK) {
            let mut ends = Ends::new();
            for byte in chunk {
                state = self.next(state, *byte);
                ends.note(state, self.first_match);
            }
            self.drain(&ends, hits);
        }
    }

    #[inline]
    fn next(&self, state: u16, byte: u8) -> u16 {
        self.next[(usize::from(state) << self.bits) | usize::from(self.symbols[usize::from(byte)])]
    }

    #[inline]
    fn drain(&self, ends: &Ends, hits: &mut Bits) {
        for state in &ends.states[..ends.count] {
            hits.add(&self.hits[usize::from(state - self.first_match)]);
        }
    }
}

/// How many steps are taken before the literals found are looked at.
const CHUNK: usize = 32;

/// The states at which literals ended, noted without a branch that could be guessed wrong.
struct Ends {
    states: [u16; CHUNK + 1],
    count: usize,
}

impl Ends {
    #[inline]
    fn new() -> Ends {
        Ends { states: [0; CHUNK + 1], count: 0 }
    }

    #[inline]
    fn note(&mut self, state: u16, first_match: u16) {
        self.states[self.count] = state;
        self.count += usize::from(state >= first_match);
    }
}

/// The automaton while it is built; its states are numbered by their distance from the start.
struct Tree {
    next: Vec<usize>,
    hits: Vec<Bits>,
}

impl Tree {
    fn new(literals: &Literals<'_>, symbols: &[u8; 256], width: usize, size: usize) -> Tree {
        // First the literals from their beginnings; zero: nothing yet, for nothing leads to the start.
        let mut grown = Tree { next: vec![0; width], hits: vec![Bits::none(size)] };
        for (literal, units) in literals {
            let mut state = 0;
            for byte in *literal {
                let edge = state * width + usize::from(symbols[usize::from(*byte)]);
                if grown.next[edge] == 0 {
                    grown.next[edge] = grown.hits.len();
                    grown.hits.push(Bits::none(size));
                    grown.next.resize(grown.hits.len() * width, 0);
                }
                state = grown.next[edge];
            }
            units.iter().for_each(|unit| grown.hits[state].insert(*unit));
        }
        grown.completed(width)
    }

    /// Gives every state its further edges, which lead where the longest text that it still may be the
    /// beginning of leads; and renumbers.
    fn completed(self, width: usize) -> Tree {
        let mut done = Tree { next: vec![0; width], hits: vec![self.hits[0].clone()] };
        // Old states in the order of their new numbers, with the new state of their longest suffix.
        let mut queue = VecDeque::from([(0, 0)]);
        let mut at = 0;
        while let Some((old, suffix)) = queue.pop_front() {
            for symbol in 0..width {
                let behind = if at == 0 { 0 } else { done.next[suffix * width + symbol] };
                let child = self.next[old * width + symbol];
                done.next[at * width + symbol] = match child {
                    0 => behind,
                    child => {
                        let mut hits = self.hits[child].clone();
                        hits.add(&done.hits[behind]);
                        done.hits.push(hits);
                        done.next.resize(done.hits.len() * width, 0);
                        queue.push_back((child, behind));
                        done.hits.len() - 1
                    }
                };
            }
            at += 1;
        }
        done
    }
}

// === the compact automaton ===

#[derive(Clone, Debug)]
struct Compact {
    automaton: Box<NFA>,
    /// By literal: the units that need it.
    units: Vec<Vec<usize>>,
}

impl Compact {
    /// `None`: only where there would be astronomically many states. Then nobody is in the prefilter.
    fn new(literals: Literals<'_>) -> Option<Compact> {
        let automaton = NFA::builder().match_kind(MatchKind::Standard).build(literals.keys()).ok()?;
        Some(Compact { automaton: Box::new(automaton), units: literals.into_values().collect() })
    }

    fn scan(&self, text: &[u8], hits: &mut Bits) {
        let automaton = &*self.automaton;
        let Ok(mut state) = automaton.start_state(Anchored::No) else { return };
        for byte in text {
            state = automaton.next_state(Anchored::No, state, fold(*byte));
            if automaton.is_special(state) && automaton.is_match(state) {
                for index in 0..automaton.match_len(state) {
                    let literal = automaton.match_pattern(state, index).as_usize();
                    self.units.get(literal).into_iter().flatten().for_each(|unit| hits.insert(*unit));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_automata_find_what_a_plain_search_finds(
            literals in prop::collection::vec("[ab1 ]{1,4}", 1..8),
            text in "[aBb12 \\xff-]{0,20}|[aBb12 \\xff-]{30,120}",
        ) {
            let literals: Vec<Vec<u8>> =
                literals.iter().map(|text| text.bytes().map(fold).collect()).collect();
            let mut all = Literals::new();
            for (unit, literal) in literals.iter().enumerate() {
                all.entry(literal).or_default().push(unit);
            }
            let folded: Vec<u8> = text.bytes().map(fold).collect();
            let mut wanted = Bits::none(literals.len());
            for (unit, literal) in literals.iter().enumerate() {
                if folded.windows(literal.len()).any(|window| window == literal) {
                    wanted.insert(unit);
                }
            }
            let mut table_hits = Bits::none(literals.len());
            let table = Table::new(&all, literals.len());
            prop_assert!(table.is_some());
            table.iter().for_each(|table| table.scan(text.as_bytes(), &mut table_hits));
            prop_assert_eq!(&table_hits, &wanted);
            let mut compact_hits = Bits::none(literals.len());
            Compact::new(all).iter().for_each(|compact| compact.scan(text.as_bytes(), &mut compact_hits));
            prop_assert_eq!(&compact_hits, &wanted);
        }
    }
}
