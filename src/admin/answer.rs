//! The kinds of answers of the admin listener, and what all of them have in common.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// An answer.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Text for people.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    whole(status, "text/plain; charset=utf-8", body.into())
}

/// A JSON document.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(mut text) => {
            text.push(b'\n');
            whole(status, "application/json", text.into())
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written; see the log\n")
        }
    }
}

/// Why a request was not carried out, and what to do instead.
pub(super) fn problem(status: StatusCode, why: impl Into<String>) -> Answer {
    #[derive(Serialize)]
    struct Problem {
        error: String,
    }
    json(status, &Problem { error: why.into() })
}

/// What there is too much of at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    Requests,
    Streams,
    OperatorsStreams,
}

/// A request that would be carried out if fewer were (RFC 9457, with the `error` that all refusals of
/// this listener have).
pub(super) fn busy(what: Busy) -> Answer {
    #[derive(Serialize)]
    struct Problem {
        r#type: &'static str,
        title: &'static str,
        status: u16,
        detail: &'static str,
        error: &'static str,
    }
    let (kind, detail) = match what {
        Busy::Requests => (
            "urn:portcullis:admin:too-many-requests",
            "too many requests without the admin token are being answered; try again shortly, or show \
             the token: those who have it are not counted",
        ),
        Busy::Streams => (
            "urn:portcullis:admin:too-many-streams",
            "too many streams of events without the admin token are open; close one, or show the token: \
             those who have it are counted apart",
        ),
        Busy::OperatorsStreams => (
            "urn:portcullis:admin:too-many-streams",
            "too many streams of events with the admin token are open; close one",
        ),
    };
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let title = "Service Unavailable";
    let mut answer =
        json(status, &Problem { r#type: kind, title, status: status.as_u16(), detail, error: detail });
    let kind = HeaderValue::from_static("application/problem+json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}

/// A page.
pub(super) fn html(status: StatusCode, body: String) -> Answer {
    whole(status, "text/html; charset=utf-8", body.into())
}

/// A file that is part of the program.
pub(super) fn asset(kind: &'static str, body: &'static str) -> Answer {
    whole(StatusCode::OK, kind, Bytes::from_static(body.as_bytes()))
}

/// Somewhere else, by GET.
pub(super) fn see_other(location: &str) -> Answer {
    let mut answer = text(StatusCode::SEE_OTHER, "");
    if let Ok(location) = HeaderValue::from_str(location) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    answer
}

/// What comes, as it comes (server-sent events), to who has the right to follow.
pub(super) fn live(events: mpsc::Receiver<Bytes>, right: OwnedSemaphorePermit) -> Answer {
    let mut answer = Response::new(Live { events, _right: right }.boxed_unsync());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    secure(answer)
}

/// What a change wants, and what reading does.
pub(super) const NEEDS_TOKEN: &str = "this needs the admin token: `Authorization: Bearer …`\n";
pub(super) const NEEDS_PLACE: &str = "this needs the admin token (`Authorization: Bearer …`), or where the listener is on loopback a `Host` \
     such as localhost or 127.0.0.1 and no `Origin` of another machine\n";

/// Somebody who may not.
pub(super) fn unauthorized(why: &'static str) -> Answer {
    let mut answer = text(StatusCode::UNAUTHORIZED, why);
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
    answer
}

/// What such somebody may show.
pub(crate) const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"portcullis-admin\"");

/// Another method than the path takes.
pub(super) fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "this path takes another method\n");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    answer
}

/// An answer of another kind.
pub(super) fn whole(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    secure(answer)
}

/// What browsers must not do with any answer. There are no CORS fields: no other page may read this.
fn secure(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    );
    answer
}

/// The body of events.
struct Live {
    events: mpsc::Receiver<Bytes>,
    _right: OwnedSemaphorePermit,
}

impl Body for Live {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(ready!(self.events.poll_recv(cx)).map(|event| Ok(Frame::data(event))))
    }
}
