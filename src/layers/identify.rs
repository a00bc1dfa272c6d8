//! Credential → identity: the one layer that fills that slot.
//!
//! A token that was verified before is looked up; a new one is verified on the spot, since public
//! key cryptography takes microseconds. Passwords are slow on purpose, so they are checked on a
//! bounded number of blocking threads.

use std::convert::Infallible;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use tower::Service;

use super::context::{Context, Installed};
use super::fork::Fork;
use super::judged::{Inbound, Reply};
use crate::decision::{Builtin, Denial, Stage};
use crate::facts::Identity;
use crate::policy::authn::{PasswordCheck, Presented, Verification};

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

impl<S> Service<Inbound> for Identify<S>
where
    S: Service<Inbound, Response = Reply, Error = Infallible> + Clone + 'static,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = Fork<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut inbound: Inbound) -> Fork<S::Future> {
        match known(&inbound) {
            Known::Now(identity) => {
                inbound.judged.identity = identity;
                Fork::inner(self.inner.call(inbound))
            }
            Known::Later(check) => {
                let (context, mut inner) = (Rc::clone(&self.context), self.inner.clone());
                Fork::slow(async move {
                    inbound.judged.pause();
                    let checked = run(&context, &inbound.judged.installed, check, inbound.judged.now).await;
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

fn known(inbound: &Inbound) -> Known {
    let judged = &inbound.judged;
    let snapshot = &judged.installed.snapshot;
    let policy = &snapshot.policy;
    let credential = match policy.authn.presented(policy.route_authn(judged.admitted.route), &inbound.parts.headers) {
        Presented::Nothing => return Known::Now(Identity::Nobody),
        Presented::Refused(problem) => return Known::Now(Identity::Invalid(problem)),
        Presented::One(credential) => credential,
    };
    match policy.authn.verify(&credential, &snapshot.world.keys, &snapshot.world.revoked, judged.now) {
        Verification::Done(Ok(holder)) => Known::Now(Identity::Valid(policy.roles.who(holder).into())),
        Verification::Done(Err(problem)) => Known::Now(Identity::Invalid(problem)),
        Verification::Slow(check) => Known::Later(check),
    }
}

/// Checks a password where it blocks nobody. `None`: too many are being checked already.
async fn run(
    context: &Context,
    installed: &Installed,
    check: PasswordCheck,
    now: jiff::Timestamp,
) -> Option<Identity> {
    let permit = context.passwords.try_acquire().ok()?;
    let revoked = installed.snapshot.world.revoked.clone();
    let verified = tokio::task::spawn_blocking(move || check.run(&revoked, now)).await;
    drop(permit);
    Some(match verified.ok()? {
        Ok(holder) => Identity::Valid(installed.snapshot.policy.roles.who(holder).into()),
        Err(problem) => Identity::Invalid(problem),
    })
}
