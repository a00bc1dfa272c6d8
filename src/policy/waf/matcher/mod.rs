//! Which units match on which text: the part of the engine that has to be fast.
//!
//! For each text: its features; the transformations that change it, each at most once; one pass of the
//! prefilter; and only for the units that are left, the operators. What is left out is left out
//! because it cannot match (`needs.rs`); a property test compares all of this with the plain loop.
//! Nothing here is built, grown or cached depending on what requests send.

mod chains;
mod features;
mod prefilter;

use self::chains::{Chains, Node};
use self::features::{FeatureTable, Features};
use self::prefilter::Prefilter;
use super::bits::Bits;
use super::budget::{Budget, Exhausted, GaveUp};
use super::bytes::ByteSet;
use super::needs::{MARKS, Needs};
use super::operators::Operator;
use super::transforms::Transform;

/// What the matcher judges: a test on a text, behind a chain of transformations. A link of a rule is
/// one unit, or several of which one has to match.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) transforms: Box<[Transform]>,
    pub(super) test: CompiledTest,
    /// Whether another unit, as much wanted as this one, has the same test one transformation before.
    pub(super) echo: bool,
}

/// What a text must be.
#[derive(Clone, Debug)]
pub(super) struct CompiledTest {
    pub(super) conditions: Box<[CompiledCondition]>,
    /// Whether one condition is enough.
    pub(super) any: bool,
}

/// An operator, and whether it must not match.
#[derive(Clone, Debug)]
pub(super) struct CompiledCondition {
    pub(super) operator: Operator,
    pub(super) negated: bool,
}

/// The units of a gate, ready to run.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    units: Vec<Unit>,
    /// By unit: the features it needs, all of them.
    needs: Vec<Features>,
    /// By unit: the least length it needs.
    min_len: Vec<u32>,
    /// By unit: the bytes that a text of one line must begin with.
    first: Vec<ByteSet>,
    /// The feature of texts of several lines.
    lines: Features,
    /// By unit: the work of its test, in steps for each byte of a text.
    weight: Vec<u64>,
    features: FeatureTable,
    chains: Chains,
    prefilter: Prefilter,
    /// The units that the prefilter does not know.
    unfiltered: Bits,
    /// Those that it knows only of texts without [`MARKS`].
    unmarked: Bits,
    /// The feature of texts with marks; 0: there is none.
    marked: Features,
    /// What texts of few different bytes cannot match, from the plainest on.
    plain: [Plain; 3],
    /// By length, for short texts: the units that may match on one.
    short: [Bits; SHORT],
}

/// Texts below this length are short.
const SHORT: usize = 12;

/// Texts of these bytes alone.
#[derive(Clone, Debug)]
struct Plain {
    /// The feature of texts that have other bytes.
    others: Features,
    /// The units that may match on such a text.
    units: Bits,
    /// Those that may match on it or on what their transformations make of it.
    reach: Bits,
}

/// Numbers, names, tokens.
const TOKEN: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
/// And plain sentences.
const PROSE: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. ,!?@";
/// And times and addresses.
const PLACE: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. ,!?@:/=";
/// So few units are asked for all they need before a short text is looked through for literals; more of
/// them before a long one.
const FEW: usize = 24;

/// Buffers that a request uses again for each of its texts.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    /// The transformed texts; the first one stands for the text as it came and stays empty.
    haystacks: Vec<Haystack>,
    /// By chain node: its haystack.
    places: Vec<usize>,
    hits: Bits,
}

#[derive(Clone, Debug, Default)]
struct Haystack {
    text: Vec<u8>,
    features: Features,
    units: Bits,
}

impl CompiledTest {
    /// Whether a text is what it must be; what that takes beyond its weight is taken from the budget.
    #[inline]
    pub(super) fn judge(&self, text: &[u8], budget: &mut Budget) -> Result<bool, GaveUp> {
        for condition in &self.conditions {
            let holds = condition.operator.judge(text, budget)? != condition.negated;
            if holds == self.any {
                return Ok(holds);
            }
        }
        Ok(!self.any)
    }

    /// The part of a matching text that made it match; the whole, where no part stands out.
    pub(super) fn find(&self, text: &[u8]) -> std::ops::Range<usize> {
        let positive = self.conditions.iter().filter(|condition| !condition.negated);
        positive.filter_map(|condition| condition.operator.find(text)).next().unwrap_or(0..text.len())
    }

    /// What the operator found in a matching text: the whole, then its groups.
    pub(super) fn groups(&self, text: &[u8]) -> Vec<Option<Vec<u8>>> {
        match self.conditions.iter().find(|condition| !condition.negated) {
            Some(condition) => condition.operator.groups(text),
            None => vec![Some(text.to_vec())],
        }
    }

    /// The work of one test, in steps for each byte: at most what all of its conditions cost.
    pub(super) fn weight(&self) -> u64 {
        self.conditions.iter().map(|condition| condition.operator.weight()).fold(0, u64::saturating_add)
    }

    fn needs(&self) -> Needs {
        let needs = self.conditions.iter().map(|condition| match condition.negated {
            true => Needs::default(),
            false => condition.operator.needs(),
        });
        if self.any { Needs::any(needs) } else { Needs::all(needs) }
    }
}

impl Unit {
    /// Units of which one matches where this one does, each with needs of its own.
    pub(super) fn alternatives(self) -> Vec<Unit> {
        let conditions = &self.test.conditions;
        let divisible = self.test.any || conditions.len() == 1;
        if !divisible || conditions.iter().any(|condition| condition.negated) {
            return vec![self];
        }
        let operators = conditions.iter().flat_map(|condition| match &condition.operator {
            Operator::Regex(regex) => regex.alternatives().into_iter().map(Operator::Regex).collect(),
            other => vec![other.clone()],
        });
        let unit = |operator| Unit {
            transforms: self.transforms.clone(),
            test: CompiledTest {
                conditions: Box::new([CompiledCondition { operator, negated: false }]),
                any: false,
            },
            echo: self.echo,
        };
        operators.map(unit).collect()
    }

    /// The bytes that a text of some bytes may come to have on its way to the test.
    fn yields(&self, bytes: ByteSet) -> ByteSet {
        let infos = self.transforms.iter().map(|transform| transform.info());
        infos.fold(bytes, |bytes, info| match (info.triggers, info.yields) {
            (Some(triggers), _) if !triggers.meets(&bytes) => bytes,
            (_, Some(more)) => bytes.union(more),
            (_, None) => ByteSet::FULL,
        })
    }

    /// The text that the test sees.
    pub(super) fn transform(&self, text: &[u8]) -> Vec<u8> {
        self.transforms.iter().fold(text.to_vec(), |text, transform| transform.apply(&text).unwrap_or(text))
    }
}

impl Matcher {
    pub(super) fn new(units: Vec<Unit>) -> Matcher {
        let size = units.len();
        let mut features = FeatureTable::new();
        let lines = features.bit(ByteSet::of(b"\n"));
        let mut chains = Chains::new(&units, &mut features);
        let all: Vec<Needs> = units.iter().map(|unit| unit.test.needs()).collect();
        let prefilter = Prefilter::new(all.iter().map(Needs::texts));
        let [mut unfiltered, mut unmarked] = [Bits::none(size), Bits::none(size)];
        for (unit, needs) in all.iter().enumerate() {
            if needs.texts().is_none() || prefilter.is_empty() {
                unfiltered.insert(unit);
            } else if needs.literals.is_none() {
                unmarked.insert(unit);
            }
        }
        let marked = features.bit(ByteSet::of(MARKS));
        let plain = [TOKEN, PROSE, PLACE].map(|bytes| {
            let allowed = ByteSet::of(bytes);
            let [mut as_it_came, mut reach] = [Bits::none(size), Bits::none(size)];
            for (at, (unit, needs)) in units.iter().zip(&all).enumerate() {
                if needs.may_be_met(&allowed) {
                    as_it_came.insert(at);
                }
                if needs.may_be_met(&unit.yields(allowed)) {
                    reach.insert(at);
                }
            }
            Plain { others: features.bit(allowed.complement()), units: as_it_came, reach }
        });
        let short = std::array::from_fn(|length| {
            let mut units = Bits::none(size);
            let fits = all.iter().enumerate().filter(|(_, needs)| needs.min_len <= length);
            fits.for_each(|(unit, _)| units.insert(unit));
            units
        });
        // The bits are few: every unit gets one before any gets a second.
        let mut needs = vec![0; size];
        for round in 0..all.iter().map(|needs| needs.clauses.len()).max().unwrap_or(0) {
            for (unit, clause) in
                all.iter().enumerate().filter_map(|(unit, needs)| Some((unit, needs.clauses.get(round)?)))
            {
                needs[unit] |= features.bit(*clause);
            }
        }
        chains.foresee(&features);
        let min_len = all.iter().map(|needs| u32::try_from(needs.min_len).unwrap_or(u32::MAX)).collect();
        let first = all.iter().map(|needs| needs.first.unwrap_or(ByteSet::FULL)).collect();
        let weight = units.iter().map(|unit| unit.test.weight()).collect();
        Matcher {
            units,
            needs,
            min_len,
            first,
            lines,
            weight,
            features,
            chains,
            prefilter,
            unfiltered,
            unmarked,
            marked,
            plain,
            short,
        }
    }

    pub(super) fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Whether literals are looked for in the fastest way.
    #[cfg(test)]
    pub(super) fn has_table(&self) -> bool {
        self.prefilter.is_table()
    }

    /// The units that the prefilter does not know, and whether they may match on prose.
    #[cfg(test)]
    pub(super) fn unfiltered(&self) -> impl Iterator<Item = (usize, bool)> {
        self.unfiltered.iter().map(|unit| (unit, self.plain[1].units.contains(unit)))
    }

    /// Calls `found` with every unit of `wanted` that matches on a text, and with those whose expressions gave
    /// up on it. Whether that counts is for the caller to say: a rule may look at other texts. Takes out of
    /// `wanted` units that cannot match.
    #[inline]
    pub(super) fn run(
        &self,
        text: &[u8],
        wanted: &mut Bits,
        scratch: &mut Scratch,
        budget: &mut Budget,
        mut found: impl FnMut(usize, Result<(), GaveUp>) -> Result<(), GaveUp>,
    ) -> Result<(), Exhausted> {
        let count = self.transform(text, wanted, scratch, budget)?;
        let Scratch { haystacks, hits, .. } = scratch;
        for (index, haystack) in haystacks.iter_mut().take(count).enumerate() {
            let text = if index == 0 { text } else { &haystack.text };
            let (features, units) = (haystack.features, &mut haystack.units);
            self.narrow(features, text, units);
            if units.is_empty() {
                continue;
            }
            hits.reset(self.units.len());
            if units.exceeds(&self.unfiltered) {
                budget.take(text.len())?;
                self.prefilter.scan(text, hits);
            }
            hits.add(&self.unfiltered);
            if self.marked == 0 || features & self.marked != 0 {
                hits.add(&self.unmarked);
            }
            hits.keep(units);
            for unit in hits.iter().filter(|unit| self.may_match(*unit, features, text)) {
                budget.take_times(text.len(), self.weight[unit])?;
                let judged = match self.units[unit].test.judge(text, budget) {
                    Ok(false) => continue,
                    Ok(true) => Ok(()),
                    Err(GaveUp) => Err(GaveUp),
                };
                found(unit, judged).map_err(|GaveUp| Exhausted::Expression { whose: unit, text: None })?;
            }
        }
        Ok(())
    }

    /// Takes away units that cannot match on a text of these features.
    #[inline]
    fn narrow(&self, features: Features, text: &[u8], units: &mut Bits) {
        if let Some(plain) = self.plain(features) {
            units.keep(&plain.units);
        }
        if let Some(short) = self.short.get(text.len()) {
            units.keep(short);
        }
        if units.len() as usize <= FEW + text.len() / 8 {
            units.retain(|unit| self.may_match(unit, features, text));
        }
    }

    /// Whether a text of these features has what a unit needs, literals apart.
    #[inline]
    fn may_match(&self, unit: usize, features: Features, text: &[u8]) -> bool {
        self.needs[unit] & !features == 0
            && self.min_len[unit] as usize <= text.len()
            && (features & self.lines != 0
                || text.first().is_none_or(|byte| self.first[unit].contains(*byte)))
    }

    /// Whether a unit at a node or below may match on what comes of a text of these features.
    #[inline]
    fn may_pay(&self, node: &Node, wanted: &Bits, features: Features) -> bool {
        let Some(yields) = node.yields else { return node.below.meets(wanted) };
        let features = features | yields;
        let possible = self.plain(features).map_or(wanted, |plain| &plain.units);
        let mut units = node.below.common(wanted, possible);
        units.any(|unit| self.needs[unit] & !features == 0)
    }

    /// What a text of these features is, if it is plain.
    #[inline]
    fn plain(&self, features: Features) -> Option<&Plain> {
        self.plain.iter().find(|plain| plain.others != 0 && features & plain.others == 0)
    }

    /// Undoes what the wanted units want undone; returns how many different haystacks there are: 0
    /// where nobody can match.
    fn transform(
        &self,
        text: &[u8],
        wanted: &mut Bits,
        scratch: &mut Scratch,
        budget: &mut Budget,
    ) -> Result<usize, Exhausted> {
        budget.take(text.len())?;
        let features = self.features.of(text);
        if let Some(plain) = self.plain(features) {
            wanted.keep(&plain.reach);
            if wanted.is_empty() {
                return Ok(0);
            }
        }
        let Scratch { haystacks, places, .. } = scratch;
        if haystacks.is_empty() {
            haystacks.push(Haystack::default());
        }
        haystacks[0].features = features;
        haystacks[0].units.clone_from(wanted);
        haystacks[0].units.remove(&self.chains.echoes);
        if !self.chains.may_change(features) {
            return Ok(1);
        }
        // All units stand at the text as it came until a transformation on their way changes it.
        places.clear();
        places.push(0);
        let mut count = 1;
        while let Some(node) = self.chains.nodes.get(places.len()) {
            let parent = places.get(node.parent).copied().unwrap_or(0);
            let features = haystacks[parent].features;
            // Where nothing may change, or nothing may match, all the nodes below are passed over.
            if !node.may_change(features) || !self.may_pay(node, wanted, features) {
                places.resize(node.end, parent);
                continue;
            }
            let mut place = parent;
            if let Some(transform) = node.transform
                && (node.triggers == 0 || node.triggers & features != 0)
            {
                if haystacks.len() == count {
                    haystacks.push(Haystack::default());
                }
                let (before, after) = haystacks.split_at_mut(count);
                let input = if parent == 0 { text } else { &before[parent].text };
                budget.take(input.len())?;
                after[0].text.clear();
                if (transform.info().apply)(input, &mut after[0].text) {
                    after[0].features = self.features.of(&after[0].text);
                    after[0].units.reset(self.units.len());
                    after[0].units.add_common(&node.moved, wanted);
                    before[parent].units.remove_run(&node.below);
                    place = count;
                    count += 1;
                }
            }
            places.push(place);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
