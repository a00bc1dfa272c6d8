//! The engines that take time linear in the length of a text.

use std::ops::Range;
use std::sync::Arc;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Input, meta};
use regex_syntax::hir::{Hir, HirKind};

use super::super::{OperatorProblem, TableBudget};
use super::MAX_GROUPS;
use crate::policy::waf::needs::{Needs, has_literals};

/// An expression without look-around and the like.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    /// Tables of all states, for expressions whose tables are small: one, or one for each of several
    /// groups of alternatives. They say yes or no without building anything while a request waits.
    tables: Option<Arc<[Alternative]>>,
    /// The general engine; its cache is bounded.
    engine: meta::Regex,
    needs: Needs,
}

/// A group of alternatives.
#[derive(Clone, Debug)]
struct Alternative {
    table: Table,
    needs: Needs,
}

type Table = dense::DFA<Vec<u32>>;

/// The largest program of one expression.
const MAX_PROGRAM: usize = 4 << 20;
/// The largest table.
const MAX_TABLE: usize = 256 << 10;
/// The largest one of an expression that can be divided. Making a table that turns out to be too large
/// takes as long as making the largest one does, and what is asked about its part of the alternatives
/// alone is asked less often.
const MAX_DIVISIBLE: usize = 128 << 10;
/// How many tables one expression may have; each is a pass over the text.
const MAX_TABLES: usize = 10;
/// Programs of more states are divided without trying, where they can be: their tables are nearly
/// always too large, and finding that out is what compiling would spend its time on.
const MAX_STATES: usize = 240;
/// What the general engine may keep of states it has seen, for each thread that uses it. CRS's patterns
/// against shell evasion build their states anew all the time on hostile text in a quarter of this: 12 ms
/// for 128 KiB instead of 0.25.
const MAX_CACHE: usize = 1 << 20;

impl Linear {
    pub(super) fn new(hir: &Hir, tables: &mut TableBudget) -> Result<Linear, OperatorProblem> {
        if hir.properties().minimum_len().is_none() {
            return Err(OperatorProblem::bad("this expression matches nothing", ""));
        }
        let config = meta::Config::new()
            .utf8_empty(false)
            .nfa_size_limit(Some(MAX_PROGRAM))
            .hybrid_cache_capacity(MAX_CACHE)
            // The table below takes the place of the engine's own, and the matcher's gates that of its
            // search for literals, which costs a word list 8 ms for 128 KiB of nearly its words.
            .dfa(false)
            .auto_prefilter(false);
        let engine =
            meta::Builder::new().configure(config).build_from_hir(hir).map_err(OperatorProblem::too_large)?;
        let mut made = Vec::new();
        let tables = make_tables(hir, tables, &mut made).then(|| made.into());
        Ok(Linear { tables, engine, needs: Needs::of(hir) })
    }

    /// Expressions that together match what this one matches, each with needs of its own: a value that
    /// has what one group of alternatives needs is not asked about the others.
    pub(super) fn alternatives(&self) -> Vec<Linear> {
        match &self.tables {
            Some(tables) if tables.len() > 1 => tables
                .iter()
                .map(|one| Linear {
                    needs: one.needs.clone(),
                    tables: Some([one.clone()].into()),
                    engine: self.engine.clone(),
                })
                .collect(),
            _ => vec![self.clone()],
        }
    }

    #[inline]
    pub(super) fn matches(&self, value: &[u8]) -> bool {
        let input = Input::new(value).earliest(true);
        // A table gives up only where Unicode word boundaries are asked for, and then none is made;
        // should one give up all the same, the engine answers.
        match &self.tables {
            Some(tables) => tables.iter().any(|one| match one.table.try_search_fwd(&input) {
                Ok(found) => found.is_some(),
                Err(_) => self.engine.is_match(input.clone()),
            }),
            None => self.engine.is_match(input),
        }
    }

    pub(super) fn find(&self, value: &[u8]) -> Option<Range<usize>> {
        self.engine.find(value).map(|found| found.range())
    }

    pub(super) fn groups(&self, value: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut found = self.engine.create_captures();
        self.engine.captures(value, &mut found);
        let group = |number| value.get(found.get_group(number)?.range()).map(<[u8]>::to_vec);
        (0..found.group_len().min(MAX_GROUPS)).map(group).collect()
    }

    pub(super) fn needs(&self) -> &Needs {
        &self.needs
    }
}

/// Makes the tables of an expression; false where they would be too large or too many.
fn make_tables(hir: &Hir, budget: &mut TableBudget, made: &mut Vec<Alternative>) -> bool {
    if made.len() == MAX_TABLES {
        return false;
    }
    if let Some(parts) = by_literals(hir) {
        let (before, left) = (made.len(), budget.0);
        if parts.iter().all(|part| make_tables(part, budget, made)) {
            return true;
        }
        // Too many by themselves; together they may be few.
        made.truncate(before);
        budget.0 = left;
    }
    let halves = halves(hir);
    let limit = if halves.is_some() { MAX_DIVISIBLE } else { MAX_TABLE };
    if let Some(table) = table(hir, halves.is_some(), budget.0.min(limit)) {
        budget.0 -= table.memory_usage().min(budget.0);
        made.push(Alternative { table, needs: Needs::of(hir) });
        return true;
    }
    halves.is_some_and(|halves| halves.iter().all(|half| make_tables(half, budget, made)))
}

/// The alternatives that are looked for by literals, and the others: together they would be asked about
/// every value.
fn by_literals(hir: &Hir) -> Option<[Hir; 2]> {
    match hir.kind() {
        HirKind::Alternation(branches) => {
            let (known, others): (Vec<_>, Vec<_>) = branches.iter().cloned().partition(has_literals);
            (!known.is_empty() && !others.is_empty()).then(|| [known, others].map(Hir::alternation))
        }
        HirKind::Capture(capture) => by_literals(&capture.sub),
        _ => None,
    }
}

/// Two expressions that together match what this one matches: its alternatives, or those of its part
/// with the most of them, cut in two.
fn halves(hir: &Hir) -> Option<[Hir; 2]> {
    let width = |part: &Hir| match part.kind() {
        HirKind::Alternation(branches) => branches.len(),
        _ => 0,
    };
    match hir.kind() {
        HirKind::Alternation(branches) => {
            let (first, second) = branches.split_at(branches.len() / 2);
            Some([first, second].map(|half| Hir::alternation(half.to_vec())))
        }
        HirKind::Concat(parts) => {
            let (at, widest) = parts.iter().enumerate().max_by_key(|(_, part)| width(part))?;
            let with = |half: Hir| {
                let mut parts = parts.clone();
                parts[at] = half;
                Hir::concat(parts)
            };
            halves(widest).filter(|_| width(widest) > 1).map(|halves| halves.map(with))
        }
        HirKind::Capture(capture) => halves(&capture.sub),
        _ => None,
    }
}

/// The table of all states, if it is no larger than this.
fn table(hir: &Hir, divisible: bool, limit: usize) -> Option<Table> {
    let program = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(MAX_PROGRAM))
        .which_captures(WhichCaptures::None);
    let program = thompson::Compiler::new().configure(program).build_from_hir(hir).ok()?;
    if divisible && program.states().len() > MAX_STATES {
        return None;
    }
    let config = dense::Config::new()
        .start_kind(StartKind::Unanchored)
        .dfa_size_limit(Some(limit))
        .determinize_size_limit(Some(limit * 2));
    dense::Builder::new().configure(config).build_from_nfa(&program).ok()
}
