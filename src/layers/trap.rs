//! Panics on purpose, for the test of what a panic in each layer does.

use std::cell::Cell;

use crate::decision::Stage;

/// Where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Admit,
    Gate(Stage),
    Identify,
    ReadBody,
    Proxy,
}

thread_local! {
    static SET: Cell<Option<At>> = const { Cell::new(None) };
}

/// Sets one, for this thread, or none any more.
pub(crate) fn set(at: Option<At>) {
    SET.set(at);
}

/// Panics, if it is set here.
#[allow(clippy::panic, reason = "it is what this is for")]
pub(crate) fn spring(at: At) {
    assert!(SET.get() != Some(at), "on purpose");
}
