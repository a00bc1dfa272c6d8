//! From a request to the entries whose scope covers it, methods included.

use super::{MethodMask, MethodSet, Patterns, PatternsBuilder, Scope};
use crate::facts::{RouteId, Target};

/// Entries by their scopes. The cost of a look-up does not grow with the entries that do not match.
#[derive(Clone, Debug)]
pub struct Index<T> {
    /// Lead to the first of the slots.
    patterns: Patterns<u32>,
    slots: Vec<Slot<T>>,
    /// The methods of the slots that name extension methods, ascending by slot.
    extended: Vec<(u32, MethodSet)>,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    methods: MethodMask,
    /// Whether the next slot is about something else.
    last: bool,
    entry: T,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Index { patterns: Patterns::default(), slots: Vec::new(), extended: Vec::new() }
    }
}

impl<T: Clone> Index<T> {
    /// Indexes entries by their scopes.
    pub fn new<'a>(entries: impl IntoIterator<Item = (&'a Scope, T)>) -> Index<T> {
        let mut builder = PatternsBuilder::default();
        let mut scoped = Vec::new();
        for (scope, entry) in entries {
            let item = scoped.len() as u32;
            builder.add(scope, |_| item);
            scoped.push((&scope.methods, entry));
        }
        let mut index = Index::default();
        let (slots, extended) = (&mut index.slots, &mut index.extended);
        index.patterns = builder.finish(|items| {
            let start = slots.len();
            for (methods, entry) in items.iter().filter_map(|item| scoped.get(*item as usize)) {
                if !methods.extensions().is_empty() {
                    extended.push((slots.len() as u32, (*methods).clone()));
                }
                slots.push(Slot { methods: methods.mask(), last: false, entry: entry.clone() });
            }
            if let Some(slot) = slots.last_mut() {
                slot.last = true;
            }
            start as u32
        });
        index
    }

    /// Visits the entries whose scope covers the request, in no particular order. An entry with
    /// several patterns that match is visited several times.
    #[inline]
    pub fn visit(&self, target: &Target, route: Option<RouteId>, mut visit: impl FnMut(&T)) {
        let method = MethodMask::of(&target.method);
        self.patterns.visit(target, route, |&start| {
            for (slot, at) in self.slots.get(start as usize..).unwrap_or_default().iter().zip(start..) {
                if slot.methods.meets(method)
                    && (!slot.methods.undecided(method) || self.names_extension(at, target))
                {
                    visit(&slot.entry);
                }
                if slot.last {
                    break;
                }
            }
        });
    }

    #[cold]
    fn names_extension(&self, slot: u32, target: &Target) -> bool {
        let found = self.extended.binary_search_by_key(&slot, |(slot, _)| *slot);
        found.ok().and_then(|at| self.extended.get(at)).is_some_and(|(_, set)| set.contains(&target.method))
    }
}
