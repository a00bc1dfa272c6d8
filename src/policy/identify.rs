//! Who asks, as a policy sees it: credentials verified, remembered, and made roles of this policy.

use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;

use super::authn::{Credential, Hit, Presented, TokenCache, Verification};
use super::{Policy, World};
use crate::facts::{Certificate, Holder, Identity, RouteId, Who};

impl Policy {
    /// Who a certificate says asks, where the request shows nothing. TLS has verified it.
    pub fn certified(&self, certificate: &Certificate, world: &World) -> Identity {
        match self.authn.certified(certificate, &world.revoked) {
            Ok(None) => Identity::Nobody,
            Ok(Some(holder)) => Identity::Valid(Arc::new(self.roles.who(holder))),
            Err(problem) => Identity::Invalid(problem),
        }
    }

    /// Verifies what a request shows, passwords included; for callers that may block.
    pub fn identify(
        &self,
        route: Option<RouteId>,
        headers: &HeaderMap,
        world: &World,
        now: Timestamp,
    ) -> Identity {
        let credential = match self.authn.presented(self.route_authn(route), headers) {
            Presented::Nothing => return Identity::Nobody,
            Presented::Refused(problem) => return Identity::Invalid(problem),
            Presented::One(credential) => credential,
        };
        let verified = match self.authn.verify(&credential, &world.keys, &world.revoked, now) {
            Verification::Done(result) => result,
            Verification::MissingKey { problem, .. } => Err(problem),
            Verification::Slow(check) => check.run(&world.revoked),
        };
        match verified {
            Ok(holder) => Identity::Valid(Arc::new(self.roles.who(holder))),
            Err(problem) => Identity::Invalid(problem),
        }
    }

    /// Who showed a credential that was verified before, if that still counts: by these sources and
    /// keys, now, and not revoked. Allocates only when the roles were resolved by another policy.
    pub fn recall(
        &self,
        cache: &TokenCache,
        credential: &Credential<'_>,
        world: &World,
        now: Timestamp,
    ) -> Option<Arc<Who>> {
        let stamp = self.authn.stamp(&world.keys);
        let Hit { who, current } = cache.get(credential, stamp, self.version, now)?;
        if self.authn.is_revoked(&who.holder, &world.revoked) {
            return None;
        }
        if current {
            return Some(who);
        }
        let who = Arc::new(self.roles.who(who.holder.clone()));
        cache.update(credential, stamp, self.version, who.clone());
        Some(who)
    }

    /// What a verified holder is in this policy, kept for [`Policy::recall`]. `world` is the one that
    /// the credential was verified in.
    pub fn remember(
        &self,
        cache: &TokenCache,
        credential: &Credential<'_>,
        holder: Arc<Holder>,
        world: &World,
        now: Timestamp,
    ) -> Arc<Who> {
        let window = self.authn.window(&holder, now);
        let who = Arc::new(self.roles.who(holder));
        if let Some(window) = window {
            let stamp = self.authn.stamp(&world.keys);
            cache.put(credential, stamp, self.version, window, who.clone());
        }
        who
    }
}
