//! The first layer that knows anything: one policy snapshot, the client, the target, now, an id.
//!
//! Nothing is refused here; what cannot be read is kept in the target for the intake gate.

use std::convert::Infallible;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::header::HeaderMap;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request};
use hyper::body::Incoming;
use jiff::Timestamp;
use smallvec::SmallVec;
use tokio::time::Instant;
use tower::Service;

use super::context::{Context, Installed, Peer};
use super::held::Held;
use super::ids;
use super::judged::{Inbound, Judged, Payload, Reply};
use crate::config::raw::RequestIdWord;
use crate::decision::Builtin;
use crate::facts::{Body, Identity, Scheme};
use crate::policy::Progress;

/// A request as it comes from the connection.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The request.
    pub(crate) request: Request<Incoming>,
    /// When the service got it.
    pub(crate) begun: Instant,
    /// The connection.
    pub(crate) peer: Rc<Peer>,
    /// The rule that says how the target that was parsed differs from the one that was sent.
    pub(crate) target_altered: Option<Builtin>,
    /// Whether a Content-Length was dropped while parsing.
    pub(crate) length_dropped: bool,
}

/// Makes an [`Inbound`] of an [`Arrival`].
#[derive(Clone, Debug)]
pub(crate) struct Admit<S> {
    context: Rc<Context>,
    inner: S,
}

impl<S> Admit<S> {
    /// In front of the gates.
    pub(crate) fn new(context: Rc<Context>, inner: S) -> Admit<S> {
        Admit { context, inner }
    }
}

impl<S> Service<Arrival> for Admit<S>
where
    S: Service<Inbound, Response = Reply, Error = Infallible>,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, arrival: Arrival) -> S::Future {
        #[cfg(test)]
        super::trap::spring(super::trap::At::Admit);
        let inbound = admit(&self.context, arrival);
        self.inner.call(inbound)
    }
}

fn admit(context: &Rc<Context>, arrival: Arrival) -> Inbound {
    let now = Timestamp::now();
    let Arrival { request, begun, peer, target_altered, length_dropped } = arrival;
    let (mut parts, body) = request.into_parts();
    let installed = context.installed();
    let policy = &installed.snapshot.policy;
    let address = peer.address.ip();
    let trusted = policy.proxies.trusts(address.to_canonical());
    let scheme = scheme(&parts, &peer, trusted);
    let mut admitted = policy.admit(
        &parts.method,
        scheme.unwrap_or(peer.scheme),
        &parts.uri,
        parts.version,
        &parts.headers,
        address,
    );
    installed.snapshot.world.note_ban(&mut admitted.client);
    admitted.fields.framing_conflict |= length_dropped;
    // Whatever was dropped or rewritten, an upstream or a log would read it differently.
    if let Some(rule) = target_altered.or(scheme.is_none().then_some(Builtin::BadTarget)) {
        admitted.target.refuse(rule, &parts.uri);
    }
    if peer.secured.as_ref().is_some_and(|secured| secured.misdirects(admitted.target.host())) {
        admitted.target.misdirected = true;
    }
    if parts.version == http::Version::HTTP_2 {
        crate::upstream::join_cookies(&mut parts.headers);
    }
    let decision_id = context.ids.borrow_mut().next(now);
    let request_id = request_id(&installed, &parts.headers, trusted)
        .unwrap_or_else(|| context.ids.borrow_mut().header(decision_id));
    #[cfg(feature = "otlp")]
    let span = super::spans::begin(context, &parts.headers);
    let verbose = installed.snapshot.verbose.as_ref();
    let trace = verbose.and_then(|verbose| verbose.begin(policy, &admitted, now));
    let progress = match policy.waf.remembers() {
        true => Progress::remembering(context.collections()),
        false => Progress::default(),
    };
    let judged = Judged {
        trace,
        now,
        method: parts.method,
        version: parts.version,
        headers: parts.headers,
        decision_id,
        request_id,
        #[cfg(feature = "otlp")]
        trace_id: span.map(|span| super::judged::TraceId(span.trace)),
        #[cfg(not(feature = "otlp"))]
        trace_id: None,
        #[cfg(feature = "otlp")]
        span,
        admitted,
        port: peer.address.port(),
        identity: Identity::Nobody,
        body: Body::Absent,
        progress,
        grant: Builtin::DefaultDeny.into(),
        fate: None,
        kept: SmallVec::new(),
        seen: None,
        judging: Duration::ZERO,
        lap: Some(begun),
        upstream: None,
        installed,
        peer,
    };
    Inbound { body: Payload::Incoming(body), judged: Held::new(context, judged) }
}

/// The scheme the client used. In HTTP/2 it says so itself, and may only say the truth, unless it
/// is a proxy of ours that ends TLS. `None`: it says something else.
fn scheme(parts: &Parts, peer: &Peer, trusted: bool) -> Option<Scheme> {
    let named = |text: &str| match text {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => None,
    };
    if trusted {
        let mut forwarded = parts.headers.get_all(X_FORWARDED_PROTO).iter();
        let first = forwarded.next().and_then(|value| value.to_str().ok()).and_then(named);
        // The first of several may be the client's own.
        if forwarded.next().is_some() {
            return None;
        }
        if first.is_some() {
            return first;
        }
    }
    match parts.uri.scheme_str() {
        None => Some(peer.scheme),
        Some(text) => named(text).filter(|scheme| *scheme == peer.scheme || trusted),
    }
}

/// A foreign id, if it may be taken over: exactly one, short and plain.
pub(super) fn request_id(installed: &Installed, headers: &HeaderMap, trusted: bool) -> Option<HeaderValue> {
    let accept = match installed.snapshot.settings.request_id {
        RequestIdWord::Trusted => trusted,
        RequestIdWord::Accept => true,
        RequestIdWord::Generate => false,
    };
    if !accept {
        return None;
    }
    let mut values = headers.get_all(X_REQUEST_ID).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if ids::is_acceptable(value) => Some(value.clone()),
        _ => None,
    }
}

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The field of the request's id.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
