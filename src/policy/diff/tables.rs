//! The tables of a configuration's files, put together by what they define.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::fingerprint::several;
use crate::policy::diagnostic::FileId;
use crate::policy::source::Sources;
use crate::policy::waf;

/// The tables of all files, put together.
#[derive(Debug, Default)]
pub(super) struct Tables<'t> {
    /// The tables of rules with their stage, and of `[rbac]` which list they stand in.
    pub(super) rules: Vec<(&'static str, DeTable<'t>)>,
    pub(super) networks: BTreeMap<String, (FileId, DeValue<'t>)>,
    pub(super) roles: BTreeMap<String, BTreeSet<String>>,
    pub(super) routes: BTreeMap<String, DeTable<'t>>,
    pub(super) excludes: BTreeMap<String, DeTable<'t>>,
    /// Further definitions: a name and its value.
    pub(super) others: Vec<(String, DeValue<'t>)>,
}

impl<'t> Tables<'t> {
    /// Those of the policy files. What there is to say of one with errors is of no use.
    pub(super) fn read(sources: &'t Sources) -> Tables<'t> {
        let mut tables = Tables::default();
        for (file, source) in sources.policy_files() {
            if let Ok(table) = DeTable::parse(&source.text) {
                tables.take(file, table.into_inner());
            }
        }
        tables
    }

    pub(super) fn take(&mut self, file: FileId, table: DeTable<'t>) {
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
pub(super) fn strings<'t>(table: &'t DeTable<'_>, key: &str) -> impl Iterator<Item = &'t str> {
    table.get(key).into_iter().flat_map(several).filter_map(DeValue::as_str)
}
