//! The table of all written rules of a policy: what `RuleRef::Written` points at.

use std::collections::HashMap;

use super::code::Code;
use super::decode::Name;
use super::diagnostic::{At, Diagnostics, Place};
use super::mode::Mode;
use crate::decision::{Builtin, RuleRef, Stage, Written};

/// What is known of one written rule, whatever its kind.
#[derive(Clone, Debug)]
pub struct RuleInfo {
    /// The stage that judges it.
    pub stage: Stage,
    /// Prefix and id: `rbac/orders-read`.
    pub name: Box<str>,
    /// The name that clients read instead, if the rule has one (prefix included).
    pub public_name: Option<Box<str>>,
    /// Where it stands: `policy/orders.toml:41`.
    pub at: Box<str>,
    /// The whole of its text.
    pub place: Place,
    /// Its own mode; stage and route may put it in shadow too.
    pub mode: Mode,
    /// Why the rule exists, in the words of its author; shown to clients with the rule.
    pub reason: Option<Box<str>>,
    /// What the client can do, in the words of its author.
    pub remediation: Option<Box<str>>,
    /// Whom to ask about this rule.
    pub contact: Option<Box<str>>,
}

/// The table of written rules.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    infos: Vec<RuleInfo>,
    /// By full name.
    by_name: HashMap<Box<str>, Written>,
}

impl Rules {
    /// Adds a rule. Ids are unique per stage and must not be a built-in one's.
    pub fn add(&mut self, id: &At<Name>, info: RuleInfo, diagnostics: &mut Diagnostics) -> Written {
        let written = Written(self.infos.len() as u32);
        if id.value.is_stand_in() {
            // It has no name to be found by.
        } else if Builtin::by_name(&info.name).is_some() {
            diagnostics
                .push(Code::ReservedId, id.place, format!("`{}` is a built-in rule", info.name))
                .help("choose another id; `portcullis explain --rules builtin` lists the reserved ones");
        } else if let Some(first) = self.by_name.get(&info.name) {
            let first = self.infos[first.0 as usize].place;
            diagnostics
                .push(Code::DuplicateId, id.place, format!("the id `{}` is taken", id.value))
                .also(first, "the first rule with this id");
        } else {
            self.by_name.insert(info.name.clone(), written);
        }
        self.infos.push(info);
        written
    }

    /// The rule behind a reference.
    pub fn get(&self, written: Written) -> &RuleInfo {
        &self.infos[written.0 as usize]
    }

    /// The full name behind a reference.
    pub fn name(&self, rule: RuleRef) -> &str {
        match rule {
            RuleRef::Builtin(builtin) => builtin.info().name,
            RuleRef::Written(written) => &self.get(written).name,
        }
    }

    /// The stage whose prefix a rule bears.
    pub fn stage(&self, rule: RuleRef) -> Stage {
        match rule {
            RuleRef::Builtin(builtin) => builtin.info().stage,
            RuleRef::Written(written) => self.get(written).stage,
        }
    }

    /// The rule with this full name.
    pub fn by_name(&self, name: &str) -> Option<RuleRef> {
        let written = self.by_name.get(name).copied().map(RuleRef::Written);
        written.or_else(|| Builtin::by_name(name).map(RuleRef::Builtin))
    }

    /// All written rules, in policy order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Written, &RuleInfo)> {
        self.infos.iter().enumerate().map(|(index, info)| (Written(index as u32), info))
    }
}
