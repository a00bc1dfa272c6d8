//! Rules that others leave nothing to decide.

use std::collections::{BTreeMap, BTreeSet};

use super::who::{ByWho, CallerCell, caller_cells, held_with};
use super::{Numbered, Rbac};
use crate::decision::Written;
use crate::policy::code::Code;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::lint::Look;
use crate::policy::rbac::rule::Kind;

/// Grants that allow nothing that others do not allow. Asked from the last to the first, and what is
/// said once is no longer leant on: without all of them together the policy allows the same.
pub(super) fn redundant_grants(rbac: &Rbac, look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let counts = |rule: &Numbered<'_>| rule.rule.kind == Kind::Grant && !rule.rule.expired(look.now);
    let mut by_who = ByWho::default();
    rbac.numbered().filter(counts).for_each(|rule| by_who.file(rule));
    let mut said = BTreeSet::new();
    for rule in rbac.numbered().rev().filter(counts) {
        let by = covered_by(rbac, &rule, &by_who, look, |other, _| {
            other.number != rule.number
                && !said.contains(&other.number)
                && other.outlasts(&rule, look)
                && other.is_no_stricter_than(&rule)
        });
        let Some(by) = by else { continue };
        said.insert(rule.number);
        let message =
            format!("`{}` allows nothing that {} not allow", look.name(rule.rule.written), does(&by, look));
        let problem = diagnostics.push(Code::RedundantGrant, look.place(rule.rule.written), message);
        problem.about(look.name(rule.rule.written)).label("grants nothing new");
        for by in &by {
            problem.also(look.place(*by), "allows the same, or more");
        }
        problem.help("remove it, or narrow the other one if that allows more than it should");
    }
}

fn does(by: &[Written], look: &Look<'_>) -> String {
    format!("{} {}", look.names(by), if by.len() == 1 { "does" } else { "do" })
}

/// Denies that are never named, because those before them forbid all that they forbid.
pub(super) fn shadowed_denies(rbac: &Rbac, look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let counts = |rule: &Numbered<'_>| rule.enforces(look) && !rule.rule.expired(look.now);
    let mut by_who = ByWho::default();
    rbac.numbered().filter(counts).for_each(|rule| by_who.file(rule));
    for rule in rbac.numbered().filter(counts) {
        let by = covered_by(rbac, &rule, &by_who, look, |other, _| {
            other.number < rule.number
                && other.outlasts(&rule, look)
                && other.is_no_stricter_than(&rule)
                && exempts_no_more(other, &rule, look)
        });
        let Some(by) = by else { continue };
        let message = format!(
            "`{}` never decides: {} before it forbid{} the same",
            look.name(rule.rule.written),
            look.names(&by),
            if by.len() == 1 { "s" } else { "" }
        );
        let problem = diagnostics.push(Code::ShadowedRule, look.place(rule.rule.written), message);
        problem.about(look.name(rule.rule.written)).label("never decides");
        for by in &by {
            problem.also(look.place(*by), "forbids the same, or more");
        }
        problem.help("remove it, put it before the other, or narrow the other");
    }
}

/// Whether whoever is exempt from `other` is exempt from `rule` too.
fn exempts_no_more(other: &Numbered<'_>, rule: &Numbered<'_>, look: &Look<'_>) -> bool {
    let exempt =
        |role: &_| held_with(*role, &look.policy.roles).iter().any(|held| rule.rule.except.contains(held));
    other.rule.except.iter().all(exempt)
}

/// Denies that leave nothing of a grant, to nobody, now and in future.
pub(super) fn overbroad_denies(rbac: &Rbac, look: &Look<'_>, diagnostics: &mut Diagnostics) {
    let lasts = |rule: &Numbered<'_>| {
        rule.enforces(look)
            && rule.rule.until.is_none()
            && rule.rule.from.is_none_or(|from| from <= look.now)
            && rule.rule.condition.is_none()
            && rule.rule.except.is_empty()
    };
    let mut by_who = ByWho::default();
    rbac.numbered().filter(lasts).for_each(|rule| by_who.file(rule));
    if by_who.is_empty() {
        return;
    }
    let grants = rbac.numbered().filter(|rule| rule.rule.kind == Kind::Grant && !rule.rule.expired(look.now));
    let mut killed: BTreeMap<Vec<Written>, Vec<Written>> = BTreeMap::new();
    for grant in grants {
        if let Some(by) = covered_by(rbac, &grant, &by_who, look, |_, _| true) {
            killed.entry(by).or_default().push(grant.rule.written);
        }
    }
    for (denies, grants) in killed {
        let Some((first, others)) = denies.split_first() else { continue };
        let forbid = if others.is_empty() { "forbids" } else { "forbid" };
        let give = if grants.len() == 1 { "grants" } else { "grant" };
        let (denies_named, grants_named) = (look.names(&denies), look.names(&grants));
        let message = format!("{grants_named} {give} nothing: {denies_named} {forbid} all of it");
        let problem = diagnostics.push(Code::OverbroadDeny, look.place(*first), message);
        problem.about(look.name(*first)).label("a deny beats every grant");
        for deny in others {
            problem.also(look.place(*deny), "forbids the rest");
        }
        for grant in &grants {
            problem.also(look.place(*grant), "gives nothing");
        }
        problem.help("narrow the deny (`except_roles`, `methods`, `path`), or remove the grant");
    }
}

/// The rules that together are about all that this one is about, each cell of it covered by one that
/// `may`. None if there are not, or it was not found out.
fn covered_by(
    rbac: &Rbac,
    rule: &Numbered<'_>,
    by_who: &ByWho<'_>,
    look: &Look<'_>,
    may: impl Fn(&Numbered<'_>, &CallerCell<'_>) -> bool,
) -> Option<Vec<Written>> {
    let roles = &look.policy.roles;
    let mut by = BTreeSet::new();
    for cell in caller_cells(rule)? {
        let fits = |number| {
            rbac.get(number).is_some_and(|other| may(&other, &cell) && cell.is_within(&other, roles))
        };
        by.insert(by_who.find(&cell, roles, fits)?);
    }
    Some(by.into_iter().filter_map(|number| rbac.get(number)).map(|rule| rule.rule.written).collect())
}
