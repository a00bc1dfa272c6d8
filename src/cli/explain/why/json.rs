//! The same as a JSON document: the record, what is known around it, and the document of `explain`.
//!
//! | field | |
//! | --- | --- |
//! | `record` | the record as it stands in the log |
//! | `same_request_id` | the decisions before it that bear the same request id, the newest first |
//! | `judged_by` | the policy of the trail: `kept`, `files`, or `other` if that of then is not to be had |
//! | `steps` | those of `explained`: `kept` when it was decided, since somebody had asked for trails, or `made_anew` |
//! | `agrees` | whether the trail comes to the recorded decision by itself |
//! | `as_recorded` | why it cannot, where `explained` was given the recorded decision |
//! | `mended_by` | the rule by which the files as they are now let the same request pass; null if they do not, or it cannot be told |
//! | `bans` | the bans of the address that are still in force, where one refused |
//! | `change` | the last change before it that may be the cause |
//! | `refused_since` | the oldest policy that refused it, where no change is the cause; `since_the_first`: there was none before |
//! | `hour` | how much the same rule refused around then |
//! | `conclusion` | what follows from that; null where `change` accounts for it |
//! | `explained` | as `explain --format json` |
//! | `case` | a case for `portcullis test`, as TOML; null with the cause in `no_case` |

use serde_json::{Value, json};

use super::super::json as explained;
use super::{JudgedBy, Story, case};

/// The document of a story.
pub(super) fn document(story: &Story<'_>) -> Value {
    let line = story.line;
    let text =
        |raw: &serde_json::value::RawValue| serde_json::from_str::<Value>(raw.get()).unwrap_or_default();
    let case = case::toml(story);
    json!({
        "record": {
            "ts": &*line.ts,
            "request_id": &*line.request_id,
            "decision_id": &*line.decision_id,
            "decision": &*line.decision,
            "stage": &*line.stage,
            "rule": &*line.rule,
            "rule_at": line.rule_at.as_deref(),
            "rule_changed": line.rule_changed.as_deref(),
            "reason": line.reason.as_deref(),
            "until": line.until.as_deref(),
            "status": line.status,
            "policy": format!("{}-{}", line.policy.generation, &*line.policy.hash),
            "method": &*line.method,
            "host": &*line.host,
            "path": &*line.path,
            "route": line.route.as_deref(),
            "client": &*line.client.ip,
            "identity": text(line.raw_identity),
            "waf": line.waf.map(text),
        },
        "same_request_id": story.alike,
        "judged_by": match story.judged_by {
            JudgedBy::Kept => "kept",
            JudgedBy::Files => "files",
            JudgedBy::Other => "other",
        },
        "steps": if story.kept { "kept" } else { "made_anew" },
        "agrees": story.agrees,
        "as_recorded": story.settled.as_ref().map(|settled| &settled.why),
        "mended_by": story.mended,
        "bans": story.bans,
        "change": story.cause.change,
        "refused_since": story.cause.since,
        "hour": story.hour,
        "conclusion": story.conclusion(),
        "explained": explained::document(story.account),
        "case": case.as_ref().ok(),
        "no_case": case.as_ref().err(),
    })
}
