//! `/api/policy`: which policy runs, and what each of its rules does.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::AdminState;
use super::answer::{Answer, json};
use super::samples::Hits;
use crate::decision::Builtin;

/// `GET`.
pub(super) fn policy(state: &AdminState) -> Answer {
    json(StatusCode::OK, &document(state))
}

/// The policy with its rules: the written ones in policy order, then the built-in ones that were hit, and
/// those that were hit before they went out of the policy.
pub(super) fn document(state: &AdminState) -> Value {
    state.sample();
    let setup = state.installer.setup();
    let snapshot = state.installer.current().load_full();
    let mut hits = state.samples.rules();
    let refused: u64 = hits.values().map(|hits| hits.refused).sum();
    let decided: u64 = hits.values().map(|hits| hits.allowed + hits.refused + hits.failed).sum();
    let mut rules = state.oracle.rules(&setup);
    for rule in &mut rules {
        let name = rule["rule"].as_str().unwrap_or("").to_owned();
        let hits = hits.remove(&name).unwrap_or_default();
        count(rule, &hits, decided);
        rule["builtin"] = false.into();
        let written = snapshot.policy.rules.by_name(&name);
        rule["changed"] = json!(written.and_then(|rule| snapshot.change(rule)).map(|change| change.at));
    }
    for (name, hits) in hits {
        let builtin = Builtin::by_name(&name).map(Builtin::info);
        // `other` is where the metrics count what has no series of its own.
        let gone = builtin.is_none() && name != "other";
        let mut rule = json!({
            "rule": name,
            "stage": builtin.map(|info| info.stage.name()),
            "mode": if gone { "gone" } else { "enforce" },
            "builtin": builtin.is_some(),
            "text": builtin.map(|info| info.text),
        });
        count(&mut rule, &hits, decided);
        rules.push(rule);
    }
    let status = state.installer.status();
    let routes: Vec<&str> = snapshot.policy.routes.iter().map(|(_, route)| &*route.name).collect();
    json!({
        "generation": status.version.generation,
        "hash": format!("{:08x}", status.version.hash),
        "installed_at": status.installed_at,
        "counted_since": state.started,
        "decided": decided,
        "refused": refused,
        "routes": routes,
        "rules": rules,
    })
}

fn count(rule: &mut Value, hits: &Hits, decided: u64) {
    let Hits { allowed, refused, failed, shadow, last } = hits;
    let share = if decided == 0 { 0.0 } else { *refused as f64 / decided as f64 };
    rule["hits"] = json!({
        "allowed": allowed,
        "refused": refused,
        "failed": failed,
        "shadow": shadow,
        "share_refused": share,
        "last": last.map(|last: Timestamp| last.to_string()),
    });
}
