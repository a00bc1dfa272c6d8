//! Is the request intelligible, unambiguous and within size?

mod client;

pub use client::{AddressSource, TrustedProxies};

use http::HeaderName;

use crate::decision::{Builtin, Denial, Stage, StepOutcome, Trace, Verdict};
use crate::facts::{Accept, Expect, Facts, fold_name};

/// The sizes beyond which a request head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole head.
    pub head: u64,
    /// Header fields.
    pub fields: usize,
    /// Bytes of the target as it came.
    pub target: usize,
    /// Bytes of a credential.
    pub credential: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { head: 64 * 1024, fields: 128, target: 8 * 1024, credential: 16 * 1024 }
    }
}

/// What the intake gate needs to know of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    /// Sizes.
    pub limits: Limits,
    /// Header names that the gateway sets towards clients and upstreams. A name that folds to one
    /// of them without being it is refused.
    pub managed: Vec<HeaderName>,
    /// Methods beyond the standard ones that some rule of the policy names.
    pub extension_methods: Vec<http::Method>,
}

impl Intake {
    /// Judges the head. The size of the head and the framing of HTTP itself are checked by the
    /// server before; whatever it found is in the target's error.
    pub fn check(&self, facts: &Facts<'_>, accept: Accept, trace: Option<&mut Trace>) -> Verdict {
        match self.find(facts, accept) {
            None => Verdict::Pass(Builtin::Intelligible.into()),
            Some(rule) => {
                let denial = Denial::builtin(Stage::Intake, rule);
                if let Some(trace) = trace {
                    trace.rule(Stage::Intake, rule, StepOutcome::Deny(denial.reason), rule.info().text);
                }
                Verdict::Deny(denial)
            }
        }
    }

    fn find(&self, facts: &Facts<'_>, accept: Accept) -> Option<Builtin> {
        let (target, fields) = (facts.target, facts.fields);
        if let Some(error) = &target.error {
            return Some(error.rule);
        }
        let irregular = target.irregular();
        let method_known = matches!(
            target.method,
            http::Method::GET
                | http::Method::HEAD
                | http::Method::POST
                | http::Method::PUT
                | http::Method::DELETE
                | http::Method::PATCH
                | http::Method::OPTIONS
        );
        let checks = [
            (target.path_and_query().as_str().len() > self.limits.target, Builtin::TargetTooLong),
            (fields.head > self.limits.head, Builtin::HeadTooLarge),
            (fields.count > self.limits.fields, Builtin::TooManyFields),
            (fields.framing_conflict, Builtin::FramingConflict),
            (!method_known && !self.extension_methods.contains(&target.method), Builtin::MethodRefused),
            (irregular.encoded_slash && !accept.encoded_slash, Builtin::EncodedSlash),
            (irregular.backslash && !accept.backslash, Builtin::Backslash),
            (irregular.path_parameters && !accept.path_parameters, Builtin::PathParameters),
            (fields.duplicate.is_some(), Builtin::HeaderDuplicate),
            (fields.expect == Expect::Other, Builtin::Expect),
        ];
        if let Some((_, rule)) = checks.into_iter().find(|(found, _)| *found) {
            return Some(rule);
        }
        (fields.odd_names && self.has_refused_name(facts, accept)).then_some(Builtin::HeaderName)
    }

    /// CGI, WSGI and their like read `x_auth_roles` as `x-auth-roles` (CVE-2026-39858), some also
    /// `x.auth.roles` (CVE-2026-88011). Underscores are refused unless the route takes them; names
    /// that fold to one of ours are refused always.
    fn has_refused_name(&self, facts: &Facts<'_>, accept: Accept) -> bool {
        facts.headers.keys().map(HeaderName::as_str).filter(|name| name.contains(['_', '.'])).any(|name| {
            let folded = fold_name(name);
            (name.contains('_') && !accept.underscore_headers)
                || self.managed.iter().any(|managed| managed == folded.as_str())
        })
    }
}
