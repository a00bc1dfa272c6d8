//! From a request to everything whose routes, hosts and paths cover it.
//!
//! Exact by construction: every pattern that matches is found, not the most specific one, so that
//! overlapping patterns (`/a/{x}/c`, `/a/b/{*rest}`) need no precedence.
//!
//! Patterns are looked up by their shapes, one hash for each shape that a path of this length can
//! have, and what a hash finds is compared with the request text by text. Where that would be many
//! shapes, the patterns are divided by the segment at which they first differ, and a request is led
//! on to those that have its own segment there, or `{name}`. So the cost does not grow with the
//! patterns that do not match. Nor can a request make it grow: a segment leads on to at most two
//! groups of patterns, and a pattern has at most eight `{name}`s.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use smallvec::SmallVec;

use super::buckets::{Buckets, Found};
use super::shape::{Asked, Pattern, Shape, dots};
use super::{HostPattern, PathPattern, Scope, Segment};
use crate::facts::{RouteId, Target};

/// Values by patterns. Methods are not its business.
#[derive(Clone, Debug)]
pub struct Patterns<T> {
    /// The first one has all patterns, or leads on to them.
    groups: Vec<Group>,
    /// By group and length of the path: where the shapes begin that are to be looked for.
    starts: Vec<u32>,
    shapes: Vec<Probe>,
    buckets: Buckets,
    ends: Vec<End<T>>,
    /// Those of the patterns that have no room for them.
    texts: Vec<u8>,
    /// The most dots that a wildcard host has. A request's host is cut at no more.
    dots: usize,
}

/// Patterns that are looked for together.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// Where in `starts` it begins; groups with the same shapes share them.
    first: u32,
    /// Paths longer than this have the shapes of one that is one longer.
    longest: u32,
}

/// A shape to look for.
#[derive(Clone, Copy, Debug)]
struct Probe {
    shape: Shape,
    number: u32,
    /// Tells equal texts of different shapes apart.
    seed: u64,
}

/// A pattern, and what it leads to: a cache line, so that to compare one is to wait for memory once.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct End<T> {
    goal: Goal<T>,
    shape: u32,
    /// How long its texts are.
    length: u32,
    /// The texts if there is room for them, else where they stand among all texts.
    texts: [u8; NEAR],
}

/// As long as a host and a path usually are together; fills the line for values of 24 bytes.
const NEAR: usize = 32;

#[derive(Clone, Copy, Debug)]
enum Goal<T> {
    Value(T),
    Group(u32),
}

/// What covers a request.
#[derive(Clone, Debug)]
pub struct Covering<'p, T>(SmallVec<[(&'p Shape, &'p T); 16]>);

impl<T> Default for Covering<'_, T> {
    fn default() -> Self {
        Covering(SmallVec::new())
    }
}

impl<'p, T> Covering<'p, T> {
    /// The values, in no order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &'p T> {
        self.0.iter().map(|(_, value)| *value)
    }

    /// The values, what is about more of the path first.
    pub fn nearest_first(&mut self) -> impl Iterator<Item = &'p T> {
        self.0.sort_by_key(|(shape, _)| std::cmp::Reverse(*shape));
        self.0.iter().map(|(_, value)| *value)
    }
}

/// So many shapes are looked for in one group before it is divided.
const MANY: usize = 8;

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Patterns {
            groups: Vec::new(),
            starts: Vec::new(),
            shapes: Vec::new(),
            buckets: Buckets::default(),
            ends: Vec::new(),
            texts: Vec::new(),
            dots: 0,
        }
    }
}

impl<T> Patterns<T> {
    /// Visits the values of all patterns that cover the request. A scope with several patterns that
    /// match is visited several times.
    #[inline]
    pub fn visit<'p>(&'p self, target: &Target, route: Option<RouteId>, mut visit: impl FnMut(&'p T)) {
        self.look_up(target, route, |_, value| visit(value));
    }

    /// Visits the same values and keeps them, to be looked at again.
    #[inline]
    pub fn visit_keeping<'p>(
        &'p self,
        target: &Target,
        route: Option<RouteId>,
        covering: &mut Covering<'p, T>,
        mut visit: impl FnMut(&'p T),
    ) {
        self.look_up(target, route, |shape, value| {
            covering.0.push((shape, value));
            visit(value);
        });
    }

    #[inline]
    fn look_up<'p>(
        &'p self,
        target: &Target,
        route: Option<RouteId>,
        mut visit: impl FnMut(&'p Shape, &'p T),
    ) {
        let asked = Asked::new(target, route, self.dots);
        let mut groups: SmallVec<[u32; 16]> = SmallVec::new();
        let mut group = 0;
        loop {
            for probes in self.probes(group, asked.length()).chunks(CHUNK) {
                self.look(probes, &asked, &mut |shape, goal| match goal {
                    Goal::Value(value) => visit(shape, value),
                    Goal::Group(group) => groups.push(*group),
                });
            }
            let Some(next) = groups.pop() else { break };
            group = next;
        }
    }

    /// The shapes to look for in a group.
    #[inline]
    fn probes(&self, group: u32, length: usize) -> &[Probe] {
        let Some(group) = self.groups.get(group as usize) else { return &[] };
        let at = group.first as usize + length.min(group.longest as usize + 1);
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(start), Some(end)) => self.shapes.get(*start as usize..*end as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Looks for a few shapes. First all of them are hashed and found, without a branch on what is
    /// found, so that the memory is asked for everything at once; then what was found is compared.
    #[inline]
    fn look<'p>(
        &'p self,
        probes: &'p [Probe],
        asked: &Asked<'_>,
        reach: &mut impl FnMut(&'p Shape, &'p Goal<T>),
    ) {
        let mut found = [(0, Found::default()); CHUNK];
        let mut count = 0;
        let mut going_on = 0u32;
        for (probe, at) in probes.iter().zip(0usize..) {
            let (hit, goes_on) = self.buckets.find(probe.hash(asked), 0);
            if let Some(slot) = found.get_mut(count) {
                *slot = (at, hit);
            }
            count += usize::from(hit.any());
            going_on |= u32::from(goes_on) << at;
        }
        for (at, hit) in found.iter().take(count) {
            let Some(probe) = probes.get(*at) else { continue };
            self.compare(probe, *hit, asked, reach);
        }
        while going_on != 0 {
            let at = going_on.trailing_zeros();
            going_on &= going_on - 1;
            let Some(probe) = probes.get(at as usize) else { continue };
            let mut step = 1;
            loop {
                let (hit, goes_on) = self.buckets.find(probe.hash(asked), step);
                self.compare(probe, hit, asked, reach);
                if !goes_on {
                    break;
                }
                step += 1;
            }
        }
    }

    #[inline]
    fn compare<'p>(
        &'p self,
        probe: &'p Probe,
        found: Found,
        asked: &Asked<'_>,
        reach: &mut impl FnMut(&'p Shape, &'p Goal<T>),
    ) {
        for place in found.places() {
            let Some(end) = self.ends.get(place as usize) else { continue };
            if end.shape == probe.number && asked.has(&probe.shape, end.texts(&self.texts)) {
                reach(&probe.shape, &end.goal);
            }
        }
    }
}

impl<T> End<T> {
    fn new(goal: Goal<T>, shape: u32, own: &[u8], texts: &mut Vec<u8>) -> End<T> {
        let mut end = End { goal, shape, length: own.len() as u32, texts: [0; NEAR] };
        match end.texts.get_mut(..own.len()) {
            Some(near) => near.copy_from_slice(own),
            None => {
                end.texts[..4].copy_from_slice(&(texts.len() as u32).to_le_bytes());
                texts.extend_from_slice(own);
            }
        }
        end
    }

    #[inline]
    fn texts<'p>(&'p self, texts: &'p [u8]) -> &'p [u8] {
        self.texts.get(..self.length as usize).unwrap_or_else(|| self.far_texts(texts))
    }

    fn far_texts<'p>(&self, texts: &'p [u8]) -> &'p [u8] {
        let start = self.texts.first_chunk().map_or(0, |start| u32::from_le_bytes(*start) as usize);
        texts.get(start..start + self.length as usize).unwrap_or_default()
    }
}

impl Probe {
    fn new(shape: Shape, number: u32) -> Probe {
        Probe { shape, number, seed: u64::from(number + 1).wrapping_mul(0x9b05_688c_2b3e_6c1f) }
    }

    #[inline]
    fn hash(&self, asked: &Asked<'_>) -> u64 {
        asked.sum(&self.shape).wrapping_add(self.seed)
    }
}

/// How many shapes are looked for at once.
const CHUNK: usize = 8;

// === building ===

/// Patterns being gathered.
#[derive(Debug, Default)]
pub struct PatternsBuilder<'s> {
    patterns: Vec<(Pattern<'s>, Vec<u32>)>,
    /// By their texts, the shape in front.
    known: HashMap<(Shape, Vec<u8>), u32>,
}

impl<'s> PatternsBuilder<'s> {
    /// Adds the patterns of a scope. `item` is asked once for each path pattern (once for none)
    /// what stands where it ends.
    pub fn add(&mut self, scope: &'s Scope, mut item: impl FnMut(Option<&PathPattern>) -> u32) {
        let none = scope.paths.is_empty().then_some(None);
        for path in scope.paths.iter().map(Some).chain(none) {
            let item = item(path);
            for route in or_none(scope.routes.iter().copied()) {
                for host in or_none(scope.hosts.iter()) {
                    self.add_one(Pattern::new(route, host, path), item);
                }
            }
        }
    }

    fn add_one(&mut self, pattern: Pattern<'s>, item: u32) {
        let mut texts = Vec::new();
        pattern.write(&mut texts);
        let next = self.patterns.len() as u32;
        let at = *self.known.entry((pattern.shape(), texts)).or_insert(next);
        if at == next {
            self.patterns.push((pattern, Vec::new()));
        }
        self.patterns[at as usize].1.push(item);
    }

    /// What was gathered. `lay_out` gets the items of one pattern, ascending and each once, and says
    /// what it leads to.
    pub fn finish<T>(mut self, mut lay_out: impl FnMut(&[u32]) -> T) -> Patterns<T> {
        let mut draft = Draft::default();
        for (pattern, items) in &mut self.patterns {
            items.sort_unstable();
            items.dedup();
            draft.add(pattern, Goal::Value(lay_out(items)));
        }
        let all: Vec<Pattern<'s>> = self.patterns.into_iter().map(|(pattern, _)| pattern).collect();
        draft.divide(all, 0);
        draft.finish()
    }
}

fn or_none<I>(items: impl Iterator<Item = I> + Clone) -> impl Iterator<Item = Option<I>> {
    let none = items.clone().next().is_none().then_some(None);
    items.map(Some).chain(none)
}

/// Patterns being laid out.
struct Draft<T> {
    patterns: Patterns<T>,
    shapes: HashMap<Shape, Probe>,
    hashes: Vec<u64>,
    /// The groups that have the same shapes.
    groups: HashMap<Vec<Shape>, Group>,
}

impl<T> Default for Draft<T> {
    fn default() -> Self {
        Draft {
            patterns: Patterns::default(),
            shapes: HashMap::new(),
            hashes: Vec::new(),
            groups: HashMap::new(),
        }
    }
}

impl<T> Draft<T> {
    fn add(&mut self, pattern: &Pattern<'_>, goal: Goal<T>) {
        let next = self.shapes.len() as u32;
        let shape = pattern.shape();
        let probe = *self.shapes.entry(shape).or_insert_with(|| Probe::new(shape, next));
        let out = &mut self.patterns;
        if let Some(HostPattern::Below(suffix)) = pattern.host() {
            out.dots = out.dots.max(dots(suffix));
        }
        let mut texts = Vec::new();
        pattern.write(&mut texts);
        out.ends.push(End::new(goal, probe.number, &texts, &mut out.texts));
        self.hashes.push(pattern.sum().wrapping_add(probe.seed));
    }

    /// Makes a group of patterns that agree on all segments before `depth`, and of those that it
    /// leads on to. Its number.
    fn divide(&mut self, patterns: Vec<Pattern<'_>>, mut depth: usize) -> u32 {
        let number = self.patterns.groups.len();
        self.patterns.groups.push(Group { first: 0, longest: 0 });
        let mut shapes: BTreeSet<Shape> = patterns.iter().map(Pattern::shape).collect();
        if most(&shapes) > MANY {
            let longest = patterns.iter().map(|pattern| pattern.segments().len()).max().unwrap_or(0);
            while depth < longest {
                let mut parts: BTreeMap<Option<&str>, Vec<Pattern<'_>>> = BTreeMap::new();
                for pattern in &patterns {
                    if let Some(segment) = pattern.segments().get(depth) {
                        parts.entry(literal(segment)).or_default().push(*pattern);
                    }
                }
                depth += 1;
                if parts.len() > 1 {
                    shapes = patterns
                        .iter()
                        .filter(|pattern| pattern.segments().len() < depth)
                        .map(Pattern::shape)
                        .collect();
                    for part in parts.into_values() {
                        let segments = part.first().map_or(&[][..], |pattern| &pattern.segments()[..depth]);
                        let lead = Pattern::leading(segments);
                        shapes.insert(lead.shape());
                        let group = self.divide(part, depth);
                        self.add(&lead, Goal::Group(group));
                    }
                    break;
                }
            }
        }
        self.patterns.groups[number] = self.list(shapes);
        number as u32
    }

    /// The shapes of a group, by the length of the path.
    fn list(&mut self, shapes: BTreeSet<Shape>) -> Group {
        let shapes: Vec<Shape> = shapes.into_iter().collect();
        if let Some(group) = self.groups.get(&shapes) {
            return *group;
        }
        let longest = shapes.last().map_or(0, |shape| u32::from(shape.length));
        let out = &mut self.patterns;
        let group = Group { first: out.starts.len() as u32, longest };
        for length in 0..=longest + 1 {
            out.starts.push(out.shapes.len() as u32);
            let fitting = shapes.iter().filter(|shape| shape.fits(length));
            out.shapes.extend(fitting.filter_map(|shape| self.shapes.get(shape)));
        }
        out.starts.push(out.shapes.len() as u32);
        self.groups.insert(shapes, group);
        group
    }

    fn finish(mut self) -> Patterns<T> {
        let (buckets, order) = Buckets::new(&self.hashes);
        let mut ends: Vec<Option<End<T>>> =
            std::mem::take(&mut self.patterns.ends).into_iter().map(Some).collect();
        self.patterns.ends = order.iter().filter_map(|number| ends[*number as usize].take()).collect();
        self.patterns.buckets = buckets;
        self.patterns
    }
}

fn literal(segment: &Segment) -> Option<&str> {
    match segment {
        Segment::Literal(text) => Some(text),
        Segment::Any(_) => None,
    }
}

/// How many shapes must be looked for, for paths of the worst length.
fn most(shapes: &BTreeSet<Shape>) -> usize {
    let longest = shapes.last().map_or(0, |shape| u32::from(shape.length));
    (0..=longest).map(|length| shapes.iter().filter(|shape| shape.fits(length)).count()).max().unwrap_or(0)
}
