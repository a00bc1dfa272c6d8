//! What compiling the parts of a policy shares: names, rules, and the problems found.

use jiff::Timestamp;

use super::code::Code;
use super::decode::{Name, table};
use super::diagnostic::{At, Diagnostics, Place, suggest};
use super::mode::{Mode, RawMode};
use super::network::Networks;
use super::rbac::Roles;
use super::route::RouteNames;
use super::rules::{RuleInfo, Rules};
use super::scope::{MethodSet, RawScope, Scope};
use super::source::Sources;
use crate::decision::{Stage, Written};

table! {
    /// The words that a rule may carry for people.
    pub struct RawWords as "a rule" {
        /// The id that clients read instead of `id`.
        opt public_id: At<Name>,
        /// Why the rule exists; shown to clients together with the rule.
        opt reason: At<String>,
        /// What a refused client can do.
        opt remediation: At<String>,
        /// Whom to ask about this rule: an address or URL, instead of `[contact]`.
        opt contact: At<String>,
    }
}

/// The state of compiling one policy.
#[derive(Debug)]
pub struct Compile<'a> {
    /// All texts.
    pub sources: &'a Sources,
    /// When the policy is compiled, for lints about validity.
    pub now: Timestamp,
    /// The problems found so far.
    pub diagnostics: &'a mut Diagnostics,
    /// The rules added so far.
    pub rules: Rules,
    /// The named networks.
    pub networks: Networks,
    /// The declared roles.
    pub roles: Roles,
    /// The routes, by id.
    pub routes: RouteNames,
}

impl Compile<'_> {
    /// Adds a rule to the table of rules.
    pub fn rule(
        &mut self,
        stage: Stage,
        id: &At<Name>,
        place: Place,
        mode: &RawMode,
        words: &RawWords,
    ) -> Written {
        if !self.diagnostics.lacks(mode.place, MODE_KEYS) {
            self.check_mode(mode, Some(&format!("{}/{}", stage.name(), id.value)));
        }
        let text = |value: &Option<At<String>>| value.as_ref().map(|text| text.value.as_str().into());
        let full = |name: &Name| format!("{}/{name}", stage.name()).into_boxed_str();
        let info = RuleInfo {
            stage,
            name: full(&id.value),
            public_name: words.public_id.as_ref().map(|name| full(&name.value)),
            at: self.sources.show(place).into(),
            place,
            mode: Mode::from(mode),
            reason: text(&words.reason),
            remediation: text(&words.remediation),
            contact: text(&words.contact),
        };
        self.rules.add(id, info, self.diagnostics)
    }

    /// Checks the mode keys of a single rule, or of what `about` names.
    fn check_mode(&mut self, raw: &RawMode, about: Option<&str>) {
        let before = self.diagnostics.len();
        self.find_mode_problems(raw);
        if let (Some(about), true) = (about, self.diagnostics.len() > before) {
            self.diagnostics.last_is_about(about);
        }
    }

    fn find_mode_problems(&mut self, raw: &RawMode) {
        match (Mode::from(raw), &raw.mode, &raw.shadow_until) {
            (Mode::Shadow(None), Some(mode), _) => {
                self.diagnostics
                    .push(Code::ShadowRuleWithoutEnd, mode.place, "this rule is in shadow without an end")
                    .help("say until when: `shadow_until = 2027-01-31T00:00:00Z`");
            }
            (Mode::Shadow(Some(until)), _, Some(at)) if until <= self.now => {
                self.diagnostics
                    .push(Code::ShadowEnded, at.place, "the shadow has ended, so this rule enforces")
                    .help("remove `mode` and `shadow_until`, or give a later time");
            }
            (Mode::Enforce | Mode::Off, _, Some(at)) => {
                self.diagnostics
                    .push(Code::Conflict, at.place, "`shadow_until` needs `mode = \"shadow\"`")
                    .help("add `mode = \"shadow\"`, or remove `shadow_until`");
            }
            _ => {}
        }
    }

    /// Checks the mode keys of a whole stage or route, which must not be forgotten in shadow.
    pub fn stage_mode(&mut self, raw: &RawMode, about: Option<&str>) -> Mode {
        let mode = Mode::from(raw);
        if self.diagnostics.lacks(raw.place, MODE_KEYS) {
            return mode;
        }
        match (mode, &raw.mode) {
            (Mode::Off, Some(at)) => {
                self.diagnostics
                    .push(Code::BadValue, at.place, "a stage or route cannot be off")
                    .help("use `mode = \"shadow\"` with `shadow_until`; single rules can be off");
            }
            (Mode::Shadow(None), Some(at)) => {
                self.diagnostics
                    .push(Code::ShadowWithoutEnd, at.place, "a stage or route in shadow needs `shadow_until`")
                    .help("say until when it is to be watched: `shadow_until = 2027-01-31T00:00:00Z`");
            }
            _ => self.check_mode(raw, about),
        }
        mode
    }

    /// Resolves the scope keys of a rule.
    pub fn scope(&mut self, raw: &RawScope) -> Scope {
        let mut paths: Vec<_> = raw.path.iter().map(|path| path.value.clone()).collect();
        paths.extend(raw.paths.iter().flatten().map(|path| path.value.clone()));
        let mut hosts: Vec<_> = raw.host.iter().map(|host| host.value.clone()).collect();
        hosts.extend(raw.hosts.iter().flatten().map(|host| host.value.clone()));
        let methods = raw.methods.iter().flat_map(|methods| &methods.0).map(|method| &method.value.0);
        let methods = MethodSet::new(methods);
        let named = raw.routes.iter().flat_map(|routes| &routes.0);
        let routes = named.filter_map(|name| self.routes.resolve(name, self.diagnostics)).collect();
        for (empty, key) in [
            (raw.paths.as_ref().is_some_and(Vec::is_empty), "paths"),
            (raw.hosts.as_ref().is_some_and(Vec::is_empty), "hosts"),
            (raw.methods.as_ref().is_some_and(|methods| methods.0.is_empty()), "methods"),
            (raw.routes.as_ref().is_some_and(|routes| routes.0.is_empty()), "routes"),
        ] {
            if empty {
                self.diagnostics
                    .push(
                        Code::BadValue,
                        raw.place,
                        format!("`{key}` is empty, so this rule would concern nothing"),
                    )
                    .help(format!("remove `{key}` to mean any"));
            }
        }
        let scope = Scope { paths, hosts, methods, routes };
        // Each combination has its own place in the index.
        if scope.combinations() > MAX_COMBINATIONS {
            self.diagnostics
                .push(
                    Code::Limit,
                    raw.place,
                    format!(
                        "more than {MAX_COMBINATIONS} combinations of routes, hosts and paths in one rule"
                    ),
                )
                .help("make several rules of it, or use wildcards");
        }
        scope
    }
}

/// What one of these means depends on the other.
const MODE_KEYS: &[&str] = &["mode", "shadow_until"];

/// Combinations of routes, hosts and paths that one rule may be about.
const MAX_COMBINATIONS: usize = 100_000;

/// Reports a name that is defined nowhere.
pub fn unknown_name<'a>(
    kind: &str,
    name: &str,
    place: Place,
    known: impl IntoIterator<Item = &'a str>,
    diagnostics: &mut Diagnostics,
) {
    if diagnostics.has_lost(kind, name) {
        // It is defined, but its definition was refused; one report is enough.
        return;
    }
    let problem = diagnostics.push(Code::UnknownName, place, format!("there is no {kind} `{name}`"));
    if let Some(near) = suggest(name, known) {
        problem.help(format!("did you mean `{near}`?"));
    }
}
