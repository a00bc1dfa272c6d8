//! What a record says of the WAF: which rules matched where, and whether anything would still refuse if
//! some of them had not.
//!
//! A record names for each rule the first place where it matched. That nothing is left to refuse means
//! therefore that the request may pass, and never that it does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::decision::Reason;

/// A match that counted: none in shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match<'r> {
    /// The rule, by its full name.
    pub rule: &'r str,
    /// The text that it matched on, in the language of `targets`.
    pub target: &'r str,
    /// What it added to the score.
    pub score: u64,
    /// What it says; empty if nothing.
    pub msg: &'r str,
}

/// A refusal by the WAF, as it was recorded.
#[derive(Clone, Copy, Debug)]
pub struct WafRefusal<'r> {
    /// The rule that decided.
    pub rule: &'r str,
    /// Its reason, by its code.
    pub reason: &'r str,
    /// The member `waf` of the record.
    pub waf: &'r Value,
}

impl<'r> WafRefusal<'r> {
    /// The matches that counted.
    pub fn matched(self) -> impl Iterator<Item = Match<'r>> {
        let all = self.waf.get("matched").and_then(Value::as_array).into_iter().flatten();
        all.filter(|found| found.get("shadow") != Some(&Value::Bool(true))).map(|found| {
            let text = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or("");
            let score = found.get("score").and_then(Value::as_u64).unwrap_or(0);
            Match { rule: text("rule"), target: text("target"), score, msg: text("msg") }
        })
    }

    /// Of those, the ones that may have refused: of a score, what added to it, and else all but what only
    /// takes notes. `notes`: whether a rule does only that.
    pub fn refusing(self, notes: impl Fn(&str) -> bool) -> impl Iterator<Item = Match<'r>> {
        let by_score = self.by_score();
        self.matched().filter(move |found| found.score > 0 || (!by_score && !notes(found.rule)))
    }

    /// Whether nothing that was recorded would refuse if these matches were not.
    pub fn passes_without(self, gone: impl Fn(&Match<'r>) -> bool) -> bool {
        let by_match = self.reason == Reason::WafMatch.info().code;
        if !by_match && !self.by_score() {
            // A body that cannot be read, or one that is too large: no exclusion helps.
            return false;
        }
        let left = || self.matched().filter(|found| !gone(found));
        // A rule that refuses by itself must not match anywhere else.
        let itself = !by_match
            || (self.matched().any(|found| gone(&found) && found.rule == self.rule)
                && left().all(|found| found.rule != self.rule));
        let threshold = self.waf.get("threshold").and_then(Value::as_u64).unwrap_or(0);
        itself && (threshold == 0 || left().map(|found| found.score).sum::<u64>() < threshold)
    }

    fn by_score(self) -> bool {
        self.reason == Reason::WafScore.info().code
    }
}

/// Matches as exclusions are written, no wider than they must be: for each list of targets, the rules that
/// are kept from just these.
pub fn excluding<'r>(matched: impl IntoIterator<Item = Match<'r>>) -> Vec<(Vec<&'r str>, Vec<&'r str>)> {
    let mut by_rule: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for found in matched {
        by_rule.entry(found.rule).or_default().insert(found.target);
    }
    let mut by_targets: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
    for (rule, targets) in by_rule {
        by_targets.entry(targets.into_iter().collect()).or_default().push(rule);
    }
    by_targets.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reason: &str, matched: &[(&str, &str, u64)], gone: &[(&str, &str)], passes: bool) {
        let matched: Vec<Value> = matched
            .iter()
            .map(
                |(rule, target, score)| serde_json::json!({ "rule": rule, "target": target, "score": score }),
            )
            .collect();
        let waf = serde_json::json!({ "threshold": 5, "matched": matched });
        let refusal = WafRefusal { rule: "waf/a", reason, waf: &waf };
        let found = refusal.passes_without(|found| gone.contains(&(found.rule, found.target)));
        assert_eq!(found, passes, "{reason} {matched:?} without {gone:?}");
    }

    #[test]
    fn nothing_is_left_to_refuse() {
        let three = [("waf/a", "query:q", 3), ("waf/b", "query:q", 3), ("waf/c", "query:p", 4)];
        check("waf_score", &three, &[("waf/a", "query:q"), ("waf/b", "query:q")], true);
        check("waf_score", &three, &[("waf/c", "query:p")], false);
        check("waf_match", &[("waf/a", "query:q", 0), ("waf/b", "path", 2)], &[("waf/a", "query:q")], true);
        check("waf_match", &[("waf/a", "query:q", 0), ("waf/a", "path", 0)], &[("waf/a", "path")], false);
        check("waf_match", &[("waf/a", "query:q", 0), ("waf/b", "path", 9)], &[("waf/a", "query:q")], false);
        check("waf_match", &[("waf/b", "path", 0)], &[("waf/b", "path")], false);
        check("body_too_large", &[("waf/a", "path", 0)], &[("waf/a", "path")], false);
    }

    #[test]
    fn no_rule_is_kept_from_more_than_it_matched() {
        let of = |rule, target| Match { rule, target, score: 1, msg: "" };
        let one = excluding([of("b", "query:q"), of("a", "query:q"), of("a", "query:q")]);
        assert_eq!(one, [(vec!["query:q"], vec!["a", "b"])]);
        let two = excluding([of("a", "query:q"), of("b", "query:p"), of("b", "query:q")]);
        assert_eq!(two, [(vec!["query:p", "query:q"], vec!["b"]), (vec!["query:q"], vec!["a"])]);
    }
}
