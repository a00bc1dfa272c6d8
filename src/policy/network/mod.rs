//! `[network]`: addresses by name, and the lists in which rules refer to them.

mod file;
mod list;
mod raw;
#[cfg(test)]
mod tests;

pub use list::{AddressList, Found};
pub use raw::{NetItem, NetworkFile, RawNetwork, parse_net};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ipnet::IpNet;

use self::list::Part;
use super::code::Code;
use super::compile::unknown_name;
use super::decode::Name;
use super::diagnostic::{At, Diagnostics, Place};
use super::source::Sources;

/// The named networks of a policy.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    list: Vec<Named>,
    by_name: HashMap<Name, usize>,
    /// Lists that rules have asked for: rules with the same list share one compiled set.
    compiled: HashMap<Vec<NetItem>, AddressList>,
}

#[derive(Clone, Debug)]
struct Named {
    name: Name,
    place: Place,
    /// The addresses that stand in its own list or file.
    nets: Arc<[IpNet]>,
    /// The networks that it contains.
    contains: Vec<(usize, Place)>,
    used: bool,
}

impl Networks {
    /// Reads all named networks.
    pub fn compile(
        raw: &[(At<String>, RawNetwork)],
        sources: &Sources,
        diagnostics: &mut Diagnostics,
    ) -> Networks {
        let mut networks = Networks::default();
        let mut lists = Vec::new();
        for (key, value) in raw {
            let Some(name) = Name::new(&key.value) else {
                diagnostics
                    .push(Code::BadValue, key.place, format!("`{}` is not a name", key.value))
                    .help("a name has 1 to 64 characters of a-z, 0-9, `.`, `_`, `-` and begins with a letter or digit");
                diagnostics.lose(&key.value);
                continue;
            };
            if let Some(first) = networks.by_name.get(&name) {
                diagnostics
                    .push(Code::DuplicateId, key.place, format!("the network `{name}` is defined twice"))
                    .also(networks.list[*first].place, "the first definition");
                continue;
            }
            let nets = match value {
                RawNetwork::List(items) => {
                    lists.push((networks.list.len(), items));
                    own(items)
                }
                RawNetwork::File(file) => file::read(file, sources, diagnostics),
            };
            networks.by_name.insert(name.clone(), networks.list.len());
            let nets = nets.into();
            networks.list.push(Named { name, place: key.place, nets, contains: Vec::new(), used: false });
        }
        for (at, items) in lists {
            networks.list[at].contains = items
                .iter()
                .filter_map(|item| match &item.value {
                    NetItem::Net(_) => None,
                    NetItem::Named(name) => Some((networks.find(name, item.place, diagnostics)?, item.place)),
                })
                .collect();
        }
        networks.report_circles(diagnostics);
        networks
    }

    /// Reports networks that contain themselves. Walks without recursion: a chain of networks may
    /// be as long as the file.
    fn report_circles(&self, diagnostics: &mut Diagnostics) {
        let mut seen = vec![Seen::Not; self.list.len()];
        for start in 0..self.list.len() {
            // The way to the network being looked at, each with how many of its members were followed.
            let mut way = Vec::new();
            if seen[start] == Seen::Not {
                seen[start] = Seen::OnTheWay;
                way.push((start, 0));
            }
            while let Some((at, followed)) = way.last_mut() {
                let named = &self.list[*at];
                let Some(&(inner, place)) = named.contains.get(*followed) else {
                    seen[*at] = Seen::Whole;
                    way.pop();
                    continue;
                };
                *followed += 1;
                match seen[inner] {
                    Seen::Whole => {}
                    Seen::Not => {
                        seen[inner] = Seen::OnTheWay;
                        way.push((inner, 0));
                    }
                    Seen::OnTheWay => {
                        let from = way.iter().position(|(outer, _)| *outer == inner).unwrap_or(0);
                        let circle = way[from..].iter().map(|(at, _)| *at).chain([inner]);
                        let names = circle.map(|at| self.list[at].name.as_str()).collect::<Vec<_>>();
                        let message = format!("networks contain each other: {}", names.join(" → "));
                        diagnostics.push(Code::Cycle, place, message);
                    }
                }
            }
        }
    }

    fn find(&mut self, name: &Name, place: Place, diagnostics: &mut Diagnostics) -> Option<usize> {
        let found = self.by_name.get(name).copied();
        match found {
            Some(at) => self.list[at].used = true,
            None => unknown_name(
                "network",
                name.as_str(),
                place,
                self.by_name.keys().map(Name::as_str),
                diagnostics,
            ),
        }
        found
    }

    /// What a list consists of: its own addresses, and those of every network it names.
    fn parts(&mut self, items: &[At<NetItem>], diagnostics: &mut Diagnostics) -> Vec<Part> {
        let own = own(items);
        let mut parts = Vec::new();
        if !own.is_empty() {
            parts.push(Part { name: None, nets: own.into() });
        }
        let mut pending: Vec<usize> = Vec::new();
        for item in items.iter().rev() {
            if let NetItem::Named(name) = &item.value {
                pending.extend(self.find(name, item.place, diagnostics));
            }
        }
        let named = self.within(pending).filter(|named| !named.nets.is_empty());
        parts.extend(named.map(|named| Part { name: Some(named.name.clone()), nets: named.nets.clone() }));
        parts
    }

    /// Some networks and all that they contain, each once. `pending`: those that are asked for, the last
    /// one first.
    fn within(&self, mut pending: Vec<usize>) -> impl Iterator<Item = &Named> {
        let mut seen = HashSet::new();
        std::iter::from_fn(move || {
            loop {
                let at = pending.pop()?;
                let named = &self.list[at];
                if seen.insert(at) {
                    pending.extend(named.contains.iter().rev().map(|(inner, _)| *inner));
                    return Some(named);
                }
            }
        })
    }

    /// All that a named network stands for; nothing if there is none of this name.
    pub fn addresses(&self, name: &str) -> impl Iterator<Item = IpNet> {
        let at = Name::new(name).and_then(|name| self.by_name.get(&name).copied());
        self.within(at.into_iter().collect()).flat_map(|named| named.nets.iter().copied())
    }

    /// Forgets what only the compilation of rules asks for.
    pub fn without_compiled(mut self) -> Networks {
        self.compiled = HashMap::new();
        self
    }

    /// The addresses that a list of a rule refers to, compiled. Equal lists share one set.
    pub fn list(&mut self, items: &[At<NetItem>], diagnostics: &mut Diagnostics) -> AddressList {
        let key: Vec<NetItem> = items.iter().map(|item| item.value.clone()).collect();
        if let Some(list) = self.compiled.get(&key) {
            return list.clone();
        }
        let before = diagnostics.len();
        let list = AddressList::new(self.parts(items, diagnostics));
        // An unknown name is reported wherever it stands, so a list with one is not kept.
        if diagnostics.len() == before {
            self.compiled.insert(key, list.clone());
        }
        list
    }

    /// The networks that a list refers to, one by one.
    pub fn resolve(&mut self, items: &[At<NetItem>], diagnostics: &mut Diagnostics) -> Vec<IpNet> {
        self.parts(items, diagnostics).iter().flat_map(|part| part.nets.iter().copied()).collect()
    }

    /// Reports networks that nothing refers to.
    pub fn report_unused(&self, diagnostics: &mut Diagnostics) {
        if !diagnostics.read_everything() {
            return;
        }
        for named in self.list.iter().filter(|named| !named.used) {
            diagnostics
                .push(
                    Code::UnusedName,
                    named.place,
                    format!("nothing refers to the network `{}`", named.name),
                )
                .about(format!("network/{}", named.name));
        }
    }
}

/// How far a walk has come with a network.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Not,
    OnTheWay,
    Whole,
}

/// The addresses that stand in the list itself.
fn own(items: &[At<NetItem>]) -> Vec<IpNet> {
    items
        .iter()
        .filter_map(|item| match item.value {
            NetItem::Net(net) => Some(net),
            NetItem::Named(_) => None,
        })
        .collect()
}
