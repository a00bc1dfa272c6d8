//! What the actions of one `SecRule` say.

use super::Report;
use super::actions::Action as Written;
use super::effects::{control, expire, recall, set};
use super::template::template;
use crate::policy::diagnostic::{Place, suggest};
use crate::policy::waf::ir::{Allowed, Effect, Phase, Severity, Template};
use crate::policy::waf::memory::Kept;
use crate::policy::waf::transforms::Transform;

/// What the actions of one `SecRule` say.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) id: Option<u32>,
    pub(super) phase: Option<Phase>,
    /// What happens to the request.
    pub(super) disruption: Option<Disruption>,
    pub(super) logged: Option<bool>,
    /// Whether `t:none` was among them, and what stands behind it.
    pub(super) from_none: bool,
    pub(super) transforms: Vec<Transform>,
    pub(super) multi_match: bool,
    pub(super) capture: bool,
    pub(super) chain: bool,
    pub(super) msg: Template,
    pub(super) data: Option<Template>,
    pub(super) severity: Option<Severity>,
    pub(super) tags: Vec<Box<str>>,
    /// What each match does.
    pub(super) effects: Vec<Effect>,
    /// What the rule as a whole does.
    pub(super) flow: Vec<Effect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disruption {
    Block,
    Deny,
    Pass,
    Allow(Allowed),
}

/// Words about a rule that the engine has no use for.
const WORDS: &[&str] = &["ver", "rev", "maturity", "accuracy", "xmlns"];

impl Said {
    /// Whether nothing was wrong with the actions.
    pub(super) fn is_whole(&self, before: usize, report: &Report<'_>) -> bool {
        use crate::policy::code::Severity;
        !report.diagnostics.iter().skip(before).any(|problem| problem.severity == Severity::Error)
    }

    /// What it says that defaults cannot say.
    pub(super) fn beyond_defaults(&self) -> impl Iterator<Item = &'static str> + use<> {
        [
            (self.id.is_some(), "an `id`"),
            (matches!(self.disruption, Some(Disruption::Allow(_))), "`allow`"),
            (self.multi_match, "`multiMatch`"),
            (self.capture, "`capture`"),
            (self.chain, "`chain`"),
            (!self.effects.is_empty(), "a change of variables or of the engine"),
            (!self.flow.is_empty(), "`skipAfter`"),
        ]
        .into_iter()
        .filter_map(|(said, what)| said.then_some(what))
    }

    /// Whether it says something about a rule.
    pub(super) fn is_described(&self) -> bool {
        let texts = !self.msg.pieces.is_empty() || self.data.is_some();
        texts || self.severity.is_some() || !self.tags.is_empty()
    }

    pub(super) fn transforms_over(&self, defaults: &[Transform]) -> Vec<Transform> {
        let inherited = if self.from_none { &[] } else { defaults };
        inherited.iter().chain(&self.transforms).copied().collect()
    }

    pub(super) fn take(&mut self, action: &Written, report: &mut Report<'_>) {
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
                    "" => Allowed::Everything,
                    _ => {
                        report.error(
                            place,
                            format!("`allow:{text}` is neither `allow:phase` nor `allow:request`"),
                        );
                        return;
                    }
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
            "initcol" => self.effects.extend(value.and_then(|value| recall(value, report))),
            "setrsc" | "setsid" | "setuid" => {
                let kept = match &*action.name.to_ascii_lowercase() {
                    "setrsc" => Kept::Resource,
                    "setsid" => Kept::Session,
                    _ => Kept::User,
                };
                let key = value.and_then(|value| template(value, report));
                self.effects.extend(key.map(|key| Effect::Recall { kept, key }));
            }
            "expirevar" => self.effects.extend(value.and_then(|value| expire(value, report))),
            "deprecatevar" => {
                let message = "`deprecatevar`: counters do not fade; `expirevar` lets go of them".to_owned();
                report.ignored("deprecatevar", place, message);
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
