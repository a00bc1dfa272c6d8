//! The metrics as OTLP has them, read from their exposition: one account of what was counted, in two
//! forms.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::json::{attribute, nanoseconds, scope};

/// The labels of a series.
type Labels = BTreeMap<String, String>;

/// A family of metrics as the exposition has it.
#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: String,
    help: String,
    /// What stands behind the family's name, labels, value.
    samples: Vec<(String, Labels, f64)>,
}

/// The body of a request to `/v1/metrics`. `since`: when counting began.
pub(super) fn body(resource: &Json, exposition: &str, since: Timestamp, now: Timestamp) -> Json {
    let (since, now) = (nanoseconds(since), nanoseconds(now));
    let metrics: Vec<Json> = families(exposition).iter().map(|family| metric(family, &since, &now)).collect();
    json!({ "resourceMetrics": [{ "resource": resource, "scopeMetrics": [{ "scope": scope(), "metrics": metrics }] }] })
}

fn metric(family: &Family, since: &str, now: &str) -> Json {
    let mut metric = json!({ "name": family.name, "description": family.help });
    let point = |(_, labels, value): &(String, Labels, f64)| json!({ "attributes": attributes(labels), "startTimeUnixNano": since, "timeUnixNano": now, "asDouble": value });
    let points = || family.samples.iter().map(point).collect::<Vec<_>>();
    let (key, data) = match family.kind.as_str() {
        "counter" => (
            "sum",
            json!({ "aggregationTemporality": CUMULATIVE, "isMonotonic": true, "dataPoints": points() }),
        ),
        "histogram" => (
            "histogram",
            json!({ "aggregationTemporality": CUMULATIVE, "dataPoints": [histogram(family, since, now)] }),
        ),
        _ => ("gauge", json!({ "dataPoints": points() })),
    };
    if let Some(object) = metric.as_object_mut() {
        object.insert(key.to_owned(), data);
    }
    metric
}

/// The buckets of the exposition hold what is at or below their bound; here each holds its own.
fn histogram(family: &Family, since: &str, now: &str) -> Json {
    let one =
        |ending: &str| family.samples.iter().find(|(of, ..)| of == ending).map_or(0.0, |(.., value)| *value);
    let buckets = || family.samples.iter().filter(|(of, ..)| of == "_bucket");
    let bounds: Vec<f64> = buckets()
        .filter_map(|(_, labels, _)| labels.get("le")?.parse().ok())
        .filter(|bound: &f64| bound.is_finite())
        .collect();
    let mut before = 0.0;
    let counts: Vec<String> = buckets()
        .map(|(.., upto)| {
            let own = upto - before;
            before = *upto;
            whole(own)
        })
        .collect();
    json!({
        "startTimeUnixNano": since,
        "timeUnixNano": now,
        "count": whole(one("_count")),
        "sum": one("_sum"),
        "bucketCounts": counts,
        "explicitBounds": bounds,
    })
}

/// A count as a string, as JSON has 64-bit numbers.
fn whole(count: f64) -> String {
    format!("{:.0}", count.max(0.0))
}

fn attributes(labels: &Labels) -> Vec<Json> {
    labels.iter().map(|(name, value)| attribute(name, &value.as_str().into())).collect()
}

/// Reads our own exposition.
fn families(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            families.push(Family { name: name.to_owned(), help: help.to_owned(), ..Family::default() });
        } else if let Some(family) = families.last_mut() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => family.kind = rest.rsplit(' ').next().unwrap_or("").to_owned(),
                None => family.samples.extend(sample(line, &family.name)),
            }
        }
    }
    families
}

fn sample(line: &str, family: &str) -> Option<(String, Labels, f64)> {
    let rest = line.strip_prefix(family)?;
    let (before, value) = rest.rsplit_once(' ')?;
    let (ending, inside) = before.split_once('{').unwrap_or((before, ""));
    let mut labels = Labels::new();
    let mut rest = inside.strip_suffix('}').unwrap_or(inside);
    while let Some((name, behind)) = rest.split_once("=\"") {
        let mut text = String::new();
        let mut chars = behind.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => text.push(match chars.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => text.push(other),
            }
        };
        labels.insert(name.trim_start_matches(',').to_owned(), text);
        rest = behind.get(end..)?;
    }
    Some((ending.to_owned(), labels, value.parse().ok()?))
}

/// Each value counts from the beginning.
const CUMULATIVE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Decided, Handles, Metrics};

    #[test]
    fn what_is_counted_is_sent_with_its_labels() {
        let metrics = std::sync::Arc::new(Metrics::new());
        let mut handles = Handles::new(metrics.clone());
        handles.decision(crate::decision::Builtin::DefaultDeny.into(), Decided::Deny, false, || {
            ("rbac", "rbac/default-deny")
        });
        metrics.decision_seconds.observe(3e-6);
        metrics.decision_seconds.observe(4e-6);
        metrics.decision_seconds.observe(1.0);
        let start = Timestamp::from_second(1).unwrap();
        let body = body(&json!({}), &metrics.render(), start, start);
        let all = body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
        let metric = |name: &str| all.iter().find(|metric| metric["name"] == name).unwrap_or(&Json::Null);
        let decisions = &metric("portcullis_decisions")["sum"];
        assert_eq!(
            (&decisions["isMonotonic"], &decisions["aggregationTemporality"]),
            (&json!(true), &json!(2))
        );
        assert_eq!(decisions["dataPoints"][0]["asDouble"], 1.0);
        assert_eq!(decisions["dataPoints"][0]["attributes"].as_array().map(Vec::len), Some(4));
        let times = &metric("portcullis_decision_seconds")["histogram"]["dataPoints"][0];
        assert_eq!(times["count"], "3");
        let counts = times["bucketCounts"].as_array().unwrap();
        assert_eq!(counts.len(), times["explicitBounds"].as_array().unwrap().len() + 1);
        assert_eq!((&counts[5], counts.last()), (&json!("2"), Some(&json!("1"))));
        assert_eq!(metric("portcullis_policy_generation")["gauge"]["dataPoints"][0]["asDouble"], 0.0);
    }
}
