//! What the metrics said every few seconds of the last hour: the plots, and which rule was last hit.
//!
//! Made of the exposition that Prometheus reads too, so a request pays nothing for it, and the page
//! and a dashboard cannot disagree.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The samples.
#[derive(Debug, Default)]
pub(super) struct Samples {
    kept: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    samples: VecDeque<Sample>,
    rules: BTreeMap<String, Hits>,
}

/// Counters at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) at: Timestamp,
    pub(super) allowed: u64,
    pub(super) failed: u64,
    /// Refusals by stage.
    pub(super) refused: BTreeMap<String, u64>,
    /// Upper bounds in seconds, and how many took no longer.
    pub(super) judging: Vec<(f64, u64)>,
    pub(super) upstream: Vec<(f64, u64)>,
}

/// How often a rule decided since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hits {
    pub(super) allowed: u64,
    pub(super) refused: u64,
    pub(super) failed: u64,
    /// Refusals that would have been, in shadow.
    pub(super) shadow: u64,
    /// When it was seen to have been hit; exact to [`EVERY`].
    pub(super) last: Option<Timestamp>,
}

/// What happened between two samples.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    /// Its end.
    pub(super) at: Timestamp,
    pub(super) allowed: u64,
    pub(super) failed: u64,
    pub(super) refused: BTreeMap<String, u64>,
    /// Half of the requests took no longer, and 99 of 100.
    pub(super) judging: Option<(Took, Took)>,
    pub(super) upstream: Option<(Took, Took)>,
}

/// A time, as far as a histogram tells it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Took {
    /// Less than the lowest bound, in seconds.
    Under(f64),
    /// About so many seconds.
    About(f64),
    /// More than the highest bound.
    Over(f64),
}

impl Took {
    /// The seconds that are known.
    pub(super) fn seconds(self) -> f64 {
        match self {
            Took::Under(seconds) | Took::About(seconds) | Took::Over(seconds) => seconds,
        }
    }
}

/// How often a sample is taken.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// How far back the plots go.
const MINUTES: i64 = 60;

impl Samples {
    /// Takes a sample of an exposition.
    pub(super) fn take(&self, exposition: &str, now: Timestamp) {
        let (mut sample, mut rules) = (Sample { at: now, ..Sample::default() }, BTreeMap::new());
        for line in exposition.lines() {
            read(line, &mut sample, &mut rules);
        }
        let mut state = self.lock();
        for (rule, mut hits) in rules {
            let before = state.rules.get(&rule);
            let same = before.is_some_and(|before| before.total() == hits.total());
            hits.last = if same { before.and_then(|before| before.last) } else { Some(now) };
            state.rules.insert(rule, hits);
        }
        let oldest = now.checked_sub(SignedDuration::from_mins(MINUTES + 1)).unwrap_or(now);
        while state.samples.front().is_some_and(|sample| sample.at < oldest) {
            state.samples.pop_front();
        }
        state.samples.push_back(sample);
    }

    /// How often each rule decided.
    pub(super) fn rules(&self) -> BTreeMap<String, Hits> {
        self.lock().rules.clone()
    }

    /// What happened in each minute of the last hour, the oldest first. A minute before the start of
    /// the process is not there.
    pub(super) fn minutes(&self, now: Timestamp) -> Vec<Span> {
        let state = self.lock();
        let mut spans = Vec::new();
        let Some(mut before) = state.samples.front() else { return spans };
        for ago in (0..MINUTES).rev() {
            let end = now.checked_sub(SignedDuration::from_mins(ago)).unwrap_or(now);
            let begin = end.checked_sub(SignedDuration::from_mins(1)).unwrap_or(end);
            let last = state.samples.iter().rev().find(|sample| sample.at <= end);
            let Some(last) = last.filter(|last| last.at > begin && last.at > before.at) else {
                // Nothing was seen of this minute, which can only be before the start.
                if before.at < begin {
                    spans.push(Span::between(before, before, end));
                }
                continue;
            };
            spans.push(Span::between(before, last, end));
            before = last;
        }
        spans
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hits {
    pub(super) fn total(&self) -> u64 {
        self.allowed + self.refused + self.failed + self.shadow
    }
}

impl Span {
    fn between(before: &Sample, after: &Sample, at: Timestamp) -> Span {
        let refused = after.refused.iter().map(|(stage, count)| {
            (stage.clone(), count.saturating_sub(before.refused.get(stage).copied().unwrap_or(0)))
        });
        Span {
            at,
            allowed: after.allowed.saturating_sub(before.allowed),
            failed: after.failed.saturating_sub(before.failed),
            refused: refused.collect(),
            judging: quantiles(&before.judging, &after.judging),
            upstream: quantiles(&before.upstream, &after.upstream),
        }
    }

    /// All that was refused.
    pub(super) fn all_refused(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// Median and 99th percentile of what was added between two states of a histogram.
fn quantiles(before: &[(f64, u64)], after: &[(f64, u64)]) -> Option<(Took, Took)> {
    let old = |bound: f64| before.iter().find(|(other, _)| *other == bound).map_or(0, |(_, count)| *count);
    let added: Vec<(f64, u64)> =
        after.iter().map(|(bound, count)| (*bound, count.saturating_sub(old(*bound)))).collect();
    let total = added.last().map_or(0, |(_, count)| *count);
    if total == 0 {
        return None;
    }
    let at = |share: f64| {
        let wanted = share * total as f64;
        let (mut low, mut below) = (0.0, 0);
        for (bound, count) in &added {
            if *count as f64 >= wanted && *count > below {
                let share = (wanted - below as f64) / (*count - below) as f64;
                // Below the first bound and beyond the last one nothing more is known.
                return match (low > 0.0, bound.is_finite()) {
                    (_, false) => Took::Over(low),
                    (false, true) => Took::Under(*bound),
                    (true, true) => Took::About(low + (*bound - low) * share),
                };
            }
            (low, below) = (*bound, *count);
        }
        Took::Over(low)
    };
    Some((at(0.5), at(0.99)))
}

fn read(line: &str, sample: &mut Sample, rules: &mut BTreeMap<String, Hits>) {
    let Some((series, value)) = line.rsplit_once(' ') else { return };
    let Some((name, labels)) = series.split_once('{') else { return };
    let label = |wanted: &str| {
        let start = labels.find(&format!("{wanted}=\""))? + wanted.len() + 2;
        labels.get(start..)?.split('"').next()
    };
    let Ok(count) = value.parse::<u64>() else { return };
    match name {
        "portcullis_decisions_total" => {
            let (Some(stage), Some(rule), Some(decision)) =
                (label("stage"), label("rule"), label("decision"))
            else {
                return;
            };
            let hits = rules.entry(rule.to_owned()).or_default();
            if label("mode") == Some("shadow") {
                hits.shadow += count;
                return;
            }
            match decision {
                "allow" => {
                    hits.allowed += count;
                    sample.allowed += count;
                }
                "deny" => {
                    hits.refused += count;
                    *sample.refused.entry(stage.to_owned()).or_default() += count;
                }
                _ => {
                    hits.failed += count;
                    sample.failed += count;
                }
            }
        }
        "portcullis_decision_seconds_bucket" | "portcullis_upstream_seconds_bucket" => {
            let Some(bound) = label("le") else { return };
            let bound = if bound == "+Inf" { Some(f64::INFINITY) } else { bound.parse().ok() };
            let buckets = match name {
                "portcullis_decision_seconds_bucket" => &mut sample.judging,
                _ => &mut sample.upstream,
            };
            buckets.extend(bound.map(|bound| (bound, count)));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Builtin;
    use crate::metrics::{Decided, Handles, Metrics};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn minutes_hold_what_was_counted_in_them() {
        let metrics = std::sync::Arc::new(Metrics::new());
        let mut handles = Handles::new(metrics.clone());
        let samples = Samples::default();
        samples.take(&metrics.render(), at(0));
        for (second, refusals) in [(30, 2), (100, 3), (110, 1), (200, 0)] {
            for _ in 0..refusals {
                handles.decision(Builtin::DefaultDeny.into(), Decided::Deny, false, || {
                    ("rbac", "rbac/default-deny")
                });
                metrics.decision_seconds.observe(1.5e-6);
            }
            samples.take(&metrics.render(), at(second));
        }
        let minutes = samples.minutes(at(240));
        let seen: Vec<_> = minutes.iter().map(|span| (span.at.as_second(), span.all_refused())).collect();
        assert_eq!(seen, [(60, 2), (120, 4), (180, 0), (240, 0)]);
        let (median, most) = minutes[1].judging.unwrap();
        let (Took::About(median), Took::About(most)) = (median, most) else { panic!("{median:?} {most:?}") };
        assert!((1e-6..=2e-6).contains(&median) && (1e-6..=2e-6).contains(&most), "{median} {most}");
        assert_eq!(minutes[3].judging, None);
        let rules = samples.rules();
        let hits = &rules["rbac/default-deny"];
        assert_eq!((hits.refused, hits.last), (6, Some(at(110))));
    }

    #[test]
    fn nothing_is_made_up_of_times_beyond_the_bounds() {
        let bounds = [0.001, 0.01, f64::INFINITY];
        let added = |counts: [u64; 3]| {
            let after: Vec<(f64, u64)> = bounds.into_iter().zip(counts).collect();
            quantiles(&[], &after)
        };
        assert_eq!(added([10, 10, 10]), Some((Took::Under(0.001), Took::Under(0.001))));
        assert_eq!(added([0, 0, 10]), Some((Took::Over(0.01), Took::Over(0.01))));
        assert!(matches!(added([5, 10, 10]), Some((Took::Under(_), Took::About(_)))));
        assert_eq!(added([0, 0, 0]), None);
    }
}
