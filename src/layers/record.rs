//! From what is known of a request to its record and its counts.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, Method, Version};
use jiff::Timestamp;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::context::{Context, Peer, Snapshot};
use super::judged::{Judged, TraceId};
use crate::audit::{DecidedBy, Named, NamedValue, Record, Seen, Timing, Traffic};
use crate::decision::{Builtin, Denial, Outcome, RuleRef, Stage};
use crate::facts::{Body, Client, Fields, Identity, Target};
use crate::metrics::Decided;
use crate::policy::condition::Seen as FactSeen;
use crate::policy::rbac::Nearest;
use crate::policy::{Admitted, Progress};
use crate::upstream::Fault;

/// What nginx logs when the client has gone before an answer; never sent.
pub(super) const CLIENT_GONE: u16 = 499;

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// The status of the answer; 499 if nobody was there to read it.
    pub(crate) status: u16,
    /// The gRPC status, where the answer has one.
    pub(crate) grpc_status: Option<u8>,
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
    /// Allowed, and the upstream's answer broke off; its status had been sent by then.
    Cut(Fault),
    /// Answered by the gateway itself.
    Own(Builtin),
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
        let (method, path) = asked(head).unwrap_or_else(|| (unknown_method(), String::new()));
        let mut ids = context.ids.borrow_mut();
        let decision_id = ids.next(now);
        let request_id = ids.header(decision_id);
        drop(ids);
        Judged {
            installed: context.installed(),
            peer: Rc::clone(peer),
            now,
            method: method.clone(),
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            decision_id,
            request_id,
            trace_id: None,
            #[cfg(feature = "otlp")]
            span: super::spans::begin(context, &HeaderMap::new()),
            admitted: Admitted {
                target: Target::unintelligible(&method, peer.scheme, &path, rule),
                fields: Fields::default(),
                client: Client::direct(SocketAddr::ip(&peer.address)),
                route: None,
            },
            port: peer.address.port(),
            identity: Identity::Nobody,
            body: Body::Absent,
            trace: None,
            progress: Progress::default(),
            grant: Builtin::DefaultDeny.into(),
            fate: None,
            kept: SmallVec::new(),
            seen: None,
            judging: Duration::ZERO,
            lap: Some(Instant::now()),
            upstream: None,
        }
    }

    /// Takes down what the record and a later answer need of the header fields, before the fields
    /// themselves go to the upstream.
    pub(crate) fn take_down(&mut self, context: &Context, headers: &HeaderMap) {
        let cors = self
            .installed
            .snapshot
            .policy
            .route(self.admitted.route)
            .is_some_and(|route| route.cors.is_some());
        let origin = cors.then_some(http::header::ORIGIN);
        for name in [http::header::ACCEPT, http::header::CONTENT_TYPE].into_iter().chain(origin) {
            if let Some(value) = headers.get(&name) {
                self.kept.push((name, value.clone()));
            }
        }
        // Whether it will be recorded is not known before its end: what fails always is.
        if context.log.is_on() {
            self.seen = Some(self.see(headers));
        }
    }

    fn is_recorded(&self, context: &Context, allowed: bool) -> bool {
        context.log.is_on() && self.installed.snapshot.settings.log.keeps(self.decision_id, allowed)
    }

    fn see(&self, headers: &HeaderMap) -> Seen {
        let Snapshot { policy, recorder, recorded, .. } = &*self.installed.snapshot;
        let facts = self.facts(headers);
        let seen = recorded.iter().filter_map(|(name, fact)| Some((name, fact.seen(&facts)?)));
        let values: SmallVec<[_; 4]> = seen.collect();
        let named = values.iter().map(|(name, value)| {
            let value = match value {
                FactSeen::Text(text) => NamedValue::Text(text),
                FactSeen::Claim(claim) => NamedValue::Json(claim),
                FactSeen::Unclear => NamedValue::Unclear,
            };
            Named { name, value }
        });
        let named: SmallVec<[_; 4]> = named.collect();
        recorder.see(policy, &facts, self.version, &named)
    }

    /// Counts the request and its rules.
    #[cfg_attr(not(feature = "otlp"), expect(unused_variables, reason = "spans alone need the context"))]
    pub(crate) fn count(&self, context: &Context, end: &End) {
        let mut handles = self.installed.handles.borrow_mut();
        let policy = &self.installed.snapshot.policy;
        let route = self.admitted.route;
        let by_upstream = end.decided_by() == DecidedBy::Upstream;
        handles
            .request(route, end.status, by_upstream, || policy.route(route).map_or("", |route| &route.name));
        let outcome = self.outcome(end);
        let (decided, rule) = match outcome {
            Outcome::Allow(rule) => (Decided::Allow, rule),
            Outcome::Deny(denial) if denial.stage == Stage::Fault => (Decided::Error, denial.rule),
            Outcome::Deny(denial) => (Decided::Deny, denial.rule),
        };
        let name = |rule: RuleRef| (policy.rules.stage(rule).name(), policy.rules.name(rule));
        handles.decision(rule, decided, false, || name(rule));
        for hit in &self.progress.notes.shadow {
            handles.decision(hit.rule, Decided::Deny, true, || name(hit.rule));
        }
        #[cfg(feature = "otlp")]
        self.end_span(context, end, outcome, if by_upstream { "upstream" } else { "proxy" });
        let metrics = handles.metrics();
        metrics.decision_seconds.observe(self.judging.as_secs_f64());
        if let Some(upstream) = self.upstream {
            metrics.upstream_seconds.observe(upstream.as_secs_f64());
        }
    }

    fn outcome(&self, end: &End) -> Outcome {
        match end.ending {
            Ending::Denied(denial) => Outcome::Deny(denial),
            Ending::Cut(fault) => Outcome::Deny(fault.denial()),
            Ending::Own(rule) => Outcome::Allow(rule.into()),
            // The client left before anything was decided: its request never came to an end.
            Ending::ClientGone if self.grant == Builtin::DefaultDeny.into() => {
                Outcome::Deny(Denial::builtin(Stage::Intake, Builtin::Malformed))
            }
            Ending::Allowed | Ending::ClientGone | Ending::TunnelClosed => Outcome::Allow(self.grant),
        }
    }

    /// The line of the decision log; empty if none is to be written. `headers`: the fields of the
    /// request, where they are still here.
    pub(crate) fn line(
        &self,
        context: &Context,
        end: &End,
        headers: Option<&HeaderMap>,
        nearest: &[Nearest],
    ) -> Vec<u8> {
        let mut line = Vec::new();
        let outcome = self.outcome(end);
        if !self.is_recorded(context, matches!(outcome, Outcome::Allow(_))) {
            return line;
        }
        let fresh;
        let seen = match &self.seen {
            Some(seen) => seen,
            None => {
                fresh = self.see(headers.unwrap_or(&HeaderMap::new()));
                &fresh
            }
        };
        let deciding = match outcome {
            Outcome::Allow(rule) => rule,
            Outcome::Deny(denial) => denial.rule,
        };
        line.reserve(1024);
        let record = Record {
            policy: &self.installed.snapshot.policy,
            now: self.now,
            request_id: self.request_id.to_str().unwrap_or(""),
            decision_id: self.decision_id,
            outcome,
            notes: &self.progress.notes,
            seen,
            identity: &self.identity,
            nearest,
            rule_changed: self
                .installed
                .snapshot
                .change_for(deciding, &self.admitted.target, &self.identity)
                .map(|change| change.at),
            status: end.status,
            grpc_status: end.grpc_status,
            decided_by: end.decided_by(),
            timing: Timing {
                policy_ns: u64::try_from(self.judging.as_nanos()).unwrap_or(u64::MAX),
                upstream_us: self.upstream.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            },
            bytes: Traffic { r#in: self.fate.as_ref().map_or(0, |fate| fate.bytes()), out: end.out },
            trace_id: self.trace_id.as_ref().map(TraceId::as_str),
        };
        record.write(&mut line);
        line
    }
}

/// Method and path of a head that could not be read, if it begins with a request line. Anything else
/// may be a header field or a body, which are never recorded, and neither is a query.
fn asked(head: &[u8]) -> Option<(Method, String)> {
    let line = head.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty())?;
    let line = std::str::from_utf8(line.trim_ascii()).ok()?;
    let (method, rest) = line.split_once(' ')?;
    // A line that broke off may lack its version.
    let whole = head.trim_ascii_start().contains(&b'\n');
    let (target, version) =
        if whole { rest.rsplit_once(' ')? } else { rest.rsplit_once(' ').unwrap_or((rest, "HTTP/")) };
    let path = match target.split_once("://") {
        Some(("http" | "https", rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let is_line = version.starts_with("HTTP/") && (path.starts_with('/') || path == "*");
    Some((Method::from_bytes(method.as_bytes()).ok().filter(|_| is_line)?, path.to_owned()))
}

/// What is recorded as method where none could be read.
fn unknown_method() -> Method {
    Method::from_bytes(b"-").unwrap_or_default()
}

impl End {
    /// The end of a request with nothing more to say of it.
    pub(crate) fn new(status: u16, out: u64, ending: Ending) -> End {
        End { status, grpc_status: None, out, ending }
    }

    fn decided_by(&self) -> DecidedBy {
        match self.ending {
            Ending::Allowed | Ending::Cut(_) | Ending::TunnelClosed => DecidedBy::Upstream,
            Ending::Own(_) | Ending::Denied(_) | Ending::ClientGone => DecidedBy::Proxy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_line_is_recorded_and_no_query() {
        let check = |head: &str, want: Option<(&str, &str)>| {
            let asked = asked(head.as_bytes());
            let asked = asked.as_ref().map(|(method, path)| (method.as_str(), path.as_str()));
            assert_eq!(asked, want, "{head:?}");
        };
        check("GET /a HTTP/1.1\r\nX: y", Some(("GET", "/a")));
        check("\r\nGET /a?token=x#y HTTP/1.1\r\n", Some(("GET", "/a")));
        check("GET /a b HTTP/1.1\r\n", Some(("GET", "/a b")));
        check("GET /a", Some(("GET", "/a")));
        check("GET /a\r\n", None);
        check("OPTIONS * HTTP/1.1\r\n", Some(("OPTIONS", "*")));
        check("GET http://user:secret@app.test/x?y HTTP/1.1\r\n", Some(("GET", "/x")));
        check("GET http://user:secret@app.test HTTP/1.1\r\n", Some(("GET", "/")));
        check("X-Api-Key: secret\r\n\r\n", None);
        check("Cookie: session=/secret\r\n", None);
        check("{\"password\": \"/secret\"}\r\n", None);
        check("CONNECT user:secret@app.test:443 HTTP/1.1\r\n", None);
        check("\u{16}\u{3}\u{1}\0\u{1}", None);
        check("", None);
    }
}
