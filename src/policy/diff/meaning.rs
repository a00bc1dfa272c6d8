//! What each rule and each definition of a configuration means, as a fingerprint.
//!
//! Comments, places and the order of keys do not count, and neither do the words for people
//! (`reason`, `remediation`, `contact`, `public_id`). What a rule refers to does: a network that it
//! names, the roles that share a role of it, the routes that it is about, the exclusions that name it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ITSELF;
use super::fingerprint::{
    Fingerprint, encode_plain, encode_table, entry, fingerprint, of, of_plain, of_texts, string,
};
use super::prints::Prints;
use super::tables::{Tables, strings};
use crate::policy::diagnostic::FileId;
use crate::policy::rules::Rules;
use crate::policy::source::Sources;

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

impl<'t> Draft<'t> {
    /// Takes what stands in a policy file.
    pub fn read(&mut self, file: FileId, table: DeTable<'t>) {
        self.tables.take(file, table);
    }

    /// All files are read; among them lists that rules refer to.
    pub fn complete(&mut self, sources: &Sources) {
        let prints = Prints::of(&self.tables, sources);
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
        let mut draft = Draft { tables: Tables::read(sources), meaning: Meaning::default() };
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

impl RuleMeaning {
    /// The names of what differs from another meaning of the rule: [`ITSELF`], or a definition.
    pub(super) fn differs(&self, other: &RuleMeaning) -> Vec<Box<str>> {
        let mut differs: Vec<Box<str>> = Vec::new();
        if self.own != other.own {
            differs.push(ITSELF.into());
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

/// What of a grant or deny makes it depend on more than who asks for what.
const DEPENDS: &[&str] = &["when", "from", "until", "scopes", "mode", "shadow_until"];
