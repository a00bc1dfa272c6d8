//! What each path of the admin listener answers.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;

use super::history::history;
use super::{Access, AdminState};
use crate::serve::{Lifecycle, Trigger, UpstreamStatus};
use crate::upstream::Condition;

type Answer = Response<Full<Bytes>>;

/// Answers one request.
pub(super) async fn respond(
    access: &Access,
    state: &Arc<AdminState>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Answer {
    let headers = request.headers();
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/livez" if get => text(StatusCode::OK, "ok\n"),
        "/readyz" if get => match *state.lifecycle.borrow() {
            Lifecycle::Running => text(StatusCode::OK, "ok\n"),
            Lifecycle::Leaving | Lifecycle::Finishing | Lifecycle::Cutting => {
                text(StatusCode::SERVICE_UNAVAILABLE, "ending\n")
            }
        },
        "/metrics" if get => {
            if access.metrics_need_token && !access.has_token(headers) {
                return unauthorized();
            }
            metrics(state)
        }
        "/api/status" if get => {
            if access.may_read(peer, headers) {
                json(StatusCode::OK, &status(state))
            } else {
                unauthorized()
            }
        }
        "/api/history" if get => match access.may_read(peer, headers) {
            true => json(StatusCode::OK, &history(state)),
            false => unauthorized(),
        },
        "/api/reload" if request.method() == Method::POST => {
            if access.has_token(headers) {
                reload(state, peer).await
            } else {
                unauthorized()
            }
        }
        "/livez" | "/readyz" | "/metrics" | "/api/status" | "/api/history" => not_allowed("GET, HEAD"),
        "/api/reload" => not_allowed("POST"),
        _ => {
            text(StatusCode::NOT_FOUND, "there is nothing here; try /livez, /readyz, /metrics, /api/status\n")
        }
    }
}

fn metrics(state: &AdminState) -> Answer {
    let upstreams = state.installer.upstreams();
    let counts = upstreams.iter().flat_map(|upstream| {
        Condition::ALL.into_iter().map(|condition| {
            let count = upstream.servers.iter().filter(|(_, is)| *is == condition).count();
            (upstream.name.as_str(), condition.name(), count)
        })
    });
    state.metrics.upstream_servers(counts);
    let mut answer = Response::new(Full::new(Bytes::from(state.metrics.render())));
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    secure(answer)
}

#[derive(Serialize)]
struct StatusBody {
    version: &'static str,
    pid: u32,
    state: &'static str,
    started_at: String,
    uptime_seconds: u64,
    policy: PolicyBody,
    reload: ReloadBody,
    restart_required: Vec<&'static str>,
    connections: i64,
    log_lost: u64,
    panics: u64,
    upstreams: Vec<UpstreamBody>,
}

#[derive(Serialize)]
struct UpstreamBody {
    name: String,
    servers: Vec<ServerBody>,
}

#[derive(Serialize)]
struct ServerBody {
    url: String,
    state: &'static str,
}

#[derive(Serialize)]
struct PolicyBody {
    generation: u64,
    hash: String,
    installed_at: String,
    rules: usize,
}

#[derive(Serialize)]
struct ReloadBody {
    ok: bool,
    at: String,
    trigger: &'static str,
    errors: Vec<String>,
}

fn status(state: &AdminState) -> StatusBody {
    let status = state.installer.status();
    StatusBody {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        state: match *state.lifecycle.borrow() {
            Lifecycle::Running => "running",
            Lifecycle::Leaving | Lifecycle::Finishing | Lifecycle::Cutting => "ending",
        },
        started_at: state.started.to_string(),
        uptime_seconds: state.clock.elapsed().as_secs(),
        policy: PolicyBody {
            generation: status.version.generation,
            hash: format!("{:08x}", status.version.hash),
            installed_at: status.installed_at.to_string(),
            rules: status.rules,
        },
        reload: ReloadBody {
            ok: status.errors.is_empty(),
            at: status.last_at.to_string(),
            trigger: status.last_trigger.name(),
            errors: status.errors,
        },
        restart_required: status.restart_required,
        connections: state.metrics.connections.get(),
        log_lost: state.metrics.log_lost.get(),
        panics: state.metrics.panics.get(),
        upstreams: state.installer.upstreams().into_iter().map(UpstreamBody::from).collect(),
    }
}

impl From<UpstreamStatus> for UpstreamBody {
    fn from(upstream: UpstreamStatus) -> UpstreamBody {
        let server = |(url, condition): (String, Condition)| ServerBody { url, state: condition.name() };
        UpstreamBody { name: upstream.name, servers: upstream.servers.into_iter().map(server).collect() }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum ReloadAnswer {
    Done { reloaded: bool, policy: String },
    Refused { reloaded: bool, errors: Vec<String> },
}

async fn reload(state: &Arc<AdminState>, peer: SocketAddr) -> Answer {
    tracing::info!(%peer, "a reload was asked for");
    let (installer, by) = (Arc::clone(&state.installer), format!("{} with the token", peer.ip()));
    match tokio::task::spawn_blocking(move || installer.reload_for(Trigger::Api, Some(&by))).await {
        Ok(Ok(version)) => {
            json(StatusCode::OK, &ReloadAnswer::Done { reloaded: true, policy: version.to_string() })
        }
        Ok(Err(error)) => json(
            StatusCode::UNPROCESSABLE_ENTITY,
            &ReloadAnswer::Refused { reloaded: false, errors: error.errors },
        ),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the reload failed; see the log\n"),
    }
}

fn unauthorized() -> Answer {
    let mut answer =
        text(StatusCode::UNAUTHORIZED, "this needs the admin token: `Authorization: Bearer …`\n");
    answer
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"portcullis-admin\""));
    answer
}

fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "this path takes another method\n");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    answer
}

fn text(status: StatusCode, body: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    secure(answer)
}

fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let mut text = serde_json::to_vec(body).unwrap_or_default();
    text.push(b'\n');
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    secure(answer)
}

fn secure(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
