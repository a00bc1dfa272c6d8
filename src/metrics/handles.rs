//! Counters as one worker thread holds them, looked up by what a request knows.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use prometheus_client::metrics::counter::Counter;

use super::{DecisionLabels, Metrics};
use crate::decision::RuleRef;
use crate::facts::RouteId;

/// The handles of one worker thread, for one generation of the policy.
#[derive(Debug)]
pub struct Handles {
    metrics: Arc<Metrics>,
    requests: HashMap<(Option<RouteId>, u16, bool), Counter, RandomState>,
    decisions: HashMap<(RuleRef, u8, bool), Counter, RandomState>,
}

/// What a counted decision was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Decided {
    /// It passed.
    Allow,
    /// It was refused.
    Deny,
    /// The upstream or the gateway failed.
    Error,
}

impl Decided {
    /// The word in headers, log and metric.
    pub const fn name(self) -> &'static str {
        match self {
            Decided::Allow => "allow",
            Decided::Deny => "deny",
            Decided::Error => "error",
        }
    }
}

impl Handles {
    /// None yet.
    pub fn new(metrics: Arc<Metrics>) -> Handles {
        Handles { metrics, requests: HashMap::default(), decisions: HashMap::default() }
    }

    /// The metrics behind the handles.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Counts an answered request; `name` gives the id of the route.
    pub fn request<'a>(
        &mut self,
        route: Option<RouteId>,
        code: u16,
        by_upstream: bool,
        name: impl FnOnce() -> &'a str,
    ) {
        let metrics = &self.metrics;
        let counter = self.requests.entry((route, code, by_upstream)).or_insert_with(|| {
            metrics.request_counter(name(), code, if by_upstream { "upstream" } else { "proxy" })
        });
        counter.inc();
    }

    /// Counts a rule that decided; `name` gives its stage and full name.
    pub fn decision<'a>(
        &mut self,
        rule: RuleRef,
        decided: Decided,
        shadow: bool,
        name: impl FnOnce() -> (&'static str, &'a str),
    ) {
        let metrics = &self.metrics;
        let counter = self.decisions.entry((rule, decided as u8, shadow)).or_insert_with(|| {
            let (stage, rule) = name();
            metrics.decision_counter(DecisionLabels {
                stage,
                rule: rule.to_owned(),
                decision: decided.name(),
                mode: if shadow { "shadow" } else { "enforce" },
            })
        });
        counter.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Builtin, Written};

    #[test]
    fn rules_beyond_the_cap_are_counted_together() {
        let metrics = Arc::new(Metrics::new());
        let mut handles = Handles::new(metrics.clone());
        for rule in 0..3_000 {
            let name = format!("rbac/r{rule}");
            handles.decision(Written(rule).into(), Decided::Deny, false, || ("rbac", &name));
        }
        let text = metrics.render();
        assert!(text.contains(
            "portcullis_decisions_total{stage=\"rbac\",rule=\"rbac/r0\",decision=\"deny\",mode=\"enforce\"} 1"
        ));
        assert!(text.contains("rule=\"other\",decision=\"deny\",mode=\"enforce\"} 1050"), "{}", &text[..400]);
    }

    #[test]
    fn requests_are_counted_by_route_status_and_who_decided() {
        let metrics = Arc::new(Metrics::new());
        let mut handles = Handles::new(metrics.clone());
        handles.request(Some(RouteId(0)), 403, true, || "orders");
        handles.request(Some(RouteId(0)), 403, true, || "orders");
        handles.decision(Builtin::DefaultDeny.into(), Decided::Deny, true, || ("rbac", "rbac/default-deny"));
        let text = metrics.render();
        assert!(
            text.contains(
                "portcullis_requests_total{route=\"orders\",code=\"403\",decided_by=\"upstream\"} 2"
            )
        );
        assert!(text.contains("portcullis_build_info{version="));
        assert!(text.ends_with("# EOF\n"));
    }
}
