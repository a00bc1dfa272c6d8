//! `/waf`: which WAF rules refuse what, and what an exclusion would change.
//!
//! Refusals are grouped by rule, target and route, which is the shape of a `[[waf.exclude]]`. What it
//! would change is computed from the records: the scores of the other matches are still there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::admin::AdminState;
use crate::admin::records::{Kept, newest_first};
use crate::deny::is_deceptive;

/// The refusals that one exclusion would be about.
#[derive(Debug, Default)]
struct Group<'a> {
    refusals: Vec<&'a Kept>,
    /// How many of them the WAF would let pass without this match.
    would_pass: usize,
    score: u64,
    msg: Option<&'a str>,
}

/// The groups, the largest first.
pub(super) fn document(state: &AdminState) -> Value {
    let kept = newest_first(&state.recent);
    let refused: Vec<&Kept> = kept.iter().filter(|kept| is_waf(kept)).collect();
    json!({ "records": kept.len(), "refused": refused.len(), "groups": groups(&refused) })
}

fn is_waf(kept: &Kept) -> bool {
    kept.value["decision"] == "deny" && kept.value["stage"] == "waf"
}

fn groups(refused: &[&Kept]) -> Vec<Value> {
    let mut groups: BTreeMap<(&str, &str, &str), Group<'_>> = BTreeMap::new();
    for kept in refused {
        let route = kept.text("/route").unwrap_or("");
        let matched = kept.value.pointer("/waf/matched").and_then(Value::as_array);
        let mut seen = BTreeSet::new();
        for found in matched.into_iter().flatten().filter(|found| found["shadow"] != true) {
            let (rule, target) = (text(found, "rule"), text(found, "target"));
            if !seen.insert((rule, target)) {
                continue;
            }
            let group = groups.entry((rule, target, route)).or_default();
            group.refusals.push(kept);
            group.score = found["score"].as_u64().unwrap_or(0);
            group.msg = group.msg.or(found["msg"].as_str().filter(|msg| !msg.is_empty()));
            group.would_pass += usize::from(passes_without(kept, rule, target));
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse((group.would_pass, group.refusals.len())));
    groups.into_iter().map(|((rule, target, route), group)| group.shown(rule, target, route)).collect()
}

/// Whether the WAF would let a request pass if a rule said nothing about a target.
fn passes_without(kept: &Kept, rule: &str, target: &str) -> bool {
    let matched = kept.value.pointer("/waf/matched").and_then(Value::as_array);
    let left = || {
        let all = matched.into_iter().flatten().filter(|found| found["shadow"] != true);
        all.filter(|found| (text(found, "rule"), text(found, "target")) != (rule, target))
    };
    match kept.text("/reason") {
        // A rule that refuses by itself: it must not match anywhere else.
        Some("waf_match") => {
            kept.text("/rule") == Some(rule)
                && left().all(|found| text(found, "rule") != rule)
                && below(kept, left())
        }
        Some("waf_score") => below(kept, left()),
        // A body that cannot be read, or one that is too large: no exclusion helps.
        _ => false,
    }
}

fn below<'a>(kept: &Kept, left: impl Iterator<Item = &'a Value>) -> bool {
    let score: u64 = left.map(|found| found["score"].as_u64().unwrap_or(0)).sum();
    let threshold = kept.value.pointer("/waf/threshold").and_then(Value::as_u64).unwrap_or(0);
    threshold == 0 || score < threshold
}

impl Group<'_> {
    fn shown(&self, rule: &str, target: &str, route: &str) -> Value {
        let distinct = |pointer: &str| {
            let texts: BTreeSet<&str> = self.refusals.iter().filter_map(|kept| kept.text(pointer)).collect();
            texts
        };
        let (subjects, addresses, paths) =
            (distinct("/identity/subject"), distinct("/client/ip"), distinct("/path"));
        let newest = self.refusals.first();
        json!({
            "rule": rule,
            "target": target,
            "route": route,
            "msg": self.msg,
            "score": self.score,
            "refusals": self.refusals.len(),
            "would_pass": self.would_pass,
            "subjects": subjects.len(),
            "addresses": addresses.len(),
            "paths": paths.iter().take(5).collect::<Vec<_>>(),
            "more_paths": paths.len().saturating_sub(5),
            "last": newest.map(|kept| kept.ts()),
            "example": newest.and_then(|kept| kept.text("/decision_id")),
            "toml": toml(rule, target, route),
        })
    }
}

/// The exclusion, as narrow as the group.
fn toml(rule: &str, target: &str, route: &str) -> String {
    let word = |text: &str| -> String {
        let dashed: String = text
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        dashed.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
    };
    let id: String = [word(route), word(target), word(rule.trim_start_matches("waf/"))]
        .join("-")
        .chars()
        .take(64)
        .collect();
    let mut text = format!("[[waf.exclude]]\nid = {}\n", quoted(id.trim_matches('-')));
    if !route.is_empty() {
        text.push_str(&format!("routes = [{}]\n", quoted(route)));
    }
    text.push_str(&format!("targets = [{}]\nrules = [{}]\n", quoted(target), quoted(rule)));
    text
}

/// A text as a basic string of TOML. What would turn round or hide the text beside it is escaped: the
/// name of a query parameter is whatever somebody sent.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match (c, u32::from(c)) {
            ('"' | '\\', _) => out.extend(['\\', c]),
            (c, code) if is_deceptive(c) && code > 0xffff => out.push_str(&format!("\\U{code:08X}")),
            (c, code) if is_deceptive(c) => out.push_str(&format!("\\u{code:04X}")),
            (c, _) => out.push(c),
        }
    }
    out.push('"');
    out
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::records::parse;

    fn record(reason: &str, rule: &str, matched: &[(&str, &str, u64)]) -> String {
        let matched: Vec<Value> = matched
            .iter()
            .map(|(rule, target, score)| json!({ "rule": rule, "target": target, "score": score, "msg": "" }))
            .collect();
        json!({
            "ts": "2026-11-24T09:12:03Z", "decision": "deny", "stage": "waf", "reason": reason, "rule": rule,
            "route": "shop", "path": "/search", "decision_id": "d", "client": {"ip": "192.0.2.1"},
            "waf": { "score": 10, "threshold": 5, "matched": matched },
        })
        .to_string()
    }

    fn check(records: &[String], want: &[(&str, &str, u64, u64)]) {
        let kept: Vec<Kept> =
            records.iter().flat_map(|record| parse(record.as_bytes()).collect::<Vec<_>>()).collect();
        let groups = groups(&kept.iter().collect::<Vec<_>>());
        let seen: Vec<_> = groups
            .iter()
            .map(|group| {
                let count = |name: &str| group[name].as_u64().unwrap();
                (text(group, "rule"), text(group, "target"), count("refusals"), count("would_pass"))
            })
            .collect();
        assert_eq!(seen, want);
    }

    #[test]
    fn an_exclusion_helps_where_the_rest_stays_below_the_threshold() {
        let one = record("waf_score", "waf/a", &[("waf/a", "query:q", 5)]);
        let two = record("waf_score", "waf/b", &[("waf/a", "query:q", 5), ("waf/b", "query:p", 5)]);
        let small = record("waf_score", "waf/a", &[("waf/a", "query:q", 4), ("waf/b", "query:p", 2)]);
        check(&[one, two, small], &[("waf/a", "query:q", 3, 2), ("waf/b", "query:p", 2, 1)]);
    }

    #[test]
    fn a_rule_that_refuses_by_itself_must_not_match_elsewhere() {
        let alone = record("waf_match", "waf/a", &[("waf/a", "query:q", 0)]);
        let twice = record("waf_match", "waf/a", &[("waf/a", "query:q", 0), ("waf/a", "query:p", 0)]);
        let other = record("waf_match", "waf/a", &[("waf/b", "query:q", 1), ("waf/a", "query:p", 0)]);
        check(
            &[alone, twice, other],
            &[("waf/a", "query:p", 2, 1), ("waf/a", "query:q", 2, 1), ("waf/b", "query:q", 1, 0)],
        );
    }

    #[test]
    fn the_exclusion_is_toml_that_is_as_narrow_as_the_group() {
        let want = "[[waf.exclude]]\nid = \"shop-query-q-942100\"\nroutes = [\"shop\"]\ntargets = [\"query:q\"]\nrules = [\"waf/942100\"]\n";
        assert_eq!(toml("waf/942100", "query:q", "shop"), want);
    }

    #[test]
    fn no_name_of_a_parameter_decides_how_the_exclusion_reads() {
        let name = "query:a\"\\\u{202e}\u{7f}\n\u{e0041}z";
        let text = toml("waf/a", name, "");
        assert!(text.contains(r#"targets = ["query:a\"\\\u202E\u007F\u000A\U000E0041z"]"#), "{text}");
        let read: toml::Value = toml::from_str(&text).unwrap();
        assert_eq!(read["waf"]["exclude"][0]["targets"][0].as_str(), Some(name));
    }
}
