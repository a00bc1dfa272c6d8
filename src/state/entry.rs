//! The entries of the history, as they are written and as `/api/history` shows them.
//!
//! Fields are added, never renamed: older files must stay readable.

use std::collections::BTreeMap;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decision::{Change, Version};
use crate::policy::diff::{AddressChange, CellChange, ChangedName, Difference, ITSELF, KeyChange, Nets};
use crate::policy::rbac::Access;

/// Something that happened to the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// What entries that are no longer kept said of the last change of each rule.
    Earlier {
        /// By rule.
        changes: BTreeMap<Box<str>, ChangeLine>,
        /// The last policy among them, as `6-3f9a2c1d`.
        last: Option<String>,
    },
    /// A policy was put in force.
    Accepted(Box<Accepted>),
    /// A policy was refused, and the one before stayed in force.
    Refused(Refused),
    /// After a new policy, a rule refused much more than before.
    Jump(Jump),
}

/// A policy that was put in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// When.
    pub at: Timestamp,
    /// Its number.
    pub generation: u64,
    /// Its hash, eight hexadecimal digits.
    pub hash: String,
    /// What asked for it: `start`, `file`, `signal`, `api`.
    pub trigger: String,
    /// Who asked, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The texts that it was made of.
    pub files: Vec<StoredFile>,
    /// How it differs from the one before; none for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<DifferenceLine>,
}

/// A text of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its path, as the gateway was given it.
    pub name: String,
    /// Whether it is a list that the policy refers to, and no policy file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub list: bool,
    /// The SHA-256 of its text.
    pub text: String,
}

/// A policy that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// When.
    pub at: Timestamp,
    /// What asked for it.
    pub trigger: String,
    /// Who asked, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What is wrong with it, a line each.
    pub errors: Vec<String>,
    /// How many more lines there were.
    #[serde(default)]
    pub more: usize,
}

/// A rule that refuses much more since a policy is in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Jump {
    /// When it was noticed.
    pub at: Timestamp,
    /// The policy, as `7-3f9a2c1d`.
    pub policy: String,
    /// The rule.
    pub rule: String,
    /// Its share of all requests before, 0 to 1.
    pub before: f64,
    /// Its share since.
    pub after: f64,
    /// How many requests it refused since.
    pub refused: u64,
}

/// How a policy differs from the one before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DifferenceLine {
    /// Rules that are new, gone or changed.
    pub rules: Vec<RuleLine>,
    /// Everything else that differs.
    pub definitions: Vec<NameLine>,
    /// What roles gained and lost.
    pub cells: Vec<CellLine>,
    /// How many more such lines there were.
    #[serde(default)]
    pub more_cells: usize,
    /// Whether everything was compared.
    pub complete: bool,
}

/// A rule that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleLine {
    /// Its full name.
    pub rule: Box<str>,
    /// `added`, `removed` or `changed`.
    pub change: String,
    /// What of it changed: `itself`, or a definition that it refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Box<str>>,
    /// Of an address rule: how its own lists changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressLine>,
    /// Which of its keys have another value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyLine>,
}

/// A definition that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameLine {
    /// `network office`, `[limits]`.
    pub name: Box<str>,
    /// `added`, `removed` or `changed`.
    pub change: String,
    /// Of a network: how its addresses changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressLine>,
    /// Which of its keys have another value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyLine>,
}

/// A key of a rule or definition with another value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLine {
    /// The key.
    pub key: Box<str>,
    /// The value of before, as it is written; of a list the entries that went.
    pub was: Vec<Box<str>>,
    /// The value of now; of a list the entries that came.
    pub is: Vec<Box<str>>,
    /// Whether these are entries of a list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub entries: bool,
}

/// How a list of addresses differs. Nothing added and nothing removed: it is only written otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressLine {
    /// Of a rule: `allow`, `deny` or `except`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// The first addresses and networks that came into it.
    pub added: Vec<String>,
    /// How many more did.
    #[serde(default)]
    pub more_added: usize,
    /// The first that went out of it.
    pub removed: Vec<String>,
    /// How many more did.
    #[serde(default)]
    pub more_removed: usize,
}

/// What holders of a role may do otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellLine {
    /// The role.
    pub role: Box<str>,
    /// Of those, only these subjects; none listed: whoever.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<Box<str>>,
    /// How many more such subjects there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_subjects: usize,
    /// Where it is whoever: but for these subjects, of whom something else is to be told, or nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except_subjects: Vec<Box<str>>,
    /// How many more such subjects there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_except_subjects: usize,
    /// `gained`, `lost`, or `depends` for what depends on other things than before.
    pub change: String,
    /// The methods.
    pub methods: Vec<Box<str>>,
    /// The hosts; none listed: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Box<str>>,
    /// The paths: what this pattern covers and no more exact one.
    pub path: String,
    /// `never`, `sometimes` or `always`, before.
    pub from: String,
    /// And after.
    pub to: String,
    /// The rules by which it changed.
    pub rules: Vec<Box<str>>,
}

/// The last change of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeLine {
    /// When the newer policy was accepted.
    pub at: Timestamp,
    /// The last policy without the change.
    pub from: String,
    /// The first one with it.
    pub to: String,
}

/// How many lines about roles an entry has at most, and about rules.
pub(super) const MAX_CELLS: usize = 300;
const MAX_NAMES: usize = 20_000;

/// How many subjects a line about roles names at most.
const MAX_SUBJECTS: usize = 20;

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Accepted {
    /// Which policy it is.
    pub fn version(&self) -> Version {
        Version { generation: self.generation, hash: u32::from_str_radix(&self.hash, 16).unwrap_or_default() }
    }
}

/// The policy that somebody names: `7`, `7-3f9a2c1d`, or `-1` for the one before the last. `accepted`: those
/// that are kept, the oldest first.
pub(crate) fn named<'a>(accepted: &[&'a Accepted], text: &str) -> Option<&'a Accepted> {
    let newest = || accepted.iter().rev().copied();
    match (text.parse::<i64>(), text.parse::<Version>()) {
        (Ok(back), _) if back < 0 => newest().nth(usize::try_from(back.unsigned_abs()).ok()?),
        (Ok(number), _) => newest().find(|kept| kept.generation == number.unsigned_abs()),
        (Err(_), Ok(version)) => newest().find(|kept| kept.version() == version),
        (Err(_), Err(_)) => None,
    }
}

impl Entry {
    /// When it happened.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Entry::Earlier { .. } => None,
            Entry::Accepted(accepted) => Some(accepted.at),
            Entry::Refused(refused) => Some(refused.at),
            Entry::Jump(jump) => Some(jump.at),
        }
    }

    /// The policy that it put in force, if it did.
    pub fn accepted(&self) -> Option<&Accepted> {
        match self {
            Entry::Accepted(accepted) => Some(accepted),
            Entry::Earlier { .. } | Entry::Refused(_) | Entry::Jump(_) => None,
        }
    }
}

impl DifferenceLine {
    /// A difference with no more than so many lines about roles.
    pub fn new(difference: &Difference, most: usize) -> DifferenceLine {
        let rule = |found: &ChangedName| RuleLine {
            rule: found.name.clone(),
            change: found.kind.name().to_owned(),
            because: found.because.clone(),
            addresses: found.addresses.iter().map(AddressLine::from).collect(),
            keys: found.keys.iter().map(KeyLine::from).collect(),
        };
        let name = |found: &ChangedName| NameLine {
            name: found.name.clone(),
            change: found.kind.name().to_owned(),
            addresses: found.addresses.iter().map(AddressLine::from).collect(),
            keys: found.keys.iter().map(KeyLine::from).collect(),
        };
        let cells = &difference.cells;
        DifferenceLine {
            rules: difference.rules.iter().take(MAX_NAMES).map(rule).collect(),
            definitions: difference.definitions.iter().take(MAX_NAMES).map(name).collect(),
            cells: cells.changes.iter().take(most).map(CellLine::from).collect(),
            more_cells: cells.changes.len().saturating_sub(most),
            complete: cells.complete,
        }
    }
}

impl RuleLine {
    /// What a rule differs by, in words. That it is its own text alone goes without saying.
    pub(crate) fn through(&self) -> Vec<&str> {
        match &*self.because {
            [only] if **only == *ITSELF => Vec::new(),
            names => names.iter().map(|name| if **name == *ITSELF { "its own text" } else { name }).collect(),
        }
    }
}

impl KeyLine {
    /// What became of it, in words.
    pub(crate) fn words(&self) -> String {
        let KeyLine { key, was, is, entries } = self;
        match (was.is_empty(), is.is_empty()) {
            (false, true) => format!("{key}: {} removed", was.join(", ")),
            (true, false) => format!("{key}: {} added", is.join(", ")),
            // Two values that are not shown look the same.
            _ if was == is => format!("{key}: another"),
            _ if *entries => format!("{key}: {} added; {} removed", is.join(", "), was.join(", ")),
            _ => format!("{key}: {}, before {}", is.join(", "), was.join(", ")),
        }
    }
}

impl From<&KeyChange> for KeyLine {
    fn from(change: &KeyChange) -> KeyLine {
        let KeyChange { key, was, is, entries } = change.clone();
        KeyLine { key, was, is, entries }
    }
}

impl AddressLine {
    /// What came and went, in words.
    pub(crate) fn words(&self) -> String {
        let part = |texts: &[String], more: usize, verb: &str| {
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            (!texts.is_empty()).then(|| format!("{}{more} {verb}", texts.join(", ")))
        };
        let added = part(&self.added, self.more_added, "added");
        let removed = part(&self.removed, self.more_removed, "removed");
        let changes: Vec<String> = added.into_iter().chain(removed).collect();
        let changes = match changes.is_empty() {
            true => "the same addresses, written otherwise".to_owned(),
            false => changes.join("; "),
        };
        match &self.list {
            Some(list) => format!("{list}: {changes}"),
            None => changes,
        }
    }
}

impl From<&AddressChange> for AddressLine {
    fn from(change: &AddressChange) -> AddressLine {
        let AddressChange { list, added, removed } = change;
        let texts = |nets: &Nets| nets.first.iter().copied().map(plain).collect();
        AddressLine {
            list: list.map(str::to_owned),
            added: texts(added),
            more_added: added.more,
            removed: texts(removed),
            more_removed: removed.more,
        }
    }
}

/// A network, or the address that is all of it.
fn plain(net: IpNet) -> String {
    match net.prefix_len() == net.max_prefix_len() {
        true => net.addr().to_string(),
        false => net.to_string(),
    }
}

impl From<&CellChange> for CellLine {
    fn from(cell: &CellChange) -> CellLine {
        let change = match cell.from.cmp(&cell.to) {
            std::cmp::Ordering::Less => "gained",
            std::cmp::Ordering::Greater => "lost",
            std::cmp::Ordering::Equal => "depends",
        };
        CellLine {
            role: cell.role.clone(),
            subjects: cell.subjects.iter().take(MAX_SUBJECTS).cloned().collect(),
            more_subjects: cell.subjects.len().saturating_sub(MAX_SUBJECTS),
            except_subjects: cell.except.iter().take(MAX_SUBJECTS).cloned().collect(),
            more_except_subjects: cell.except.len().saturating_sub(MAX_SUBJECTS),
            change: change.to_owned(),
            methods: cell.methods.clone(),
            hosts: cell.hosts.clone(),
            path: cell.path.to_string(),
            from: word(cell.from).to_owned(),
            to: word(cell.to).to_owned(),
            rules: cell.rules.clone(),
        }
    }
}

impl CellLine {
    /// Whether it is about who asks, as far as that goes by the subject; none if it names too few subjects
    /// to tell.
    pub(crate) fn is_about(&self, subject: Option<&str>) -> Option<bool> {
        let among = |list: &[Box<str>]| list.iter().any(|known| Some(&**known) == subject);
        let (list, more, listed) = match self.subjects.is_empty() {
            true => (&self.except_subjects, self.more_except_subjects, false),
            false => (&self.subjects, self.more_subjects, true),
        };
        match subject {
            _ if among(list) => Some(listed),
            Some(_) if more > 0 => None,
            _ => Some(!listed),
        }
    }
}

fn word(access: Access) -> &'static str {
    match access {
        Access::Never => "never",
        Access::Sometimes => "sometimes",
        Access::Always => "always",
    }
}

impl From<Change> for ChangeLine {
    fn from(change: Change) -> ChangeLine {
        ChangeLine { at: change.at, from: change.from.to_string(), to: change.to.to_string() }
    }
}

impl ChangeLine {
    /// The change, if it can be read.
    pub fn change(&self) -> Option<Change> {
        Some(Change { at: self.at, from: self.from.parse().ok()?, to: self.to.parse().ok()? })
    }
}
