//! One pass over a text for the literals of all units, in the folded alphabet.

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind, dfa::DFA};

use crate::policy::waf::needs::fold;

/// The literals of a gate's units.
#[derive(Clone, Debug, Default)]
pub(super) struct Prefilter {
    engine: Option<Engine>,
    /// By literal: the units that need it.
    units: Vec<Box<[u32]>>,
}

/// Fully built when the policy is compiled: nothing about it depends on what is searched.
#[derive(Clone, Debug)]
enum Engine {
    /// One look-up a byte.
    Table(Box<DFA>),
    /// Several, for lists whose table would be too large.
    Compact(Box<NFA>),
}

const FOLDED: [u8; 256] = {
    let mut folded = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        folded[byte] = fold(byte as u8);
        byte += 1;
    }
    folded
};

/// How many bytes of literals may go into a table; a byte takes a quarter of a KiB there.
const MAX_TABLE_TEXT: usize = 32 << 10;

impl Prefilter {
    /// The literals of each unit; no literals: the unit is not in the prefilter.
    pub(super) fn new<'a>(units: impl Iterator<Item = Option<&'a [Vec<u8>]>>) -> Prefilter {
        let mut all: std::collections::BTreeMap<&[u8], Vec<u32>> = std::collections::BTreeMap::new();
        for (unit, literals) in (0u32..).zip(units) {
            for literal in literals.unwrap_or_default() {
                all.entry(literal).or_default().push(unit);
            }
        }
        if all.is_empty() {
            return Prefilter::default();
        }
        let text: usize = all.keys().map(|literal| literal.len()).sum();
        let engine = match text <= MAX_TABLE_TEXT {
            true => DFA::builder()
                .match_kind(MatchKind::Standard)
                .build(all.keys())
                .map(|table| Engine::Table(Box::new(table))),
            false => NFA::builder()
                .match_kind(MatchKind::Standard)
                .build(all.keys())
                .map(|compact| Engine::Compact(Box::new(compact))),
        };
        match engine {
            Ok(engine) => Prefilter {
                engine: Some(engine),
                units: all.into_values().map(Vec::into_boxed_slice).collect(),
            },
            // Only astronomically many states make it fail. Then nobody is in the prefilter.
            Err(_) => Prefilter::default(),
        }
    }

    /// Whether there is anything to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.engine.is_none()
    }

    /// Calls `hit` with every unit one of whose literals stands in the text.
    #[inline]
    pub(super) fn scan(&self, text: &[u8], hit: impl FnMut(u32)) {
        match &self.engine {
            Some(Engine::Table(table)) => self.walk(&**table, text, hit),
            Some(Engine::Compact(compact)) => self.walk(&**compact, text, hit),
            None => {}
        }
    }

    #[inline]
    fn walk(&self, automaton: &impl Automaton, text: &[u8], mut hit: impl FnMut(u32)) {
        let Ok(mut state) = automaton.start_state(Anchored::No) else { return };
        for byte in text {
            state = automaton.next_state(Anchored::No, state, FOLDED[usize::from(*byte)]);
            if automaton.is_special(state) && automaton.is_match(state) {
                for index in 0..automaton.match_len(state) {
                    let literal = automaton.match_pattern(state, index).as_usize();
                    self.units.get(literal).into_iter().flatten().for_each(|unit| hit(*unit));
                }
            }
        }
    }
}
