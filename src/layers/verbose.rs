//! Full trails for some requests and for a while, which an operator asked for.
//!
//! A request that may match is judged with a trace from its first gate on; when it ends, the trail
//! is kept if it does match. Nothing of it can change a verdict, and where nobody asked, a request
//! costs one look at a pointer. Trails live in memory alone.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::judged::Judged;
use crate::decision::{RuleRef, Step, Trace};
use crate::policy::{Admitted, Policy};

/// For which requests trails are kept, and for how long.
#[derive(Debug)]
pub(crate) struct Verbose {
    /// When it ends by itself.
    pub(crate) until: Timestamp,
    /// Who asked.
    pub(crate) by: String,
    /// Only requests of these routes; any if empty.
    pub(crate) routes: Vec<String>,
    /// Only requests of this verified subject.
    pub(crate) subject: Option<String>,
    /// Only requests from these addresses; any if empty.
    pub(crate) ips: Vec<IpNet>,
    /// Where the trails are kept.
    pub(crate) trails: Arc<Trails>,
}

/// The last trails.
#[derive(Debug, Default)]
pub(crate) struct Trails {
    kept: Mutex<VecDeque<(Uuid, Value)>>,
}

/// More than anybody reads.
const MOST: usize = 500;

impl Verbose {
    /// The trace of a request that may match.
    #[cold]
    pub(super) fn begin(&self, policy: &Policy, admitted: &Admitted, now: Timestamp) -> Option<Box<Trace>> {
        let route = policy.route(admitted.route).map(|route| &*route.name);
        let of_route =
            self.routes.is_empty() || route.is_some_and(|name| self.routes.iter().any(|route| route == name));
        let from = |ip: IpAddr| self.ips.is_empty() || self.ips.iter().any(|net| net.contains(&ip));
        (now < self.until && of_route && from(admitted.client.ip)).then(Box::default)
    }

    /// Keeps the trail of a request that has ended, if it matches.
    #[cold]
    pub(super) fn keep(&self, judged: &Judged, trace: &Trace) {
        if let Some(wanted) = &self.subject {
            let subject = judged.identity.who().map(|who| &*who.holder.subject);
            if subject != Some(wanted) {
                return;
            }
        }
        let policy = &judged.installed.snapshot.policy;
        let steps: Vec<Value> = trace.steps.iter().map(|step| self::step(policy, step)).collect();
        self.trails.put(judged.decision_id, steps.into());
    }
}

impl Trails {
    fn put(&self, id: Uuid, trail: Value) {
        let mut kept = self.lock();
        if kept.len() == MOST {
            kept.pop_front();
        }
        kept.push_back((id, trail));
    }

    /// The trail of a decision, if one was kept.
    pub(crate) fn of(&self, id: Uuid) -> Option<Value> {
        self.lock().iter().find(|(other, _)| *other == id).map(|(_, trail)| trail.clone())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Uuid, Value)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn step(policy: &Policy, step: &Step) -> Value {
    let (outcome, reason, score) = step.outcome.told();
    let at = match step.rule {
        Some(RuleRef::Written(written)) => Some(&policy.rules.get(written).at),
        Some(RuleRef::Builtin(_)) | None => None,
    };
    json!({
        "stage": step.stage.name(),
        "outcome": outcome,
        "rule": step.rule.map(|rule| policy.rules.name(rule)),
        "at": at,
        "reason": reason.map(|reason| reason.info().code),
        "score": score,
        "note": step.note,
    })
}
