//! From what is known of a request to its record and its counts.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, Method, Version};
use jiff::Timestamp;
use tokio::time::Instant;

use super::audit::decided;
use super::context::{Context, Peer};
use super::ids;
use super::judged::Judged;
use crate::decision::{Builtin, Denial, RuleRef};
use crate::facts::{Body, Client, Fields, Identity, Target};
use crate::metrics::Decided;
use crate::policy::rbac::Nearest;
use crate::policy::{Admitted, Progress};

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// The status of the answer; 499 if nobody was there to read it.
    pub(crate) status: u16,
    /// Bytes of the answer's body.
    pub(crate) out: u64,
    /// In which way.
    pub(crate) ending: Ending,
}

/// In which way a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// Allowed, and answered to the end.
    Allowed,
    /// Allowed, and the upstream's answer broke off.
    Cut,
    /// Refused, or failed.
    Denied(Denial),
    /// The client left.
    ClientGone,
    /// The upgraded connection closed.
    TunnelClosed,
}

impl Judged {
    /// What there is to say of a head that could not be read.
    pub(crate) fn unintelligible(
        context: &Rc<Context>,
        peer: &Rc<Peer>,
        rule: Builtin,
        head: &[u8],
    ) -> Judged {
        let now = Timestamp::now();
        let line =
            head.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
        let mut words = line.split(|byte| *byte == b' ');
        let method = words.next().and_then(|word| Method::from_bytes(word).ok()).unwrap_or_default();
        let target = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        let decision_id = context.ids.borrow_mut().next(now);
        Judged {
            installed: context.installed(),
            peer: Rc::clone(peer),
            now,
            version: Version::HTTP_11,
            decision_id,
            request_id: ids::header(decision_id),
            trace_id: None,
            admitted: Admitted {
                target: Target::unintelligible(&method, peer.scheme, &target, rule),
                fields: Fields::default(),
                client: Client::direct(SocketAddr::ip(&peer.address)),
                route: None,
            },
            identity: Identity::Nobody,
            body: Body::Absent,
            progress: Progress::default(),
            grant: Builtin::DefaultDeny.into(),
            fate: Rc::default(),
            recorded: Vec::new(),
            judging: Duration::ZERO,
            lap: Instant::now(),
            upstream: None,
        }
    }

    /// Keeps the values of header fields that the record and the answer may need once the fields
    /// themselves have gone to the upstream.
    pub(crate) fn keep_fields(&mut self, headers: &HeaderMap) {
        for name in [http::header::ACCEPT, http::header::CONTENT_TYPE] {
            if let Some(value) = headers.get(&name) {
                self.recorded.push((name, value.clone()));
            }
        }
    }

    /// Counts the request and its rules.
    pub(crate) fn count(&self, context: &Context, end: &End) {
        let mut handles = context.handles.borrow_mut();
        let policy = &self.installed.snapshot.policy;
        let by_upstream = matches!(end.ending, Ending::Allowed | Ending::Cut | Ending::TunnelClosed);
        let route = self.admitted.route;
        handles
            .request(route, end.status, by_upstream, || policy.route(route).map_or("", |route| &route.name));
        let (Some(decided), rule) = (decided(end), self.rule(end)) else { return };
        handles.decision(rule, decided, false, || (policy.rules.stage(rule).name(), policy.rules.name(rule)));
        for hit in &self.progress.notes.shadow {
            handles.decision(hit.rule, Decided::Deny, true, || {
                (policy.rules.stage(hit.rule).name(), policy.rules.name(hit.rule))
            });
        }
        let metrics = handles.metrics();
        metrics.decision_seconds.observe(self.judging.as_secs_f64());
        if let Some(upstream) = self.upstream {
            metrics.upstream_seconds.observe(upstream.as_secs_f64());
        }
    }

    /// The rule that decided.
    fn rule(&self, end: &End) -> RuleRef {
        match end.ending {
            Ending::Denied(denial) => denial.rule,
            Ending::Allowed | Ending::Cut | Ending::ClientGone | Ending::TunnelClosed => self.grant,
        }
    }

    /// The line of the decision log.
    pub(crate) fn line(
        &self,
        _context: &Context,
        _end: &End,
        _more: Option<(&HeaderMap, &[Nearest])>,
    ) -> Vec<u8> {
        Vec::new()
    }
}
