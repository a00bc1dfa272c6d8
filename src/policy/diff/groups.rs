//! Subjects that no rule of either policy tells apart.

use std::collections::{BTreeMap, BTreeSet};

use super::side::Side;
use crate::decision::Written;

/// Subjects by the rules that name them: what is said of one of a group holds for all.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) list: Vec<Vec<Box<str>>>,
    /// Those that a rule of the old policy names, and of the new one.
    pub(super) by_rule: BTreeMap<(Age, Written), Vec<usize>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Age {
    Old,
    New,
}

impl Groups {
    pub(super) fn of(old: Side<'_>, new: Side<'_>) -> Groups {
        let mut named: BTreeMap<&str, BTreeSet<(Age, Written)>> = BTreeMap::new();
        for (age, side) in [(Age::Old, old), (Age::New, new)] {
            for (rule, subjects) in side.policy.rbac.naming_subjects() {
                for subject in subjects {
                    named.entry(subject).or_default().insert((age, rule));
                }
            }
        }
        let mut alike: BTreeMap<BTreeSet<(Age, Written)>, Vec<Box<str>>> = BTreeMap::new();
        for (subject, rules) in named {
            alike.entry(rules).or_default().push(subject.into());
        }
        let mut groups = Groups::default();
        for (number, (rules, subjects)) in alike.into_iter().enumerate() {
            for rule in rules {
                groups.by_rule.entry(rule).or_default().push(number);
            }
            groups.list.push(subjects);
        }
        groups
    }
}
