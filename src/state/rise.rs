//! Whether a rule refuses much more since a policy is in force.
//!
//! Counts come in from time to time; shares of all requests are compared, before and since. A rise is
//! told once for each rule and policy, and only if it is large and no accident, and if more is refused in
//! all: a rule that refuses what another one refused before has raised nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::entry::Jump;
use crate::decision::Version;

/// What was counted since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were decided.
    pub total: u64,
    /// Of them, those that a rule refused.
    pub refused: BTreeMap<String, u64>,
}

/// Watches the counts.
#[derive(Debug, Default)]
pub struct Watch {
    /// What was counted lately, the oldest first.
    lately: VecDeque<(Timestamp, Counts)>,
    /// The policy in force, if it replaced another while this was watched.
    current: Option<Since>,
    version: Option<Version>,
}

#[derive(Debug)]
struct Since {
    at: Timestamp,
    /// What was counted within a while before it.
    before: Counts,
    /// What had been counted when it came.
    start: Counts,
    told: BTreeSet<String>,
}

/// How long before a policy is looked back, and how long it is watched.
const BEFORE: SignedDuration = SignedDuration::from_mins(5);
const AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Fewer requests say nothing.
const FEW: u64 = 50;

/// A rise by a smaller share of all requests is not told, and neither is one to less than thrice unless it
/// is as large as this.
const LEAST: f64 = 0.05;
const TIMES: f64 = 3.0;
const LARGE: f64 = 0.2;

/// How many standard deviations it must be from what chance makes of an unchanged share.
const SURE: f64 = 4.0;

impl Watch {
    /// Looks at the counts of a moment under the policy in force; the rises that were not told before.
    /// `start`: what had been counted when that policy came.
    pub fn look(
        &mut self,
        at: Timestamp,
        version: Version,
        counts: Counts,
        start: impl FnOnce() -> Counts,
    ) -> Vec<Jump> {
        while self.lately.front().is_some_and(|(then, _)| at.duration_since(*then) > BEFORE) {
            self.lately.pop_front();
        }
        if self.version.replace(version).is_some_and(|old| old != version) {
            let start = start();
            let oldest = self.lately.front().map_or_else(Counts::default, |(_, counts)| counts.clone());
            self.current = Some(Since { at, before: start.since(&oldest), start, told: BTreeSet::new() });
            self.lately.clear();
        }
        let rises = match &mut self.current {
            Some(since) if at.duration_since(since.at) <= AFTER => since.rises(at, version, &counts),
            _ => Vec::new(),
        };
        self.lately.push_back((at, counts));
        rises
    }
}

impl Since {
    fn rises(&mut self, at: Timestamp, version: Version, counts: &Counts) -> Vec<Jump> {
        let after = counts.since(&self.start);
        if after.total < FEW || self.before.total < FEW {
            return Vec::new();
        }
        let (before, now) = (self.before.total, after.total);
        if !rose((self.before.all(), before), (after.all(), now)) {
            return Vec::new();
        }
        let mut rises = Vec::new();
        for (rule, refused) in &after.refused {
            let was = self.before.refused.get(rule).copied().unwrap_or(0);
            if rose((was, before), (*refused, now)) && self.told.insert(rule.clone()) {
                let (before, after) = (share(was, before), share(*refused, now));
                let (policy, rule) = (version.to_string(), rule.clone());
                rises.push(Jump { at, policy, rule, before, after, refused: *refused });
            }
        }
        rises
    }
}

impl Counts {
    /// How many were refused, by whichever rule.
    fn all(&self) -> u64 {
        self.refused.values().sum()
    }

    /// What came since.
    fn since(&self, older: &Counts) -> Counts {
        let refused = self.refused.iter().map(|(rule, count)| {
            let was = older.refused.get(rule).copied().unwrap_or(0);
            (rule.clone(), count.saturating_sub(was))
        });
        let refused = refused.filter(|(_, count)| *count > 0).collect();
        Counts { total: self.total.saturating_sub(older.total), refused }
    }
}

/// Whether one share is so much larger than the other that it is to be told.
fn rose(before: (u64, u64), after: (u64, u64)) -> bool {
    let (was, now) = (share(before.0, before.1), share(after.0, after.1));
    let large = now - was >= LEAST && (now >= was * TIMES || now - was >= LARGE);
    large && is_no_accident(before, after)
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The test of two proportions.
fn is_no_accident(before: (u64, u64), after: (u64, u64)) -> bool {
    let pooled = share(before.0 + after.0, before.1 + after.1);
    let spread = pooled * (1.0 - pooled) * (1.0 / before.1 as f64 + 1.0 / after.1 as f64);
    let distance = share(after.0, after.1) - share(before.0, before.1);
    distance > SURE * spread.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(total: u64, refused: u64) -> Counts {
        Counts { total, refused: [("rbac/no".to_owned(), refused)].into() }
    }

    /// The share of refusals before a new policy and after it, in thousands of requests each.
    fn told(before: u64, after: u64) -> usize {
        let mut watch = Watch::default();
        let version = |generation| Version { generation, hash: 1 };
        let start: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let at = |seconds| start + SignedDuration::from_secs(seconds);
        let start = || counts(1000, before);
        assert!(watch.look(at(0), version(1), counts(0, 0), start).is_empty());
        assert!(watch.look(at(10), version(1), counts(900, before), start).is_empty());
        let mut rises = watch.look(at(11), version(2), counts(1000, before), start);
        for step in 1..=10 {
            let now = counts(1000 + 100 * step, before + after * step / 10);
            rises.extend(watch.look(at(11 + step as i64), version(2), now, start));
        }
        assert!(rises.iter().all(|rise| rise.policy == "2-00000001" && rise.rule == "rbac/no"));
        rises.len()
    }

    #[test]
    fn a_large_rise_is_told_once() {
        assert_eq!(told(0, 500), 1);
        assert_eq!(told(10, 200), 1);
        // Also where much was refused before.
        assert_eq!(told(400, 1000), 1);
        assert_eq!(told(300, 600), 1);
    }

    #[test]
    fn a_rule_that_takes_over_what_another_refused_has_raised_nothing() {
        let mut watch = Watch::default();
        let version = |generation| Version { generation, hash: 1 };
        let start: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let at = |seconds| start + SignedDuration::from_secs(seconds);
        let counts = |total, old, new| Counts {
            total,
            refused: [("rbac/default-deny".to_owned(), old), ("rbac/no".to_owned(), new)].into(),
        };
        watch.look(at(0), version(1), counts(0, 0, 0), || counts(0, 0, 0));
        watch.look(at(9), version(1), counts(1000, 500, 0), || counts(0, 0, 0));
        watch.look(at(10), version(2), counts(1000, 500, 0), || counts(1000, 500, 0));
        assert_eq!(watch.look(at(20), version(2), counts(2000, 500, 500), Counts::default), []);
        let rises = watch.look(at(30), version(2), counts(3000, 500, 1500), Counts::default);
        assert_eq!(rises.iter().map(|rise| &*rise.rule).collect::<Vec<_>>(), ["rbac/no"]);
    }

    #[test]
    fn what_is_small_or_was_so_before_is_not_told() {
        for (before, after) in [(0, 0), (0, 40), (500, 520), (300, 450), (500, 0), (100, 110)] {
            assert_eq!(told(before, after), 0, "{before} {after}");
        }
    }

    #[test]
    fn few_requests_say_nothing_and_the_first_policy_is_compared_with_nothing() {
        let mut watch = Watch::default();
        let start: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        for step in 0..20 {
            let at = start + SignedDuration::from_secs(step);
            let version = Version { generation: 1 + u64::from(step > 10), hash: 1 };
            let now = counts(step as u64 * 2, if step > 10 { step as u64 } else { 0 });
            assert!(watch.look(at, version, now, || counts(20, 0)).is_empty());
        }
    }
}
