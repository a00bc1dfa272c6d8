//! A request on its way in, what is known of it, and what comes back.

use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Version};
use hyper::body::Incoming;
use jiff::Timestamp;
use smallvec::SmallVec;
use tokio::time::Instant;
use uuid::Uuid;

use super::context::{Installed, Peer};
use super::held::Held;
use crate::audit::Seen;
use crate::decision::{Builtin, Denial, RuleRef, Stage, Trace, Verdict};
use crate::facts::{Body, Facts, Identity};
use crate::policy::{Admitted, Progress};
use crate::upstream::{Fate, Fault, RequestBody, ResponseBody, Tunnel};

/// A request between two layers. Small, since each hands it on.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// The body, unless it was read for inspection.
    pub(crate) body: Payload,
    /// The head, and what is known so far.
    pub(crate) judged: Held,
}

/// The body of a request on its way.
#[derive(Debug)]
pub(crate) enum Payload {
    /// As it comes from the client.
    Incoming(Incoming),
    /// As it goes to the upstream.
    Ready(RequestBody),
}

/// What is known of one request, from admission to its record.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The configuration that judges it.
    pub(crate) installed: Rc<Installed>,
    /// The connection it came over.
    pub(crate) peer: Rc<Peer>,
    /// When it came.
    pub(crate) now: Timestamp,
    /// The method as it came, until it goes to the upstream.
    pub(crate) method: Method,
    /// The protocol version.
    pub(crate) version: Version,
    /// The header fields, until they go to the upstream.
    pub(crate) headers: HeaderMap,
    /// Our id of the decision.
    pub(crate) decision_id: Uuid,
    /// The id of the request: ours, or a foreign one that was taken over.
    pub(crate) request_id: HeaderValue,
    /// W3C trace context that is passed on.
    pub(crate) trace_id: Option<TraceId>,
    /// The span that is made of it, where spans are.
    #[cfg(feature = "otlp")]
    pub(crate) span: Option<crate::otlp::Begun>,
    /// Target, client, route.
    pub(crate) admitted: Admitted,
    /// The port of the other end of the connection.
    pub(crate) port: u16,
    /// Who asks.
    pub(crate) identity: Identity,
    /// The body, once read.
    pub(crate) body: Body,
    /// Every step of the gates, where an operator asked for trails.
    pub(crate) trace: Option<Box<Trace>>,
    /// Scores, shadow hits.
    pub(crate) progress: Progress,
    /// The grant that allows it.
    pub(crate) grant: RuleRef,
    /// Bytes of the client's body, and how it ended; none where there is no body.
    pub(crate) fate: Option<Rc<Fate>>,
    /// Fields that choose the form of an answer; the others went to the upstream.
    pub(crate) kept: SmallVec<[(HeaderName, HeaderValue); 2]>,
    /// What the record tells of the facts, once taken down.
    pub(crate) seen: Option<Seen>,
    /// How long it took to judge.
    pub(crate) judging: Duration,
    /// When judging began or was resumed; none while it waits.
    pub(crate) lap: Option<Instant>,
    /// How long the upstream took to the head of its answer.
    pub(crate) upstream: Option<Duration>,
}

/// The id of a trace (W3C Trace Context): 32 hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceId(pub(crate) [u8; 32]);

impl TraceId {
    /// The digits.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What comes back.
#[derive(Debug)]
pub(crate) struct Reply {
    /// What is known of the request.
    pub(crate) judged: Held,
    /// What became of it.
    pub(crate) verdict: Verdicts,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Verdicts {
    /// Allowed and answered.
    Answered(Response<ResponseBody>),
    /// Allowed, and the connection changes its protocol.
    Switched(Response<ResponseBody>, Tunnel),
    /// Answered by the gateway itself.
    Own(Builtin),
    /// Refused.
    Denied(Denial),
    /// Allowed, but something broke.
    Failed(Fault),
}

impl Inbound {
    /// Asks one gate.
    pub(crate) fn check(&mut self, stage: Stage) -> Verdict {
        let Judged { installed, admitted, headers, identity, body, progress, now, grant, trace, .. } =
            &mut *self.judged;
        let policy = &installed.snapshot.policy;
        let facts = policy.facts(admitted, headers, identity, body, *now);
        let verdict = policy.check(stage, &facts, progress, trace.as_deref_mut());
        if let (Stage::Rbac, Verdict::Pass(rule)) = (stage, verdict) {
            *grant = rule;
        }
        verdict
    }

    /// The facts so far.
    pub(crate) fn facts(&self) -> Facts<'_> {
        self.judged.facts(&self.judged.headers)
    }

    /// Refuses it.
    pub(crate) fn deny(self, denial: Denial) -> Reply {
        Reply { judged: self.judged, verdict: Verdicts::Denied(denial) }
    }

    /// Answers it without asking anybody.
    pub(crate) fn answer(self, rule: Builtin) -> Reply {
        Reply { judged: self.judged, verdict: Verdicts::Own(rule) }
    }

    /// Refuses it for a fault of ours.
    pub(crate) fn fail(self, rule: Builtin) -> Reply {
        self.deny(Denial::builtin(Stage::Fault, rule))
    }

    /// Whether the request has a body, as far as its head tells.
    pub(crate) fn has_body(&self) -> bool {
        match &self.body {
            Payload::Incoming(incoming) => !http_body::Body::is_end_stream(incoming),
            Payload::Ready(body) => !http_body::Body::is_end_stream(body),
        }
    }
}

impl Judged {
    /// Judging waits for something outside, or has ended; from now on the time does not count.
    /// When that is.
    pub(crate) fn pause(&mut self) -> Instant {
        let now = Instant::now();
        self.judging += self.lap.take().map_or(Duration::ZERO, |lap| now - lap);
        now
    }

    /// Judging goes on.
    pub(crate) fn resume(&mut self) {
        self.lap = Some(Instant::now());
    }
}
