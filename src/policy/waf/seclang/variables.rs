//! `ARGS|!ARGS:x|&REQUEST_HEADERS:Host|TX:/^n/`: the variables of a rule, lowered to inputs.

use super::Report;
use super::lex::Word;
use crate::policy::diagnostic::suggest;
use crate::policy::waf::ir::{Input, Variable, VariableKind};
use crate::policy::waf::targets::{Collection, Part, Selector, Target};

/// What a variable's name stands for.
enum Meaning {
    /// Texts of the request or the response.
    Texts(&'static [(Collection, Part)]),
    /// One of them, which has a name of its own: `XML:/*` takes the member as a selector.
    Xml,
    Kind(VariableKind),
}

use Collection as C;
use Part::{Names, Values};

/// The names that stand for texts.
const TEXTS: &[(&str, &[(Collection, Part)])] = &[
    ("ARGS", &[(C::Query, Values), (C::Form, Values), (C::Json, Values)]),
    ("ARGS_NAMES", &[(C::Query, Names), (C::Form, Names), (C::Json, Names)]),
    ("ARGS_GET", &[(C::Query, Values)]),
    ("ARGS_GET_NAMES", &[(C::Query, Names)]),
    ("ARGS_POST", &[(C::Form, Values), (C::Json, Values)]),
    ("ARGS_POST_NAMES", &[(C::Form, Names), (C::Json, Names)]),
    ("FILES", &[(C::File, Values)]),
    ("FILES_NAMES", &[(C::File, Names)]),
    ("MULTIPART_FILENAME", &[(C::File, Values)]),
    ("MULTIPART_NAME", &[(C::File, Names)]),
    ("MULTIPART_PART_HEADERS", &[(C::PartHeader, Values)]),
    ("QUERY_STRING", &[(C::QueryString, Values)]),
    ("REMOTE_ADDR", &[(C::Client, Values)]),
    ("REQUEST_BASENAME", &[(C::Basename, Values)]),
    ("REQUEST_BODY", &[(C::Body, Values)]),
    ("REQUEST_COOKIES", &[(C::Cookie, Values)]),
    ("REQUEST_COOKIES_NAMES", &[(C::Cookie, Names)]),
    ("REQUEST_FILENAME", &[(C::Path, Values)]),
    ("REQUEST_HEADERS", &[(C::Header, Values)]),
    ("REQUEST_HEADERS_NAMES", &[(C::Header, Names)]),
    ("REQUEST_LINE", &[(C::RequestLine, Values)]),
    ("REQUEST_METHOD", &[(C::Method, Values)]),
    ("REQUEST_PROTOCOL", &[(C::Protocol, Values)]),
    ("REQUEST_URI", &[(C::Uri, Values)]),
    ("REQUEST_URI_RAW", &[(C::UriRaw, Values)]),
    ("RESPONSE_BODY", &[(C::ResponseBody, Values)]),
    ("RESPONSE_HEADERS", &[(C::ResponseHeader, Values)]),
    ("RESPONSE_HEADERS_NAMES", &[(C::ResponseHeader, Names)]),
];

/// Single values that the engine computes when a rule asks.
pub(in crate::policy::waf) const SCALARS: &[&str] = &[
    "ARGS_COMBINED_SIZE",
    "AUTH_TYPE",
    "DURATION",
    "FILES_COMBINED_SIZE",
    "INBOUND_DATA_ERROR",
    "MULTIPART_BOUNDARY_QUOTED",
    "MULTIPART_BOUNDARY_WHITESPACE",
    "MULTIPART_DATA_AFTER",
    "MULTIPART_DATA_BEFORE",
    "MULTIPART_FILE_LIMIT_EXCEEDED",
    "MULTIPART_HEADER_FOLDING",
    "MULTIPART_INVALID_HEADER_FOLDING",
    "MULTIPART_INVALID_PART",
    "MULTIPART_INVALID_QUOTING",
    "MULTIPART_LF_LINE",
    "MULTIPART_MISSING_SEMICOLON",
    "MULTIPART_STRICT_ERROR",
    "MULTIPART_UNMATCHED_BOUNDARY",
    "OUTBOUND_DATA_ERROR",
    "REMOTE_PORT",
    "REQBODY_ERROR",
    "REQBODY_ERROR_MSG",
    "REQBODY_PROCESSOR",
    "REQBODY_PROCESSOR_ERROR",
    "REQBODY_PROCESSOR_ERROR_MSG",
    "REQUEST_BODY_LENGTH",
    "RESPONSE_CONTENT_LENGTH",
    "RESPONSE_CONTENT_TYPE",
    "RESPONSE_PROTOCOL",
    "RESPONSE_STATUS",
    "RULE",
    "SERVER_ADDR",
    "SERVER_NAME",
    "SERVER_PORT",
    "STATUS_LINE",
    "TIME_EPOCH",
    "UNIQUE_ID",
];

/// Collections that rules may write besides `TX`.
pub(super) const STORED: &[&str] = &["GLOBAL", "IP", "RESOURCE", "SESSION", "USER"];

fn meaning(name: &str) -> Option<Meaning> {
    if let Some((_, texts)) = TEXTS.iter().find(|(known, _)| *known == name) {
        return Some(Meaning::Texts(texts));
    }
    let kind = match name {
        "XML" => return Some(Meaning::Xml),
        "TX" => VariableKind::Transaction,
        "MATCHED_VAR" | "MATCHED_VARS" => VariableKind::Matched,
        "MATCHED_VAR_NAME" | "MATCHED_VARS_NAMES" => VariableKind::MatchedName,
        _ if STORED.contains(&name) => VariableKind::Stored(name.into()),
        _ if SCALARS.contains(&name) => VariableKind::Named(name.into()),
        _ => return None,
    };
    // The last match alone is not the same as all of them.
    Some(Meaning::Kind(match (kind, name) {
        (VariableKind::Matched, "MATCHED_VAR") | (VariableKind::MatchedName, "MATCHED_VAR_NAME") => {
            VariableKind::Named(name.into())
        }
        (kind, _) => kind,
    }))
}

fn names() -> impl Iterator<Item = &'static str> {
    let others = ["XML", "TX", "MATCHED_VAR", "MATCHED_VARS", "MATCHED_VAR_NAME", "MATCHED_VARS_NAMES"];
    TEXTS
        .iter()
        .map(|(name, _)| *name)
        .chain(others)
        .chain(STORED.iter().copied())
        .chain(SCALARS.iter().copied())
}

/// Lowers a list of variables.
pub(super) fn inputs(list: &Word, report: &mut Report<'_>) -> Option<Vec<Input>> {
    let mut inputs = Vec::new();
    let mut whole = true;
    for word in split(list) {
        match input(&word, report) {
            Some(more) => inputs.extend(more),
            None => whole = false,
        }
    }
    whole.then_some(inputs)
}

/// Cuts the list at `|`, but for those inside of an expression or of quotes.
fn split(list: &Word) -> Vec<Word> {
    let bytes = list.text.as_bytes();
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'|' | b',' => {
                parts.push(list.part(start, at).trimmed());
                start = at + 1;
                at = start;
            }
            b':' => {
                let xml =
                    list.text[start..at].trim_start_matches(['&', '!', ' ']).eq_ignore_ascii_case("xml");
                at += 1;
                let close: &[u8] = match (bytes.get(at), bytes.get(at + 1)) {
                    (Some(b'\''), Some(b'/')) => b"/'",
                    (Some(b'\''), _) => b"'",
                    (Some(b'/'), _) if !xml => b"/",
                    _ => continue,
                };
                at += close.len();
                while at < bytes.len() && !(bytes[at..].starts_with(close) && bytes[at - 1] != b'\\') {
                    at += 1;
                }
                at += close.len();
            }
            _ => at += 1,
        }
    }
    parts.push(list.part(start, bytes.len()).trimmed());
    parts
}

fn input(word: &Word, report: &mut Report<'_>) -> Option<Vec<Input>> {
    let (mark, rest) = match word.text.as_bytes().first() {
        Some(mark @ (b'!' | b'&')) => (Some(*mark), &word.text[1..]),
        _ => (None, &*word.text),
    };
    let (name, selector) = match rest.split_once(':') {
        Some((name, selector)) => (name, Some(selector)),
        None => (rest, None),
    };
    let variables = match variables(name, selector) {
        Ok(variables) => variables,
        Err(why) => {
            report.error(word.whole(), why);
            return None;
        }
    };
    if mark == Some(b'&') {
        return Some(vec![Input::Count(variables)]);
    }
    Some(
        variables
            .into_iter()
            .map(|variable| match (mark, variable) {
                (Some(_), Variable { kind: VariableKind::Texts(target), .. }) => {
                    Input::Texts(Target { excluded: true, ..target })
                }
                (Some(_), variable) => Input::Without(variable),
                (None, Variable { kind: VariableKind::Texts(target), .. }) => Input::Texts(target),
                (None, variable) => Input::Variable(variable),
            })
            .collect(),
    )
}

/// What a name with a selector stands for. A name of several collections gives one for each.
pub(super) fn variables(name: &str, selector: Option<&str>) -> Result<Vec<Variable>, String> {
    let upper = name.to_ascii_uppercase();
    let Some(meaning) = meaning(&upper) else {
        return Err(match suggest(&upper, names()) {
            Some(near) => format!("`{name}` is no variable that this version knows; did you mean `{near}`?"),
            None => format!("`{name}` is no variable that this version knows"),
        });
    };
    let selector = match (selector, &meaning) {
        (None, _) => Selector::All,
        (Some(path @ ("/*" | "//@*")), Meaning::Xml) => Selector::Name(path.into()),
        (Some(path), Meaning::Xml) => {
            return Err(format!("of XPath only `XML:/*` and `XML://@*` are run, and not `{path}`"));
        }
        (Some(member), Meaning::Kind(VariableKind::Named(kind))) if &**kind == "RULE" => {
            Selector::Name(member.to_ascii_lowercase().into())
        }
        (Some(_), Meaning::Kind(VariableKind::Named(_))) => {
            return Err(format!("`{name}` is a single value and has no members"));
        }
        (Some(text), _) => read_selector(text)?,
    };
    let texts = |collection, part| {
        let selector = match (&selector, collection) {
            (Selector::Name(name), Collection::Header | Collection::ResponseHeader) => {
                Selector::Name(name.to_ascii_lowercase().into())
            }
            // Names of other members are compared without regard to case too.
            (Selector::Name(name), Collection::Xml) => Selector::Name(name.clone()),
            (Selector::Name(name), _) => {
                Selector::Pattern(format!("(?i)^{}$", regex_syntax::escape(name)).into())
            }
            (Selector::Pattern(pattern), _) => Selector::Pattern(format!("(?i){pattern}").into()),
            (Selector::All, _) => Selector::All,
        };
        // A single text has no names to tell its value from.
        let part = if collection.named() { part } else { Part::Both };
        let target = Target { collection, part, selector: selector.clone(), excluded: false };
        Variable { kind: VariableKind::Texts(target), selector }
    };
    Ok(match meaning {
        Meaning::Texts(all) => all.iter().map(|(collection, part)| texts(*collection, *part)).collect(),
        Meaning::Xml => vec![texts(Collection::Xml, Part::Values)],
        Meaning::Kind(kind) => vec![Variable { kind, selector }],
    })
}

fn read_selector(text: &str) -> Result<Selector, String> {
    let text = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text);
    match text.strip_prefix('/').and_then(|text| text.strip_suffix('/')) {
        Some("") => Err("the expression between the slashes is missing".to_owned()),
        Some(pattern) => match super::pattern::translate(pattern) {
            Ok(pattern) => Ok(Selector::Pattern(pattern.into())),
            Err(untranslated) => Err(format!("{}: {}", super::pattern::UNREADABLE, untranslated.why)),
        },
        None if text.is_empty() => Err("the name behind `:` is missing".to_owned()),
        None => Ok(Selector::Name(text.into())),
    }
}
