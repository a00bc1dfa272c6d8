//! Futures of forwarded requests, in places that are used again.
//!
//! Such a future holds the state of everything that happens until an upstream has answered, some
//! kilobytes. Each layer hands the future of the one below it upwards, so it is put into its place
//! here, where it is made, and what goes upwards is a pointer.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tower::Service;

use crate::layers::{Fork, Inbound, Reply};

type Slot<F> = Pin<Box<Option<F>>>;
type Free<F> = Rc<RefCell<Vec<Slot<F>>>>;

/// Places that are kept; those of further requests at once are freed.
const KEPT: usize = 256;

/// The innermost service: makes a future of a request, and keeps its place for another one.
pub(super) struct Slots<M, F> {
    make: M,
    free: Free<F>,
}

impl<M: Fn(Inbound) -> F, F> Slots<M, F> {
    /// Of what `make` makes.
    pub(super) fn new(make: M) -> Slots<M, F> {
        Slots { make, free: Rc::default() }
    }
}

impl<M: Clone, F> Clone for Slots<M, F> {
    fn clone(&self) -> Self {
        Slots { make: self.make.clone(), free: Rc::clone(&self.free) }
    }
}

impl<M, F> Service<Inbound> for Slots<M, F>
where
    M: Fn(Inbound) -> F,
    F: Future<Output = Result<Reply, Infallible>>,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = Fork<Slotted<F>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, inbound: Inbound) -> Fork<Slotted<F>> {
        let mut slot = self.free.borrow_mut().pop().unwrap_or_else(|| Box::pin(None));
        slot.set(Some((self.make)(inbound)));
        Fork::inner(Slotted { slot: Some(slot), free: Rc::clone(&self.free) })
    }
}

/// A future in its place.
pub(super) struct Slotted<F> {
    slot: Option<Slot<F>>,
    free: Free<F>,
}

impl<F: Future> Future for Slotted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = self.slot.as_mut().and_then(|slot| slot.as_mut().as_pin_mut()) else {
            // Polled after it was done; whoever does that waits for ever.
            return Poll::Pending;
        };
        let output = ready!(future.poll(cx));
        self.give_back();
        Poll::Ready(output)
    }
}

impl<F> Slotted<F> {
    fn give_back(&mut self) {
        if let Some(mut slot) = self.slot.take() {
            // Before the list is borrowed: what is dropped may be anything.
            slot.set(None);
            let mut free = self.free.borrow_mut();
            if free.len() < KEPT {
                free.push(slot);
            }
        }
    }
}

impl<F> Drop for Slotted<F> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<M, F> fmt::Debug for Slots<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("free", &self.free.borrow().len()).finish_non_exhaustive()
    }
}
