//! How two policies differ, as meaning: which rules are new, gone or another, and what each role may do
//! now that it could not do before, or no longer may.
//!
//! Pure: texts and compiled policies in, a [`Difference`] out. `diff`, the history and `why` show it.

mod addresses;
mod cells;
mod fingerprint;
mod groups;
mod keys;
mod meaning;
mod prints;
mod request;
mod side;
mod tables;
#[cfg(test)]
mod tests;

pub use addresses::{AddressChange, Nets};
pub use cells::{CellChange, Cells};
pub use fingerprint::Fingerprint;
pub use keys::KeyChange;
pub use meaning::{Draft, Meaning, RuleMeaning, RuleScope};
pub use side::Side;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Policy;
use super::source::Sources;

/// What became of a rule or definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It means something else.
    Changed,
}

/// A rule or a definition that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangedName {
    /// `rbac/orders-read`; `network office`.
    pub name: Box<str>,
    /// In which way.
    pub kind: Kind,
    /// Of a changed rule: what is different, [`ITSELF`] or the definitions that it refers to.
    pub because: Vec<Box<str>>,
    /// Of a network, or of a changed address rule: which addresses came and went.
    pub addresses: Vec<AddressChange>,
    /// Of a changed rule or definition: which of its keys have another value.
    pub keys: Vec<KeyChange>,
}

/// What a difference calls the text of a rule, beside the names of definitions.
pub const ITSELF: &str = "itself";

/// How two policies differ.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// The rules that differ, by name.
    pub rules: Vec<ChangedName>,
    /// Everything else that differs, by name.
    pub definitions: Vec<ChangedName>,
    /// What roles gained and lost.
    pub cells: Cells,
}

/// A policy with the texts it was made of.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Its texts.
    pub sources: &'a Sources,
}

impl Kind {
    /// The word in output and records.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Added => "added",
            Kind::Removed => "removed",
            Kind::Changed => "changed",
        }
    }
}

impl Difference {
    /// Compares two policies. `now`: rules that have ended by then count for nothing.
    pub fn between(old: Version<'_>, new: Version<'_>, now: Timestamp) -> Difference {
        let meaning = |side: Version<'_>| Meaning::of(side.sources, &side.policy.rules);
        let (was, is) = (meaning(old), meaning(new));
        let old = Side { policy: old.policy, sources: old.sources, meaning: &was };
        let new = Side { policy: new.policy, sources: new.sources, meaning: &is };
        Difference::of(old, new, now, usize::MAX)
    }

    /// The same, of policies whose meaning is known. `most`: of larger texts, in bytes, it is not told which
    /// keys changed, since they are parsed once more for that.
    pub fn of(old: Side<'_>, new: Side<'_>, now: Timestamp, most: usize) -> Difference {
        let mut rules = Difference::rules(old.meaning, new.meaning);
        let mut definitions = Difference::definitions(old.meaning, new.meaning);
        addresses::tell(old, new, &mut rules, &mut definitions);
        keys::tell((old.sources, new.sources), &mut rules, &mut definitions, most);
        let changed: BTreeSet<Box<str>> = rules.iter().map(|rule| rule.name.clone()).collect();
        let routes = definitions.iter().filter_map(|found| found.name.strip_prefix("route "));
        let mut routes: BTreeSet<Box<str>> = routes.map(Into::into).collect();
        // Of a route that inherits it, `[authn] mode` says who must be shown.
        let was: BTreeMap<_, _> =
            old.policy.routes.iter().map(|(_, route)| (&*route.name, route.authn)).collect();
        let others = new.policy.routes.iter().map(|(_, route)| route);
        let others = others.filter(|route| was.get(&*route.name).is_some_and(|was| *was != route.authn));
        routes.extend(others.map(|route| route.name.clone()));
        let cells = cells::compare(old, new, &changed, &routes, now);
        Difference { rules, definitions, cells }
    }

    /// The rules that differ between two meanings.
    pub fn rules(old: &Meaning, new: &Meaning) -> Vec<ChangedName> {
        compare(&old.rules, &new.rules, RuleMeaning::differs)
    }

    /// The definitions that differ between two meanings.
    pub fn definitions(old: &Meaning, new: &Meaning) -> Vec<ChangedName> {
        compare(&old.definitions, &new.definitions, |_, _| Vec::new())
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.definitions.is_empty() && self.cells.changes.is_empty()
    }
}

type Names<T> = std::collections::BTreeMap<Box<str>, T>;

fn compare<T: PartialEq>(
    old: &Names<T>,
    new: &Names<T>,
    because: impl Fn(&T, &T) -> Vec<Box<str>>,
) -> Vec<ChangedName> {
    // Both are in the order of their names.
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let mut found = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((was, _)), Some((is, _))) => was.cmp(is),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return found,
        };
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        let (name, kind, because) = match (was, is) {
            (Some((name, _)), None) => (name, Kind::Removed, Vec::new()),
            (None, Some((name, _))) => (name, Kind::Added, Vec::new()),
            (Some((name, was)), Some((_, is))) if was != is => (name, Kind::Changed, because(was, is)),
            _ => continue,
        };
        found.push(ChangedName {
            name: name.clone(),
            kind,
            because,
            addresses: Vec::new(),
            keys: Vec::new(),
        });
    }
}
