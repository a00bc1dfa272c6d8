//! `SecRuleEngine` and the other settings.

use super::lex::Directive;
use super::{Reader, unquoted};

/// What a program says about the engine.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct ScriptSettings {
    pub(in crate::policy::waf) engine: EngineMode,
    pub(in crate::policy::waf) request_body: bool,
    pub(in crate::policy::waf) response_body: bool,
    /// Content types of the bodies of responses that are read.
    pub(in crate::policy::waf) response_types: Vec<Box<str>>,
    /// How much of the body of a response is read.
    pub(in crate::policy::waf) response_limit: usize,
    /// After how many seconds without a change a persistent collection is forgotten.
    pub(in crate::policy::waf) collection_timeout: u32,
}

/// Whether rules refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy::waf) enum EngineMode {
    On,
    DetectionOnly,
    Off,
}

impl Default for ScriptSettings {
    fn default() -> ScriptSettings {
        ScriptSettings {
            engine: EngineMode::On,
            request_body: true,
            response_body: true,
            response_types: ["text/plain", "text/html", "text/xml", "application/json"]
                .into_iter()
                .map(Into::into)
                .collect(),
            response_limit: 512 << 10,
            collection_timeout: 3600,
        }
    }
}

/// Settings that have their place in TOML, or no meaning here.
const IGNORED: &[(&str, &str)] = &[
    ("secargumentslimit", "how many arguments a request may have is `waf.body.fields`"),
    ("secrequestbodyinmemorylimit", "bodies are kept in memory; the limit is `waf.body.limit`"),
    ("secrequestbodyjsondepthlimit", "how deep JSON may be nested is `waf.body.depth`"),
    ("secrequestbodylimit", "the largest body that is read is `waf.body.limit`"),
    ("secrequestbodylimitaction", "a body beyond `waf.body.limit` is refused"),
    ("secrequestbodynofileslimit", "the largest body that is read is `waf.body.limit`"),
    (
        "secpcrematchlimit",
        "how many steps an expression may take is fixed, and the limit of all work is `waf.budget`",
    ),
    (
        "secpcrematchlimitrecursion",
        "how many steps an expression may take is fixed, and the limit of all work is `waf.budget`",
    ),
    ("secunicodemapfile", "the map of look-alike characters is built in"),
    ("secunicodecodepage", "the map of look-alike characters is built in"),
    ("secresponsebodylimitaction", "of a longer body the first part is read, and all of it is passed on"),
    ("secstatusengine", "nothing is reported to anybody"),
    ("sectmpdir", "no temporary files are written"),
    ("secdatadir", "no files are written"),
    ("secuploaddir", "no files are written"),
    ("secuploadkeepfiles", "no files are written"),
    ("secuploadfilelimit", "how many parts a body may have is `waf.body.fields`"),
    ("secuploadfilemode", "no files are written"),
    ("secaudit", "what is recorded is said in `[log]`"),
    ("secdebug", "what is recorded is said in `[log]`"),
    ("secserversignature", "the answer's fields are said by routes"),
    ("secwebappid", "it has no meaning here"),
    ("secsensorid", "it has no meaning here"),
    ("seccomponentsignature", ""),
    ("secruleinheritance", "there is one program"),
    ("secinterceptonerror", "what cannot be judged is refused"),
];

impl Reader<'_, '_> {
    pub(super) fn setting(&mut self, name: &str, directive: &Directive) {
        let words: Vec<&str> = directive.words.iter().map(|word| unquoted(&word.text)).collect();
        let lower = words.first().map(|word| word.to_ascii_lowercase()).unwrap_or_default();
        let on = match lower.as_str() {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        };
        let settings = &mut self.script.settings;
        let alone = words.len() == 1;
        let limit = lower.parse().ok().filter(|limit| *limit <= MAX_RESPONSE);
        let engine = match lower.as_str() {
            "on" => Some(EngineMode::On),
            "off" => Some(EngineMode::Off),
            "detectiononly" => Some(EngineMode::DetectionOnly),
            _ => None,
        };
        let understood = match name {
            "secruleengine" => {
                settings.engine = engine.unwrap_or(settings.engine);
                engine.is_some()
            }
            "secrequestbodyaccess" => {
                settings.request_body = on.unwrap_or(settings.request_body);
                on.is_some()
            }
            "secresponsebodyaccess" => {
                settings.response_body = on.unwrap_or(settings.response_body);
                on.is_some()
            }
            "secresponsebodymimetype" => {
                settings.response_types = words.iter().map(|word| word.to_ascii_lowercase().into()).collect();
                true
            }
            "secresponsebodymimetypesclear" => {
                settings.response_types.clear();
                true
            }
            "secresponsebodylimit" => {
                settings.response_limit = limit.unwrap_or(settings.response_limit);
                limit.is_some()
            }
            "seccollectiontimeout" => {
                let seconds = lower.parse().ok().filter(|seconds| *seconds > 0);
                settings.collection_timeout = seconds.unwrap_or(settings.collection_timeout);
                seconds.is_some()
            }
            "secargumentseparator" => lower == "&",
            "seccookieformat" => lower == "0",
            _ => {
                let known = IGNORED.iter().find(|(known, _)| {
                    *known == name || ["secaudit", "secdebug"].contains(known) && name.starts_with(known)
                });
                match known {
                    Some((_, "")) => {}
                    Some((_, why)) => {
                        let message = format!("`{}` has no effect: {why}", directive.name.text);
                        self.report().ignored(name, directive.place, message);
                    }
                    None => {
                        let message =
                            format!("`{}` is no directive that this version knows", directive.name.text);
                        self.report().error(directive.place, message);
                    }
                }
                return;
            }
        };
        let list = ["secresponsebodymimetype", "secresponsebodymimetypesclear"].contains(&name);
        if !understood || !(alone || list) {
            let shown = words.join(" ");
            let message =
                format!("`{shown}` is no value of `{}` that this version can do", directive.name.text);
            self.report().error(directive.place, message);
        }
    }
}

/// The most of a response that may be kept in memory for rules.
const MAX_RESPONSE: usize = 16 << 20;
