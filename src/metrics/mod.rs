//! What the process counts, for Prometheus.
//!
//! No label holds a path, a user or an address. Rules are labels, so they are capped. Handles of
//! counters are resolved once and kept by each worker thread ([`Handles`]); a request only adds.

mod handles;

pub use handles::{Decided, Handles};

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// All metrics of the process. Cheap to share: every part is a handle.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    /// The series of `decisions` so far.
    series: Mutex<HashSet<DecisionLabels>>,
    /// How long judging took, without waiting for anything outside.
    pub decision_seconds: Histogram,
    /// From the request sent to the head of the upstream's answer.
    pub upstream_seconds: Histogram,
    /// The generation of the policy in force.
    pub policy_generation: Gauge,
    /// 1 if the last reload succeeded, else 0.
    pub policy_reload_success: Gauge,
    /// When the policy in force was installed.
    pub policy_reload_timestamp_seconds: Gauge<f64, AtomicU64>,
    /// 1 if a change waits for a restart.
    pub restart_required: Gauge,
    /// Since when each key set is as it is.
    pub jwks_age_seconds: Family<SourceLabel, Gauge<f64, AtomicU64>>,
    /// Open client connections.
    pub connections: Gauge,
    /// Records of the decision log that were lost.
    pub log_lost: Counter,
    /// Panics that were caught.
    pub panics: Counter,
    servers: Family<ServerLabels, Gauge>,
}

/// Labels of `portcullis_upstream_servers`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ServerLabels {
    /// The name of the upstream.
    pub upstream: String,
    /// `up`, `unhealthy` or `ejected`.
    pub state: &'static str,
}

/// Labels of `portcullis_requests_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The id of the route; empty without one.
    pub route: String,
    /// The status of the answer.
    pub code: u16,
    /// `proxy` or `upstream`.
    pub decided_by: &'static str,
}

/// Labels of `portcullis_decisions_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DecisionLabels {
    /// The stage.
    pub stage: &'static str,
    /// The full name of the rule, or `other` beyond the cap.
    pub rule: String,
    /// `allow`, `deny` or `error`.
    pub decision: &'static str,
    /// `enforce` or `shadow`.
    pub mode: &'static str,
}

/// A source of identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabel {
    /// Its id.
    pub source: String,
}

/// The most series of `portcullis_decisions_total`; further rules are counted together.
const MAX_SERIES: usize = 2_000;

/// What is kept free of them for the series of `other`, one for each stage, decision and mode.
const OTHERS: usize = 50;

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        // 100 ns … 10 ms, three steps a decade.
        let fast =
            [1e-7, 2e-7, 5e-7, 1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2];
        let slow = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
        let mut metrics = Metrics {
            registry: Registry::with_prefix("portcullis"),
            requests: Family::default(),
            decisions: Family::default(),
            series: Mutex::default(),
            decision_seconds: Histogram::new(fast),
            upstream_seconds: Histogram::new(slow),
            policy_generation: Gauge::default(),
            policy_reload_success: Gauge::default(),
            policy_reload_timestamp_seconds: Gauge::default(),
            restart_required: Gauge::default(),
            jwks_age_seconds: Family::default(),
            connections: Gauge::default(),
            log_lost: Counter::default(),
            panics: Counter::default(),
            servers: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "requests",
            "Requests answered, by route, status and who decided",
            self.requests.clone(),
        );
        registry.register("decisions", "Rules that decided, or would have in shadow", self.decisions.clone());
        registry.register("decision_seconds", "Time spent judging a request", self.decision_seconds.clone());
        registry.register(
            "upstream_seconds",
            "Time to the head of the upstream's answer",
            self.upstream_seconds.clone(),
        );
        registry.register(
            "policy_generation",
            "Generation of the policy in force",
            self.policy_generation.clone(),
        );
        registry.register(
            "policy_reload_success",
            "Whether the last reload succeeded",
            self.policy_reload_success.clone(),
        );
        registry.register(
            "policy_reload_timestamp_seconds",
            "When the policy in force was installed",
            self.policy_reload_timestamp_seconds.clone(),
        );
        registry.register(
            "restart_required",
            "Whether a change waits for a restart",
            self.restart_required.clone(),
        );
        registry.register(
            "jwks_age_seconds",
            "Age of each key set fetched from a URL",
            self.jwks_age_seconds.clone(),
        );
        registry.register("connections", "Open client connections", self.connections.clone());
        registry.register("log_lost", "Records of the decision log that were lost", self.log_lost.clone());
        registry.register("panics", "Panics that were caught", self.panics.clone());
        registry.register(
            "upstream_servers",
            "Servers of each upstream, by how they are",
            self.servers.clone(),
        );
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running build", version);
    }

    /// The exposition, in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Notes that a policy was installed.
    pub fn policy_installed(&self, generation: u64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.policy_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.policy_reload_success.set(1);
        self.policy_reload_timestamp_seconds.set(now.as_secs_f64());
    }

    /// Notes how many servers of each upstream are in each state; upstreams that are gone are forgotten.
    pub fn upstream_servers<'a>(&self, counts: impl Iterator<Item = (&'a str, &'static str, usize)>) {
        self.servers.clear();
        for (upstream, state, count) in counts {
            let labels = ServerLabels { upstream: upstream.to_owned(), state };
            self.servers.get_or_create_owned(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Notes that a source has no key set any more, or is gone.
    pub fn forget_key_set(&self, source: &SourceLabel) {
        self.jwks_age_seconds.remove(source);
    }

    /// Notes how long ago a key set was fetched.
    pub fn key_set_age(&self, source: SourceLabel, age: Duration) {
        self.jwks_age_seconds.get_or_create_owned(&source).set(age.as_secs_f64());
    }

    /// How many requests were decided, and how many of them each rule refused. What is counted as
    /// `other` has no rule.
    pub fn refusals(&self) -> (u64, BTreeMap<String, u64>) {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut total, mut refused) = (0, BTreeMap::new());
        for labels in series.iter().filter(|labels| labels.mode == "enforce") {
            let count = self.decisions.get_or_create_owned(labels).get();
            total += count;
            if labels.decision == "deny" && count > 0 {
                *refused.entry(labels.rule.clone()).or_default() += count;
            }
        }
        (total, refused)
    }

    fn request_counter(&self, route: &str, code: u16, decided_by: &'static str) -> Counter {
        self.requests.get_or_create_owned(&RequestLabels { route: route.to_owned(), code, decided_by })
    }

    fn decision_counter(&self, mut labels: DecisionLabels) -> Counter {
        // Asked once for each rule and thread, so a lock does no harm here.
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if !series.contains(&labels) {
            if series.len() >= MAX_SERIES - OTHERS {
                labels.rule = "other".to_owned();
            } else {
                series.insert(labels.clone());
            }
        }
        self.decisions.get_or_create_owned(&labels)
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}
