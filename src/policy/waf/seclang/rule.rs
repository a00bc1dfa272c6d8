//! `SecRule`, `SecAction` and `SecDefaultAction`, lowered.

use super::actions::{Action as Written, actions};
use super::lex::{Directive, Word};
use super::template::template;
use super::updates::rule_set;
use super::{Reader, Report, operators, variables};
use crate::policy::diagnostic::{Place, suggest};
use crate::policy::mode::Mode;
use crate::policy::scope::Scope;
use crate::policy::waf::ir::{
    Action, Allowed, Change, Control, Effect, Link, Phase, Piece, Rule, Severity, Template, Test,
};
use crate::policy::waf::transforms::Transform;

/// A rule that is being read, with the links of its chain so far.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: Option<u32>,
    pub(super) rule: Rule,
    /// Whether its chain goes on.
    pub(super) chained: bool,
    /// Whether all of it could be lowered.
    pub(super) whole: bool,
}

/// What `SecDefaultAction` says for each phase.
#[derive(Debug, Default)]
pub(super) struct Defaults([Option<Default_>; 5]);

#[derive(Clone, Debug)]
struct Default_ {
    refuses: bool,
    logged: bool,
    transforms: Vec<Transform>,
}

/// What the actions of one `SecRule` say.
#[derive(Debug, Default)]
struct Said {
    id: Option<u32>,
    phase: Option<Phase>,
    /// What happens to the request.
    disruption: Option<Disruption>,
    logged: Option<bool>,
    /// Whether `t:none` was among them, and what stands behind it.
    from_none: bool,
    transforms: Vec<Transform>,
    multi_match: bool,
    capture: bool,
    chain: bool,
    msg: Template,
    data: Option<Template>,
    severity: Option<Severity>,
    tags: Vec<Box<str>>,
    /// What each match does.
    effects: Vec<Effect>,
    /// What the rule as a whole does.
    flow: Vec<Effect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disruption {
    Block,
    Deny,
    Pass,
    Allow(Allowed),
}

impl Reader<'_, '_> {
    pub(super) fn rule(&mut self, directive: &Directive, tested: bool) {
        let place = directive.place;
        let (most, least) = if tested { (3, 2) } else { (1, 1) };
        if !(least..=most).contains(&directive.words.len()) {
            let takes = if tested { "variables, an operator and actions" } else { "a list of actions" };
            self.report().error(place, format!("`{}` takes {takes}", directive.name.text));
            self.open = None;
            return;
        }
        let list = if tested { directive.words.get(2) } else { directive.words.first() };
        let (sources, mut report) = self.parts();
        let before = report.diagnostics.len();
        let mut said = Said::default();
        for action in list.map(actions).unwrap_or_default() {
            said.take(&action, &mut report);
        }
        let (inputs, test) = match directive.words.as_slice() {
            [list, operator, ..] if tested => {
                (variables::inputs(list, &mut report), operators::test(operator, sources, &mut report))
            }
            _ => (Some(Vec::new()), Some(Test::Always)),
        };
        let whole = inputs.is_some() && test.is_some() && said.is_whole(before, &report);
        let link = Link {
            inputs: inputs.unwrap_or_default(),
            transforms: Vec::new(),
            multi_match: said.multi_match,
            test: test.unwrap_or(Test::Always),
            capture: said.capture,
            effects: std::mem::take(&mut said.effects),
        };
        match self.open.take() {
            Some(open) => self.follow(open, link, said, whole, place),
            None => self.head(link, said, whole, place),
        }
    }

    fn head(&mut self, mut link: Link, said: Said, whole: bool, place: Place) {
        let phase = said.phase.unwrap_or(Phase::RequestBody);
        let default = self.defaults.of(phase);
        link.transforms = said.transforms_over(&default.transforms);
        let logged = said.logged.unwrap_or(default.logged);
        let refuses = match said.disruption {
            Some(Disruption::Deny) => true,
            Some(Disruption::Block) | None => default.refuses,
            Some(Disruption::Pass | Disruption::Allow(_)) => false,
        };
        let mut effects = said.flow;
        if let Some(Disruption::Allow(allowed)) = said.disruption {
            effects.push(Effect::Allow(allowed));
        }
        let rule = Rule {
            place,
            phase,
            scope: Scope::default(),
            mode: Mode::Enforce,
            paranoia: paranoia(&said.tags),
            links: vec![link],
            action: match (refuses, logged) {
                (true, _) => Action::Deny,
                (false, true) => Action::Log,
                (false, false) => Action::Pass,
            },
            effects,
            tags: said.tags,
            msg: said.msg,
            data: said.data,
            severity: said.severity,
            logged,
        };
        let mut whole = whole;
        if said.id.is_none() && whole {
            self.report().error(place, "this rule has no `id`");
            whole = false;
        }
        self.open = Some(Open { id: said.id, rule, chained: said.chain, whole });
        if !said.chain {
            self.close();
        }
    }

    fn follow(&mut self, mut open: Open, mut link: Link, said: Said, whole: bool, place: Place) {
        let default = self.defaults.of(open.rule.phase);
        link.transforms = said.transforms_over(&default.transforms);
        for (odd, what) in [
            (said.id.is_some(), "an `id`"),
            (said.disruption.is_some(), "an action on the request"),
            (said.phase.is_some_and(|phase| phase != open.rule.phase), "another phase"),
            (said.flow.iter().any(|effect| matches!(effect, Effect::SkipAfter(_))), "`skipAfter`"),
        ] {
            if odd {
                let message = format!("{what} stands on the first rule of a chain, and not on a further one");
                self.report().error(place, message);
                open.whole = false;
            }
        }
        open.rule.links.push(link);
        open.rule.place.end =
            if open.rule.place.file == place.file { place.end } else { open.rule.place.end };
        open.rule.tags.extend(said.tags);
        open.rule.data = open.rule.data.or(said.data);
        open.chained = said.chain;
        open.whole &= whole;
        self.open = Some(open);
        if !said.chain {
            self.close();
        }
    }

    pub(super) fn default_action(&mut self, directive: &Directive) {
        let [list] = directive.words.as_slice() else {
            self.report().error(directive.place, "`SecDefaultAction` takes a list of actions");
            return;
        };
        let mut report = self.report();
        let mut said = Said::default();
        for action in actions(list) {
            said.take(&action, &mut report);
        }
        let refuses = matches!(said.disruption, Some(Disruption::Deny));
        let default = Default_ { refuses, logged: said.logged.unwrap_or(true), transforms: said.transforms };
        self.defaults.set(said.phase.unwrap_or(Phase::RequestBody), default);
    }
}

impl Defaults {
    fn of(&self, phase: Phase) -> Default_ {
        let said = self.0.get(phase as usize - 1).cloned().flatten();
        said.unwrap_or(Default_ { refuses: false, logged: true, transforms: Vec::new() })
    }

    fn set(&mut self, phase: Phase, default: Default_) {
        if let Some(slot) = self.0.get_mut(phase as usize - 1) {
            *slot = Some(default);
        }
    }
}

/// The paranoia level that a rule's tags name.
fn paranoia(tags: &[Box<str>]) -> u8 {
    let level = tags.iter().find_map(|tag| tag.strip_prefix("paranoia-level/")?.parse().ok());
    level.filter(|level| (1..=4).contains(level)).unwrap_or(1)
}

/// Words about a rule that the engine has no use for.
const WORDS: &[&str] = &["ver", "rev", "maturity", "accuracy", "xmlns"];

impl Said {
    /// Whether nothing was wrong with the actions.
    fn is_whole(&self, before: usize, report: &Report<'_>) -> bool {
        use crate::policy::code::Severity;
        !report.diagnostics.iter().skip(before).any(|problem| problem.severity == Severity::Error)
    }

    fn transforms_over(&self, defaults: &[Transform]) -> Vec<Transform> {
        let inherited = if self.from_none { &[] } else { defaults };
        inherited.iter().chain(&self.transforms).copied().collect()
    }

    fn take(&mut self, action: &Written, report: &mut Report<'_>) {
        let place = action.word.whole();
        let value = action.value.as_ref();
        let text = value.map_or("", |value| &*value.text);
        match action.name.as_str() {
            "id" => match text.parse() {
                Ok(id) => self.id = Some(id),
                Err(_) => drop(report.error(place, format!("`{text}` is not the number of a rule"))),
            },
            "phase" => match phase(text) {
                Some(phase) => self.phase = Some(phase),
                None => drop(report.error(place, format!("`{text}` is not a phase from 1 to 5"))),
            },
            "block" => self.disruption = Some(Disruption::Block),
            "deny" => self.disruption = Some(Disruption::Deny),
            "drop" => {
                report.ignored("drop", place, "`drop` refuses as `deny` does: the connection stays open");
                self.disruption = Some(Disruption::Deny);
            }
            "pass" => self.disruption = Some(Disruption::Pass),
            "allow" => {
                self.disruption = Some(Disruption::Allow(match text.to_ascii_lowercase().as_str() {
                    "phase" => Allowed::Phase,
                    "request" => Allowed::Request,
                    _ => Allowed::Everything,
                }));
            }
            "log" => self.logged = Some(true),
            "nolog" => self.logged = Some(false),
            "auditlog" | "noauditlog" => {}
            "t" => self.transform(text, place, report),
            "multimatch" => self.multi_match = true,
            "capture" => self.capture = true,
            "chain" => self.chain = true,
            "msg" => self.msg = value.and_then(|value| template(value, report)).unwrap_or_default(),
            "logdata" => self.data = value.and_then(|value| template(value, report)),
            "severity" => match severity(text) {
                Some(severity) => self.severity = Some(severity),
                None => drop(report.error(place, format!("`{text}` is not a severity"))),
            },
            "tag" => self.tags.push(text.into()),
            "skipafter" => self.flow.push(Effect::SkipAfter(text.into())),
            "setvar" => self.effects.extend(value.and_then(|value| set(value, report))),
            "ctl" => self.effects.extend(value.and_then(|value| control(value, report)).map(Effect::Control)),
            "initcol" | "setsid" | "setuid" | "setrsc" | "expirevar" | "deprecatevar" => {
                let message = format!(
                    "`{}`: collections such as `IP` last for one request in this version",
                    action.name
                );
                report.ignored("collections", place, message);
            }
            "status" => match text {
                "403" => {}
                _ => report.ignored(
                    "status",
                    place,
                    format!("`status:{text}`: a refusal's status follows from its reason, and is 403 here"),
                ),
            },
            word if WORDS.contains(&word) => {}
            word if word.starts_with("sanitise") || word.starts_with("sanitize") => {
                let message = format!("`{word}`: what the record keeps is said in `[log]`");
                report.ignored("sanitise", place, message);
            }
            other => {
                const KNOWN: [&str; 22] = [
                    "id",
                    "phase",
                    "block",
                    "deny",
                    "pass",
                    "allow",
                    "log",
                    "nolog",
                    "auditlog",
                    "noauditlog",
                    "t",
                    "multimatch",
                    "capture",
                    "chain",
                    "msg",
                    "logdata",
                    "severity",
                    "tag",
                    "skipafter",
                    "setvar",
                    "ctl",
                    "status",
                ];
                let diagnostic =
                    report.error(place, format!("`{other}` is no action that this version runs"));
                if let Some(near) = suggest(other, KNOWN) {
                    diagnostic.help(format!("did you mean `{near}`?"));
                }
            }
        }
    }

    fn transform(&mut self, name: &str, place: Place, report: &mut Report<'_>) {
        let lower = name.to_ascii_lowercase();
        if lower == "none" {
            self.transforms.clear();
            self.from_none = true;
            return;
        }
        let known = TRANSFORMS.iter().find(|(word, _)| *word == lower);
        match known.and_then(|(_, name)| Transform::by_name(name)) {
            Some(transform) => self.transforms.push(transform),
            None => {
                let diagnostic =
                    report.error(place, format!("`t:{name}` is no transformation that this version runs"));
                if let Some(near) = suggest(&lower, TRANSFORMS.iter().map(|(word, _)| *word)) {
                    diagnostic.help(format!("did you mean `t:{near}`?"));
                }
            }
        }
    }
}

/// The transformations: their names in small letters, and what they are called here.
const TRANSFORMS: &[(&str, &str)] = &[
    ("base64decode", "base64_decode_lenient"),
    ("base64decodeext", "base64_decode_lenient"),
    ("cmdline", "cmd_line"),
    ("compresswhitespace", "compress_whitespace"),
    ("cssdecode", "css_decode"),
    ("escapeseqdecode", "escape_seq_decode"),
    ("hexdecode", "hex_decode"),
    ("hexencode", "hex_encode"),
    ("htmlentitydecode", "html_entity_decode"),
    ("jsdecode", "js_decode"),
    ("length", "length"),
    ("lowercase", "lowercase"),
    ("normalisepath", "normalise_path"),
    ("normalisepathwin", "normalise_path_win"),
    ("normalizepath", "normalise_path"),
    ("normalizepathwin", "normalise_path_win"),
    ("removecomments", "remove_comments"),
    ("removecommentschar", "remove_comments_char"),
    ("removenulls", "remove_nulls"),
    ("removewhitespace", "remove_whitespace"),
    ("replacecomments", "replace_comments"),
    ("sha1", "sha1"),
    ("trim", "trim"),
    ("uppercase", "uppercase"),
    ("urldecode", "url_decode"),
    ("urldecodeuni", "url_decode_uni"),
    ("utf8tounicode", "utf8_to_unicode"),
];

pub(super) fn phase(text: &str) -> Option<Phase> {
    Some(match text.to_ascii_lowercase().as_str() {
        "1" => Phase::RequestHead,
        "2" | "request" => Phase::RequestBody,
        "3" => Phase::ResponseHead,
        "4" | "response" => Phase::ResponseBody,
        "5" | "logging" => Phase::Logging,
        _ => return None,
    })
}

fn severity(text: &str) -> Option<Severity> {
    Some(match text.to_ascii_uppercase().as_str() {
        "0" | "EMERGENCY" => Severity::Emergency,
        "1" | "ALERT" => Severity::Alert,
        "2" | "CRITICAL" => Severity::Critical,
        "3" | "ERROR" => Severity::Error,
        "4" | "WARNING" => Severity::Warning,
        "5" | "NOTICE" => Severity::Notice,
        "6" | "INFO" => Severity::Info,
        "7" | "DEBUG" => Severity::Debug,
        _ => return None,
    })
}

/// `tx.score=+%{tx.critical}`, `!tx.x`.
fn set(word: &Word, report: &mut Report<'_>) -> Option<Effect> {
    let (unset, start) = if word.text.starts_with('!') { (true, 1) } else { (false, 0) };
    // A macro in the name may hold a dot or a `=`.
    let equals = outside_of_macros(&word.text, '=').filter(|_| !unset);
    let name_end = equals.unwrap_or(word.text.len());
    let name = word.part(start, name_end).trimmed();
    let Some((collection, _)) = name.text.split_once(['.', ':']) else {
        report.error(word.whole(), format!("`{}` names no collection, such as `tx.`", name.text));
        return None;
    };
    let known = collection.eq_ignore_ascii_case("tx")
        || variables::STORED.iter().any(|stored| stored.eq_ignore_ascii_case(collection));
    if !known {
        report.error(word.whole(), format!("`{collection}` is no collection that rules can write"));
        return None;
    }
    let collection: Box<str> = collection.to_ascii_lowercase().into();
    let name = template(&name.part(collection.len() + 1, name.text.len()), report)?;
    let change = match equals {
        None if unset => Change::Unset,
        // A name alone is set to 1.
        None => Change::Value(Template::text("1")),
        Some(at) => {
            let value = word.part(at + 1, word.text.len());
            let amount =
                |report: &mut Report<'_>| template(&value.part(1, value.text.len()).trimmed(), report);
            match value.text.as_bytes().first() {
                Some(b'+') => Change::Add(amount(report)?),
                Some(b'-') => Change::Subtract(amount(report)?),
                _ => Change::Value(template(&value, report)?),
            }
        }
    };
    Some(Effect::Set { collection, name, change })
}

fn outside_of_macros(text: &str, wanted: char) -> Option<usize> {
    let mut inside = false;
    text.char_indices().find_map(|(at, c)| {
        match c {
            '{' if text[..at].ends_with('%') => inside = true,
            '}' => inside = false,
            _ => {}
        }
        (c == wanted && !inside).then_some(at)
    })
}

/// `ruleRemoveById=1`, `requestBodyProcessor=XML`.
fn control(word: &Word, report: &mut Report<'_>) -> Option<Control> {
    let Some((name, value)) = word.text.split_once('=') else {
        report.error(word.whole(), "`ctl` takes a setting and its value, as in `ctl:ruleEngine=Off`");
        return None;
    };
    let value_word = word.part(name.len() + 1, word.text.len());
    let lower = name.trim().to_ascii_lowercase();
    let bad = |report: &mut Report<'_>| {
        report.error(word.whole(), format!("`{value}` is no value of `ctl:{name}`"));
    };
    match lower.as_str() {
        "ruleremovebyid" | "ruleremovebytag" | "ruleremovebymsg" => {
            let Some(set) = rule_set(&lower, value) else {
                bad(report);
                return None;
            };
            Some(Control::RemoveRules(set))
        }
        "ruleremovetargetbyid" | "ruleremovetargetbytag" | "ruleremovetargetbymsg" => {
            let Some((rules, _)) = value.split_once(';') else {
                report.error(
                    word.whole(),
                    "which rules and which variable? `ctl:ruleRemoveTargetById=1;ARGS:x`",
                );
                return None;
            };
            let Some(set) = rule_set(&lower, rules) else {
                bad(report);
                return None;
            };
            let targets = value_word.part(rules.len() + 1, value_word.text.len());
            Some(Control::RemoveTarget(set, variables::inputs(&targets, report)?))
        }
        "requestbodyprocessor" => match value.to_ascii_uppercase().as_str() {
            known @ ("JSON" | "XML" | "URLENCODED" | "MULTIPART") => {
                Some(Control::BodyProcessor(known.into()))
            }
            _ => {
                bad(report);
                None
            }
        },
        "ruleengine" => match value.to_ascii_lowercase().as_str() {
            known @ ("on" | "off" | "detectiononly") => {
                Some(Control::Setting("ruleEngine".into(), known.into()))
            }
            _ => {
                bad(report);
                None
            }
        },
        "forcerequestbodyvariable" | "requestbodyaccess" | "responsebodyaccess" => {
            match value.to_ascii_lowercase().as_str() {
                known @ ("on" | "off") => Some(Control::Setting(lower.as_str().into(), known.into())),
                _ => {
                    bad(report);
                    None
                }
            }
        }
        "auditengine" | "auditlogparts" | "debugloglevel" => {
            // The record is one line a request, whatever rules say; what it holds is said in `[log]`.
            None
        }
        _ => {
            report.error(word.whole(), format!("`ctl:{name}` is not run by this version"));
            None
        }
    }
}

/// The text of a message without its macros, where rules are chosen by it.
pub(in crate::policy::waf) fn plain(template: &Template) -> String {
    template
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => &**text,
            Piece::Macro(_) => "",
        })
        .collect()
}
