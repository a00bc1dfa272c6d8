//! What the clock said in this turn of a task: how long a phase of a connection takes is told to the turn,
//! and to ask the clock for each that begins would be a good part of what a request costs.
//!
//! The turns of a thread follow each other, so all of them share one place.

use std::cell::Cell;

use tokio::time::Instant;

thread_local! {
    static CLOCK: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A turn of a connection's task begins.
pub(crate) fn begin() {
    CLOCK.set(None);
}

/// Asks the clock, for whoever wants to know later in this turn.
pub(crate) fn look() -> Instant {
    let now = Instant::now();
    CLOCK.set(Some(now));
    now
}

/// What the clock said when it was last asked in this turn, if it was.
pub(crate) fn last_look() -> Option<Instant> {
    CLOCK.get()
}
