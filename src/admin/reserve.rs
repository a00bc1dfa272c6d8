//! Descriptors that are held back for operators.
//!
//! When clients have used up all that the system grants, nothing can be accepted any more, least of all
//! the operator who wants to know why. So a few descriptors are held, and one is given up when the
//! admin listener cannot accept: the connection that waits takes it before anybody else asks.

use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, PoisonError};

/// The descriptors that are held.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    /// Sockets that are connected to nothing: unlike files, they need no file system.
    held: Mutex<Vec<UnixDatagram>>,
}

/// As many operators as that can come at once.
const SIZE: usize = 8;

impl Reserve {
    /// Takes the descriptors.
    pub(super) fn new() -> Arc<Reserve> {
        let reserve = Arc::new(Reserve::default());
        reserve.refill();
        reserve
    }

    /// Gives one up; whether there was one.
    pub(super) fn give(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).pop().is_some()
    }

    /// Takes back what was given up, as far as there is any.
    pub(super) fn refill(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while held.len() < SIZE {
            match UnixDatagram::unbound() {
                Ok(socket) => held.push(socket),
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_taken_back() {
        let reserve = Reserve::new();
        let given = std::iter::from_fn(|| reserve.give().then_some(())).count();
        assert_eq!((given, reserve.give()), (SIZE, false));
        reserve.refill();
        assert!(reserve.give());
    }
}
