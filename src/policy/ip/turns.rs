//! Intervals of numbers, as the places where "outside" turns into "inside" and back.
//!
//! The intervals are merged and kept as the sorted list of these places. A number is inside if an
//! odd number of these turns lie at or before it. An index of two levels over the leading bits says
//! how many turns lie before a bucket, so that only the few inside it are searched. The second level
//! is as fine as the first finds turns close together, since IPv6 networks lie in few places. Immune
//! to how the list is made: the worst bucket costs one step for each doubling.
//!
//! In a long list a look-up waits for memory, so what it reads is kept small: of a turn no more than
//! its place in its bucket, two bytes for IPv4 and four for IPv6. The turn itself is read only where
//! that does not tell.

use bytemuck::Pod;

use super::pages::Pages;

/// What an address is as a number.
pub(super) trait Number: Pod + Ord {
    const ZERO: Self;

    /// Whether [`Number::leading`] is all of it.
    const SHORT: bool;

    /// Where a turn lies in its bucket, roughly.
    type Cut: Pod + Ord + Default;

    /// The bits of that.
    const BITS: u32;

    /// The number behind this one.
    fn next(self) -> Option<Self>;

    /// The leading 64 bits, or all of them.
    fn leading(self) -> u64;

    /// So many cuts are compared at once: a cache line of them.
    const WINDOW: usize = 64 / size_of::<Self::Cut>();

    /// The lowest [`Number::BITS`] bits.
    fn cut(bits: u64) -> Self::Cut;

    /// How many of the first `count` cuts of a window lie at or before one.
    fn count(window: &[Self::Cut], count: usize, cut: Self::Cut) -> usize;
}

impl Number for u32 {
    const ZERO: u32 = 0;
    const SHORT: bool = true;
    type Cut = u16;
    const BITS: u32 = u16::BITS;

    fn next(self) -> Option<u32> {
        self.checked_add(1)
    }

    #[inline]
    fn leading(self) -> u64 {
        u64::from(self)
    }

    #[inline]
    fn cut(bits: u64) -> u16 {
        bits as u16
    }

    #[inline]
    fn count(window: &[u16], count: usize, cut: u16) -> usize {
        // Ones for those that count, read from where they are that many: much cheaper than to compare
        // each place with the count.
        const W: usize = <u32>::WINDOW;
        static COUNTS: [[u16; W]; 2] = [[1; W], [0; W]];
        let counts = COUNTS.as_flattened().get(W.saturating_sub(count)..).and_then(<[u16]>::first_chunk::<W>);
        let (Some(window), Some(counts)) = (window.first_chunk::<W>(), counts) else { return 0 };
        window.iter().zip(counts).map(|(at, counts)| u16::from(*at <= cut) & counts).sum::<u16>() as usize
    }
}

impl Number for u128 {
    const ZERO: u128 = 0;
    const SHORT: bool = false;
    type Cut = u32;
    const BITS: u32 = u32::BITS;

    fn next(self) -> Option<u128> {
        self.checked_add(1)
    }

    #[inline]
    fn leading(self) -> u64 {
        (self >> 64) as u64
    }

    #[inline]
    fn cut(bits: u64) -> u32 {
        bits as u32
    }

    #[inline]
    fn count(window: &[u32], count: usize, cut: u32) -> usize {
        // Ones for those that count, read from where they are that many: much cheaper than to compare
        // each place with the count.
        const W: usize = <u128>::WINDOW;
        static COUNTS: [[u32; W]; 2] = [[1; W], [0; W]];
        let counts = COUNTS.as_flattened().get(W.saturating_sub(count)..).and_then(<[u32]>::first_chunk::<W>);
        let (Some(window), Some(counts)) = (window.first_chunk::<W>(), counts) else { return 0 };
        window.iter().zip(counts).map(|(at, counts)| u32::from(*at <= cut) & counts).sum::<u32>() as usize
    }
}

/// Where "outside" turns into "inside" and back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turns<N: Number> {
    /// Ascending; the first one is a turn to inside.
    turns: Pages<N>,
    /// Where each turn lies in its bucket, and behind them a window of nothing.
    cuts: Pages<N::Cut>,
    /// For each bucket, how many turns lie before it; one more entry for all of them.
    before: Pages<u32>,
    /// Divides the numbers evenly; one more stretch behind the last.
    stretches: Box<[Stretch]>,
    /// The leading bits of the first turn, where the first stretch begins.
    base: u64,
    /// Stretches are 2 to this power wide.
    shift: u32,
}

/// A stretch of numbers, divided into as many buckets as its turns need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stretch {
    /// The leading bits of its first turn, where its first bucket begins.
    base: u64,
    /// Which bucket that is. The next stretch begins with the bucket behind its last.
    first: u32,
    /// Its buckets are 2 to this power wide.
    shift: u32,
}

impl<N: Number> Default for Turns<N> {
    fn default() -> Self {
        Turns {
            turns: Pages::default(),
            cuts: Pages::default(),
            before: Pages::default(),
            stretches: Box::default(),
            base: 0,
            shift: 0,
        }
    }
}

impl<N: Number> Turns<N> {
    /// From intervals, first and last address included.
    pub(super) fn new(mut intervals: Vec<(N, N)>) -> Turns<N> {
        intervals.sort_unstable();
        let mut turns: Vec<N> = Vec::with_capacity(intervals.len() * 2);
        // The address behind the interval being merged; none once it reaches the last address.
        let mut end = None;
        for (index, (first, last)) in intervals.into_iter().enumerate() {
            match end {
                None if index > 0 => break,
                Some(behind) if first <= behind => end = last.next().map(|next| next.max(behind)),
                _ => {
                    turns.extend(end);
                    turns.push(first);
                    end = last.next();
                }
            }
        }
        turns.extend(end);
        Turns::indexed(turns)
    }

    fn indexed(turns: Vec<N>) -> Turns<N> {
        let (Some(first), Some(last)) = (turns.first(), turns.last()) else { return Turns::default() };
        let (base, width) = (first.leading(), last.leading() - first.leading());
        let shift = shift(width, (turns.len() / TURNS_A_STRETCH).min(MAX_STRETCHES));
        let (mut cuts, mut before, mut stretches) = (Vec::with_capacity(turns.len()), Vec::new(), Vec::new());
        let mut rest = &turns[..];
        for number in 0..=width >> shift {
            let inside = |turn: &N| (turn.leading() - base) >> shift <= number;
            let (here, behind) = rest.split_at(rest.partition_point(inside));
            rest = behind;
            stretches.push(Stretch::over(here, &mut cuts, &mut before));
        }
        stretches.push(Stretch { first: before.len() as u32, ..Stretch::default() });
        before.push(turns.len() as u32);
        cuts.resize(turns.len() + N::WINDOW, N::Cut::default());
        let (cuts, before, stretches) = (cuts.into(), before.into(), stretches.into());
        Turns { turns: turns.into(), cuts, before, stretches, base, shift }
    }

    /// Where "outside" turns into "inside" and back, ascending.
    pub(super) fn list(&self) -> &[N] {
        &self.turns
    }

    /// Whether a number is inside.
    #[inline]
    pub(super) fn encloses(&self, address: N) -> bool {
        self.passed(address) % 2 == 1
    }

    /// How many turns lie at or before the address.
    #[inline]
    fn passed(&self, address: N) -> usize {
        if self.turns.len() <= FEW {
            return self.turns.partition_point(|turn| *turn <= address);
        }
        let Some(offset) = address.leading().checked_sub(self.base) else { return 0 };
        let Some([stretch, next, ..]) = self.stretches.get((offset >> self.shift) as usize..) else {
            return self.turns.len();
        };
        let before = |bucket: u32| self.before.get(bucket as usize).map_or(0, |before| *before as usize);
        let Some(offset) = address.leading().checked_sub(stretch.base) else { return before(stretch.first) };
        let bucket = offset >> stretch.shift;
        if bucket >= u64::from(next.first - stretch.first) {
            return before(next.first);
        }
        let bucket = stretch.first + bucket as u32;
        let (from, to) = (before(bucket), before(bucket + 1));
        from + self.passed_within(from, to, stretch.cut::<N>(offset), address, stretch.shift)
    }

    /// How many turns of a bucket lie at or before the address, which is in it.
    #[inline]
    fn passed_within(&self, from: usize, to: usize, cut: N::Cut, address: N, shift: u32) -> usize {
        let passed = match self.cuts.get(from..from + N::WINDOW) {
            Some(window) if to - from <= N::WINDOW => N::count(window, to - from, cut),
            _ => self.cuts.get(from..to).unwrap_or_default().partition_point(|at| *at <= cut),
        };
        let exact = N::SHORT && shift <= N::BITS;
        if exact || passed == 0 || self.cuts.get(from + passed - 1) != Some(&cut) {
            return passed;
        }
        // Turns with the same cut as the address lie before or behind it.
        self.turns.get(from..from + passed).unwrap_or_default().partition_point(|turn| *turn <= address)
    }

    /// Whether no number is inside.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Whether every number is inside.
    pub(super) fn is_all(&self) -> bool {
        matches!(&*self.turns, [only] if *only == N::ZERO)
    }
}

impl Stretch {
    fn over<N: Number>(turns: &[N], cuts: &mut Vec<N::Cut>, before: &mut Vec<u32>) -> Stretch {
        let first = before.len() as u32;
        let (Some(start), Some(end)) = (turns.first(), turns.last()) else {
            return Stretch { first, ..Stretch::default() };
        };
        let (base, width) = (start.leading(), end.leading() - start.leading());
        let stretch = Stretch { base, first, shift: shift(width, turns.len() * 4 / N::WINDOW) };
        let passed = cuts.len();
        let mut count = 0;
        for bucket in 0..=width >> stretch.shift {
            before.push((passed + count) as u32);
            while let Some(turn) = turns.get(count)
                && (turn.leading() - base) >> stretch.shift <= bucket
            {
                cuts.push(stretch.cut::<N>(turn.leading() - base));
                count += 1;
            }
        }
        stretch
    }

    /// Where in its bucket an offset from the base lies: its bits below those that choose the
    /// bucket, or the upper ones of these.
    #[inline]
    fn cut<N: Number>(&self, offset: u64) -> N::Cut {
        let below = offset & ((1 << self.shift) - 1);
        N::cut(below >> self.shift.saturating_sub(N::BITS))
    }
}

/// How wide parts must be for `width` to be divided into so many parts, or a quarter of that.
fn shift(width: u64, parts: usize) -> u32 {
    (64 - width.leading_zeros()).saturating_sub(parts.max(1).ilog2()).min(63)
}

/// So few turns are searched as they are.
const FEW: usize = if cfg!(test) { 4 } else { 32 };

/// Enough that what is looked up of the stretches stays near at hand.
const TURNS_A_STRETCH: usize = if cfg!(test) { 4 } else { 64 };
const MAX_STRETCHES: usize = 2048;
