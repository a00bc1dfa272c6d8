//! The rule packs that ship with portcullis.
//!
//! They are written like any other policy text, embedded, and read once a process: their expressions
//! are the same for every generation of a policy.

use std::sync::LazyLock;

use jiff::Timestamp;
use toml::de::DeTable;

use super::compile::Built;
use super::ir::Rule;
use super::operators::TableBudget;
use super::raw::{PackWord, RawWaf};
use super::toml as front_end;
use crate::decision::Written;
use crate::policy::code::Code;
use crate::policy::compile::Compile;
use crate::policy::decode::{Decode, Name, Node};
use crate::policy::diagnostic::{At, Diagnostics, FileId};
use crate::policy::network::Networks;
use crate::policy::rbac::Roles;
use crate::policy::route::RouteNames;
use crate::policy::rules::{RuleInfo, Rules};
use crate::policy::source::Sources;

/// The text of the pack `core`.
const CORE: &str = include_str!("../../../config/waf/core.toml");

static CORE_RULES: LazyLock<Result<Vec<PackRule>, String>> = LazyLock::new(|| read("core", CORE));

/// How much memory the tables of one pack may take.
const TABLES: usize = 32 << 20;

/// The text of a pack, by its name.
pub fn text(name: &str) -> Option<&'static str> {
    (name == PackWord::Core.word()).then_some(CORE)
}

/// A rule of a pack.
#[derive(Debug)]
pub(super) struct PackRule {
    id: Name,
    info: RuleInfo,
    built: Built,
}

/// Adds the rules of a pack to the policy's table. `entry` is where the policy names the pack.
pub(super) fn add(entry: &At<PackWord>, cx: &mut Compile<'_>) -> Vec<(Written, Option<Built>)> {
    let rules = match entry.value {
        PackWord::Core => &*CORE_RULES,
    };
    match rules {
        Ok(rules) => rules
            .iter()
            .map(|rule| {
                let id = At { value: rule.id.clone(), place: entry.place };
                let info = RuleInfo { place: entry.place, ..rule.info.clone() };
                (cx.rules.add(&id, info, cx.diagnostics), Some(rule.built.clone()))
            })
            .collect(),
        Err(why) => {
            cx.diagnostics.push(
                Code::BadValue,
                entry.place,
                format!("the pack `{}` cannot be read: {why}", entry.value.word()),
            );
            Vec::new()
        }
    }
}

/// The rule of a pack with this full name.
pub(super) fn rule(name: &str) -> Option<&'static Rule> {
    let rules = CORE_RULES.as_ref().ok()?;
    rules.iter().find(|rule| *rule.info.name == *name).map(|rule| &*rule.built.rule)
}

/// Reads the text of a pack.
fn read(name: &str, text: &str) -> Result<Vec<PackRule>, String> {
    let sources = Sources::single(name, text);
    let mut diagnostics = Diagnostics::default();
    let table = DeTable::parse(text).map_err(|error| error.to_string())?;
    let waf = table.get_ref().get("waf").ok_or("it has no rules")?;
    let raw = RawWaf::decode(Node::new(FileId(0), waf), &mut diagnostics);
    let mut tables = TableBudget(TABLES);
    let mut rules = Vec::new();
    if let Some(raw) = raw {
        let mut cx = Compile {
            sources: &sources,
            now: Timestamp::UNIX_EPOCH,
            diagnostics: &mut diagnostics,
            rules: Rules::default(),
            networks: Networks::default(),
            roles: Roles::default(),
            routes: RouteNames::default(),
        };
        for (raw, (written, built)) in raw.rule.iter().zip(front_end::rules(&raw.rule, &mut tables, &mut cx))
        {
            if let Some(built) = built {
                rules.push(PackRule { id: raw.id.value.clone(), info: cx.rules.get(written).clone(), built });
            }
        }
    }
    match diagnostics.iter().next() {
        None => Ok(rules),
        Some(problem) => {
            let at = problem.place.map_or_else(String::new, |place| sources.show(place));
            Err(format!("{at}: {}", problem.message))
        }
    }
}
