//! The outermost layer: sees every reply and every client that hangs up, renders refusals, and
//! writes the one record of each request.
//!
//! A refusal's record is written before its answer is sent. An allow's record is written when its
//! answer ends, so the body carries what is known of the request until then ([`Outgoing`]). A request
//! that ends in neither way (the client hung up, something panicked) is recorded when what is known of
//! it is dropped.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};

use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use pin_project_lite::pin_project;
use tower::Service;

use super::admit::Arrival;
use super::answer::{mark, must_close, own, panicked, render};
use super::context::{Context, Peer, Switch};
use super::held::Held;
use super::judged::{Judged, Reply, Verdicts};
use super::outgoing::Outgoing;
use super::record::{End, Ending};
use crate::decision::Denial;
use crate::facts::Facts;

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
        // An answer that is whole, and whose record is being written.
        writing: Option<Writing>,
        context: Rc<Context>,
        peer: Rc<Peer>,
        version: Version,
    }
}

impl<F: Future<Output = Result<Reply, Infallible>>> Future for AuditFuture<F> {
    type Output = Result<Response<Outgoing>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let finish = |response: Response<Outgoing>| {
            // A connection that changes its protocol goes on for as long as both ends want.
            let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            let leaving = this.context.draining.get() && !switches;
            Poll::Ready(Ok(if leaving { closing(response, *this.version) } else { response }))
        };
        if let Some(writing) = this.writing {
            let polled = catch_unwind(AssertUnwindSafe(|| writing.as_mut().poll(cx)));
            let Ok(polled) = polled else {
                *this.writing = None;
                return finish(gave_way(this.context, *this.version));
            };
            return finish(ready!(polled));
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
                return finish(gave_way(this.context, *this.version));
            }
        };
        let Reply { mut judged, verdict } = reply;
        let ending = match verdict {
            Verdicts::Answered(response) => {
                let response = mark(&judged, response);
                let status = response.status().as_u16();
                let mut response = response.map(|body| Outgoing::of(body, judged, status));
                // What is at hand as a whole is sent when its record is written. (What is still to come
                // holds back its end.)
                let log = &this.context.log;
                if !(log.precedes_answers() && response.body_mut().read_ahead(cx)) {
                    return finish(response);
                }
                let context = Rc::clone(this.context);
                return begin((this.context, *this.version), this.writing, cx, finish, async move {
                    response.body().recorded(&context).await;
                    response
                });
            }
            Verdicts::Switched(response, tunnel) => {
                let response = mark(&judged, response);
                let end = End::new(response.status().as_u16(), 0, Ending::Allowed);
                let number = judged.record(&end);
                this.peer.switch.replace(Some(Switch { tunnel, held: judged }));
                let response = response.map(Outgoing::switched);
                let Some(number) = number else { return finish(response) };
                let context = Rc::clone(this.context);
                return begin((this.context, *this.version), this.writing, cx, finish, async move {
                    context.log.arrived(number).await;
                    response
                });
            }
            Verdicts::Own(rule) => Ending::Own(rule),
            Verdicts::Denied(denial) => Ending::Denied(denial),
            Verdicts::Failed(fault) => Ending::Denied(fault.denial()),
        };
        let mut fields = std::mem::take(&mut judged.headers);
        if fields.is_empty() {
            fields = judged.kept.iter().cloned().collect();
        }
        let version = *this.version;
        begin((this.context, version), this.writing, cx, finish, conclude(judged, ending, fields, version))
    }
}

/// The answer to a request whose task panicked.
#[cold]
fn gave_way(context: &Context, version: Version) -> Response<Outgoing> {
    context.metrics.panics.inc();
    closing(Outgoing::whole(panicked()), version)
}

/// Begins to write what comes before an answer; mostly it must be waited for.
fn begin<T>(
    (context, version): (&Context, Version),
    place: &mut Option<Writing>,
    cx: &mut TaskContext<'_>,
    finish: impl FnOnce(Response<Outgoing>) -> Poll<T>,
    writing: impl Future<Output = Response<Outgoing>> + 'static,
) -> Poll<T> {
    let mut writing: Writing = Box::pin(writing);
    match catch_unwind(AssertUnwindSafe(|| writing.as_mut().poll(cx))) {
        Err(_) => finish(gave_way(context, version)),
        Ok(Poll::Ready(response)) => finish(response),
        Ok(Poll::Pending) => {
            *place = Some(writing);
            Poll::Pending
        }
    }
}

type Writing = Pin<Box<dyn Future<Output = Response<Outgoing>>>>;

/// Renders an answer of our own, writes its record, and only then lets it go.
async fn conclude(
    mut judged: Held,
    ending: Ending,
    fields: HeaderMap,
    version: Version,
) -> Response<Outgoing> {
    judged.pause();
    let denial = match ending {
        Ending::Denied(denial) => Some(denial),
        Ending::Own(_) | Ending::Allowed | Ending::Cut(_) | Ending::ClientGone | Ending::TunnelClosed => None,
    };
    let (answer, nearest) = match (&denial, ending) {
        (Some(denial), _) => render(&judged, denial, &fields),
        (None, Ending::Own(rule)) => (own(&judged, rule, &fields), Vec::new()),
        (None, _) => (panicked(), Vec::new()),
    };
    let grpc_status =
        answer.headers().get("grpc-status").and_then(|status| status.to_str().ok()?.parse().ok());
    let out = answer.body().len() as u64;
    // Recorded as it was judged, whatever the caller is told.
    let status = denial.as_ref().map_or(answer.status().as_u16(), Denial::status);
    let end = End { grpc_status, ..End::new(status, out, ending) };
    let line = judged.end(&end, Some(&fields), &nearest);
    // A refusal is sent as a refusal even if it could not be recorded; the loss is counted.
    let _ = judged.context().log.write_before_answer(&line).await;
    let response = Outgoing::whole(answer);
    // Whoever asked for another protocol may already speak it: what follows is not taken for a request.
    let changing = denial.is_some() && fields.contains_key(header::UPGRADE);
    if changing || denial.as_ref().is_some_and(must_close) { closing(response, version) } else { response }
}

fn closing(mut response: Response<Outgoing>, version: Version) -> Response<Outgoing> {
    if version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl Judged {
    /// The facts, with the header fields given anew: they went to the upstream.
    pub(crate) fn facts<'a>(&'a self, headers: &'a HeaderMap) -> Facts<'a> {
        self.installed.snapshot.policy.facts(&self.admitted, headers, &self.identity, &self.body, self.now)
    }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "what a panic does is the subject")]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::facts::Scheme;

    async fn answer(
        context: &Rc<Context>,
        future: impl Future<Output = Result<Reply, Infallible>>,
    ) -> Response<Outgoing> {
        let address = ([127, 0, 0, 1], 1).into();
        let peer = Peer::new(address, Scheme::Http, None);
        let audited = AuditFuture {
            future: Some(future),
            writing: None,
            context: Rc::clone(context),
            peer,
            version: Version::HTTP_11,
        };
        match audited.await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    #[test]
    fn a_panic_is_a_named_refusal_and_counted() {
        let runtime = tokio::runtime::Builder::new_current_thread().build_local(Default::default());
        runtime.expect("a runtime").block_on(panic_is_answered());
    }

    async fn panic_is_answered() {
        let context = Context::for_test("version = 1\nserver.listen = [\"127.0.0.1:0\"]\n");
        let response = answer(&context, async { panic!("on purpose") }).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::CONNECTION], "close");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((&body["rule"], &body["status"]), (&"fault/internal".into(), &503.into()));
        assert_eq!(context.metrics.panics.get(), 1);
        assert!(!context.panicked.get());
        // While an answer of our own is rendered and its record written, too.
        let audited = AuditFuture {
            future: None::<std::future::Pending<Result<Reply, Infallible>>>,
            writing: Some(Box::pin(async { panic!("on purpose") })),
            context: Rc::clone(&context),
            peer: Peer::new(([127, 0, 0, 1], 1).into(), Scheme::Http, None),
            version: Version::HTTP_11,
        };
        let Ok(response) = audited.await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(context.metrics.panics.get(), 2);
    }
}
