//! One generic layer for every stage: asks the policy, and answers at once when it refuses.

use std::convert::Infallible;
use std::future::Future;
use std::task::{Context, Poll};

use tower::Service;

use super::fork::Fork;
use super::judged::{Inbound, Reply};
use crate::decision::{Stage, Verdict};

/// Stands in front of everything that may happen only if its stage does not refuse.
#[derive(Clone, Debug)]
pub(crate) struct Gate<S> {
    stage: Stage,
    inner: S,
}

impl<S> Gate<S> {
    /// Guards `inner` with a stage.
    pub(crate) fn new(stage: Stage, inner: S) -> Gate<S> {
        Gate { stage, inner }
    }
}

impl<S, F> Service<Inbound> for Gate<S>
where
    S: Service<Inbound, Response = Reply, Error = Infallible, Future = Fork<F>>,
    F: Future<Output = Result<Reply, Infallible>>,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = Fork<F>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut inbound: Inbound) -> Fork<F> {
        #[cfg(test)]
        super::trap::spring(super::trap::At::Gate(self.stage));
        match inbound.check(self.stage) {
            Verdict::Pass(_) => self.inner.call(inbound),
            Verdict::Deny(denial) => Fork::done(inbound.deny(denial)),
            Verdict::Answer(rule) => Fork::done(inbound.answer(rule)),
        }
    }
}
