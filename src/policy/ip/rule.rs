//! One address rule: checked, with its lists compiled.

use std::net::IpAddr;

use super::RawIpRule;
use super::intervals::Intervals;
use super::spared::Listed;
use crate::decision::{Reason, Stage, Written};
use crate::policy::code::Code;
use crate::policy::compile::Compile;
use crate::policy::mode::Mode;
use crate::policy::network::AddressList;
use crate::policy::scope::Scope;

/// A compiled address rule, without its scope.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) written: Written,
    pub(super) mode: Mode,
    kind: Kind,
    list: AddressList,
    /// Addresses the rule says nothing about.
    except: AddressList,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Allow,
    Deny,
}

/// What a rule says about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// It is excepted, or not on the list of a deny rule.
    Nothing,
    /// It is on the list of an allow rule.
    Pass,
    /// It is not welcome.
    Refuse,
}

impl Rule {
    /// Checks a rule. `None` if it cannot be used, which is reported.
    pub(super) fn lower(raw: &RawIpRule, cx: &mut Compile<'_>) -> Option<(Rule, Scope)> {
        let written = cx.rule(Stage::Ip, &raw.id, raw.place, &raw.mode, &raw.words);
        let scope = cx.scope(&raw.scope);
        let except = cx.networks.list(&raw.except, cx.diagnostics);
        let kinds = [(Kind::Allow, "allow", &raw.allow), (Kind::Deny, "deny", &raw.deny)];
        let mut lists = Vec::new();
        for (kind, key, items) in kinds {
            let Some(items) = items else { continue };
            if items.is_empty() {
                let help = match kind {
                    Kind::Allow => {
                        "list the addresses that may pass; to refuse everybody, `deny` both families: [\"0.0.0.0/0\", \"::/0\"]"
                    }
                    Kind::Deny => "list the addresses that are refused, or set `mode = \"off\"`",
                };
                cx.diagnostics.push(Code::BadValue, raw.place, format!("`{key}` is empty")).help(help);
            }
            lists.push((kind, cx.networks.list(items, cx.diagnostics)));
        }
        if lists.len() > 1 {
            cx.diagnostics
                .push(Code::Conflict, raw.place, "a rule has `allow` or `deny`, not both")
                .help("make two rules of it: every matching rule must let an address through");
            return None;
        }
        let Some((kind, list)) = lists.pop() else {
            cx.diagnostics
                .push_unless_lost(
                    raw.place,
                    &["allow", "deny"],
                    Code::MissingKey,
                    raw.place,
                    "[[ip.rule]] lacks `allow` or `deny`",
                )
                .help("list the addresses that may pass under `allow`, or those that may not under `deny`");
            return None;
        };
        Some((Rule { written, mode: Mode::from(&raw.mode), kind, list, except }, scope))
    }

    /// What the rule says about an address.
    #[inline]
    pub(super) fn says(&self, address: IpAddr) -> Says {
        if !self.except.is_empty() && self.except.contains(address) {
            return Says::Nothing;
        }
        match (self.kind, self.list.contains(address)) {
            (Kind::Allow, true) => Says::Pass,
            (Kind::Allow, false) | (Kind::Deny, true) => Says::Refuse,
            (Kind::Deny, false) => Says::Nothing,
        }
    }

    /// The addresses that it refuses.
    pub(super) fn refused(&self) -> Intervals {
        let on_list = Intervals::of(self.list.set());
        let refused = match self.kind {
            Kind::Allow => on_list.complement(),
            Kind::Deny => on_list,
        };
        refused.without(&Intervals::of(self.except.set()))
    }

    /// Whether it says who may pass.
    pub(super) fn is_allow(&self) -> bool {
        self.kind == Kind::Allow
    }

    /// Its lists, by their keys.
    pub(super) fn lists(&self) -> [(&'static str, &AddressList); 2] {
        let key = match self.kind {
            Kind::Allow => "allow",
            Kind::Deny => "deny",
        };
        [(key, &self.list), ("except", &self.except)]
    }

    /// Which addresses it lets through, in a sentence.
    pub(super) fn lets_through(&self) -> String {
        let listed = Listed::of(&self.list);
        match self.kind {
            Kind::Allow => format!("An address of {listed}."),
            Kind::Deny => format!("An address outside of {listed}."),
        }
    }

    /// The reason of its refusals.
    pub(super) fn reason(&self) -> Reason {
        match self.kind {
            Kind::Allow => Reason::IpNotAllowed,
            Kind::Deny => Reason::IpDenied,
        }
    }

    /// What the rule says about an address, and because of which network.
    pub(super) fn explain(&self, address: IpAddr) -> (Says, String) {
        if let Some(found) = self.except.find(address) {
            return (Says::Nothing, format!("{address} is excepted: it is in {found}"));
        }
        let note = match (self.list.find(address), self.kind) {
            (Some(found), _) => format!("{address} is in {found}"),
            (None, Kind::Allow) => format!("{address} is in none of the networks that may pass"),
            (None, Kind::Deny) => format!("{address} is in none of the networks that are refused"),
        };
        (self.says(address), note)
    }
}
