//! Why a request was refused, as far as can be told from the request: the most likely first.

use std::borrow::Cow;

use http::Method;

use super::account::{Account, fate};
use crate::cli::layout::list;
use crate::cli::request::ASSUMED;
use crate::decision::{Denial, Reason, Stage};
use crate::facts::Identity;
use crate::policy::rbac::{Nearest, Unmet};

impl Account<'_> {
    /// The likely causes of the refusal: what is known of this request, and of those that its reason has, the
    /// ones that can be.
    pub(super) fn causes(&self) -> Vec<Cow<'static, str>> {
        let Some(denial) = self.denial() else { return Vec::new() };
        let mut causes: Vec<Cow<'static, str>> = Vec::new();
        let cors = self.admitted.route.is_some_and(|route| self.policy().routes.get(route).cors.is_some());
        if denial.stage.looks_at_caller() && cors && self.admitted.target.method == Method::OPTIONS {
            causes.push("a browser's preflight, which carries no credentials: this route answers those of the `origins` and `methods` of its `cors`".into());
        }
        if denial.reason == Reason::CredentialsMissing
            && denial.stage == Stage::Rbac
            && self.nearest.is_empty()
        {
            causes.push(
                "no grant is about this path and method, so that being logged in would not be enough".into(),
            );
        }
        let unheld = self.nearest.first().filter(|_| denial.reason == Reason::ConditionUnmet);
        match unheld.and_then(|near| self.unheld(near.rule)).filter(|unheld| !unheld.parts.is_empty()) {
            // What the reason has would only guess at it.
            Some(unheld) => {
                causes.extend(unheld.parts.iter().map(|part| {
                    format!("`{}` {}: {}", part.text, fate(part), list(&part.seen, " and ")).into()
                }))
            }
            None => causes.extend(self.usual_causes(denial).into_iter().map(Cow::from)),
        }
        causes
    }

    /// Of the causes that its reason has, the ones that can be.
    fn usual_causes(&self, denial: &Denial) -> Vec<&'static str> {
        let all = denial.reason.info().causes;
        let of_caller = |unmet: &Unmet| matches!(unmet, Unmet::Roles(_) | Unmet::Scopes(_) | Unmet::Subject);
        let only = match (denial.reason, self.nearest.is_empty()) {
            (Reason::NoMatchingGrant, true) => 0,
            (Reason::NoMatchingGrant, false) => {
                let known = matches!(self.identity, Some(Identity::Valid(_)));
                let for_somebody = |near: &Nearest| near.unmet.iter().any(of_caller);
                if !known && self.nearest.iter().all(for_somebody) { 2 } else { 1 }
            }
            (Reason::RoleMissing, _) => match self.is_kept_from_a_role() {
                Some(true) => 2,
                // The last one is that.
                Some(false) => return all.iter().copied().take(2).collect(),
                None => return all.to_vec(),
            },
            _ => return all.to_vec(),
        };
        all.get(only).copied().into_iter().collect()
    }

    /// Whether the credential names a role that the nearest grant needs, and its source may not bring it.
    /// None if nobody can tell, since there is no credential.
    fn is_kept_from_a_role(&self) -> Option<bool> {
        let holder = self.identity.as_ref().and_then(Identity::who).map(|who| &who.holder);
        let holder = holder.filter(|holder| &*holder.source != ASSUMED)?;
        let needed = self.nearest.iter().flat_map(|near| &near.unmet).filter_map(|unmet| match unmet {
            Unmet::Roles(roles) => Some(roles),
            _ => None,
        });
        let mut names = needed.flatten().map(|role| self.policy().roles.name(*role));
        Some(names.any(|name| holder.ignored_roles.iter().any(|role| **role == *name)))
    }
}
