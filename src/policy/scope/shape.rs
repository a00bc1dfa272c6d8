//! Which parts of a request a pattern looks at, whatever texts it wants there.
//!
//! Policies have many patterns and few shapes: `/a/{x}` and `/b/{y}` look at the same parts. To look
//! up all patterns of one shape takes one hash, the sum of the hashes of these parts, and the shapes
//! do not wait for each other.

use super::{HostPattern, PathPattern, Segment};
use crate::facts::{Cut, HashPlace, RouteId, Target, hash_host, hash_text};

/// What a pattern looks at. Ordered by how much of the path that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Shape {
    /// How many segments it tells of.
    pub(super) length: u8,
    /// Whether there may be no more segments than these.
    pub(super) whole: bool,
    /// Whether it leads on to other patterns.
    leads: bool,
    /// Whether it is about a certain route.
    route: bool,
    host: HostPart,
    /// How many of `gaps` there are.
    gap_count: u8,
    /// The segments that may be anything: from one cut of the path to another.
    gaps: [(u8, u8); MAX_GAPS],
}

/// How a pattern looks at the host: [`ANY`], [`EXACT`], or at its end, from the dot of this number
/// (counted from the right, [`EXACT`] added).
type HostPart = u8;

const ANY: HostPart = 0;
const EXACT: HostPart = 1;

/// An end of a host is hashed from no earlier dot than this one from the right; it is compared whole.
const MAX_DOTS: usize = 6;

/// A pattern has no more `{name}`s, so no more gaps.
const MAX_GAPS: usize = super::path::MAX_NAMES;

/// A pattern as it was written: a route, a host and a path, each if it is named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pattern<'s> {
    route: Option<RouteId>,
    host: Option<&'s HostPattern>,
    segments: &'s [Segment],
    whole: bool,
    leads: bool,
}

impl<'s> Pattern<'s> {
    pub(super) fn new(
        route: Option<RouteId>,
        host: Option<&'s HostPattern>,
        path: Option<&'s PathPattern>,
    ) -> Pattern<'s> {
        let segments = path.map_or(&[][..], PathPattern::segments);
        let whole = path.is_some_and(|path| path.rest().is_none());
        Pattern { route, host, segments, whole, leads: false }
    }

    /// Whatever begins with these segments, to lead on to patterns that do.
    pub(super) fn leading(segments: &'s [Segment]) -> Pattern<'s> {
        Pattern { route: None, host: None, segments, whole: false, leads: true }
    }

    pub(super) fn host(&self) -> Option<&'s HostPattern> {
        self.host
    }

    pub(super) fn segments(&self) -> &'s [Segment] {
        self.segments
    }

    pub(super) fn shape(&self) -> Shape {
        let mut shape = Shape {
            length: self.segments.len() as u8,
            whole: self.whole,
            leads: self.leads,
            route: self.route.is_some(),
            host: match self.host {
                None => ANY,
                Some(HostPattern::Exact(_)) => EXACT,
                Some(HostPattern::Below(suffix)) => EXACT + dots(suffix).min(MAX_DOTS) as HostPart,
            },
            gap_count: 0,
            gaps: [(0, 0); MAX_GAPS],
        };
        for (segment, at) in self.segments.iter().zip(0u8..) {
            let gaps = shape.gap_count as usize;
            match segment {
                Segment::Literal(_) => {}
                Segment::Any(_) if gaps > 0 && shape.gaps[gaps - 1].1 == at => {
                    shape.gaps[gaps - 1].1 = at + 1
                }
                Segment::Any(_) => {
                    shape.gaps[gaps] = (at, at + 1);
                    shape.gap_count += 1;
                }
            }
        }
        shape
    }

    /// The texts that it wants, one after the other: what [`Asked::has`] compares.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.route.iter().flat_map(|route| route.0.to_le_bytes()));
        out.extend(self.host.iter().flat_map(|host| host.text().bytes()));
        for segment in self.segments {
            if let Segment::Literal(text) = segment {
                out.push(b'/');
                out.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// The sum of their hashes.
    pub(super) fn sum(&self) -> u64 {
        let host = self.host.map_or(0, |host| match host {
            HostPattern::Exact(host) => hash_host(host.as_bytes()),
            HostPattern::Below(suffix) => {
                let dot = memchr::memrchr_iter(b'.', suffix.as_bytes()).take(MAX_DOTS).last();
                hash_host(&suffix.as_bytes()[dot.unwrap_or(0)..])
            }
        });
        let texts = self.segments.iter().zip(0..).filter_map(|(segment, place)| match segment {
            Segment::Literal(text) => Some(hash_text(place, text.as_bytes())),
            Segment::Any(_) => None,
        });
        texts.chain(self.route.map(hash_route)).fold(host, u64::wrapping_add)
    }
}

/// How many dots of hosts must be known to look up a wildcard host.
pub(super) fn dots(suffix: &str) -> usize {
    suffix.bytes().filter(|byte| *byte == b'.').count()
}

fn hash_route(route: RouteId) -> u64 {
    const PLACE: HashPlace = HashPlace::MAX - 1;
    hash_text(PLACE, &route.0.to_le_bytes())
}

impl Shape {
    /// Whether a path of this many segments can have it.
    pub(super) fn fits(&self, length: u32) -> bool {
        let own = u32::from(self.length);
        if self.whole { own == length } else { own <= length }
    }

    #[inline]
    fn gaps(&self) -> &[(u8, u8)] {
        self.gaps.get(..usize::from(self.gap_count)).unwrap_or_default()
    }
}

/// What is asked for, as far as patterns look at it.
pub(super) struct Asked<'t> {
    cuts: &'t [Cut],
    path: &'t [u8],
    host: &'t [u8],
    route: Option<RouteId>,
    /// By [`HostPart`].
    hosts: [u64; 8],
    route_hash: u64,
}

const _: () = assert!(MAX_DOTS + 2 <= 8);

impl<'t> Asked<'t> {
    /// `dots`: from how many dots of the host on patterns look at its end.
    #[inline]
    pub(super) fn new(target: &'t Target, route: Option<RouteId>, dots: usize) -> Asked<'t> {
        let host = target.host_bytes();
        let mut hosts = [0; 8];
        hosts[usize::from(EXACT)] = target.host_hash();
        if dots > 0 {
            // A host never begins with a dot, so its end from a dot on is shorter than the host.
            let ends = memchr::memrchr_iter(b'.', host).take(dots.min(MAX_DOTS));
            for (slot, at) in hosts.iter_mut().skip(usize::from(EXACT) + 1).zip(ends) {
                *slot = hash_host(host.get(at..).unwrap_or_default());
            }
        }
        Asked {
            cuts: target.cuts(),
            path: target.decoded_path().as_bytes(),
            host,
            route,
            hosts,
            route_hash: route.map_or(0, hash_route),
        }
    }

    /// How many segments there are.
    #[inline]
    pub(super) fn length(&self) -> usize {
        self.cuts.len().saturating_sub(1)
    }

    /// The sum of the hashes of what a shape looks at.
    #[inline]
    pub(super) fn sum(&self, shape: &Shape) -> u64 {
        let upto = |cut: u8| self.cuts.get(usize::from(cut)).map_or(0, |cut| cut.sum);
        let mut sum = upto(shape.length).wrapping_add(self.hosts[usize::from(shape.host) % 8]);
        // The first gap is taken out unasked: it is empty where there is none, and which shapes have
        // one is nothing that a processor could foretell.
        let (first, others) = shape.gaps.split_first().map_or(((0, 0), &[][..]), |(gap, rest)| (*gap, rest));
        sum = sum.wrapping_add(upto(first.0)).wrapping_sub(upto(first.1));
        if shape.gap_count > 1 {
            for (from, to) in others {
                sum = sum.wrapping_add(upto(*from)).wrapping_sub(upto(*to));
            }
        }
        if shape.route {
            sum = sum.wrapping_add(self.route_hash);
        }
        sum
    }

    /// Whether what a shape looks at are these texts, as [`Pattern::write`] puts them.
    #[inline]
    pub(super) fn has(&self, shape: &Shape, texts: &[u8]) -> bool {
        // Whatever has none of them is about everything of its shape.
        if texts.is_empty() && shape.length == 0 && shape.host == ANY && !shape.route {
            return true;
        }
        self.compare(shape, texts).is_some_and(<[u8]>::is_empty)
    }

    /// What is left of the texts.
    #[inline]
    fn compare<'x>(&self, shape: &Shape, mut texts: &'x [u8]) -> Option<&'x [u8]> {
        if shape.route {
            texts = texts.strip_prefix(&self.route?.0.to_le_bytes())?;
        }
        match shape.host {
            ANY => {}
            EXACT => texts = strip(texts, self.host)?,
            _ => {
                // No host has a slash in it, and every segment begins with one.
                let end = memchr::memchr(b'/', texts).unwrap_or(texts.len());
                let (suffix, rest) = texts.split_at_checked(end)?;
                self.host.strip_suffix(suffix).filter(|before| !before.is_empty())?;
                texts = rest;
            }
        }
        // Segments that stand together are compared together, slashes included. No literal segment
        // has a slash in it, so one in a request's segment would be one too many.
        let mut from = 0;
        for (to, next) in shape.gaps().iter().copied().chain([(shape.length, 0)]) {
            let (start, end) = (self.cuts.get(usize::from(from))?.at, self.cuts.get(usize::from(to))?.at);
            texts = strip(texts, self.path.get(start as usize..end as usize)?)?;
            from = next;
        }
        Some(texts)
    }
}

/// What is left of texts behind the first of them.
#[inline]
fn strip<'x>(texts: &'x [u8], first: &[u8]) -> Option<&'x [u8]> {
    let (own, rest) = texts.split_at_checked(first.len())?;
    same(own, first).then_some(rest)
}

/// Compares two texts of one length, short as they are, without a call: by blocks, of which the last
/// one overlaps with the one before.
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    if let (Some(a), Some(b)) = (one.last_chunk::<16>(), other.last_chunk::<16>()) {
        let blocks = one.as_chunks::<16>().0.iter().zip(other.as_chunks::<16>().0);
        return blocks.fold(differ(a, b), |differing, (a, b)| differing | differ(a, b)) == 0;
    }
    let ends = |text: &[u8]| {
        let (first, last) = (text.first_chunk::<8>()?, text.last_chunk::<8>()?);
        Some((u64::from_le_bytes(*first), u64::from_le_bytes(*last)))
    };
    match (ends(one), ends(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one.iter().zip(other).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0,
    }
}

#[inline]
fn differ(one: &[u8; 16], other: &[u8; 16]) -> u128 {
    u128::from_le_bytes(*one) ^ u128::from_le_bytes(*other)
}
