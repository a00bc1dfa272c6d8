//! How much a refusal tells, and to whom.
//!
//! The layers ask [`Disclosure::level`] once for each answer, refused or allowed; `deny` shows what
//! the level shows and nothing else. Only facts that are established count: the derived client
//! address, the *verified* identity, the resolved route. A selector whose fact is unknown does not
//! match, so a caller is never told more because less is known.

mod raw;
#[cfg(test)]
mod tests;

pub use raw::{LevelWord, RawContact, RawDisclosure, StageWord};

use super::code::Code;
use super::compile::Compile;
use super::diagnostic::{At, Diagnostics};
use super::ip::IpSet;
use crate::decision::{Builtin, Denial, Stage};
use crate::facts::{Facts, RoleId, RouteId};

/// How much a caller is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing: the answer of an unrouted path.
    Silent,
    /// Status, request id, stage.
    Id,
    /// The rule, the reason, and what would help.
    #[default]
    Rule,
    /// Everything.
    Full,
}

/// The compiled `[[disclosure]]` entries.
#[derive(Clone, Debug, Default)]
pub struct Disclosure {
    entries: Vec<Entry>,
}

/// One entry. An absent selector means any.
#[derive(Clone, Debug)]
struct Entry {
    networks: Option<IpSet>,
    roles: Option<Vec<RoleId>>,
    routes: Option<Vec<RouteId>>,
    stages: Option<Vec<StageWord>>,
    level: Level,
    /// Where it stands: `policy/disclosure.toml:3`.
    at: Box<str>,
}

impl Disclosure {
    /// Compiles the entries.
    pub fn compile(raw: &[RawDisclosure], cx: &mut Compile<'_>) -> Disclosure {
        Disclosure { entries: raw.iter().map(|raw| Entry::compile(raw, cx)).collect() }
    }

    /// The level for this caller; the first matching entry decides. `stage`: where the request was
    /// refused, none for an allow.
    ///
    /// A silent refusal promises to be the answer of an unrouted path. So whatever refuses such a path,
    /// the route gate or a rule about addresses, is silent towards every caller to whom some refusal
    /// might be.
    pub fn level(&self, facts: &Facts<'_>, stage: Option<Stage>) -> Level {
        self.decider(facts, stage).map_or(Level::default(), |entry| entry.level)
    }

    /// The same with where the entry stands that decides, if one does.
    pub fn level_at(&self, facts: &Facts<'_>, stage: Option<Stage>) -> (Level, Option<&str>) {
        let entry = self.decider(facts, stage);
        entry.map_or((Level::default(), None), |entry| (entry.level, Some(&*entry.at)))
    }

    fn decider(&self, facts: &Facts<'_>, stage: Option<Stage>) -> Option<&Entry> {
        match stage {
            Some(Stage::Route) => self.unrouted(facts, Stage::Route),
            Some(Stage::Ip) if facts.route.is_none() => self.unrouted(facts, Stage::Ip),
            _ => self.entries.iter().find(|entry| entry.matches(facts, stage)),
        }
    }

    fn unrouted(&self, facts: &Facts<'_>, stage: Stage) -> Option<&Entry> {
        let mut first = None;
        for entry in &self.entries {
            // Whom a route or a role makes silent is not known of a path without route, and the
            // stages of an entry are those of the refusals that must not differ from this one.
            if entry.level == Level::Silent && entry.concerns_address(facts) {
                return Some(entry);
            }
            if entry.matches(facts, Some(stage)) {
                first = first.or(Some(entry));
                if entry.roles.is_none() && entry.routes.is_none() && entry.stages.is_none() {
                    // Nothing behind this entry is ever reached by this caller.
                    break;
                }
            }
        }
        first
    }
}

impl Entry {
    fn compile(raw: &RawDisclosure, cx: &mut Compile<'_>) -> Entry {
        let empty = [
            ("networks", raw.networks.as_ref().is_some_and(Vec::is_empty)),
            ("roles", raw.roles.as_ref().is_some_and(Vec::is_empty)),
            ("routes", raw.routes.as_ref().is_some_and(Vec::is_empty)),
            ("stages", raw.stages.as_ref().is_some_and(Vec::is_empty)),
        ];
        for (key, _) in empty.into_iter().filter(|(_, empty)| *empty) {
            cx.diagnostics
                .push(
                    Code::BadValue,
                    raw.place,
                    format!("`{key}` is empty, so this entry would concern nobody"),
                )
                .help(format!("remove `{key}` to mean any"));
        }
        let at = cx.sources.show(raw.place).into();
        let networks = raw.networks.as_ref().map(|items| cx.networks.resolve(items, cx.diagnostics));
        let roles = raw
            .roles
            .as_ref()
            .map(|names| names.iter().filter_map(|name| cx.roles.resolve(name, cx.diagnostics)).collect());
        let routes = raw
            .routes
            .as_ref()
            .map(|names| names.iter().filter_map(|name| cx.routes.resolve(name, cx.diagnostics)).collect());
        let stages = raw.stages.as_ref().map(|stages| stages.iter().map(|stage| stage.value).collect());
        Entry { networks: networks.map(IpSet::new), roles, routes, stages, level: raw.level.into(), at }
    }

    fn matches(&self, facts: &Facts<'_>, stage: Option<Stage>) -> bool {
        self.concerns_address(facts)
            && self.stages.as_ref().is_none_or(|stages| {
                stage.is_some_and(|stage| stages.iter().any(|word| word.word() == stage.name()))
            })
            && self.routes.as_ref().is_none_or(|routes| {
                // What the intake gate refuses it refuses on every path, so there no route says how: its
                // silence would tell its paths from those of none.
                stage != Some(Stage::Intake)
                    && facts.target.error.is_none()
                    && facts.route.is_some_and(|route| routes.contains(&route))
            })
            && self.roles.as_ref().is_none_or(|roles| {
                facts.identity.who().is_some_and(|who| roles.iter().any(|role| who.roles.contains(*role)))
            })
    }

    fn concerns_address(&self, facts: &Facts<'_>) -> bool {
        self.networks
            .as_ref()
            .is_none_or(|networks| facts.client.established().is_some_and(|ip| networks.contains(ip)))
    }
}

impl From<LevelWord> for Level {
    fn from(word: LevelWord) -> Level {
        match word {
            LevelWord::Silent => Level::Silent,
            LevelWord::Id => Level::Id,
            LevelWord::Rule => Level::Rule,
            LevelWord::Full => Level::Full,
        }
    }
}

impl Level {
    /// The status that a caller of this level sees of a refusal. A silent one looks like an
    /// unrouted path, unless the world broke, which says nothing about the policy.
    pub fn sent_status(self, denial: &Denial) -> u16 {
        match (self, denial.stage) {
            (Level::Silent, stage) if stage != Stage::Fault => Builtin::NoRoute.info().reason.info().status,
            _ => denial.status(),
        }
    }

    /// The word in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Silent => LevelWord::Silent.word(),
            Level::Id => LevelWord::Id.word(),
            Level::Rule => LevelWord::Rule.word(),
            Level::Full => LevelWord::Full.word(),
        }
    }
}

/// The address of `[contact]`: a page or a mailbox, safe to be the target of a link.
pub fn contact(raw: &RawContact, diagnostics: &mut Diagnostics) -> Option<Box<str>> {
    let At { value, place } = &raw.url;
    if is_link(value) {
        return Some(value.as_str().into());
    }
    diagnostics
        .push(
            Code::BadValue,
            *place,
            format!("`{}` is not an address to write to or a page", value.escape_debug()),
        )
        .help("write \"https://intranet.example/access\" or \"mailto:help@example.com\"");
    None
}

/// Whether a text is a URL of a scheme that only opens a page or writes a message.
pub fn is_link(text: &str) -> bool {
    let rest = ["https://", "http://", "mailto:"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let visible =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#', '@']))
        && text.len() <= 2048
        && visible(text)
}
