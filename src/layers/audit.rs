//! The outermost layer: sees every reply and every client that hangs up, renders refusals, and
//! writes the one record of each request.
//!
//! A refusal's record is written before its answer is sent. An allow's record is written when its
//! answer ends, so the body carries what is known of the request until then. A request that ends in
//! neither way (the client hung up, something panicked) is recorded when what is known of it is
//! dropped.

use std::convert::Infallible;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::Service;

use super::admit::Arrival;
use super::context::{Context, Installed, Peer, Switch};
use super::judged::{Judged, Reply, Verdicts};
use super::record::{End, Ending};
use crate::decision::{Builtin, Denial, RuleRef, Stage};
use crate::deny::{self, Allowance, Refusal};
use crate::facts::{Facts, Identity};
use crate::policy::rbac::Nearest;
use crate::upstream::{BodyFailure, Fault, ResponseBody};

/// What is known of a request, and the duty to record it once.
#[derive(Debug)]
pub(crate) struct Held {
    judged: Box<Judged>,
    context: Rc<Context>,
    /// Whether the record is still to be written.
    due: bool,
}

impl Held {
    /// Begins to hold.
    pub(crate) fn new(context: &Rc<Context>, judged: Judged) -> Held {
        Held { judged: Box::new(judged), context: Rc::clone(context), due: true }
    }

    /// Counts the request and makes its record, for the log to take.
    fn end(&mut self, end: &End, headers: Option<&HeaderMap>, nearest: &[Nearest]) -> Vec<u8> {
        self.due = false;
        self.judged.count(&self.context, end);
        self.judged.line(&self.context, end, headers, nearest)
    }

    /// Counts and records a request whose answer has gone or never comes.
    fn record(&mut self, end: &End) {
        let line = self.end(end, None, &[]);
        self.context.log.push(&line);
    }

    /// An upgraded connection has closed; its change of protocol was recorded before.
    pub(crate) fn closed(self, received: u64, sent: u64) {
        self.judged.fate.add(received);
        let end = End::new(101, sent, Ending::TunnelClosed);
        self.context.log.push(&self.judged.line(&self.context, &end, None, &[]));
    }
}

impl Deref for Held {
    type Target = Judged;

    fn deref(&self) -> &Judged {
        &self.judged
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Judged {
        &mut self.judged
    }
}

/// What nginx logs when the client has gone before an answer; never sent.
const CLIENT_GONE: u16 = 499;

impl Drop for Held {
    fn drop(&mut self) {
        if !self.due {
            return;
        }
        let end = if std::thread::panicking() || self.context.panicked.get() {
            let denial = Denial::builtin(Stage::Fault, Builtin::FaultInternal);
            End::new(denial.status(), 0, Ending::Denied(denial))
        } else {
            End::new(CLIENT_GONE, 0, Ending::ClientGone)
        };
        self.record(&end);
    }
}

/// The layer.
#[derive(Clone, Debug)]
pub(crate) struct Audit<S> {
    context: Rc<Context>,
    inner: S,
}

impl<S> Audit<S> {
    /// Around everything.
    pub(crate) fn new(context: Rc<Context>, inner: S) -> Audit<S> {
        Audit { context, inner }
    }
}

impl<S> Service<Arrival> for Audit<S>
where
    S: Service<Arrival, Response = Reply, Error = Infallible>,
{
    type Response = Response<Outgoing>;
    type Error = Infallible;
    type Future = AuditFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, arrival: Arrival) -> AuditFuture<S::Future> {
        let (peer, version) = (Rc::clone(&arrival.peer), arrival.request.version());
        let inner = &mut self.inner;
        let future = catch_unwind(AssertUnwindSafe(|| inner.call(arrival))).ok();
        AuditFuture { future, writing: None, context: Rc::clone(&self.context), peer, version }
    }
}

pin_project! {
    /// A request until its answer begins.
    pub(crate) struct AuditFuture<F> {
        // None: it panicked.
        #[pin]
        future: Option<F>,
        // A refusal whose record is being written.
        writing: Option<Pin<Box<dyn Future<Output = Response<Outgoing>>>>>,
        context: Rc<Context>,
        peer: Rc<Peer>,
        version: Version,
    }
}

impl<F: Future<Output = Result<Reply, Infallible>>> Future for AuditFuture<F> {
    type Output = Result<Response<Outgoing>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let finish = |mut response: Response<Outgoing>| {
            if this.context.draining.get() {
                close(&mut response, *this.version);
            }
            Poll::Ready(Ok(response))
        };
        if let Some(writing) = this.writing {
            return finish(ready!(writing.as_mut().poll(cx)));
        }
        let mut future = this.future;
        let polled = match future.as_mut().as_pin_mut() {
            Some(future) => catch_unwind(AssertUnwindSafe(|| future.poll(cx))).ok(),
            None => None,
        };
        let reply = match polled {
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(Ok(reply))) => reply,
            Some(Poll::Ready(Err(never))) => match never {},
            None => {
                // What it knew of the request is recorded as it is dropped.
                this.context.panicked.set(true);
                future.set(None);
                this.context.panicked.set(false);
                this.context.handles.borrow().metrics().panics.inc();
                return finish(panicked(*this.version));
            }
        };
        let Reply { mut judged, parts, verdict } = reply;
        let (denial, fields) = match verdict {
            Verdicts::Answered(response) => return finish(allow(judged, response)),
            Verdicts::Switched(response, tunnel) => {
                let response = mark(&mut judged, response);
                let end = End::new(response.status().as_u16(), 0, Ending::Allowed);
                judged.record(&end);
                this.peer.switch.replace(Some(Switch { tunnel, held: judged }));
                return Poll::Ready(Ok(response.map(|body| Outgoing {
                    body,
                    held: None,
                    out: 0,
                    status: 101,
                })));
            }
            Verdicts::Denied(denial) => (denial, parts.map(|parts| parts.headers)),
            Verdicts::Failed(fault) => (failed(fault), parts.map(|parts| parts.headers)),
        };
        let fields = fields.unwrap_or_else(|| judged.kept.iter().cloned().collect());
        let mut writing = Box::pin(refuse(judged, denial, fields, *this.version));
        match writing.as_mut().poll(cx) {
            Poll::Ready(response) => finish(response),
            Poll::Pending => {
                *this.writing = Some(writing);
                Poll::Pending
            }
        }
    }
}

fn failed(fault: Fault) -> Denial {
    match fault {
        Fault::ClientBody => Denial::builtin(Stage::Intake, fault.rule()),
        Fault::ClientBodyTooLarge => Denial::builtin(Stage::WafBody, fault.rule()),
        Fault::Connect | Fault::Timeout | Fault::Reset | Fault::Protocol => {
            Denial::builtin(Stage::Fault, fault.rule())
        }
    }
}

/// Renders a refusal, writes its record, and only then lets the answer go.
async fn refuse(mut judged: Held, denial: Denial, fields: HeaderMap, version: Version) -> Response<Outgoing> {
    judged.pause();
    let (answer, nearest) = {
        let facts = judged.facts(&fields);
        let policy = &judged.installed.snapshot.policy;
        let level = policy.disclosure.level(&facts, Some(denial.stage));
        let wanted = deny::wants_nearest(&denial, facts.identity, level) || denial.stage == Stage::Rbac;
        let nearest = if wanted { policy.rbac.nearest(&facts) } else { Vec::new() };
        let answer = deny::answer(&Refusal {
            policy,
            facts: &facts,
            denial: &denial,
            notes: &judged.progress.notes,
            level,
            request_id: &judged.request_id,
            decision_id: judged.decision_id,
            nearest: &nearest,
            challenges: policy.authn.challenges(policy.route_authn(facts.route)).into(),
            headers: judged.installed.snapshot.settings.response_headers,
            change: None,
            upstream: None,
        });
        (answer, nearest)
    };
    let grpc_status =
        answer.headers().get("grpc-status").and_then(|status| status.to_str().ok()?.parse().ok());
    let out = answer.body().len() as u64;
    let end = End { grpc_status, ..End::new(denial.status(), out, Ending::Denied(denial)) };
    let line = judged.end(&end, Some(&fields), &nearest);
    // A refusal is sent as a refusal even if it could not be recorded; the loss is counted.
    let _ = judged.context.log.write_before_answer(&line).await;
    let status = answer.status().as_u16();
    let mut response = answer.map(|body| Outgoing {
        body: ResponseBody::Whole(Some(body).filter(|body| !body.is_empty())),
        held: None,
        out: 0,
        status,
    });
    if must_close(&denial) {
        close(&mut response, version);
    }
    response
}

/// Behind these, nobody knows where the next request begins.
fn must_close(denial: &Denial) -> bool {
    matches!(
        denial.rule,
        RuleRef::Builtin(
            Builtin::FramingConflict | Builtin::Malformed | Builtin::FaultInternal | Builtin::BodyTooLarge
        )
    )
}

fn close(response: &mut Response<Outgoing>, version: Version) {
    if version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The answer to a request whose judging panicked: a refusal, and nothing that could be wrong.
fn panicked(version: Version) -> Response<Outgoing> {
    let info = Builtin::FaultInternal.info();
    let reason = info.reason.info();
    let body = format!(
        "{{\"type\":\"urn:portcullis:reason:{}\",\"title\":\"{}\",\"status\":{},\"rule\":\"{}\"}}",
        reason.code, reason.title, reason.status, info.name
    );
    let body = ResponseBody::Whole(Some(Bytes::from(body)));
    let mut response = Response::new(Outgoing { body, held: None, out: 0, status: reason.status });
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    close(&mut response, version);
    response
}

fn allow(mut judged: Held, response: Response<ResponseBody>) -> Response<Outgoing> {
    let response = mark(&mut judged, response);
    let status = response.status().as_u16();
    response.map(|body| Outgoing { body, held: Some(judged), out: 0, status })
}

/// Cleans the upstream's fields and adds our words about the allow.
fn mark(judged: &mut Held, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let Installed { snapshot, .. } = &*judged.installed;
    let headers = response.headers_mut();
    snapshot.hygiene.clean_response(headers);
    if switching {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    let empty = HeaderMap::new();
    let facts = judged.facts(&empty);
    let personal = match facts.identity {
        Identity::Valid(who) => !who.holder.bearer,
        Identity::Nobody | Identity::Invalid(_) => snapshot.policy.ip.looked_at(&facts),
    };
    deny::mark(
        headers,
        &Allowance {
            policy: &snapshot.policy,
            rule: judged.grant,
            notes: &judged.progress.notes,
            level: snapshot.policy.disclosure.level(&facts, None),
            request_id: &judged.request_id,
            headers: snapshot.settings.response_headers,
            personal,
        },
    );
    response
}

/// The body of an answer; that of an allow writes its record when it ends.
#[derive(Debug)]
pub(crate) struct Outgoing {
    body: ResponseBody,
    held: Option<Held>,
    out: u64,
    status: u16,
}

impl Outgoing {
    fn finish(&mut self, ending: Ending) {
        if let Some(mut held) = self.held.take() {
            held.record(&End::new(self.status, self.out, ending));
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.out += data.remaining() as u64;
                }
                if self.body.is_end_stream() {
                    self.finish(Ending::Allowed);
                }
            }
            Some(Err(BodyFailure)) => self.finish(Ending::Cut),
            None => self.finish(Ending::Allowed),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // hyper does not poll a body that says it has ended.
        let ending = if self.body.is_end_stream() { Ending::Allowed } else { Ending::ClientGone };
        self.finish(ending);
    }
}

/// A request head that hyper refused before any service existed.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The rule that names the refusal.
    pub(crate) rule: Builtin,
    /// Whether hyper answered, or the connection was closed.
    pub(crate) answered: bool,
    /// The head as far as it came.
    pub(crate) head: Vec<u8>,
}

impl Refused {
    /// Writes the record and counts the decision.
    pub(crate) fn record(self, context: &Rc<Context>, peer: &Rc<Peer>) {
        let judged = Judged::unintelligible(context, peer, self.rule, &self.head);
        let denial = Denial::builtin(Stage::Intake, self.rule);
        let status = if self.answered { denial.status() } else { CLIENT_GONE };
        let end = End::new(status, 0, Ending::Denied(denial));
        judged.count(context, &end);
        context.log.push(&judged.line(context, &end, None, &[]));
    }
}

impl Judged {
    /// The facts, with the header fields given anew: they went to the upstream.
    pub(crate) fn facts<'a>(&'a self, headers: &'a HeaderMap) -> Facts<'a> {
        self.installed.snapshot.policy.facts(&self.admitted, headers, &self.identity, &self.body, self.now)
    }
}
