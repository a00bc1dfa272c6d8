//! How much work one request may cause, and what becomes of it when that is used up.

/// The work that one request may still cause, in steps of a byte looked at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget(pub(super) u64);

/// Why a request was not looked at to the end. It is never passed on for that: what was not found is
/// not known not to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exhausted {
    /// The budget is used up.
    Budget,
    /// An expression gave up: whose it is (a unit of a matcher, a rule of a program), and on which of the
    /// request's texts, where it was one.
    Expression { whose: usize, text: Option<usize> },
}

/// An expression that goes back and forth took more steps than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GaveUp;

impl Budget {
    /// Takes the work on a text of this length, which is at least a few steps.
    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Result<(), Exhausted> {
        self.take_times(length, 1)
    }

    /// Takes the work of a test that costs several steps a byte.
    #[inline]
    pub(super) fn take_times(&mut self, length: usize, weight: u64) -> Result<(), Exhausted> {
        let work = (length as u64).saturating_mul(weight).saturating_add(FIXED_COST);
        self.0 = self.0.checked_sub(work).ok_or(Exhausted::Budget)?;
        Ok(())
    }
}

/// What looking at even an empty text costs.
const FIXED_COST: u64 = 16;

/// What the record says of a rule whose expression gave up.
pub(super) const GAVE_UP: &str = "the expression took more steps than one text may take";

impl Exhausted {
    /// What it is, in words.
    pub(super) fn why(self) -> &'static str {
        match self {
            Exhausted::Budget => "the budget is used up",
            Exhausted::Expression { .. } => "an expression gave up",
        }
    }

    /// With the text that it was about.
    pub(super) fn on(self, at: usize) -> Exhausted {
        match self {
            Exhausted::Expression { whose, .. } => Exhausted::Expression { whose, text: Some(at) },
            Exhausted::Budget => Exhausted::Budget,
        }
    }
}
