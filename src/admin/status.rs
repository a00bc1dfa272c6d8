//! `/api/status`: which policy runs since when, and how what it leans on is doing.

use jiff::Timestamp;
use serde::Serialize;

use super::AdminState;
use crate::config::Settings;
use crate::serve::{Lifecycle, UpstreamStatus};
use crate::upstream::Condition;

#[derive(Serialize)]
pub(super) struct StatusBody {
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
    certificates: Vec<CertificateBody>,
    key_sets: Vec<KeySetBody>,
}

/// A certificate that a listener shows.
#[derive(Serialize)]
struct CertificateBody {
    listener: String,
    file: String,
    names: Vec<String>,
    ends: Timestamp,
    days_left: i64,
}

/// Keys that are fetched.
#[derive(Serialize)]
struct KeySetBody {
    source: String,
    url: String,
    refresh_seconds: u64,
    /// Whether keys have come.
    fetched: bool,
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

/// How things stand.
pub(super) fn status(state: &AdminState) -> StatusBody {
    let status = state.installer.status();
    let settings = std::sync::Arc::clone(&state.installer.current().load().settings);
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
        certificates: certificates(&settings),
        key_sets: key_sets(state),
    }
}

impl From<UpstreamStatus> for UpstreamBody {
    fn from(upstream: UpstreamStatus) -> UpstreamBody {
        let server = |(url, condition): (String, Condition)| ServerBody { url, state: condition.name() };
        UpstreamBody { name: upstream.name, servers: upstream.servers.into_iter().map(server).collect() }
    }
}

/// The certificates of the listeners, with the names they are good for.
fn certificates(settings: &Settings) -> Vec<CertificateBody> {
    let now = Timestamp::now();
    let mut shown = Vec::new();
    for listener in &settings.listeners {
        let Some(tls) = &listener.tls else { continue };
        let served = tls.material.iter().flat_map(|material| &material.certificates);
        shown.extend(tls.certificates.iter().zip(served).map(|(file, served)| CertificateBody {
            listener: listener.address.to_string(),
            file: file.cert.display().to_string(),
            names: served.names.iter().map(ToString::to_string).collect(),
            ends: served.ends,
            days_left: served.ends.duration_since(now).as_hours() / 24,
        }));
    }
    shown
}

fn key_sets(state: &AdminState) -> Vec<KeySetBody> {
    let snapshot = state.installer.current().load_full();
    let sets = snapshot.policy.authn.remote_key_sets().map(|set| KeySetBody {
        source: set.source.to_owned(),
        url: set.url.to_string(),
        refresh_seconds: set.refresh.as_secs(),
        fetched: snapshot.world.keys.get(set.url).is_some(),
    });
    sets.collect()
}
