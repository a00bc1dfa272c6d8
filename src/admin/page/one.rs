//! One decision: what was decided and why, what would let it pass, and whom else it concerns.

use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::judged::{self, Judged};
use super::what_if::{Form, split};
use super::{framed, whole};
use crate::admin::AdminState;
use crate::admin::answer::Answer;
use crate::admin::query::pairs;
use crate::admin::records::{Kept, newest_first, parse};
use crate::audit;
use crate::config::Setup;
use crate::decision::{Builtin, Reason};

/// Renders the page of a decision. A query asks what would happen with something changed.
pub(super) async fn page(state: &Arc<AdminState>, id: &str, query: &str) -> Answer {
    let Some(mut document) = document(state, id).await else {
        let shown = json!({ "id": id, "is_id": is_id(id), "why": not_found(state, id) });
        return framed(state, StatusCode::NOT_FOUND, "one.html", "", &json!({ "missing": shown }));
    };
    let asked = pairs(query).iter().any(|(name, _)| name == "target");
    let form = if asked {
        Form::parse(query)
    } else {
        Form::of(&document["record"], document["line"].as_str().unwrap_or(""))
    };
    document["remedy"] = remedy(&document).into();
    // What judging again came to may be about another rule.
    if document["again"]["rule"]["name"] == document["record"]["rule"] {
        document["exits"] = document["again"]["ways_out"].clone();
    }
    let (answer, error) = match asked {
        true => split(form.ask(state).await),
        false => (None, None),
    };
    document["form"] = form.shown(state);
    document["answer"] = answer.unwrap_or_default();
    document["error"] = error.into();
    whole(state, "one.html", "", &document)
}

/// Whether a text can be the id of a request (CONTRACT: `[A-Za-z0-9._-]{8,128}`). Others stand in no
/// command: a link from elsewhere must not put words into what an operator copies.
fn is_id(text: &str) -> bool {
    (8..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Why a decision is not there.
pub(in crate::admin) fn not_found(state: &AdminState, id: &str) -> String {
    if !state.log_is_on {
        return "the decision log is off (`[log] sink = \"none\"`), so there are no records".to_owned();
    }
    format!(
        "there is no decision `{id}`: it is neither in memory nor in the files of the decision log; another gateway may have made it"
    )
}

/// The record of a decision as it was written, with everything there is to tell besides as its last
/// member, `about`. Whoever reads the log reads this too.
pub(in crate::admin) async fn record(state: &Arc<AdminState>, id: &str) -> Option<String> {
    let mut about = document(state, id).await?;
    let about = about.as_object_mut()?;
    about.remove("record");
    let line = about.remove("line")?;
    let members = line.as_str()?.trim_end().strip_suffix('}')?;
    Some(format!("{members},\"about\":{}}}\n", json!(about)))
}

/// Everything there is to tell about a decision, if it is in memory or in the log's files.
async fn document(state: &Arc<AdminState>, id: &str) -> Option<Value> {
    let kept = newest_first(&state.recent);
    let older;
    let mut with_it = kept.iter().filter(|kept| kept.is(id));
    let (found, alike) = match with_it.next() {
        Some(found) => {
            let others = with_it.filter_map(|other| other.text("/decision_id"));
            let others = others.filter(|other| Some(*other) != found.text("/decision_id"));
            (found, others.map(str::to_owned).collect())
        }
        None => {
            let (record, alike) = in_files(state, id).await?;
            older = record;
            (&older, alike)
        }
    };
    let record = &found.value;
    let reason = found.text("/reason").and_then(|code| code.parse::<Reason>().ok()).map(Reason::info);
    let judged = judged(state, found).await?;
    let again = &judged.again;
    let others = match found.text("/decision") {
        Some("allow") => None,
        _ => Some(others(state, &judged, &kept, found).await),
    };
    let trail = found.text("/decision_id").and_then(|id| state.trails.of(id.parse::<Uuid>().ok()?));
    let client = found.ip();
    // The trail may know that some of the causes of a reason cannot be.
    let told = again.as_ref().ok().map(|again| &again.document);
    let causes = told.filter(|told| reason.is_some_and(|reason| told["reason"] == reason.code));
    let causes = causes.map(|told| &told["causes"]);
    Some(json!({
        "record": record,
        "line": found.line,
        "same_request_id": alike,
        "title": reason.map(|reason| reason.title),
        "detail": reason.map(|reason| reason.detail),
        "causes": causes.map_or_else(|| json!(reason.map(|reason| reason.causes)), Value::clone),
        "check": reason.map(|reason| reason.check),
        "temporary": reason.map(|reason| reason.temporary || found.text("/until").is_some()),
        "rule": rule(state, &judged, found),
        "trail": trail,
        "again": again.as_ref().ok().map(|again| &again.document),
        "again_error": again.as_ref().err(),
        "same_decision": again.as_ref().is_ok_and(|again| again.agrees),
        "as_recorded": again.as_ref().ok().and_then(|again| again.as_recorded.as_ref()),
        "judged_by": judged.by,
        "judged_policy": judged.setup.policy.version.to_string(),
        "now": judged.now,
        "change": judged.cause.change,
        "refused_since": judged.cause.since,
        "others": others.as_ref().and_then(|others| others.as_ref().ok()),
        "others_error": others.as_ref().and_then(|others| others.as_ref().err()),
        "bans": client.map(|ip| state.bans.of(ip)).unwrap_or_default().iter().map(|ban| json!({
            "address": ban.who(), "until": ban.until, "by": ban.by, "reason": ban.reason,
        })).collect::<Vec<_>>(),
    }))
}

/// A record that is in memory no more, from the files of the log. One search at a time, aside.
async fn in_files(state: &Arc<AdminState>, id: &str) -> Option<(Kept, Vec<String>)> {
    let log = state.installer.log_file()?;
    let _turn = state.searching.acquire().await.ok()?;
    let wanted = id.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        audit::files(&log).and_then(|files| audit::find(&files, &wanted, &mut |_| {}))
    });
    match found.await {
        Ok(Ok(found)) => Some((parse(&found.record?.0).next()?, found.alike)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the decision log cannot be searched");
            None
        }
        Err(_) => None,
    }
}

/// Judges the request of a record again, aside.
async fn judged(state: &Arc<AdminState>, found: &Kept) -> Option<Judged> {
    let _turn = state.searching.acquire().await.ok()?;
    let (state, record) = (Arc::clone(state), found.line.clone());
    tokio::task::spawn_blocking(move || judged::judge(&state, record.as_bytes())).await.ok()
}

/// The rule as the policy that judged has it, and whether the one in force still has it so.
fn rule(state: &AdminState, judged: &Judged, found: &Kept) -> Value {
    let name = found.text("/rule").unwrap_or("");
    let of = |setup: &Setup| state.oracle.rules(setup).into_iter().find(|rule| rule["rule"] == name);
    let snapshot = state.installer.current().load_full();
    let change = snapshot.policy.rules.by_name(name).and_then(|rule| snapshot.change(rule));
    let written = of(&judged.setup).map(|mut rule| {
        rule["in_force"] = match of(&state.installer.setup()) {
            None => "gone",
            Some(now) if now["text"] == rule["text"] => "same",
            Some(_) => "changed",
        }
        .into();
        let came = found.ts().parse::<Timestamp>().ok();
        rule["changed"] = json!(change.map(|change| {
            let after = came.is_some_and(|came| change.at > came);
            json!({
                "at": change.at, "from": change.from.to_string(), "to": change.to.to_string(), "after": after,
            })
        }));
        rule
    });
    written.unwrap_or_else(|| match Builtin::by_name(name).map(Builtin::info) {
        Some(info) => json!({ "rule": name, "builtin": true, "sentence": info.text }),
        None => json!({ "rule": name, "gone": true }),
    })
}

/// What would let a refused request pass, in a sentence, where no grant nearly did.
fn remedy(about: &Value) -> Option<String> {
    let record = &about["record"];
    let written = about["rule"]["text"].is_string();
    let text = match record["stage"].as_str()? {
        "rbac" if written => {
            "No new grant, since a deny beats every grant: narrow the rule, let it end with `until`, or exempt a role with `except_roles`."
        }
        "rbac" => {
            let id = record["request_id"].as_str().filter(|id| is_id(id))?;
            return Some(format!(
                "A grant for it: `portcullis suggest {id}` shows the narrowest that would do."
            ));
        }
        "ip" if record["rule"] == *Builtin::Banned.info().name => match record["client"]["ip"].as_str() {
            Some(ip) if ip.parse::<std::net::IpAddr>().is_ok() => {
                "The ban that refused it is in force no more: it ended, or was lifted."
            }
            _ => "The end of the ban.",
        },
        "ip" => "An address that the rule lets through: try one below.",
        "waf" => return None,
        "authn" if record["reason"] != "keys_unavailable" => "A valid credential.",
        _ => return about["check"].as_str().map(str::to_owned),
    };
    Some(text.to_owned())
}

/// Whom else the same rule refused around then: is it this one caller, or everybody? The files of the log
/// say it, aside; without files, what is in memory, and since when that is.
async fn others(
    state: &Arc<AdminState>,
    judged: &Judged,
    kept: &[Kept],
    found: &Kept,
) -> Result<Value, String> {
    let log = state.installer.log_file();
    let mut lines = String::new();
    if log.is_none() {
        kept.iter().for_each(|kept| lines.extend([&kept.line, "\n"]));
    }
    // Nothing is known of older ones, but that there may be some.
    let oldest = kept.last().and_then(|kept| kept.ts().parse::<Timestamp>().ok());
    let since = oldest.unwrap_or(state.started);
    let (state, setup, record) = (Arc::clone(state), Arc::clone(&judged.setup), found.line.clone());
    let change = judged.cause.change.clone();
    let _turn = state.searching.acquire().await.map_err(|error| error.to_string())?;
    let asked = Arc::clone(&state);
    let counted = tokio::task::spawn_blocking(move || {
        asked.oracle.others(
            &setup,
            record.as_bytes(),
            change.as_ref(),
            log.as_deref(),
            lines.as_bytes(),
            since,
        )
    });
    counted.await.map_err(|error| error.to_string())?
}
