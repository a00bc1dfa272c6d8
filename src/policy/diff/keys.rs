//! Which keys of a rule or definition have another value, as they are written.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fingerprint::{self, WORDS, is_set, several};
use super::tables::Tables;
use super::{ChangedName, ITSELF, Kind};
use crate::policy::source::Sources;

/// A key with another value than before.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyChange {
    /// The key; `path` and `host` are `paths` and `hosts` with one entry.
    pub key: Box<str>,
    /// What went: the value of before, or of a list whose order says nothing the entries of before.
    pub was: Vec<Box<str>>,
    /// What came in its place.
    pub is: Vec<Box<str>>,
    /// Whether these are entries of a list.
    pub entries: bool,
}

/// Says of rules and definitions which keys changed, came and went; nothing where that would take the texts of more
/// than `most` bytes.
pub(super) fn tell(
    (old, new): (&Sources, &Sources),
    rules: &mut [ChangedName],
    definitions: &mut [ChangedName],
    most: usize,
) {
    // What a rule refers to may have changed alone.
    let of_rule = |found: &ChangedName| {
        found.kind != Kind::Changed || found.because.iter().any(|because| **because == *ITSELF)
    };
    let mut wanted: BTreeMap<Box<str>, &mut ChangedName> = BTreeMap::new();
    let rules = rules.iter_mut().filter(|found| of_rule(found)).take(MOST_NAMES);
    let definitions = definitions.iter_mut().filter(|found| has_keys(found));
    wanted.extend(rules.chain(definitions.take(MOST_NAMES)).map(|found| (found.name.clone(), found)));
    let size = |sources: &Sources| sources.policy_files().map(|(_, source)| source.text.len()).sum::<usize>();
    if wanted.is_empty() || size(old).max(size(new)) > most {
        return;
    }
    let (was, is) = (Tables::read(old), Tables::read(new));
    let names: BTreeSet<&str> = wanted.keys().map(|name| &**name).collect();
    let roles = (was.roles.clone(), is.roles.clone());
    let (was, is) = (tables(&was, &names), tables(&is, &names));
    for (name, found) in wanted {
        if let Some(role) = name.strip_prefix("role ") {
            found.keys = inherited(roles.0.get(role), roles.1.get(role)).into_iter().collect();
        }
        // What is new or gone is told by all that it says.
        let nothing = Keys::new();
        let sides = match found.kind {
            Kind::Added => (Some(&nothing), is.get(&name)),
            Kind::Removed => (was.get(&name), Some(&nothing)),
            Kind::Changed => (was.get(&name), is.get(&name)),
        };
        if let (Some(was), Some(is)) = sides {
            let told: BTreeSet<&str> = found.addresses.iter().filter_map(|change| change.list).collect();
            found.keys = compare(was, is);
            found.keys.retain(|change| &*change.key != "id" && !told.contains(&*change.key));
        }
    }
}

/// Of networks the addresses are told, and a file has no keys.
fn has_keys(found: &ChangedName) -> bool {
    !["network ", "file "].iter().any(|kind| found.name.starts_with(kind))
}

type Keys<'t> = BTreeMap<&'t str, Vec<&'t DeValue<'t>>>;

/// The keys of these rules and definitions, with their values.
fn tables<'t>(tables: &'t Tables<'_>, names: &BTreeSet<&str>) -> BTreeMap<Box<str>, Keys<'t>> {
    let rules = tables.rules.iter().filter_map(|(kind, table)| {
        let stage = kind.split('.').next().unwrap_or(kind);
        Some((format!("{stage}/{}", table.get("id")?.get_ref().as_str()?), table))
    });
    let routes = tables.routes.iter().map(|(name, table)| (format!("route {name}"), table));
    let excludes = tables.excludes.iter().map(|(name, table)| (format!("waf.exclude {name}"), table));
    let others = tables.others.iter().filter_map(|(name, value)| Some((name.clone(), value.as_table()?)));
    let lists = tables.others.iter().filter_map(|(name, value)| {
        // A list of tables without names, such as `[[disclosure]]`, is told by its entries.
        let entries = value.as_array()?.iter().map(Spanned::get_ref).collect();
        Some((name.as_str().into(), Keys::from([(ENTRIES, entries)])))
    });
    let all = rules.chain(routes).chain(excludes).chain(others);
    let wanted = all.filter(|(name, _)| names.contains(&**name));
    let wanted = wanted.map(|(name, table)| (name.into(), keys(table)));
    wanted.chain(lists.filter(|(name, _): &(Box<str>, _)| names.contains(&**name))).collect()
}

/// The key that stands for the entries of a list.
const ENTRIES: &str = "entries";

fn keys<'t>(table: &'t DeTable<'_>) -> Keys<'t> {
    let mut keys = Keys::new();
    for (key, value) in table {
        let key = match &**key.get_ref() {
            key if WORDS.contains(&key) => continue,
            // It is said by silence too.
            "mode" if value.get_ref().as_str() == Some("enforce") => continue,
            "path" => "paths",
            "host" => "hosts",
            key => key,
        };
        match is_set(key) {
            true => keys.entry(key).or_default().extend(several(value)),
            false => drop(keys.insert(key, vec![value.get_ref()])),
        }
    }
    keys
}

fn compare(was: &Keys<'_>, is: &Keys<'_>) -> Vec<KeyChange> {
    let names: BTreeSet<&str> = was.keys().chain(is.keys()).copied().collect();
    let nothing = Vec::new();
    let changes = names.into_iter().filter_map(|key| {
        let (was, is) = (was.get(key).unwrap_or(&nothing), is.get(key).unwrap_or(&nothing));
        let gone = missing(was, is);
        let come = missing(is, was);
        if gone.is_empty() && come.is_empty() {
            return None;
        }
        let show = |values: Vec<&DeValue<'_>>| -> Vec<Box<str>> {
            let more = values.len().saturating_sub(MOST_ENTRIES);
            let first = values.into_iter().take(MOST_ENTRIES).map(|value| shown(key, value));
            first.chain((more > 0).then(|| format!("{more} more").into())).collect()
        };
        Some(KeyChange {
            key: key.into(),
            was: show(gone),
            is: show(come),
            entries: is_set(key) || key == ENTRIES,
        })
    });
    changes.take(MOST_KEYS).collect()
}

/// Which roles a role inherits now, and which no longer.
fn inherited(was: Option<&BTreeSet<String>>, is: Option<&BTreeSet<String>>) -> Option<KeyChange> {
    let (was, is) = (was?, is?);
    let quoted = |name: &String| toml::Value::from(&**name).to_string().into();
    let (was, is) = (was.difference(is).map(quoted).collect(), is.difference(was).map(quoted).collect());
    Some(KeyChange { key: "inherits".into(), was, is, entries: true })
}

/// The values that are not among the others.
fn missing<'t>(values: &[&'t DeValue<'t>], among: &[&DeValue<'_>]) -> Vec<&'t DeValue<'t>> {
    let among: BTreeSet<_> = among.iter().map(|value| fingerprint::of(value)).collect();
    values.iter().copied().filter(|value| !among.contains(&fingerprint::of(value))).collect()
}

/// A value as it would be written in one line; of what may be a secret, and of what is long, not all.
fn shown(key: &str, value: &DeValue<'_>) -> Box<str> {
    let mut text = String::new();
    write(key, value, &mut text);
    match text.char_indices().nth(MOST_TEXT) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()).into(),
        None => text.into(),
    }
}

fn write(key: &str, value: &DeValue<'_>, out: &mut String) {
    match value {
        DeValue::String(text) => match may_be_secret(key) {
            true => out.push('…'),
            false => out.push_str(&toml::Value::from(&**text).to_string()),
        },
        DeValue::Integer(number) => out.push_str(number.as_str()),
        DeValue::Float(number) => out.push_str(number.as_str()),
        DeValue::Boolean(word) => out.push_str(if *word { "true" } else { "false" }),
        DeValue::Datetime(time) => out.push_str(&time.to_string()),
        DeValue::Array(items) => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                out.push_str(if number > 0 { ", " } else { "" });
                write(key, item.get_ref(), out);
            }
            out.push(']');
        }
        DeValue::Table(table) => {
            out.push_str("{ ");
            for (number, (name, item)) in table.iter().enumerate() {
                out.push_str(if number > 0 { ", " } else { "" });
                out.push_str(name.get_ref());
                out.push_str(" = ");
                // What is within a secret is one.
                write(if may_be_secret(key) { key } else { name.get_ref() }, item.get_ref(), out);
            }
            out.push_str(" }");
        }
    }
}

/// Whether a text under this key may be a secret, or what a guess at one can be tried against. The names of
/// files are none.
fn may_be_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // What a route sets in a field may be a credential whatever the field is called.
    let sets_fields = matches!(&*key, "request_headers" | "response_headers");
    sets_fields || (!key.ends_with("_file") && SECRET.iter().any(|word| key.contains(word)))
}

const SECRET: &[&str] = &["hash", "secret", "password", "token", "auth", "cookie", "key", "inline"];

/// More rules, and more definitions, are only named.
const MOST_NAMES: usize = 50;

/// More keys of one are not told.
const MOST_KEYS: usize = 12;

/// More entries of a list are only counted.
const MOST_ENTRIES: usize = 10;

/// A longer value is cut.
const MOST_TEXT: usize = 160;
