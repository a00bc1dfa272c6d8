//! The fingerprints of what rules refer to: networks, roles, routes, exclusions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::SmallVec;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fingerprint::{Fingerprint, encode, encode_table, entry, fingerprint, of_plain, of_texts, string};
use super::tables::{Tables, strings};
use crate::policy::source::{Attached, Sources};

/// A fingerprint with the full name of what it is of, which many rules share.
pub(super) type Named = (Arc<str>, Fingerprint);

/// The fingerprints of what rules refer to.
#[derive(Default)]
pub(super) struct Prints {
    pub(super) networks: BTreeMap<String, Named>,
    /// By role: of all roles that count as it.
    roles: BTreeMap<String, Named>,
    /// By route: of which requests it serves.
    routes: BTreeMap<String, Named>,
    /// By rule: the exclusions that name it.
    excludes: BTreeMap<String, Vec<Named>>,
}

impl Prints {
    /// Each made once. `sources`: the lists that networks are read from.
    pub(super) fn of(tables: &Tables<'_>, sources: &Sources) -> Prints {
        let mut prints = Prints::default();
        for name in tables.networks.keys() {
            let print = network(tables, name, sources, &mut BTreeSet::new());
            prints.networks.insert(name.clone(), (format!("network {name}").into(), print));
        }
        for role in tables.roles.keys().map(String::as_str).chain(["anyone", "authenticated"]) {
            let print = of_texts(holders(tables, role).iter().map(String::as_str));
            prints.roles.insert(role.to_owned(), (format!("role {role}").into(), print));
        }
        for (name, table) in &tables.routes {
            let about = table.iter().map(entry).filter(|(key, _)| ROUTE_SCOPE.contains(key));
            let mut text = Vec::new();
            encode_table(about, &mut text);
            let print = fingerprint(&text);
            prints.routes.insert(name.clone(), (format!("route {name}").into(), print));
        }
        for (id, exclude) in &tables.excludes {
            let print = of_plain(exclude);
            let named: Named = (format!("waf.exclude {id}").into(), print);
            for rule in strings(exclude, "rules") {
                prints.excludes.entry(rule.to_owned()).or_default().push(named.clone());
            }
        }
        prints
    }

    /// What a rule refers to.
    pub(super) fn references(&self, name: &str, table: &DeTable<'_>) -> Vec<Named> {
        let mut refers: SmallVec<[&Named; 8]> = SmallVec::new();
        let networks = ["allow", "deny", "except", "networks"];
        refers.extend(
            networks.iter().flat_map(|key| strings(table, key)).filter_map(|name| self.networks.get(name)),
        );
        if let Some(DeValue::String(when)) = table.get("when").map(Spanned::get_ref) {
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            refers.extend(when.split(|c: char| !is_name(c)).filter_map(|name| self.networks.get(name)));
        }
        let roles = ["roles", "except_roles"];
        refers
            .extend(roles.iter().flat_map(|key| strings(table, key)).filter_map(|role| self.roles.get(role)));
        refers.extend(strings(table, "routes").filter_map(|route| self.routes.get(route)));
        refers.extend(self.excludes.get(name).into_iter().flatten());
        let mut refers: Vec<Named> = refers.into_iter().cloned().collect();
        refers.sort_unstable();
        refers.dedup_by(|one, other| one.0 == other.0);
        refers
    }
}

/// The roles that count as this one: itself, and all that inherit it.
fn holders(tables: &Tables<'_>, role: &str) -> BTreeSet<String> {
    let mut holders = BTreeSet::from([role.to_owned()]);
    loop {
        let before = holders.len();
        for (name, inherits) in &tables.roles {
            if inherits.iter().any(|inherited| holders.contains(inherited)) {
                holders.insert(name.clone());
            }
        }
        if holders.len() == before {
            return holders;
        }
    }
}

/// A network with all that its names stand for.
fn network(tables: &Tables<'_>, name: &str, sources: &Sources, within: &mut BTreeSet<String>) -> Fingerprint {
    let Some((file, value)) = tables.networks.get(name) else { return 0 };
    if !within.insert(name.to_owned()) {
        return 0;
    }
    let mut bytes = Vec::new();
    match value {
        DeValue::Array(items) => {
            let mut items: Vec<&str> = items.iter().filter_map(|item| item.get_ref().as_str()).collect();
            items.sort_unstable();
            items.dedup();
            for item in items {
                string(item, &mut bytes);
                if tables.networks.contains_key(item) {
                    bytes.extend(network(tables, item, sources, within).to_le_bytes());
                }
            }
        }
        value => {
            encode(value, &mut bytes);
            let path = value.get("file").and_then(|file| file.get_ref().as_str());
            if let Some(Attached::Text(id)) = path.and_then(|path| sources.attached(*file, path)) {
                let text = sources.get(*id).map_or("", |source| &*source.text);
                bytes.extend(fingerprint(text.as_bytes()).to_le_bytes());
            }
        }
    }
    within.remove(name);
    fingerprint(&bytes)
}

/// What of a route says which requests it serves, and how rules are taken there.
const ROUTE_SCOPE: &[&str] = &["host", "path", "methods", "headers", "mode", "shadow_until"];
