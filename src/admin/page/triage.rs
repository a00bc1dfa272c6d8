//! `/waf`: which WAF rules refuse what, and what an exclusion would change.
//!
//! Refusals are grouped by rule, target and route, which is the shape of a `[[waf.exclude]]`. Where several
//! rules matched and none of them alone is what refuses, those that were seen together are a group as well,
//! and their exclusion is one of all of them. What it would change is computed from the records: the scores
//! of the other matches are still there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::admin::AdminState;
use crate::admin::records::{Kept, newest_first};
use crate::audit::{Match, WafRefusal, excluding};
use crate::deny::is_deceptive;

/// What one exclusion would be about: a route, and matches as rule and target.
type Key<'a> = (&'a str, BTreeSet<(&'a str, &'a str)>);

/// The refusals that one exclusion would be about.
#[derive(Debug, Default)]
struct Group<'a> {
    refusals: Vec<&'a Kept>,
    /// How many of them the WAF would let pass without these matches.
    would_pass: usize,
    /// What the matches add to the score.
    scores: BTreeMap<(&'a str, &'a str), u64>,
    msg: Option<&'a str>,
}

/// More groups of several matches are not shown.
const MOST_TOGETHER: usize = 20;

/// The groups, the largest first.
pub(super) fn document(state: &AdminState) -> Value {
    let kept = newest_first(&state.recent);
    let refused: Vec<&Kept> = kept.iter().filter(|kept| is_waf(kept)).collect();
    let setup = state.installer.setup();
    let notes = |rule: &str| setup.policy.waf_only_notes(rule);
    json!({ "records": kept.len(), "refused": refused.len(), "groups": groups(&refused, &notes) })
}

fn is_waf(kept: &Kept) -> bool {
    kept.value["decision"] == "deny" && kept.value["stage"] == "waf"
}

/// `notes`: whether a rule refuses nothing, and is only recorded.
fn groups(refused: &[&Kept], notes: &dyn Fn(&str) -> bool) -> Vec<Value> {
    let mut groups: BTreeMap<Key<'_>, Group<'_>> = BTreeMap::new();
    let mut joint: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    for kept in refused {
        let route = kept.text("/route").unwrap_or("");
        let single: BTreeSet<_> = refusal(kept).refusing(notes).map(place).collect();
        for one in single {
            let key = (route, BTreeSet::from([one]));
            groups.entry(key).or_default().add(kept, |found| place(*found) == one);
        }
        if let Some(together) = together(refusal(kept), notes) {
            *joint.entry((route, together)).or_default() += 1;
        }
    }
    // Names of parameters are whatever somebody sends, so there may be as many as there are requests.
    let mut joint: Vec<_> = joint.into_iter().collect();
    joint.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for ((route, matches), _) in joint.into_iter().take(MOST_TOGETHER) {
        let mut group = Group::default();
        let here = refused.iter().filter(|kept| kept.text("/route").unwrap_or("") == route);
        here.for_each(|kept| group.add(kept, |found| matches.contains(&place(*found))));
        groups.insert((route, matches), group);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse((group.would_pass, group.refusals.len())));
    groups.into_iter().map(|((route, matches), group)| group.shown(&matches, route)).collect()
}

/// The matches of one refusal that refuse only together, if there are several.
fn together<'a>(
    refusal: WafRefusal<'a>,
    notes: &dyn Fn(&str) -> bool,
) -> Option<BTreeSet<(&'a str, &'a str)>> {
    let all: BTreeSet<_> = refusal.refusing(notes).map(place).collect();
    // One rule that refuses by itself may have matched in several places.
    let own: BTreeSet<_> = all.iter().copied().filter(|(rule, _)| *rule == refusal.rule).collect();
    let passes = |gone: &BTreeSet<_>| refusal.passes_without(|found| gone.contains(&place(*found)));
    if all.iter().any(|one| passes(&BTreeSet::from([*one]))) {
        return None;
    }
    [own, all].into_iter().find(|gone| gone.len() > 1 && passes(gone))
}

fn place(found: Match<'_>) -> (&str, &str) {
    (found.rule, found.target)
}

fn refusal(kept: &Kept) -> WafRefusal<'_> {
    let text = |pointer: &str| kept.text(pointer).unwrap_or("");
    WafRefusal { rule: text("/rule"), reason: text("/reason"), waf: &kept.value["waf"] }
}

impl<'a> Group<'a> {
    /// Counts a refusal, if a match of the group was in it.
    fn add(&mut self, kept: &'a Kept, of_group: impl Fn(&Match<'_>) -> bool) {
        let refusal = refusal(kept);
        let mut concerned = false;
        for found in refusal.matched().filter(&of_group) {
            concerned = true;
            self.scores.insert(place(found), found.score);
            self.msg = self.msg.or(Some(found.msg).filter(|msg| !msg.is_empty()));
        }
        if concerned {
            self.refusals.push(kept);
            self.would_pass += usize::from(refusal.passes_without(of_group));
        }
    }

    fn shown(&self, matches: &BTreeSet<(&'a str, &'a str)>, route: &str) -> Value {
        let distinct = |pointer: &str| {
            let texts: BTreeSet<&str> = self.refusals.iter().filter_map(|kept| kept.text(pointer)).collect();
            texts
        };
        let (subjects, addresses, paths) =
            (distinct("/identity/subject"), distinct("/client/ip"), distinct("/path"));
        let newest = self.refusals.first();
        let one = matches.len() == 1;
        let of = |&(rule, target)| Match { rule, target, score: 0, msg: "" };
        let tables = excluding(matches.iter().map(of));
        let parts: Vec<Value> =
            tables.iter().map(|(targets, rules)| json!({ "targets": targets, "rules": rules })).collect();
        json!({
            "parts": parts,
            // What leads to all refusals of one rule.
            "rule": matches.first().filter(|_| one).map(|(rule, _)| rule),
            "route": route,
            // What several say is not what they mean together.
            "msg": self.msg.filter(|_| one),
            "score": self.scores.values().sum::<u64>(),
            "refusals": self.refusals.len(),
            "would_pass": self.would_pass,
            "subjects": subjects.len(),
            "addresses": addresses.len(),
            "paths": paths.iter().take(5).collect::<Vec<_>>(),
            "more_paths": paths.len().saturating_sub(5),
            "last": newest.map(|kept| kept.ts()),
            "example": newest.and_then(|kept| kept.text("/decision_id")),
            "toml": toml(&tables, route),
        })
    }
}

/// The exclusion, as narrow as the group: a table for each list of targets.
fn toml(tables: &[(Vec<&str>, Vec<&str>)], route: &str) -> String {
    let number = |number: usize| if tables.len() == 1 { String::new() } else { format!("-{number}") };
    let tables: Vec<String> =
        (1..).zip(tables).map(|(at, (targets, rules))| table(targets, rules, route, &number(at))).collect();
    tables.join("\n")
}

fn table(targets: &[&str], rules: &[&str], route: &str, number: &str) -> String {
    let word = |text: &str| -> String {
        let dashed: String = text
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        dashed.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
    };
    let rules_words = rules.iter().map(|rule| word(rule.trim_start_matches("waf/")));
    let words: Vec<String> = [word(route)]
        .into_iter()
        .chain(targets.iter().map(|target| word(target)))
        .chain(rules_words)
        .collect();
    let id: String = words.join("-").chars().take(64 - number.len()).collect();
    let mut text = format!("[[waf.exclude]]\nid = {}\n", quoted(&(id.trim_matches('-').to_owned() + number)));
    if !route.is_empty() {
        text.push_str(&format!("routes = [{}]\n", quoted(route)));
    }
    let list = |texts: &[&str]| texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ");
    text.push_str(&format!("targets = [{}]\nrules = [{}]\n", list(targets), list(rules)));
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

    /// Each group: its rules with their targets, the refusals it is about, and those that would pass.
    fn check(records: &[String], want: &[(&str, u64, u64)]) {
        let kept: Vec<Kept> =
            records.iter().flat_map(|record| parse(record.as_bytes()).collect::<Vec<_>>()).collect();
        let groups = groups(&kept.iter().collect::<Vec<_>>(), &|rule| rule == "waf/noted");
        let texts = |list: &Value| {
            let texts: Vec<&str> =
                list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
            texts.join("+")
        };
        let seen: Vec<_> = groups
            .iter()
            .map(|group| {
                let count = |name: &str| group[name].as_u64().unwrap();
                let parts = group["parts"].as_array().unwrap().iter();
                let parts: Vec<String> = parts
                    .map(|part| format!("{} {}", texts(&part["rules"]), texts(&part["targets"])))
                    .collect();
                (parts.join(", "), count("refusals"), count("would_pass"))
            })
            .collect();
        let want: Vec<_> = want.iter().map(|(parts, all, pass)| ((*parts).to_owned(), *all, *pass)).collect();
        assert_eq!(seen, want);
    }

    #[test]
    fn an_exclusion_helps_where_the_rest_stays_below_the_threshold() {
        let one = record("waf_score", "waf/a", &[("waf/a", "query:q", 5)]);
        let two = record("waf_score", "waf/b", &[("waf/a", "query:q", 5), ("waf/b", "query:p", 5)]);
        let small = record("waf_score", "waf/a", &[("waf/a", "query:q", 4), ("waf/b", "query:p", 2)]);
        check(
            &[one, two, small],
            &[("waf/b query:p, waf/a query:q", 3, 3), ("waf/a query:q", 3, 2), ("waf/b query:p", 2, 1)],
        );
    }

    #[test]
    fn a_rule_that_refuses_by_itself_must_not_match_elsewhere() {
        let alone = record("waf_match", "waf/a", &[("waf/a", "query:q", 0)]);
        let twice = record("waf_match", "waf/a", &[("waf/a", "query:q", 0), ("waf/a", "query:p", 0)]);
        let other = record("waf_match", "waf/a", &[("waf/b", "query:q", 1), ("waf/a", "query:p", 0)]);
        check(
            &[alone, twice, other],
            &[
                ("waf/a query:p+query:q", 3, 3),
                ("waf/a query:p", 2, 1),
                ("waf/a query:q", 2, 1),
                ("waf/b query:q", 1, 0),
            ],
        );
    }

    #[test]
    fn what_refuses_only_together_has_one_exclusion_of_all() {
        let notes = ("waf/noted", "query:q", 0);
        let both = record("waf_score", "waf/b", &[("waf/a", "query:q", 3), ("waf/b", "query:q", 3), notes]);
        // It is not about the other place where one of them matches.
        let elsewhere = record("waf_score", "waf/b", &[("waf/a", "query:p", 5), ("waf/b", "query:q", 3)]);
        let unread =
            record("body_unreadable", "waf/body-json", &[("waf/a", "query:q", 3), ("waf/b", "path", 3)]);
        check(
            &[both.clone(), elsewhere, unread],
            &[
                ("waf/a query:q", 2, 1),
                ("waf/b query:q", 2, 1),
                ("waf/a query:p", 1, 1),
                ("waf/b path", 1, 0),
            ],
        );
        let many = record(
            "waf_score",
            "waf/c",
            &[("waf/a", "query:q", 5), ("waf/b", "query:q", 5), ("waf/c", "query:p", 5), notes],
        );
        check(
            &[both, many.clone(), many],
            &[
                ("waf/c query:p, waf/a+waf/b query:q", 3, 3),
                ("waf/a query:q", 3, 1),
                ("waf/b query:q", 3, 1),
                ("waf/c query:p", 2, 0),
            ],
        );
    }

    #[test]
    fn the_exclusion_is_toml_that_is_as_narrow_as_the_group() {
        let want = "[[waf.exclude]]\nid = \"shop-query-q-942100\"\nroutes = [\"shop\"]\ntargets = [\"query:q\"]\nrules = [\"waf/942100\"]\n";
        assert_eq!(toml(&[(vec!["query:q"], vec!["waf/942100"])], "shop"), want);
    }

    #[test]
    fn no_name_of_a_parameter_decides_how_the_exclusion_reads() {
        let name = "query:a\"\\\u{202e}\u{7f}\n\u{e0041}z";
        let text = toml(&[(vec![name], vec!["waf/a"])], "");
        assert!(text.contains(r#"targets = ["query:a\"\\\u202E\u007F\u000A\U000E0041z"]"#), "{text}");
        let read: toml::Value = toml::from_str(&text).unwrap();
        assert_eq!(read["waf"]["exclude"][0]["targets"][0].as_str(), Some(name));
    }
}
