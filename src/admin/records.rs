//! Recent decisions: the records that are kept in memory, and which of them somebody wants to see.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::Value;

use super::input::pairs;
use crate::audit::Recent;
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

/// The members that can be filtered by their value, and where they stand in a record.
const EQUAL: [(&str, &str); 9] = [
    ("decision", "/decision"),
    ("stage", "/stage"),
    ("rule", "/rule"),
    ("reason", "/reason"),
    ("status", "/status"),
    ("route", "/route"),
    ("method", "/method"),
    ("host", "/host"),
    ("subject", "/identity/subject"),
];

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
    pub(super) fn parse(query: &str) -> Result<Filter, String> {
        let mut filter = Filter { limit: USUAL, ..Filter::default() };
        for (name, value) in pairs(query) {
            // A form sends its empty fields too.
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                "ip" => {
                    let net = parse_net(&value).map_err(|why| format!("ip: `{value}` {why}"))?;
                    filter.ip = Some(net);
                }
                "path" => filter.path = Some(value),
                "q" => filter.anywhere = Some(value.to_lowercase()),
                "since" => {
                    let since = value
                        .parse()
                        .map_err(|_| format!("since: `{value}` is no time such as 2026-11-24T08:00:00Z"))?;
                    filter.since = Some(since);
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                    filter.limit = limit.ok_or_else(|| format!("limit: give a number from 1 to {MOST}"))?;
                }
                name => {
                    let known = EQUAL.iter().find(|(known, _)| *known == name);
                    let Some((_, pointer)) = known else {
                        let names: Vec<&str> = EQUAL.iter().map(|(name, _)| *name).collect();
                        return Err(format!(
                            "there is no filter `{name}`; there are {}, ip, path, q, since, limit",
                            names.join(", ")
                        ));
                    };
                    match filter.equal.iter_mut().find(|(other, _)| other == pointer) {
                        Some((_, values)) => values.push(value),
                        None => filter.equal.push((pointer, vec![value])),
                    }
                }
            }
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
        for query in ["statis=403", "limit=0", "limit=x", "ip=here", "since=today"] {
            assert!(Filter::parse(query).is_err(), "{query}");
        }
    }
}
