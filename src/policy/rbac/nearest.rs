//! Which grants were nearly enough, and what they lack.
//!
//! Looked at only when nothing allowed the request, and bounded: of the grants that the walk
//! reached, those about more of the path first, no more than [`MAX_LOOKED_AT`] that are about its
//! method. The nearest lacks the fewest kinds of things; of equally near ones the first in policy
//! order, those that name this very subject before others. A default deny takes its reason from them
//! only if they lack one thing, and all that are equally near lack the same kind; or else, all that name
//! the subject do: else there is not *one* thing that would help.

use smallvec::SmallVec;

use super::rule::{Lacks, Rule};
use super::table::{Entry, EntryKind, Reached, Table};
use crate::decision::{Reason, Written};
use crate::facts::{RoleId, Who};
use crate::policy::rbac::Roles;

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

/// How many grants are looked at for what they lack.
const MAX_LOOKED_AT: usize = 16;

/// How many rules are passed over because they are denies or about other methods.
const MAX_PASSED_OVER: usize = 256;

/// A grant that was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Near {
    pub(super) rule: u32,
    pub(super) lacks: Lacks,
}

/// The grants that were looked at, none twice.
pub(super) type Looked = SmallVec<[Near; MAX_LOOKED_AT]>;

/// Whether there is a grant about the request's method, where all that were reached ask for roles alone and
/// so lack just these: what [`look`] would find, in a few instructions. None where more must be looked at.
#[inline]
pub(super) fn only_roles(reached: &Reached<'_>, names_method: impl Fn(&Entry) -> bool) -> Option<bool> {
    let mut found = false;
    for place in reached.iter() {
        match place.kind {
            EntryKind::Grant => found |= names_method(place),
            EntryKind::Deny | EntryKind::DetailedDeny => {}
            EntryKind::DetailedGrant | EntryKind::List | EntryKind::Crowd => return None,
        }
    }
    Some(found)
}

/// Looks at grants that are about the request's method. `lacks` says what one lacks.
pub(super) fn look(
    table: &Table,
    reached: &mut Reached<'_>,
    names_method: impl Fn(&Entry) -> bool,
    lacks: impl Fn(&Entry) -> Lacks,
) -> Looked {
    let mut looked = Looked::new();
    let members = reached.nearest_first().flat_map(|place| table.members(place));
    for entry in members.take(MAX_LOOKED_AT + MAX_PASSED_OVER) {
        let is_grant = matches!(entry.kind, EntryKind::Grant | EntryKind::DetailedGrant);
        if !is_grant || !names_method(entry) {
            continue;
        }
        let lacks = lacks(entry);
        if let Some(near) = looked.iter_mut().find(|near| near.rule == entry.rule) {
            // The same grant by another of its patterns: what it lacks there may be less.
            if lacks.count() < near.lacks.count() {
                near.lacks = lacks;
            }
        } else if looked.len() < MAX_LOOKED_AT {
            looked.push(Near { rule: entry.rule, lacks });
        } else {
            break;
        }
    }
    looked
}

/// The one kind of thing that would help, if there is one, and the first grant that lacks it. `own`: whether
/// a grant names this very subject. Such a one was meant for who asks, so that others need something else
/// says nothing.
pub(super) fn only_lack(looked: &[Near], own: impl Fn(u32) -> bool) -> Option<Near> {
    let alike = |of: &dyn Fn(&Near) -> bool| {
        let mut near = looked.iter().filter(|near| near.lacks.count() == 1 && of(near));
        let first = near.clone().min_by_key(|near| near.rule)?;
        near.all(|other| other.lacks == first.lacks).then_some(*first)
    };
    alike(&|_| true).or_else(|| alike(&|near| own(near.rule)))
}

impl Lacks {
    /// The reason of a default deny for want of this alone.
    pub(super) fn reason(self) -> Reason {
        match self {
            Lacks::ROLES => Reason::RoleMissing,
            Lacks::SCOPES => Reason::ScopeMissing,
            Lacks::SUBJECT => Reason::SubjectNotListed,
            Lacks::CONDITION => Reason::ConditionUnmet,
            Lacks::NOT_YET => Reason::GrantNotYetValid,
            Lacks::EXPIRED => Reason::GrantExpired,
            _ => Reason::NoMatchingGrant,
        }
    }

    /// Whether it is about who asks.
    pub(super) fn about_caller(self) -> bool {
        matches!(self, Lacks::ROLES | Lacks::SCOPES | Lacks::SUBJECT)
    }
}

impl Rule {
    /// What is lacking, spelt out.
    pub(super) fn unmet(&self, lacks: Lacks) -> Vec<Unmet> {
        let kinds = [
            (Lacks::ROLES, Some(Unmet::Roles(self.roles.to_vec()))),
            (Lacks::SCOPES, Some(Unmet::Scopes(self.scopes.to_vec()))),
            (Lacks::SUBJECT, Some(Unmet::Subject)),
            (Lacks::CONDITION, Some(Unmet::Condition)),
            (Lacks::NOT_YET, self.from.map(Unmet::NotYet)),
            (Lacks::EXPIRED, self.until.map(Unmet::Expired)),
        ];
        kinds.into_iter().filter(|(kind, _)| lacks.contains(*kind)).filter_map(|(_, unmet)| unmet).collect()
    }
}

impl Unmet {
    /// The word in answers and records.
    pub const fn name(&self) -> &'static str {
        match self {
            Unmet::Roles(_) => "roles",
            Unmet::Scopes(_) => "scopes",
            Unmet::Subject => "subject",
            Unmet::Condition => "condition",
            Unmet::NotYet(_) => "not_yet",
            Unmet::Expired(_) => "expired",
        }
    }

    /// What the grant needs: names of roles or scopes, a time; nothing for a subject (the others
    /// are nobody's business) or a condition.
    pub fn needs(&self, roles: &Roles) -> Vec<String> {
        match self {
            Unmet::Roles(needed) => needed.iter().map(|role| roles.name(*role).to_owned()).collect(),
            Unmet::Scopes(needed) => needed.iter().map(|scope| scope.to_string()).collect(),
            Unmet::Subject | Unmet::Condition => Vec::new(),
            Unmet::NotYet(time) | Unmet::Expired(time) => vec![time.to_string()],
        }
    }

    /// What the caller has of the same kind.
    pub fn have(&self, who: Option<&Who>, roles: &Roles) -> Vec<String> {
        let Some(who) = who else { return Vec::new() };
        match self {
            Unmet::Roles(_) => {
                let own = who.roles.iter().filter(|role| *role > RoleId::AUTHENTICATED);
                own.map(|role| roles.name(role).to_owned()).collect()
            }
            Unmet::Scopes(_) => who.holder.scopes.iter().map(|scope| scope.to_string()).collect(),
            Unmet::Subject => vec![who.holder.subject.to_string()],
            Unmet::Condition | Unmet::NotYet(_) | Unmet::Expired(_) => Vec::new(),
        }
    }
}
