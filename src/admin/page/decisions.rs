//! `/`: what is being decided, with filters, and how it has been.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::charts;
use super::whole;
use crate::admin::AdminState;
use crate::admin::answer::{Answer, see_other};
use crate::admin::query::pairs;
use crate::admin::records::{Filter, Kept, newest_first, stages};

/// Renders the page. What looks like the id of a decision leads straight to it.
pub(super) fn page(state: &AdminState, query: &str) -> Answer {
    let kept = newest_first(&state.recent);
    let asked: BTreeMap<String, String> =
        pairs(query).into_iter().filter(|(_, value)| !value.is_empty()).collect();
    if let Some(found) = asked.get("q").and_then(|id| kept.iter().find(|kept| kept.is(id.trim())))
        && let Some(id) = found.text("/decision_id")
    {
        return see_other(&format!("/decisions/{id}"));
    }
    let (filter, error) = match Filter::parse(query) {
        Ok(filter) => (filter, None),
        Err(bad) => (Filter::parse("").unwrap_or_default(), Some(bad.why)),
    };
    let wanted: Vec<&Kept> = kept.iter().filter(|kept| error.is_none() && filter.wants(kept)).collect();
    let rows: Vec<&Value> = wanted.iter().take(filter.limit).map(|kept| &kept.value).collect();
    let snapshot = state.installer.current().load_full();
    let routes: Vec<&str> = snapshot.policy.routes.iter().map(|(_, route)| &*route.name).collect();
    let content = json!({
        "asked": asked,
        "error": error,
        "rows": rows,
        "matched": wanted.len(),
        "kept": kept.len(),
        "oldest": kept.last().map(|kept| kept.ts()),
        "stages": stages(),
        "routes": routes,
        "overview": overview_of(state, &kept),
    });
    whole(state, "decisions.html", "/", &content)
}

/// The plots and counts alone.
pub(super) fn overview(state: &AdminState) -> Value {
    json!({ "page": { "overview": overview_of(state, &newest_first(&state.recent)) } })
}

fn overview_of(state: &AdminState, kept: &[Kept]) -> Value {
    state.sample();
    let now = Timestamp::now();
    let minutes = state.samples.minutes(now);
    // Counts begin with the process.
    let young = now.duration_since(state.started) < SignedDuration::from_hours(1);
    let sum = |of: &dyn Fn(&crate::admin::samples::Span) -> u64| minutes.iter().map(of).sum::<u64>();
    let (allowed, refused, failed) =
        (sum(&|span| span.allowed), sum(&|span| span.all_refused()), sum(&|span| span.failed));
    let total = allowed + refused + failed;
    let share = |count: u64| if total == 0 { 0.0 } else { count as f64 / total as f64 };
    json!({
        "since": young.then_some(state.started),
        "total": total,
        "refused": refused,
        "failed": failed,
        "share_refused": share(refused),
        "share_failed": share(failed),
        "top": top(kept),
        "decisions": charts::decisions(&minutes),
        "latency": charts::latency(&minutes),
    })
}

/// The rules that refused most of the recent requests.
fn top(kept: &[Kept]) -> Vec<Value> {
    let mut rules: BTreeMap<&str, u64> = BTreeMap::new();
    let refused = kept.iter().filter(|kept| kept.value["decision"] != "allow");
    for rule in refused.filter_map(|kept| kept.text("/rule")) {
        *rules.entry(rule).or_default() += 1;
    }
    let mut rules: Vec<_> = rules.into_iter().collect();
    rules.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let most = rules.first().map_or(1, |(_, count)| *count).max(1);
    let shown = rules
        .iter()
        .take(5)
        .map(|(rule, count)| json!({ "rule": rule, "count": count, "width": (count * 100).div_ceil(most) }));
    shown.collect()
}
