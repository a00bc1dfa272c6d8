//! Routes by their ids, for the rules that refer to them.

use std::collections::HashMap;

use crate::facts::RouteId;
use crate::policy::compile::unknown_name;
use crate::policy::decode::Name;
use crate::policy::diagnostic::{At, Diagnostics};

/// The routes of a policy, by id.
#[derive(Clone, Debug, Default)]
pub struct RouteNames {
    ids: HashMap<Name, RouteId>,
}

impl RouteNames {
    /// Adds a route; the id it already has if the name is taken.
    pub fn add(&mut self, name: Name) -> Result<RouteId, RouteId> {
        let next = RouteId(self.ids.len() as u32);
        match self.ids.entry(name) {
            std::collections::hash_map::Entry::Occupied(taken) => Err(*taken.get()),
            std::collections::hash_map::Entry::Vacant(free) => Ok(*free.insert(next)),
        }
    }

    /// The route that a rule names.
    pub fn resolve(&self, name: &At<Name>, diagnostics: &mut Diagnostics) -> Option<RouteId> {
        let id = self.ids.get(&name.value).copied();
        if id.is_none() {
            unknown_name("route", name.as_str(), name.place, self.ids.keys().map(Name::as_str), diagnostics);
        }
        id
    }
}
