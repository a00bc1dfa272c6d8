//! Credential → identity: the one layer that fills that slot.
//!
//! A token that was verified before is looked up; a new one is verified on the spot, since public
//! key cryptography takes microseconds. Passwords are slow on purpose, so they are checked on a
//! bounded number of blocking threads.

use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use tower::Service;

use super::context::{Context, Snapshot};
use super::fork::Fork;
use super::judged::{Inbound, Reply};
use crate::decision::{Builtin, Denial, Stage};
use crate::facts::Identity;
use crate::policy::authn::{PasswordCheck, Presented, Verification};
use crate::policy::route::AuthnWord;

/// Fills in who asks.
#[derive(Clone, Debug)]
pub(crate) struct Identify<S> {
    context: Rc<Context>,
    inner: S,
}

impl<S> Identify<S> {
    /// In front of everything that wants to know who asks.
    pub(crate) fn new(context: Rc<Context>, inner: S) -> Identify<S> {
        Identify { context, inner }
    }
}

impl<S, F> Service<Inbound> for Identify<S>
where
    S: Service<Inbound, Response = Reply, Error = Infallible, Future = Fork<F>> + Clone + 'static,
    F: Future<Output = Result<Reply, Infallible>> + 'static,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = Fork<F>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut inbound: Inbound) -> Fork<F> {
        #[cfg(test)]
        super::trap::spring(super::trap::At::Identify);
        match known(&self.context, &inbound) {
            Known::Now(identity) => {
                inbound.judged.identity = identity;
                self.inner.call(inbound)
            }
            Known::Later(check) => {
                let (context, mut inner) = (Rc::clone(&self.context), self.inner.clone());
                Fork::slow(async move {
                    inbound.judged.pause();
                    let checked = run(&context, &inbound, check).await;
                    inbound.judged.resume();
                    match checked {
                        Some(identity) => {
                            inbound.judged.identity = identity;
                            inner.call(inbound).await
                        }
                        None => Ok(inbound.deny(Denial::builtin(Stage::Fault, Builtin::FaultOverload))),
                    }
                })
            }
        }
    }
}

enum Known {
    Now(Identity),
    Later(PasswordCheck),
}

fn known(context: &Context, inbound: &Inbound) -> Known {
    let judged = &inbound.judged;
    let Snapshot { policy, world, .. } = &*judged.installed.snapshot;
    let secured = judged.peer.secured.as_ref();
    let certified = match secured.map(|secured| secured.identity(&judged.installed.snapshot, judged.now)) {
        None => Identity::Nobody,
        Some(Ok(identity)) => identity,
        Some(Err(problem)) => return Known::Now(Identity::Invalid(problem)),
    };
    let route = policy.route_authn(judged.admitted.route);
    let credential = match policy.authn.presented(route, &inbound.judged.headers) {
        Presented::Nothing if route == AuthnWord::Off => return Known::Now(Identity::Nobody),
        // A certificate is the connection's, so it says who asks only where the request does not.
        Presented::Nothing => return Known::Now(certified),
        Presented::Refused(problem) => return Known::Now(Identity::Invalid(problem)),
        Presented::One(credential) => credential,
    };
    if let Some(who) = policy.recall(&context.tokens, &credential, world, judged.now) {
        return Known::Now(Identity::Valid(who));
    }
    match policy.authn.verify(&credential, &world.keys, &world.revoked, judged.now) {
        Verification::Done(Ok(holder)) => Known::Now(Identity::Valid(policy.remember(
            &context.tokens,
            &credential,
            holder,
            world,
            judged.now,
        ))),
        Verification::Done(Err(problem)) => Known::Now(Identity::Invalid(problem)),
        Verification::MissingKey { problem, url } => {
            context.keys_wanted.want(&url);
            Known::Now(Identity::Invalid(problem))
        }
        Verification::Slow(check) => Known::Later(check),
    }
}

/// Checks a password where it blocks nobody. `None`: too many are being checked already.
async fn run(context: &Context, inbound: &Inbound, check: PasswordCheck) -> Option<Identity> {
    let permit = Arc::clone(&context.passwords).try_acquire_owned().ok()?;
    let judged = &inbound.judged;
    let Snapshot { policy, world, .. } = &*judged.installed.snapshot;
    let revoked = Arc::clone(&world.revoked);
    let checked = tokio::task::spawn_blocking(move || {
        let checked = check.run(&revoked);
        // Held by the work and not by who waits for it: a client that hangs up frees no thread.
        drop(permit);
        checked
    });
    let holder = match checked.await.ok()? {
        Ok(holder) => holder,
        Err(problem) => return Some(Identity::Invalid(problem)),
    };
    // The credential was borrowed from the fields, so it is taken from them once more.
    let route = policy.route_authn(judged.admitted.route);
    Some(Identity::Valid(match policy.authn.presented(route, &inbound.judged.headers) {
        Presented::One(credential) => {
            policy.remember(&context.tokens, &credential, holder, world, judged.now)
        }
        Presented::Nothing | Presented::Refused(_) => Arc::new(policy.roles.who(holder)),
    }))
}
