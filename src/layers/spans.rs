//! A request as a span: begun when it is admitted, sent when it has ended.

use http::{HeaderMap, Version};
use jiff::Timestamp;

use super::context::Context;
use super::judged::Judged;
use super::record::End;
use super::traceparent::{Traceparent, id};
use crate::decision::{Outcome, RuleRef, Stage};
use crate::otlp::{Begun, Span, Value};

/// Begins a span, if spans are made: as part of the caller's trace, or of a new one.
pub(super) fn begin(context: &Context, headers: &HeaderMap) -> Option<Begun> {
    let spans = context.spans.as_ref()?;
    let mut ids = context.ids.borrow_mut();
    let own = id(ids.random());
    Some(match Traceparent::of(headers) {
        Some(caller) => {
            Begun { trace: caller.trace, id: own, parent: Some(caller.span), sampled: caller.sampled }
        }
        None => {
            let random = ids.random();
            // The trace's last digit is never 0, so the choice is made by the bits above.
            let sampled = spans.chooses((random >> 64) as u32);
            Begun { trace: id(random), id: own, parent: None, sampled }
        }
    })
}

impl Judged {
    /// Sends the span of a request that has ended. `decided_by`: `proxy` or `upstream`.
    pub(super) fn end_span(&self, context: &Context, end: &End, outcome: Outcome, decided_by: &'static str) {
        let (Some(spans), Some(begun)) = (&context.spans, self.span) else { return };
        let (decision, rule, reason, failure) = match outcome {
            Outcome::Allow(rule) => ("allow", rule, None, None),
            Outcome::Deny(denial) if denial.stage == Stage::Fault => {
                ("error", denial.rule, Some(denial.reason), Some(denial.reason.info().code))
            }
            Outcome::Deny(denial) => ("deny", denial.rule, Some(denial.reason), None),
        };
        if !begun.is_sent(decision == "allow") {
            return;
        }
        let policy = &self.installed.snapshot.policy;
        let name = |rule: RuleRef| policy.rules.name(rule);
        let target = &self.admitted.target;
        let route = policy.route(self.admitted.route);
        let version = format!("{}-{:08x}", policy.version.generation, policy.version.hash);
        let mut attributes: Vec<(&'static str, Value)> = vec![
            ("http.request.method", target.method.as_str().into()),
            ("http.response.status_code", Value::Number(i64::from(end.status))),
            ("url.scheme", target.scheme.as_str().into()),
            ("server.address", target.host().into()),
            ("network.protocol.version", protocol(self.version).into()),
            ("portcullis.decision", decision.into()),
            ("portcullis.stage", policy.rules.stage(rule).name().into()),
            ("portcullis.rule", name(rule).into()),
            ("portcullis.decided_by", decided_by.into()),
            ("portcullis.policy", Value::Text(version)),
            ("portcullis.request_id", self.request_id.to_str().unwrap_or("").into()),
            (
                "portcullis.policy_ns",
                Value::Number(i64::try_from(self.judging.as_nanos()).unwrap_or(i64::MAX)),
            ),
        ];
        attributes.extend(reason.map(|reason| ("portcullis.reason", reason.info().code.into())));
        if let Some(route) = route {
            attributes.push(("http.route", Value::Text(route.path.to_string())));
            attributes.push(("portcullis.route", (&*route.name).into()));
        }
        let shadow = &self.progress.notes.shadow;
        if !shadow.is_empty() {
            let names = shadow.iter().map(|hit| name(hit.rule).to_owned()).collect();
            attributes.push(("portcullis.shadow", Value::Texts(names)));
        }
        if let Some(upstream) = self.upstream {
            let micros = i64::try_from(upstream.as_micros()).unwrap_or(i64::MAX);
            attributes.push(("portcullis.upstream_us", Value::Number(micros)));
        }
        let pattern = route.map(|route| format!(" {}", route.path)).unwrap_or_default();
        spans.send(Span {
            begun,
            name: format!("{}{pattern}", target.method),
            start: self.now,
            end: Timestamp::now(),
            attributes,
            failure,
        });
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
