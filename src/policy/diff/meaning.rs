//! What each rule and each definition of a configuration means, as a fingerprint.
//!
//! Comments, places and the order of keys do not count, and neither do the words for people
//! (`reason`, `remediation`, `contact`, `public_id`). What a rule refers to does: a network that it
//! names, the roles that share a role of it, the routes that it is about, the exclusions that name it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::SmallVec;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::fingerprint::{
    Fingerprint, encode, encode_plain, encode_table, entry, fingerprint, of, of_plain, of_texts, several,
    string,
};
use crate::policy::diagnostic::FileId;
use crate::policy::rules::Rules;
use crate::policy::source::{Attached, Sources};
use crate::policy::waf;

/// The meaning of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Meaning {
    /// By full name.
    pub rules: BTreeMap<Box<str>, RuleMeaning>,
    /// Everything that is not a rule, by a name such as `network office` or `[limits]`.
    pub definitions: BTreeMap<Box<str>, Fingerprint>,
    /// What the exclusions are about, by the names of their definitions.
    exclusions: BTreeMap<Box<str>, RuleScope>,
}

/// The scope keys of a rule as written.
#[derive(Clone, Debug, Default)]
pub struct RuleScope {
    /// Path patterns.
    pub paths: Vec<String>,
    /// Host patterns.
    pub hosts: Vec<String>,
    /// Routes, by id.
    pub routes: Vec<String>,
}

/// The meaning of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleMeaning {
    /// Of what it says itself.
    pub own: Fingerprint,
    /// Of what it makes depend on more than who asks for what: its conditions, times and modes.
    pub depends: Fingerprint,
    /// Of what it refers to, by the names of [`Meaning::definitions`], in their order.
    pub refers: Vec<(Arc<str>, Fingerprint)>,
}

/// What is known of a configuration from its texts alone, while they are still being compiled.
#[derive(Debug, Default)]
pub struct Draft<'t> {
    tables: Tables<'t>,
    meaning: Meaning,
}

/// A fingerprint with the full name of what it is of, which many rules share.
type Named = (Arc<str>, Fingerprint);

/// The fingerprints of what rules refer to.
#[derive(Default)]
struct Prints {
    networks: BTreeMap<String, Named>,
    /// By role: of all roles that count as it.
    roles: BTreeMap<String, Named>,
    /// By route: of which requests it serves.
    routes: BTreeMap<String, Named>,
    /// By rule: the exclusions that name it.
    excludes: BTreeMap<String, Vec<Named>>,
}

/// The tables of all files, put together.
#[derive(Debug, Default)]
struct Tables<'t> {
    /// The tables of rules with their stage, and of `[rbac]` which list they stand in.
    rules: Vec<(&'static str, DeTable<'t>)>,
    networks: BTreeMap<String, (FileId, DeValue<'t>)>,
    roles: BTreeMap<String, BTreeSet<String>>,
    routes: BTreeMap<String, DeTable<'t>>,
    excludes: BTreeMap<String, DeTable<'t>>,
    /// Further definitions: a name and its value.
    others: Vec<(String, DeValue<'t>)>,
}

impl<'t> Draft<'t> {
    /// Takes what stands in a policy file.
    pub fn read(&mut self, file: FileId, table: DeTable<'t>) {
        self.tables.take(file, table);
    }

    /// All files are read; among them lists that rules refer to.
    pub fn complete(&mut self, sources: &Sources) {
        let prints = self.tables.prints(sources);
        let mut text = Vec::new();
        for (kind, table) in self.tables.rules.drain(..) {
            self.meaning.add_rule(kind, &table, &prints, &mut text);
        }
        self.meaning.define(&self.tables, &prints);
    }

    /// The meaning, now that the texts are compiled. `rules`: those of the policy, some of which do not
    /// stand in TOML. `sources`: the texts, with what is secret of them.
    pub fn finish(self, sources: &Sources, rules: &Rules) -> Meaning {
        let Draft { mut meaning, tables } = self;
        for (_, info) in rules.iter() {
            if !meaning.rules.contains_key(&info.name) {
                let text = sources.get(info.place.file).map_or("", |source| &*source.text);
                let own = text.get(info.place.start as usize..info.place.end as usize).unwrap_or(text);
                let own = fingerprint(own.as_bytes());
                let own = RuleMeaning { own, depends: own, refers: Vec::new() };
                meaning.rules.insert(info.name.clone(), own);
            }
        }
        // Lists of networks are a part of them; of other files more may count than their rules.
        let networks = tables
            .networks
            .values()
            .filter_map(|(file, value)| Some(sources.resolve(*file, value.get("file")?.get_ref().as_str()?)));
        let networks: BTreeSet<String> = networks.collect();
        // Named from the folder of the main file on, however that is spelled.
        let main = sources.policy_files().next().and_then(|(_, main)| main.name.rsplit_once('/'));
        let folder = main.map_or("", |(folder, _)| folder);
        for (path, text) in sources.lists() {
            if !networks.contains(path) && !sources.is_secret(path) {
                let within = path.strip_prefix(folder).filter(|_| main.is_some());
                let path = within.and_then(|path| path.strip_prefix('/')).unwrap_or(path);
                meaning.definitions.insert(format!("file {path}").into(), fingerprint(text.as_bytes()));
            }
        }
        meaning
    }
}

impl Meaning {
    /// The meaning of a configuration that was read without errors. `rules`: those of its policy.
    pub fn of(sources: &Sources, rules: &Rules) -> Meaning {
        let mut draft = Draft::default();
        for (file, source) in sources.policy_files() {
            // What there is to say of one with errors is of no use.
            if let Ok(table) = DeTable::parse(&source.text) {
                draft.read(file, table.into_inner());
            }
        }
        draft.complete(sources);
        draft.finish(sources, rules)
    }

    /// `text`: room for what a rule says.
    fn add_rule(&mut self, kind: &'static str, table: &DeTable<'_>, prints: &Prints, text: &mut Vec<u8>) {
        let Some(DeValue::String(id)) = table.get("id").map(Spanned::get_ref) else { return };
        let stage = kind.split('.').next().unwrap_or(kind);
        let name = [stage, "/", id].concat().into_boxed_str();
        text.clear();
        string(kind, text);
        encode_plain(table, text);
        let refers = prints.references(&name, table);
        let own = fingerprint(text);
        // A condition may look at what a pattern names.
        let of_paths = table.contains_key("when");
        let asks = |key: &str| DEPENDS.contains(&key) || (of_paths && matches!(key, "path" | "paths"));
        let depends = match table.iter().map(entry).any(|(key, _)| asks(key)) {
            true => {
                text.clear();
                encode_table(table.iter().map(entry).filter(|(key, _)| asks(key)), text);
                fingerprint(text)
            }
            false => 0,
        };
        self.rules.insert(name, RuleMeaning { own, depends, refers });
    }

    /// What an exclusion is about, by the name of its definition; methods are not told.
    pub fn exclusion(&self, name: &str) -> Option<&RuleScope> {
        self.exclusions.get(name)
    }

    fn define(&mut self, tables: &Tables<'_>, prints: &Prints) {
        for (name, table) in &tables.excludes {
            self.exclusions.insert(format!("waf.exclude {name}").into(), RuleScope::of(table));
        }
        let mut text = Vec::new();
        let mut put = |name: String, print: Fingerprint| {
            self.definitions.insert(name.into(), print);
        };
        for (name, print) in prints.networks.values() {
            put(name.to_string(), *print);
        }
        for (name, inherits) in &tables.roles {
            put(format!("role {name}"), of_texts(inherits.iter().map(String::as_str)));
        }
        for (name, table) in &tables.routes {
            text.clear();
            encode_table(table.iter().map(entry), &mut text);
            put(format!("route {name}"), fingerprint(&text));
        }
        for (name, table) in &tables.excludes {
            put(format!("waf.exclude {name}"), of_plain(table));
        }
        for (name, value) in &tables.others {
            put(name.clone(), of(value));
        }
    }
}

impl RuleScope {
    fn of(table: &DeTable<'_>) -> RuleScope {
        let texts =
            |keys: [&str; 2]| keys.iter().flat_map(|key| strings(table, key)).map(str::to_owned).collect();
        RuleScope {
            paths: texts(["path", "paths"]),
            hosts: texts(["host", "hosts"]),
            routes: strings(table, "routes").map(str::to_owned).collect(),
        }
    }
}

impl Prints {
    /// What a rule refers to.
    fn references(&self, name: &str, table: &DeTable<'_>) -> Vec<Named> {
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

impl RuleMeaning {
    /// The names of what differs from another meaning of the rule: `itself`, or a definition.
    pub(super) fn differs(&self, other: &RuleMeaning) -> Vec<Box<str>> {
        let mut differs: Vec<Box<str>> = Vec::new();
        if self.own != other.own {
            differs.push("itself".into());
        }
        let gone = |of: &RuleMeaning, name: &Arc<str>| of.refers.iter().all(|(known, _)| known != name);
        // What it refers to no more, or only now, is its own change and none of what it refers to; but
        // exclusions are about a rule without its doing.
        let tells = |name: &&Arc<str>, other: &RuleMeaning| {
            self.own == other.own || name.starts_with("waf.exclude ") || !gone(other, name)
        };
        let mine = self.refers.iter().filter(|named| !other.refers.contains(named)).map(|(name, _)| name);
        let mine = mine.filter(|name| tells(name, other));
        let theirs = other.refers.iter().map(|(name, _)| name).filter(|name| gone(self, name));
        let theirs = theirs.filter(|name| self.own == other.own || name.starts_with("waf.exclude "));
        let names: BTreeSet<&Arc<str>> = mine.chain(theirs).collect();
        differs.extend(names.into_iter().map(|name| Box::from(&**name)));
        differs
    }
}

impl RuleMeaning {
    /// Whether it depends on other things than another meaning of the rule, for whomever it is about.
    pub(super) fn depends_otherwise(&self, other: &RuleMeaning) -> bool {
        let networks = |of: &RuleMeaning| -> Vec<(Arc<str>, Fingerprint)> {
            of.refers.iter().filter(|(name, _)| name.starts_with("network ")).cloned().collect()
        };
        self.depends != other.depends || networks(self) != networks(other)
    }
}

impl<'t> Tables<'t> {
    fn take(&mut self, file: FileId, table: DeTable<'t>) {
        for (key, value) in table {
            match (&**key.get_ref(), value.into_inner()) {
                ("version" | "include", _) => {}
                ("network", DeValue::Table(networks)) => {
                    self.networks.extend(named(networks).map(|(name, value)| (name, (file, value))));
                }
                ("route", DeValue::Array(routes)) => self.routes.extend(by_id(routes)),
                ("upstream", DeValue::Table(upstreams)) => {
                    let named = named(upstreams).map(|(name, value)| (format!("upstream {name}"), value));
                    self.others.extend(named);
                }
                ("ip", DeValue::Table(mut ip)) => {
                    self.take_rules("ip", &mut ip, "rule");
                    self.rest("[ip]", ip);
                }
                ("limit", DeValue::Table(mut limit)) => {
                    self.take_rules("limit", &mut limit, "rule");
                    self.rest("[limit]", limit);
                }
                ("waf", DeValue::Table(mut waf)) => {
                    self.take_waf(&mut waf);
                    self.rest("[waf]", waf);
                }
                ("rbac", DeValue::Table(mut rbac)) => {
                    if let Some(DeValue::Table(roles)) = rbac.remove("role").map(Spanned::into_inner) {
                        for (name, role) in named(roles) {
                            let inherits = role
                                .as_table()
                                .map(|role| strings(role, "inherits").map(str::to_owned).collect());
                            self.roles.insert(name, inherits.unwrap_or_default());
                        }
                    }
                    self.take_rules("rbac.grant", &mut rbac, "grant");
                    self.take_rules("rbac.deny", &mut rbac, "deny");
                    self.rest("[rbac]", rbac);
                }
                ("authn", DeValue::Table(authn)) => self.take_authn(authn),
                (key, value) => self.others.push((format!("[{key}]"), value)),
            }
        }
    }

    fn take_rules(&mut self, kind: &'static str, table: &mut DeTable<'t>, key: &str) {
        if let Some(DeValue::Array(rules)) = table.remove(key).map(Spanned::into_inner) {
            let tables = rules.into_iter().filter_map(|rule| match rule.into_inner() {
                DeValue::Table(table) => Some((kind, table)),
                _ => None,
            });
            self.rules.extend(tables);
        }
    }

    fn take_waf(&mut self, waf: &mut DeTable<'t>) {
        let packs: Vec<String> = strings(waf, "packs").map(str::to_owned).collect();
        for text in packs.iter().filter_map(|name| waf::pack_text(name)) {
            let pack = DeTable::parse(text).ok().and_then(|pack| pack.into_inner().remove("waf"));
            if let Some(DeValue::Table(mut pack)) = pack.map(Spanned::into_inner) {
                self.take_rules("waf", &mut pack, "rule");
            }
        }
        self.take_rules("waf", waf, "rule");
        if let Some(DeValue::Array(excludes)) = waf.remove("exclude").map(Spanned::into_inner) {
            self.excludes.extend(by_id(excludes));
        }
    }

    fn take_authn(&mut self, authn: DeTable<'t>) {
        let mut rest = DeTable::new();
        for (key, value) in authn {
            match value.get_ref() {
                DeValue::Array(sources) if sources.iter().all(|source| source.get_ref().is_table()) => {
                    let DeValue::Array(sources) = value.into_inner() else { continue };
                    let named = by_id(sources)
                        .map(|(id, table)| (format!("authn.{} {id}", key.get_ref()), DeValue::Table(table)));
                    self.others.extend(named);
                }
                _ => drop(rest.insert(key, value)),
            }
        }
        self.rest("[authn]", rest);
    }

    fn rest(&mut self, name: &str, table: DeTable<'t>) {
        if !table.is_empty() {
            self.others.push((name.to_owned(), DeValue::Table(table)));
        }
    }

    /// The fingerprints of what rules refer to, each made once.
    fn prints(&self, sources: &Sources) -> Prints {
        let mut prints = Prints::default();
        for name in self.networks.keys() {
            let print = self.network(name, sources, &mut BTreeSet::new());
            prints.networks.insert(name.clone(), (format!("network {name}").into(), print));
        }
        for role in self.roles.keys().map(String::as_str).chain(["anyone", "authenticated"]) {
            let print = of_texts(self.holders(role).iter().map(String::as_str));
            prints.roles.insert(role.to_owned(), (format!("role {role}").into(), print));
        }
        for (name, table) in &self.routes {
            let about = table.iter().map(entry).filter(|(key, _)| ROUTE_SCOPE.contains(key));
            let mut text = Vec::new();
            encode_table(about, &mut text);
            let print = fingerprint(&text);
            prints.routes.insert(name.clone(), (format!("route {name}").into(), print));
        }
        for (id, exclude) in &self.excludes {
            let print = of_plain(exclude);
            let named: Named = (format!("waf.exclude {id}").into(), print);
            for rule in strings(exclude, "rules") {
                prints.excludes.entry(rule.to_owned()).or_default().push(named.clone());
            }
        }
        prints
    }

    /// The roles that count as this one: itself, and all that inherit it.
    fn holders(&self, role: &str) -> BTreeSet<String> {
        let mut holders = BTreeSet::from([role.to_owned()]);
        loop {
            let before = holders.len();
            for (name, inherits) in &self.roles {
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
    fn network(&self, name: &str, sources: &Sources, within: &mut BTreeSet<String>) -> Fingerprint {
        let Some((file, value)) = self.networks.get(name) else { return 0 };
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
                    if self.networks.contains_key(item) {
                        bytes.extend(self.network(item, sources, within).to_le_bytes());
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
}

/// The entries of a table, by their names.
fn named<'t>(table: DeTable<'t>) -> impl Iterator<Item = (String, DeValue<'t>)> {
    table.into_iter().map(|(name, value)| (name.into_inner().into_owned(), value.into_inner()))
}

/// The tables of a list, by their ids.
fn by_id<'t>(list: DeArray<'t>) -> impl Iterator<Item = (String, DeTable<'t>)> {
    list.into_iter().filter_map(|value| match value.into_inner() {
        DeValue::Table(table) => Some((table.get("id")?.get_ref().as_str()?.to_owned(), table)),
        _ => None,
    })
}

/// The texts under a key that has one, or a list of them.
fn strings<'t>(table: &'t DeTable<'_>, key: &str) -> impl Iterator<Item = &'t str> {
    table.get(key).into_iter().flat_map(several).filter_map(DeValue::as_str)
}

/// What of a grant or deny makes it depend on more than who asks for what.
const DEPENDS: &[&str] = &["when", "from", "until", "scopes", "mode", "shadow_until"];

/// What of a route says which requests it serves, and how rules are taken there.
const ROUTE_SCOPE: &[&str] = &["host", "path", "methods", "headers", "mode", "shadow_until"];
