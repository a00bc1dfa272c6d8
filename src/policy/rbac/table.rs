//! Grants and denies by where they apply, and there by whom.
//!
//! Patterns lead to the few places that cover a request. Most have one rule, whose entry stands
//! there: 24 bytes that say of most rules all there is to say. The entries of a few rules are
//! scanned. Many rules are looked up by what the caller has: each of its roles, its subject, each of
//! its scopes; a rule is filed under the rarest of the things it asks for.

use std::collections::HashMap;

use super::rule::{Caller, Kind, Rule};
use crate::facts::{Facts, RoleId};
use crate::policy::condition::Positions;
use crate::policy::mode::Mode;
use crate::policy::scope::{Covering, MethodMask, MethodSet, Patterns, PatternsBuilder, Scope};

/// The compiled table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    places: Patterns<Entry>,
    /// Of places with several rules.
    entries: Vec<Entry>,
    /// Places with many rules.
    crowds: Vec<Crowd>,
    /// What the rules' conditions call segments, for each rule at the end of each of its patterns.
    placements: Vec<Placement>,
}

/// A rule at a place, as far as most rules need to be known.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The roles it is about, of those that share a word. A rule about whoever is about `anyone`.
    roles: u64,
    /// Which word of the caller's roles that is.
    word: u16,
    pub(super) methods: MethodMask,
    pub(super) kind: EntryKind,
    /// Whether the next entry belongs somewhere else.
    last: bool,
    /// Place in the list of rules, which is policy order.
    pub(super) rule: u32,
    /// Place in the list of placements.
    pub(super) placement: u32,
}

const _: () = assert!(size_of::<Entry>() == 24);

/// What the entry's role and method decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// They allow.
    Grant,
    /// They forbid.
    Deny,
    /// They allow if the rest of the grant is satisfied.
    DetailedGrant,
    /// They forbid if the rest of the deny is satisfied.
    DetailedDeny,
    /// Not a rule: `rule` is the first of a list of entries.
    List,
    /// Not a rule: `rule` is the number of a crowd.
    Crowd,
}

/// A rule at the end of one of its path patterns.
#[derive(Clone, Debug)]
struct Placement {
    rule: u32,
    positions: Positions,
}

/// The first of a list of entries, which ends with the one that is `last`.
type List = u32;

/// A place with many rules.
#[derive(Clone, Debug, Default)]
struct Crowd {
    /// An entry for each of them, in policy order.
    members: List,
    /// Which roles have entries here, ascending by word.
    words: Vec<RoleWord>,
    /// The entries of each of these roles.
    by_role: Vec<List>,
    by_subject: HashMap<Box<str>, List>,
    by_scope: HashMap<Box<str>, List>,
}

#[derive(Clone, Debug)]
struct RoleWord {
    word: u16,
    /// Where the roles of this word begin in `by_role`.
    first: u32,
    roles: u64,
}

/// The places that cover a request.
pub(super) type Reached<'t> = Covering<'t, Entry>;

/// More entries than this at one place make a crowd.
const FEW: usize = 16;

impl Table {
    /// Files the rules. Denies that are off are left out.
    pub(super) fn new(rules: &[Rule], scopes: &[Scope]) -> Table {
        let mut table = Table::default();
        let mut builder = PatternsBuilder::default();
        for ((rule, scope), number) in rules.iter().zip(scopes).zip(0u32..) {
            if rule.kind == Kind::Deny(Mode::Off) {
                continue;
            }
            builder.add(scope, |pattern| {
                let positions = rule.condition.as_ref().map(|condition| condition.positions(pattern));
                table.placements.push(Placement { rule: number, positions: positions.unwrap_or_default() });
                table.placements.len() as u32 - 1
            });
        }
        let places = builder.finish(|placements| table.lay_out(placements, rules));
        table.places = places;
        table
    }

    fn lay_out(&mut self, placements: &[u32], rules: &[Rule]) -> Entry {
        let mut entries = Vec::new();
        for &placement in placements {
            let number = self.placements[placement as usize].rule;
            let rule = &rules[number as usize];
            let mut roles = rule.roles.iter().copied().peekable();
            if roles.peek().is_none() {
                entries.push(entry(rule, number, placement, RoleId::ANYONE));
            }
            // The roles are ascending, so those of one word stand together.
            while let Some(role) = roles.next() {
                let mut entry = entry(rule, number, placement, role);
                while let Some(next) = roles.next_if(|next| next.0 / 64 == entry.word) {
                    entry.roles |= 1 << (next.0 % 64);
                }
                entries.push(entry);
            }
        }
        if let [entry] = &entries[..] {
            return entry.clone();
        }
        if entries.len() <= FEW {
            return Entry::on(EntryKind::List, self.keep(entries));
        }
        let crowd = self.crowd(placements, rules);
        self.crowds.push(crowd);
        Entry::on(EntryKind::Crowd, self.crowds.len() as u32 - 1)
    }

    fn keep(&mut self, mut entries: Vec<Entry>) -> List {
        let start = self.entries.len() as u32;
        if let Some(entry) = entries.last_mut() {
            entry.last = true;
        }
        self.entries.extend(entries);
        start
    }

    /// Files each rule under the rarest thing it asks for. That it asks for more is looked at when
    /// it is found there.
    fn crowd(&mut self, placements: &[u32], rules: &[Rule]) -> Crowd {
        let mut by_role: HashMap<RoleId, Vec<Entry>> = HashMap::new();
        let mut by_subject: HashMap<Box<str>, Vec<Entry>> = HashMap::new();
        let mut by_scope: HashMap<Box<str>, Vec<Entry>> = HashMap::new();
        let mut members = Vec::new();
        for &placement in placements {
            let number = self.placements[placement as usize].rule;
            let rule = &rules[number as usize];
            let whoever = || entry(rule, number, placement, RoleId::ANYONE);
            members.push(whoever());
            if !rule.subjects.is_empty() {
                for subject in &rule.subjects {
                    by_subject.entry(subject.clone()).or_default().push(whoever());
                }
            } else if !rule.roles.is_empty() {
                for role in &rule.roles {
                    by_role.entry(*role).or_default().push(whoever());
                }
            } else if !rule.scopes.is_empty() {
                // A grant needs all its scopes, so one of them is enough to find it by.
                let needed = if rule.kind == Kind::Grant { 1 } else { rule.scopes.len() };
                for scope in rule.scopes.iter().take(needed) {
                    by_scope.entry(scope.clone()).or_default().push(whoever());
                }
            } else {
                by_role.entry(RoleId::ANYONE).or_default().push(whoever());
            }
        }
        let mut crowd = Crowd { members: self.keep(members), ..Crowd::default() };
        let mut by_role: Vec<_> = by_role.into_iter().collect();
        by_role.sort_unstable_by_key(|(role, _)| *role);
        for (role, entries) in by_role {
            let word = role.0 / 64;
            if crowd.words.last().is_none_or(|last| last.word != word) {
                crowd.words.push(RoleWord { word, first: crowd.by_role.len() as u32, roles: 0 });
            }
            if let Some(last) = crowd.words.last_mut() {
                last.roles |= 1 << (role.0 % 64);
            }
            crowd.by_role.push(self.keep(entries));
        }
        crowd.by_subject =
            by_subject.into_iter().map(|(subject, entries)| (subject, self.keep(entries))).collect();
        crowd.by_scope = by_scope.into_iter().map(|(scope, entries)| (scope, self.keep(entries))).collect();
        crowd
    }

    /// The places whose patterns cover the request.
    #[cold]
    pub(super) fn reach(&self, facts: &Facts<'_>) -> Reached<'_> {
        let mut reached = Reached::default();
        self.places.visit_keeping(facts.target, facts.route, &mut reached, |_| {});
        reached
    }

    /// Visits the entries that cover the request, are about one of the caller's roles and may be
    /// about the method. Keeps the places where they were looked for.
    #[inline]
    pub(super) fn each_entry<'t>(
        &'t self,
        facts: &Facts<'_>,
        caller: &Caller<'_>,
        method: MethodMask,
        reached: &mut Reached<'t>,
        mut visit: impl FnMut(&Entry),
    ) {
        self.places.visit_keeping(facts.target, facts.route, reached, |entry| {
            if !entry.meets(caller, method) {
                return;
            }
            match entry.kind {
                EntryKind::List => self.scan(entry.rule, caller, method, &mut visit),
                EntryKind::Crowd => {
                    if let Some(crowd) = self.crowds.get(entry.rule as usize) {
                        self.each_of_crowd(crowd, caller, method, &mut visit);
                    }
                }
                EntryKind::Grant | EntryKind::Deny | EntryKind::DetailedGrant | EntryKind::DetailedDeny => {
                    visit(entry)
                }
            }
        });
    }

    fn scan(&self, list: List, caller: &Caller<'_>, method: MethodMask, visit: &mut impl FnMut(&Entry)) {
        self.list(list).filter(|entry| entry.meets(caller, method)).for_each(visit);
    }

    #[inline]
    fn list(&self, list: List) -> impl Iterator<Item = &Entry> {
        let mut ended = false;
        let entries = self.entries.get(list as usize..).unwrap_or_default();
        entries.iter().take_while(move |entry| !std::mem::replace(&mut ended, entry.last))
    }

    fn each_of_crowd(
        &self,
        crowd: &Crowd,
        caller: &Caller<'_>,
        method: MethodMask,
        visit: &mut impl FnMut(&Entry),
    ) {
        for word in &crowd.words {
            let held = caller.roles.get(usize::from(word.word)).copied().unwrap_or(0);
            let mut hits = held & word.roles;
            while hits != 0 {
                let lowest = hits & hits.wrapping_neg();
                hits ^= lowest;
                let before = (word.roles & (lowest - 1)).count_ones();
                if let Some(place) = crowd.by_role.get((word.first + before) as usize) {
                    self.scan(*place, caller, method, visit);
                }
            }
        }
        let Some(holder) = caller.holder else { return };
        if let Some(place) = crowd.by_subject.get(&holder.subject) {
            self.scan(*place, caller, method, visit);
        }
        if !crowd.by_scope.is_empty() {
            for place in holder.scopes.iter().filter_map(|scope| crowd.by_scope.get(scope)) {
                self.scan(*place, caller, method, visit);
            }
        }
    }

    /// What the rule's condition calls segments, under the pattern that led to this entry.
    pub(super) fn positions(&self, entry: &Entry) -> &Positions {
        static NONE: Positions = Positions::none();
        self.placements.get(entry.placement as usize).map_or(&NONE, |placement| &placement.positions)
    }

    /// The rules at a place, whomever they are about, in policy order. A rule about many roles may
    /// have several entries, one after the other; which roles they are about says nothing here.
    pub(super) fn members<'t>(&'t self, place: &'t Entry) -> impl Iterator<Item = &'t Entry> {
        let (list, single) = match place.kind {
            EntryKind::List => (Some(place.rule), None),
            EntryKind::Crowd => (self.crowds.get(place.rule as usize).map(|crowd| crowd.members), None),
            EntryKind::Grant | EntryKind::Deny | EntryKind::DetailedGrant | EntryKind::DetailedDeny => {
                (None, Some(place))
            }
        };
        list.into_iter().flat_map(|list| self.list(list)).chain(single)
    }
}

impl Entry {
    /// What leads on to others, whoever asks.
    fn on(kind: EntryKind, number: u32) -> Entry {
        let methods = MethodSet::default().mask();
        Entry { roles: ANYONE, word: 0, methods, kind, last: true, rule: number, placement: u32::MAX }
    }

    #[inline]
    fn meets(&self, caller: &Caller<'_>, method: MethodMask) -> bool {
        let held = caller.roles.get(usize::from(self.word)).copied().unwrap_or(0);
        held & self.roles != 0 && self.methods.meets(method)
    }
}

/// The bit that every caller has, in word 0.
const ANYONE: u64 = 1 << RoleId::ANYONE.0;

fn entry(rule: &Rule, number: u32, placement: u32, role: RoleId) -> Entry {
    let kind = match (rule.kind, rule.is_plain()) {
        (Kind::Grant, true) => EntryKind::Grant,
        (Kind::Grant, false) => EntryKind::DetailedGrant,
        (Kind::Deny(_), true) => EntryKind::Deny,
        (Kind::Deny(_), false) => EntryKind::DetailedDeny,
    };
    Entry {
        roles: 1 << (role.0 % 64),
        word: role.0 / 64,
        methods: rule.methods.mask(),
        kind,
        last: false,
        rule: number,
        placement,
    }
}
