//! Rules by whom they are about and by path.

use std::collections::HashMap;
use std::ops::ControlFlow;

use smallvec::{SmallVec, smallvec};

use super::Numbered;
use crate::facts::RoleId;
use crate::policy::lint::{Cell, cells};
use crate::policy::rbac::Roles;
use crate::policy::rbac::rule::Kind;
use crate::policy::scope::{PathTree, Steps};

/// A caller as a rule asks for one, together with what is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallerCell<'r> {
    pub(super) cell: Cell<'r>,
    /// The role that is asked for; none: whichever.
    pub(super) role: Option<RoleId>,
    pub(super) subject: Option<&'r str>,
    /// All of these.
    pub(super) scopes: &'r [Box<str>],
}

/// A rule that is about more callers is not taken apart.
const MAX_CALLERS: usize = 64;

/// Takes a rule apart, if it has few parts.
pub(super) fn caller_cells<'r>(rule: &Numbered<'r>) -> Option<Vec<CallerCell<'r>>> {
    let of = rule.rule;
    let mut roles: SmallVec<[Option<RoleId>; 4]> = of.roles.iter().copied().map(Some).collect();
    let mut subjects: SmallVec<[Option<&str>; 4]> = of.subjects.iter().map(|of| Some(&**of)).collect();
    if roles.is_empty() {
        roles.push(None);
    }
    if subjects.is_empty() {
        subjects.push(None);
    }
    // A grant asks for all of its scopes, a deny for any.
    let scopes: SmallVec<[&[Box<str>]; 4]> = match of.kind {
        Kind::Deny(_) if !of.scopes.is_empty() => of.scopes.chunks(1).collect(),
        Kind::Grant | Kind::Deny(_) => smallvec![&*of.scopes],
    };
    if roles.len().saturating_mul(subjects.len()).saturating_mul(scopes.len()) > MAX_CALLERS {
        return None;
    }
    let cells = cells(rule.scope)?;
    let mut all = Vec::with_capacity(cells.len());
    for cell in cells {
        for role in &roles {
            for subject in &subjects {
                let some =
                    scopes.iter().map(|scopes| CallerCell { cell, role: *role, subject: *subject, scopes });
                all.extend(some);
            }
        }
    }
    Some(all)
}

impl CallerCell<'_> {
    /// The roles that every such caller has, as far as can be told.
    fn held(&self, roles: &Roles) -> Held {
        let mut held = self.role.map(|role| held_with(role, roles)).unwrap_or_default();
        // Whoever has a subject or scopes was identified.
        let identified = (self.subject.is_some() || !self.scopes.is_empty()).then_some(RoleId::AUTHENTICATED);
        held.extend(identified.into_iter().chain([RoleId::ANYONE]));
        held
    }

    /// Whether another rule is about all such callers and requests, but for the path.
    pub(super) fn is_within(&self, other: &Numbered<'_>, roles: &Roles) -> bool {
        let rule = other.rule;
        let held = || self.held(roles);
        let scopes = match rule.kind {
            Kind::Grant => rule.scopes.iter().all(|scope| self.scopes.contains(scope)),
            Kind::Deny(_) => {
                rule.scopes.is_empty() || rule.scopes.iter().any(|scope| self.scopes.contains(scope))
            }
        };
        scopes
            && (rule.subjects.is_empty()
                || self.subject.is_some_and(|subject| rule.subjects.contains(subject)))
            && self.cell.is_within(other.scope)
            && (rule.roles.is_empty() || held().iter().any(|role| rule.roles.contains(role)))
    }
}

/// Roles that somebody has.
pub(super) type Held = SmallVec<[RoleId; 8]>;

/// A role with all that whoever has it has too.
pub(super) fn held_with(role: RoleId, roles: &Roles) -> Held {
    let mut held: Held = roles.closure(role).iter().take(MAX_CLOSURE).collect();
    held.push(RoleId::ANYONE);
    if role != RoleId::ANYONE {
        held.push(RoleId::AUTHENTICATED);
    }
    held
}

/// Of longer chains of roles only the beginning is followed.
const MAX_CLOSURE: usize = 128;

/// Rules by the rarest thing they ask of a caller, and by path.
#[derive(Default)]
pub(super) struct ByWho<'r> {
    roles: HashMap<RoleId, PathTree<usize>>,
    subjects: HashMap<&'r str, PathTree<usize>>,
    scopes: HashMap<&'r str, PathTree<usize>>,
}

/// So many steps are gone for one cell.
const STEPS: usize = 300;

/// A rule about more is not filed: nobody writes one.
const MAX_FILED: usize = 1_000;

impl<'r> ByWho<'r> {
    /// Whether no rule is filed.
    pub(super) fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.subjects.is_empty() && self.scopes.is_empty()
    }

    /// Files a rule.
    pub(super) fn file(&mut self, rule: Numbered<'r>) {
        let of = rule.rule;
        let callers = of.subjects.len().max(of.roles.len()).max(of.scopes.len()).max(1);
        if callers.saturating_mul(rule.scope.paths.len()) > MAX_FILED {
            return;
        }
        if !of.subjects.is_empty() {
            of.subjects.iter().for_each(|subject| insert(self.subjects.entry(&**subject).or_default(), rule));
        } else if !of.roles.is_empty() {
            of.roles.iter().for_each(|role| insert(self.roles.entry(*role).or_default(), rule));
        } else if !of.scopes.is_empty() {
            // A grant needs all its scopes, so one of them is enough to find it by.
            let needed = if of.kind == Kind::Grant { 1 } else { of.scopes.len() };
            of.scopes
                .iter()
                .take(needed)
                .for_each(|scope| insert(self.scopes.entry(&**scope).or_default(), rule));
        } else {
            insert(self.roles.entry(RoleId::ANYONE).or_default(), rule);
        }
    }

    /// The first rule that may be about all such callers and requests and that `fits`. None also where
    /// looking took too long.
    pub(super) fn find(
        &self,
        asked: &CallerCell<'_>,
        roles: &Roles,
        mut fits: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let by_role = asked.held(roles);
        let trees = asked.subject.and_then(|subject| self.subjects.get(subject)).into_iter();
        let trees = trees.chain(by_role.iter().filter_map(|role| self.roles.get(role)));
        let trees = trees.chain(asked.scopes.iter().filter_map(|scope| self.scopes.get(&**scope)));
        let (mut steps, mut found) = (Steps(STEPS), None);
        for tree in trees {
            let looked = tree.covering(asked.cell.path, &mut steps, |number| {
                if fits(*number) {
                    found = Some(*number);
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            if looked.is_break() {
                break;
            }
        }
        found
    }
}

fn insert(tree: &mut PathTree<usize>, rule: Numbered<'_>) {
    rule.scope.paths.iter().for_each(|path| tree.insert(Some(path), rule.number));
    if rule.scope.paths.is_empty() {
        tree.insert(None, rule.number);
    }
}
