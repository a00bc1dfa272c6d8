//! Recent decisions: the records that are kept in memory, and which of them somebody wants to see.

use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::Value;

use super::parameter::BadParameter;
use super::query::pairs;
use crate::audit::Recent;
use crate::decision::{Reason, Stage};
use crate::policy::network::parse_net;

/// A record of the decision log.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// As it was written.
    pub(super) line: String,
    /// What it says.
    pub(super) value: Value,
}

/// Which records are wanted. What is absent does not matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// `decision`, `stage` and others: the member must have one of these values.
    equal: Vec<(&'static str, Vec<String>)>,
    ip: Option<IpNet>,
    /// The path begins so.
    path: Option<String>,
    /// Stands anywhere in the record.
    anywhere: Option<String>,
    since: Option<Timestamp>,
    /// How many at most.
    pub(super) limit: usize,
}

/// The members that can be filtered by their value, where they stand in a record, and what is wrong with
/// a value that none can have. Names that somebody gave are not looked up: records outlive policies.
type Equal = (&'static str, &'static str, fn(&str) -> Result<(), BadParameter>);
const EQUAL: [Equal; 9] = [
    ("decision", "/decision", |value| word("decision", value, &["allow", "deny", "error"])),
    ("stage", "/stage", |value| word("stage", value, &stages())),
    ("rule", "/rule", rule),
    ("reason", "/reason", |value| word("reason", value, &reasons())),
    ("status", "/status", status),
    ("route", "/route", |_| Ok(())),
    ("method", "/method", method),
    ("host", "/host", |_| Ok(())),
    ("subject", "/identity/subject", |_| Ok(())),
];

/// The other filters.
const OTHERS: [&str; 5] = ["ip", "path", "q", "since", "limit"];

const NETWORK: &str = "an address or a network, such as 203.0.113.0/24";
const TIME: &str = "a time such as 2026-11-24T08:00:00Z";

/// The stages that records name.
pub(super) fn stages() -> Vec<&'static str> {
    let mut stages: Vec<&str> = Stage::ALL.iter().chain([&Stage::Fault]).map(|stage| stage.name()).collect();
    stages.sort_unstable();
    stages.dedup();
    stages
}

fn reasons() -> Vec<&'static str> {
    Reason::ALL.iter().map(|reason| reason.info().code).collect()
}

fn word(name: &str, value: &str, words: &[&str]) -> Result<(), BadParameter> {
    match words.contains(&value) {
        true => Ok(()),
        false => Err(BadParameter::none_of(name, value, words)),
    }
}

fn rule(value: &str) -> Result<(), BadParameter> {
    let stages = stages();
    let known = value.split_once('/').is_some_and(|(stage, id)| stages.contains(&stage) && !id.is_empty());
    let accepted =
        format!("the stage and the id, such as rbac/default-deny; stages are {}", stages.join(", "));
    match known {
        true => Ok(()),
        false => Err(BadParameter::unlike("rule", format!("`{value}` is no name of a rule"), &accepted)),
    }
}

fn status(value: &str) -> Result<(), BadParameter> {
    let known = value.len() == 3 && value.parse().is_ok_and(|status: u16| (100..=599).contains(&status));
    match known {
        true => Ok(()),
        false => {
            Err(BadParameter::unlike("status", format!("`{value}` is no status"), "a number from 100 to 599"))
        }
    }
}

/// Methods are told apart by case, and those that everybody knows stand in capitals.
fn method(value: &str) -> Result<(), BadParameter> {
    let upper = value.to_ascii_uppercase();
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    let misspelt = upper != value && known.contains(&&*upper);
    match Method::from_bytes(value.as_bytes()).is_ok() && !misspelt {
        true => Ok(()),
        false => Err(BadParameter::unlike(
            "method",
            format!("`{value}` is none"),
            "a method as it was sent, such as GET",
        )),
    }
}

/// How many records are given without a `limit`, and at most.
const USUAL: usize = 100;
const MOST: usize = 10_000;

/// All records that are kept, the newest first.
pub(super) fn newest_first(recent: &Recent) -> Vec<Kept> {
    let mut kept: Vec<Kept> = parse(&recent.lines()).collect();
    kept.sort_by(|a, b| b.ts().cmp(a.ts()));
    kept
}

/// The records of some lines.
pub(super) fn parse(lines: &[u8]) -> impl Iterator<Item = Kept> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = std::str::from_utf8(line).ok().filter(|line| !line.is_empty())?;
        Some(Kept { value: serde_json::from_str(line).ok()?, line: line.to_owned() })
    })
}

impl Kept {
    /// The text of a member, if it is one.
    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.value.pointer(pointer)?.as_str()
    }

    /// When the request came.
    pub(super) fn ts(&self) -> &str {
        self.text("/ts").unwrap_or("")
    }

    /// Whether it is known by this id: of the request, or of the decision.
    pub(super) fn is(&self, id: &str) -> bool {
        self.text("/request_id") == Some(id) || self.text("/decision_id") == Some(id)
    }

    /// The address that was judged, unless it was recorded as a hash.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.text("/client/ip")?.parse().ok()
    }
}

impl Filter {
    /// Reads the query of a request.
    pub(super) fn parse(query: &str) -> Result<Filter, BadParameter> {
        let mut filter = Filter { limit: USUAL, ..Filter::default() };
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in pairs(query) {
            let equal = EQUAL.iter().find(|(known, ..)| *known == name);
            if equal.is_none() && seen.contains(&name) {
                return Err(BadParameter::twice(&name));
            }
            // A form sends its empty fields too.
            if value.is_empty() && (equal.is_some() || OTHERS.contains(&name.as_str())) {
                continue;
            }
            match name.as_str() {
                "ip" => {
                    let bad = |why| BadParameter::unlike("ip", format!("`{value}` {why}"), NETWORK);
                    filter.ip = Some(parse_net(&value).map_err(bad)?);
                }
                "path" => filter.path = Some(value),
                "q" => filter.anywhere = Some(value.to_lowercase()),
                "since" => {
                    let bad = |_| BadParameter::unlike("since", format!("`{value}` is no time"), TIME);
                    filter.since = Some(value.parse().map_err(bad)?);
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                    let bad = || {
                        let accepted = format!("a number from 1 to {MOST}");
                        BadParameter::unlike("limit", format!("`{value}` is none"), &accepted)
                    };
                    filter.limit = limit.ok_or_else(bad)?;
                }
                name => {
                    let Some((_, pointer, check)) = equal else {
                        let names = EQUAL.iter().map(|(name, ..)| *name).chain(OTHERS);
                        let accepted: Vec<String> = names.map(str::to_owned).collect();
                        let why = format!("there is no filter `{name}`; there are {}", accepted.join(", "));
                        return Err(BadParameter { parameter: name.to_owned(), why, accepted });
                    };
                    check(&value)?;
                    match filter.equal.iter_mut().find(|(other, _)| other == pointer) {
                        Some((_, values)) => values.push(value),
                        None => filter.equal.push((pointer, vec![value])),
                    }
                }
            }
            seen.push(name);
        }
        Ok(filter)
    }

    /// Whether a record is wanted.
    pub(super) fn wants(&self, kept: &Kept) -> bool {
        let has = |pointer: &str, wanted: &[String]| match kept.value.pointer(pointer) {
            Some(Value::String(text)) => wanted.contains(text),
            Some(Value::Number(number)) => wanted.contains(&number.to_string()),
            _ => false,
        };
        self.equal.iter().all(|(pointer, values)| has(pointer, values))
            && self.ip.is_none_or(|net| kept.ip().is_some_and(|ip| net.contains(&ip)))
            && self
                .path
                .as_ref()
                .is_none_or(|path| kept.text("/path").is_some_and(|own| own.starts_with(path)))
            && self.anywhere.as_ref().is_none_or(|text| kept.line.to_lowercase().contains(text))
            && self.since.is_none_or(|since| kept.ts().parse::<Timestamp>().is_ok_and(|ts| ts >= since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"ts":"2026-11-24T09:12:03.000001Z","request_id":"r-1","decision_id":"d-1",
        "decision":"deny","stage":"rbac","rule":"rbac/default-deny","reason":"role_missing","status":403,
        "client":{"ip":"203.0.113.9"},"method":"GET","path":"/orders/42","route":"orders",
        "identity":{"subject":"Alice"}}"#;

    fn check(query: &str, want: bool) {
        let kept = parse(LINE.replace('\n', " ").as_bytes()).next().unwrap();
        assert_eq!(Filter::parse(query).unwrap().wants(&kept), want, "{query}");
    }

    #[test]
    fn filters_are_anded_and_repeated_ones_are_ored() {
        check("", true);
        check("decision=deny&status=403&ip=203.0.113.0/24&path=/orders&subject=Alice&q=aLiCe", true);
        check("stage=ip&stage=rbac&route=", true);
        for query in
            ["decision=allow", "stage=ip", "ip=203.0.113.8", "path=/order/", "q=bob", "subject=alice"]
        {
            check(query, false);
        }
        check("since=2026-11-24T09:12:03Z", true);
        check("since=2026-11-24T09:12:04Z", false);
    }

    #[test]
    fn a_filter_that_is_not_understood_is_not_ignored() {
        for (query, parameter, accepted) in [
            ("statis=403", "statis", "status"),
            ("statis=", "statis", "status"),
            ("limit=0", "limit", "a number from 1 to 10000"),
            ("limit=x", "limit", "a number from 1 to 10000"),
            ("ip=here", "ip", NETWORK),
            ("since=today", "since", TIME),
            ("decision=denied", "decision", "deny"),
            ("decision=deny&decision=Allow", "decision", "allow"),
            ("stage=waf_body", "stage", "waf"),
            ("reason=role-missing", "reason", "role_missing"),
            ("status=4O3", "status", "a number from 100 to 599"),
            ("status=0403", "status", "a number from 100 to 599"),
            ("status=403&status=600", "status", "a number from 100 to 599"),
            ("method=get", "method", "a method as it was sent, such as GET"),
            ("method=G%20T", "method", "a method as it was sent, such as GET"),
        ] {
            let bad = Filter::parse(query).unwrap_err();
            assert_eq!(bad.parameter, parameter, "{query}");
            assert!(bad.accepted.iter().any(|word| word == accepted), "{query}: {bad:?}");
        }
        for query in ["rule=orders", "rule=rbac/", "rule=rbca/orders"] {
            assert_eq!(Filter::parse(query).unwrap_err().parameter, "rule", "{query}");
        }
        for query in ["ip=192.0.2.1&ip=192.0.2.2", "since=2026-11-24T09:12:03Z&since=", "q=a&q=b"] {
            assert!(Filter::parse(query).unwrap_err().why.contains("given twice"), "{query}");
        }
        let why = Filter::parse("decision=Deny").unwrap_err().why;
        assert_eq!(why, "decision: `Deny` is none of allow, deny, error; did you mean `deny`?");
    }

    #[test]
    fn whatever_a_record_can_say_can_be_asked_for() {
        let rules = crate::decision::Builtin::ALL.iter().map(|rule| format!("rule={}", rule.info().name));
        let reasons = Reason::ALL.iter().map(|reason| format!("reason={}", reason.info().code));
        let more = ["status=499", "method=PROPFIND", "method=m-search", "rule=waf/942100", "route=gone"];
        for query in rules.chain(reasons).chain(more.map(str::to_owned)) {
            assert!(Filter::parse(&query).is_ok(), "{query}");
        }
    }
}
