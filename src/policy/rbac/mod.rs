//! Who may do what.

mod raw;
mod roles;

pub use raw::{RawDeny, RawGrant, RawRbac};
pub use roles::{RawRole, Roles};

use super::compile::Compile;
use crate::decision::{Builtin, Denial, Notes, Reason, RuleRef, Stage, Trace, Verdict, Written};
use crate::facts::{Facts, RoleId};

/// The compiled grants and denies.
#[derive(Clone, Debug, Default)]
pub struct Rbac {}

/// A grant that covers the request and lacks something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// The grant.
    pub rule: Written,
    /// What is unmet: one entry for each kind, the only one if there is but one.
    pub unmet: Vec<Unmet>,
}

/// What a grant lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// Any of these roles.
    Roles(Vec<RoleId>),
    /// All of these scopes.
    Scopes(Vec<Box<str>>),
    /// Another subject.
    Subject,
    /// The condition does not hold.
    Condition,
    /// It has not begun.
    NotYet(jiff::Timestamp),
    /// It is over.
    Expired(jiff::Timestamp),
}

impl Rbac {
    /// Compiles `[rbac]`; the roles are in `cx.roles`.
    pub fn compile(_raw: &RawRbac, _cx: &mut Compile<'_>) -> Rbac {
        Rbac {}
    }

    /// Judges whether this someone may do this. `can_identify`: the route has a credential source,
    /// so that a refused nobody is told to log in.
    pub fn check(
        &self,
        _facts: &Facts<'_>,
        _can_identify: bool,
        _notes: &mut Notes,
        _trace: Option<&mut Trace>,
    ) -> Verdict {
        let _ = RuleRef::from(Builtin::DefaultDeny);
        Verdict::Deny(Denial::builtin(Stage::Rbac, Builtin::DefaultDeny).because(Reason::NoMatchingGrant))
    }

    /// Methods beyond the standard ones that grants name; only these pass the intake gate.
    pub fn extension_methods(&self) -> Vec<http::Method> {
        Vec::new()
    }

    /// The grants nearest to allowing the request, the nearest first. Looks at no more than 16 that
    /// the path walk reached. Called after the verdict, only where the log or the level wants it.
    pub fn nearest(&self, _facts: &Facts<'_>) -> Vec<Nearest> {
        Vec::new()
    }
}
