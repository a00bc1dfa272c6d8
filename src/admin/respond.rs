//! Which path answers what, to whom.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;

use super::access::{Access, Caller, Origin};
use super::answer::{
    self, Answer, Busy, NEEDS_PLACE, NEEDS_TOKEN, busy, json, not_allowed, problem, text, unauthorized, whole,
};
use super::oracle::Question;
use super::records::{Filter, newest_first};
use super::seats::Seat;
use super::{AdminState, bans, explain, input, live, openapi, page, parameter, rules, status, verbose};
use crate::serve::{Lifecycle, Trigger};

/// What may be asked with which methods, and what a caller needs for it. The description under
/// `/api/openapi.json` is held to this table by a test.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint { path: "/livez", methods: &[("GET", Need::Nothing)], allow: "GET, HEAD" },
    Endpoint { path: "/readyz", methods: &[("GET", Need::Nothing)], allow: "GET, HEAD" },
    Endpoint { path: "/metrics", methods: &[("GET", Need::Metrics)], allow: "GET, HEAD" },
    Endpoint { path: "/api/openapi.json", methods: &[("GET", Need::Reading)], allow: "GET, HEAD" },
    Endpoint { path: "/api/status", methods: &[("GET", Need::Reading)], allow: "GET, HEAD" },
    Endpoint { path: "/api/decisions", methods: &[("GET", Need::Reading)], allow: "GET, HEAD" },
    Endpoint { path: "/api/decisions/{id}", methods: &[("GET", Need::Reading)], allow: "GET, HEAD" },
    Endpoint { path: "/api/explain", methods: &[("POST", Need::Reading)], allow: "POST" },
    Endpoint { path: "/api/policy", methods: &[("GET", Need::Reading)], allow: "GET, HEAD" },
    Endpoint { path: "/api/history", methods: &[("GET", Need::Reading)], allow: "GET, HEAD" },
    Endpoint { path: "/api/reload", methods: &[("POST", Need::Change)], allow: "POST" },
    Endpoint {
        path: "/api/bans",
        methods: &[("GET", Need::Reading), ("POST", Need::Change), ("DELETE", Need::Change)],
        allow: "GET, HEAD, POST, DELETE",
    },
    Endpoint {
        path: "/api/log-level",
        methods: &[("GET", Need::Reading), ("PUT", Need::Change), ("DELETE", Need::Change)],
        allow: "GET, HEAD, PUT, DELETE",
    },
];

/// A path of the table.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) path: &'static str,
    pub(super) methods: &'static [(&'static str, Need)],
    allow: &'static str,
}

/// What a caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    /// What `[admin] metrics` says, and on loopback to be local as for all reading.
    Metrics,
    /// To be local, or the token.
    Reading,
    /// The token, or the socket.
    Change,
}

impl Endpoint {
    fn find(path: &str) -> Option<&'static Endpoint> {
        ENDPOINTS.iter().find(|endpoint| match endpoint.path.strip_suffix("{id}") {
            Some(prefix) => path.strip_prefix(prefix).is_some_and(|id| !id.is_empty() && !id.contains('/')),
            None => endpoint.path == path,
        })
    }

    fn need(&self, method: &Method) -> Option<Need> {
        let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
        self.methods.iter().find(|(name, _)| *name == method).map(|(_, need)| *need)
    }
}

/// Answers one request.
pub(super) async fn respond(
    access: &Access,
    state: &Arc<AdminState>,
    origin: Origin,
    seat: &Seat,
    request: Request<Incoming>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let caller = access.caller(origin, parts.uri.authority(), &parts.headers);
    if caller.trusted {
        seat.is_trusted();
    }
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or(""));
    let Some(endpoint) = Endpoint::find(path) else {
        return match (page::find(path), &parts.method) {
            (None, _) => text(StatusCode::NOT_FOUND, NOTHING_HERE),
            (Some(page), &Method::GET | &Method::HEAD) if page.is_file() => page.answer(state, query).await,
            (Some(page), &Method::GET | &Method::HEAD) if caller.reads => {
                if !caller.trusted && !seat.works() {
                    return busy(Busy::Requests);
                }
                page.answer(state, query).await
            }
            (Some(_), &Method::GET | &Method::HEAD) => page::locked(&parts.headers),
            (Some(_), _) => not_allowed("GET, HEAD"),
        };
    };
    let Some(need) = endpoint.need(&parts.method) else { return not_allowed(endpoint.allow) };
    let granted = match need {
        Need::Nothing => true,
        Need::Metrics => caller.scrapes,
        Need::Reading => caller.reads,
        Need::Change => caller.trusted,
    };
    if !granted {
        return unauthorized(if need == Need::Change { NEEDS_TOKEN } else { NEEDS_PLACE });
    }
    if endpoint.path == "/api/decisions" && wants_events(&parts.headers) {
        return follow(state, &caller, seat, query);
    }
    // Probes and metrics are answered whatever else goes on.
    let is_work = matches!(need, Need::Reading | Need::Change);
    if is_work && !caller.trusted && !seat.works() {
        return busy(Busy::Requests);
    }
    answer(state, &caller, endpoint.path, &parts.method, path, query, &parts.headers, body).await
}

const NOTHING_HERE: &str =
    "there is nothing here; the page is at /, the API is described at /api/openapi.json\n";

#[allow(clippy::too_many_arguments, reason = "the parts of one request")]
async fn answer(
    state: &Arc<AdminState>,
    caller: &Caller,
    endpoint: &str,
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> Answer {
    if let Err(bad) = parameter::check(endpoint, method, query) {
        return bad.answer();
    }
    match (endpoint, method.as_str()) {
        ("/livez", _) => text(StatusCode::OK, "ok\n"),
        ("/readyz", _) => match *state.lifecycle.borrow() {
            Lifecycle::Running => text(StatusCode::OK, "ok\n"),
            Lifecycle::Leaving | Lifecycle::Finishing | Lifecycle::Cutting => {
                text(StatusCode::SERVICE_UNAVAILABLE, "ending\n")
            }
        },
        ("/metrics", _) => metrics(state),
        ("/api/openapi.json", _) => {
            whole(StatusCode::OK, "application/json", Bytes::from_static(openapi::TEXT))
        }
        ("/api/status", _) => json(StatusCode::OK, &status::status(state)),
        ("/api/decisions", _) => decisions(state, query),
        ("/api/decisions/{id}", _) => {
            let id = path.rsplit('/').next().unwrap_or("");
            match page::one::record(state, id).await {
                Some(text) => whole(StatusCode::OK, "application/json", text.into()),
                None => problem(StatusCode::NOT_FOUND, page::one::not_found(state, id)),
            }
        }
        ("/api/explain", _) => match input::document::<Question>(headers, body).await {
            Ok(question) => explain::explain(state, question).await,
            Err(answer) => answer,
        },
        ("/api/policy", _) => rules::policy(state),
        ("/api/history", _) => json(StatusCode::OK, &page::history::document(state)),
        ("/api/reload", _) => reload(state, caller).await,
        ("/api/bans", "POST") => match input::document(headers, body).await {
            Ok(wanted) => bans::ban(state, caller, wanted),
            Err(answer) => answer,
        },
        ("/api/bans", "DELETE") => bans::unban(state, caller, query),
        ("/api/bans", _) => bans::list(state),
        ("/api/log-level", "PUT") => match input::document(headers, body).await {
            Ok(wanted) => verbose::begin(state, caller, wanted),
            Err(answer) => answer,
        },
        ("/api/log-level", "DELETE") => verbose::end(state, caller),
        ("/api/log-level", _) => json(StatusCode::OK, &verbose::shown(state)),
        _ => text(StatusCode::NOT_FOUND, NOTHING_HERE),
    }
}

fn metrics(state: &AdminState) -> Answer {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    whole(StatusCode::OK, kind, state.installer.exposition().into())
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
    accept.starts_with(b"text/event-stream")
}

/// Decisions as they come.
fn follow(state: &AdminState, caller: &Caller, seat: &Seat, query: &str) -> Answer {
    match (Filter::parse(query), seat.streams(caller.trusted)) {
        (Err(bad), _) => bad.answer(),
        (Ok(filter), Some(right)) => live::follow(&state.recent, filter, right),
        (Ok(_), None) if caller.trusted => busy(Busy::OperatorsStreams),
        (Ok(_), None) => busy(Busy::Streams),
    }
}

fn decisions(state: &AdminState, query: &str) -> Answer {
    let filter = match Filter::parse(query) {
        Ok(filter) => filter,
        Err(bad) => return bad.answer(),
    };
    let kept = newest_first(&state.recent);
    let oldest = kept.last().map(|kept| kept.ts().to_owned());
    let wanted: Vec<_> = kept.iter().filter(|kept| filter.wants(kept)).collect();
    let lines: Vec<&str> = wanted.iter().take(filter.limit).map(|kept| kept.line.as_str()).collect();
    // The records are JSON already, and keep the order of their members.
    let text = format!(
        "{{\"log\":{},\"kept\":{},\"matched\":{},\"oldest\":{},\"decisions\":[{}]}}\n",
        state.log_is_on,
        kept.len(),
        wanted.len(),
        json!(oldest),
        lines.join(",")
    );
    whole(StatusCode::OK, "application/json", text.into())
}

#[derive(Serialize)]
#[serde(untagged)]
enum ReloadAnswer {
    Done { reloaded: bool, policy: String },
    Refused { reloaded: bool, errors: Vec<String> },
}

async fn reload(state: &Arc<AdminState>, caller: &Caller) -> Answer {
    state.changes.note(caller, "asked for a reload");
    let (installer, by) = (Arc::clone(&state.installer), caller.to_string());
    match tokio::task::spawn_blocking(move || installer.reload_for(Trigger::Api, Some(&by))).await {
        Ok(Ok(version)) => {
            json(StatusCode::OK, &ReloadAnswer::Done { reloaded: true, policy: version.to_string() })
        }
        Ok(Err(error)) => json(
            StatusCode::UNPROCESSABLE_ENTITY,
            &ReloadAnswer::Refused { reloaded: false, errors: error.errors },
        ),
        Err(_) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the reload failed; see the log\n"),
    }
}
