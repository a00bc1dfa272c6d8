//! One request to one upstream, and its answer: on a connection that rests or a new one, from one
//! server or, where that does no harm, from the next.

use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use tokio::time::Instant;

use super::added::{Added, Beside};
use super::alarm::Alarm;
use super::body::{BodyEnd, Fate, PooledBody, RequestBody, ResponseBody, StreamBody};
use super::breaker::Room;
use super::choose::Tried;
use super::cluster::Cluster;
use super::dial::Wanted;
use super::fault::Fault;
use super::link::{Failure, Link, Unanswered};
use super::multiplex::Stream;
use super::server::{Channel, Flight, Server};
use super::terms::Terms;
use super::{echo, turn, upgrade};
use crate::config::Timeouts;
use crate::config::raw::ServerText;

/// A request that may leave.
#[derive(Debug)]
pub(crate) struct Outbound {
    /// The request, its fields cleaned.
    pub(crate) request: Request<RequestBody>,
    /// What the gateway says beside the client's fields, none of which has one of its names.
    pub(crate) added: Added,
    /// The Host to send; absent: the server's own.
    pub(crate) host: Option<HeaderValue>,
    /// What becomes of the client's body, where it has one.
    pub(crate) fate: Option<Rc<Fate>>,
    /// Where it goes.
    pub(crate) cluster: Rc<Cluster>,
    /// What chooses the server, where a hash does.
    pub(crate) key: Option<u64>,
    /// How long things may take.
    pub(crate) timeouts: Timeouts,
    /// How long all of it may take.
    pub(crate) total: Option<Duration>,
    /// The client, as servers may be told ahead of the request.
    pub(crate) client: SocketAddr,
    /// Whether the client reads trailers (`TE: trailers`).
    pub(crate) te_trailers: bool,
    /// Whether the client asks for another protocol, and may.
    pub(crate) upgrade: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Forwarded {
    /// An answer.
    Answer(Response<ResponseBody>),
    /// The upstream changes the protocol; bytes flow once the client has the answer.
    Switched(Response<ResponseBody>, upgrade::Tunnel),
}

/// Forwards a request. `begin`: the time now. What came of it, and when.
pub(crate) async fn forward(outbound: Outbound, begin: Instant) -> (Result<Forwarded, Fault>, Instant) {
    let Outbound {
        mut request,
        added,
        host,
        fate,
        cluster,
        key,
        timeouts,
        total,
        client,
        te_trailers,
        upgrade,
    } = outbound;
    let terms = Terms {
        added,
        host,
        fate,
        timeouts,
        deadline: total.map(|total| begin + total),
        client,
        te_trailers,
        upgrade,
        answered: Cell::new(None),
    };
    let forwarded = attempts(&mut request, &terms, &cluster, key, begin).await;
    let forwarded = forwarded.map_err(|fault| match terms.end_of_body() {
        // A body that broke off at the client looks like a broken connection to the upstream.
        BodyEnd::Broken => Fault::ClientBody,
        BodyEnd::TooLarge => Fault::ClientBodyTooLarge,
        BodyEnd::Well => fault,
    });
    (forwarded, terms.answered.get().unwrap_or_else(Instant::now))
}

/// Asks one server after the other, as long as that does no harm and may help.
async fn attempts(
    request: &mut Request<RequestBody>,
    terms: &Terms,
    cluster: &Rc<Cluster>,
    key: Option<u64>,
    begin: Instant,
) -> Result<Forwarded, Fault> {
    let mut room = cluster.enter().await?;
    let retry = &cluster.settings.retry;
    let mut tried = Tried::new();
    let mut last: Option<Fault> = None;
    for attempt in 1..=retry.attempts.max(1) {
        let next = cluster.choose(key, &tried).or_else(|| {
            // Nobody else is left; the same server once more, unless it cannot even be connected to.
            let again = last.is_some_and(|fault| matches!(fault, Fault::Reset | Fault::Unprocessed));
            cluster.choose(key, &Tried::new()).filter(|_| again)
        });
        let Some((at, server)) = next else { return Err(last.unwrap_or(Fault::Unavailable)) };
        tried.push(at);
        let more = attempt < retry.attempts;
        // Servers of HTTP/2 refuse streams as a matter of course, so a copy is at hand there.
        let wanted = retry.repeat || server.dialer.may_speak_http2();
        let copy = if more && wanted { copy_of(request) } else { None };
        let flight = Flight::new(server);
        let now = if attempt == 1 { begin } else { Instant::now() };
        let failure = match send(server, request, terms, flight, &mut room, now).await {
            Ok(forwarded) => {
                let status = forwarded.status();
                if is_server_failure(status) {
                    cluster.failed(server)
                } else {
                    cluster.succeeded(server)
                }
                let again = retry.status.contains(&status.as_u16())
                    && cluster.choose(key, &tried).is_some()
                    && copy.is_some()
                    && cluster.may_retry();
                match copy.filter(|_| again) {
                    Some(copy) => {
                        *request = copy;
                        last = Some(Fault::Reset);
                        continue;
                    }
                    None => return Ok(forwarded),
                }
            }
            Err(failure) => failure,
        };
        let (unsent, fault) = match failure {
            Failure::Unsent(fault) => (true, fault),
            Failure::Unanswered(_) => (false, Fault::Reset),
            Failure::Broken(fault) => (false, fault),
        };
        if fault.is_of_server() && terms.end_of_body() == BodyEnd::Well {
            cluster.failed(server);
        }
        last = Some(fault);
        let harmless = match fault {
            Fault::Timeout | Fault::Protocol => false,
            Fault::Unprocessed => unsent || copy.is_some(),
            _ => unsent || (copy.is_some() && retry.repeat),
        };
        if !(harmless && more && cluster.may_retry()) {
            return Err(fault);
        }
        if let Some(copy) = copy.filter(|_| !unsent) {
            *request = copy;
        }
    }
    Err(last.unwrap_or(Fault::Unavailable))
}

impl Forwarded {
    fn status(&self) -> StatusCode {
        match self {
            Forwarded::Answer(response) | Forwarded::Switched(response, _) => response.status(),
        }
    }
}

/// What a server, or a proxy in front of it, answers that cannot do its work.
fn is_server_failure(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// A copy of a request that may be sent twice (RFC 9110 section 9.2.2), where there can be one.
fn copy_of(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    );
    let body = match request.body() {
        RequestBody::Empty => RequestBody::Empty,
        RequestBody::Whole(bytes) => RequestBody::Whole(bytes.clone()),
        RequestBody::Stream(_) => return None,
    };
    if !idempotent {
        return None;
    }
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Sends a request to one server.
async fn send(
    server: &Rc<Server>,
    request: &mut Request<RequestBody>,
    terms: &Terms,
    mut flight: Flight,
    room: &mut Option<Room>,
    now: Instant,
) -> Result<Forwarded, Failure> {
    terms.answered.set(None);
    if server.url == ServerText::Echo {
        terms.complete(request, server);
        return echo::answer(std::mem::take(request)).await.map(Forwarded::Answer).map_err(Failure::Broken);
    }
    if terms.upgrade {
        terms.complete(request, server);
        return upgrade::exchange(request, terms, flight, room).await;
    }
    while let Some(mut link) = server.take(now) {
        if !link.is_usable().await {
            continue;
        }
        match over_link(link, Asked::First(request), terms, flight, room, now).await {
            Ok(response) => return Ok(Forwarded::Answer(response)),
            // The server closed a connection that rested just as we wrote to it. It answered nothing, and
            // asking again does no harm. A second such connection may be as stale as the first; a new one
            // is not.
            Err(Failure::Unanswered(unanswered)) => {
                return repeat(server, unanswered, terms, room).await.map(Forwarded::Answer);
            }
            Err(failure) => return Err(failure),
        }
    }
    if let Some(stream) = server.multiplex.stream() {
        match over_stream(stream, request, terms, flight, room).await {
            Ok(response) => return Ok(Forwarded::Answer(response)),
            // The connection was being closed.
            Err(Failure::Unsent(_)) => {}
            Err(failure) => return Err(failure),
        }
        flight = Flight::new(server);
    }
    let connected = server.connect(terms.connect_patience(), terms.client, Wanted::Any).await;
    let answered = match connected {
        Ok(Channel::Link(link)) => {
            over_link(link, Asked::First(request), terms, flight, room, Instant::now()).await
        }
        Ok(Channel::Stream(stream)) => over_stream(stream, request, terms, flight, room).await,
        Err(fault) => return Err(Failure::Unsent(fault)),
    };
    answered.map(Forwarded::Answer)
}

/// Sends a request once more, on a connection of its own.
async fn repeat(
    server: &Rc<Server>,
    unanswered: Unanswered,
    terms: &Terms,
    room: &mut Option<Room>,
) -> Result<Response<ResponseBody>, Failure> {
    let flight = Flight::new(server);
    match server.connect(terms.connect_patience(), terms.client, Wanted::Http1).await {
        Ok(Channel::Link(link)) => {
            over_link(link, Asked::Again(unanswered), terms, flight, room, Instant::now()).await
        }
        Ok(Channel::Stream(_)) => Err(Failure::Broken(Fault::Reset)),
        Err(fault) => Err(Failure::Broken(fault)),
    }
}

/// What is asked over a connection.
enum Asked<'a> {
    First(&'a mut Request<RequestBody>),
    Again(Unanswered),
}

async fn over_link(
    mut link: Link,
    asked: Asked<'_>,
    terms: &Terms,
    mut flight: Flight,
    room: &mut Option<Room>,
    now: Instant,
) -> Result<Response<ResponseBody>, Failure> {
    let mut alarm = std::mem::take(&mut link.alarm);
    let exchanged = match asked {
        Asked::First(request) => {
            let host = terms.host.as_ref().unwrap_or(flight.server().authority());
            let beside = Beside { host: Some(host), added: Some(&terms.added) };
            // Pinned here, so that it is not moved on its way to where it is polled.
            terms.in_time(&mut alarm, now, pin!(link.exchange(request, beside))).await
        }
        Asked::Again(unanswered) => terms.in_time(&mut alarm, now, pin!(link.repeat(unanswered))).await,
    };
    let (mut link, response) = exchanged?;
    link.alarm = alarm;
    let answered = turn::look();
    terms.answered.set(Some(answered));
    flight.occupy(room.take());
    // Most answers have come whole with their heads, and then the connection need not wait for a client.
    let whole = link.whole_body();
    Ok(response.map(|()| match whole {
        Some(bytes) => {
            if link.is_done() {
                flight.server().put(link, answered);
            }
            ResponseBody::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
        }
        None => ResponseBody::Pooled(Box::new(PooledBody::new(link, flight, terms.clock()))),
    }))
}

async fn over_stream(
    mut stream: Stream,
    request: &mut Request<RequestBody>,
    terms: &Terms,
    mut flight: Flight,
    room: &mut Option<Room>,
) -> Result<Response<ResponseBody>, Failure> {
    let before = request.uri().clone();
    terms.complete(request, flight.server());
    if !make_absolute(request, flight.server().dialer.scheme()) {
        return Err(Failure::Broken(Fault::Protocol));
    }
    if terms.te_trailers {
        // What gRPC servers look for; over HTTP/2 it is the one value that may stand here.
        request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    }
    let response = match terms.in_time(&mut Alarm::default(), Instant::now(), stream.exchange(request)).await
    {
        Ok(response) => response,
        Err(Failure::Unsent(fault)) => {
            flight.server().multiplex.forget(&stream);
            make_relative(request, before);
            terms.added.displace(request.headers_mut());
            return Err(Failure::Unsent(fault));
        }
        Err(failure) => return Err(failure),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::Broken(Fault::Protocol));
    }
    flight.occupy(room.take());
    Ok(response.map(|body| {
        ResponseBody::Driven(Box::new(StreamBody::new(body, Some(stream), flight, terms.clock())))
    }))
}

/// HTTP/2 names scheme and authority beside the path. Whether both could be named.
fn make_absolute(request: &mut Request<RequestBody>, scheme: http::uri::Scheme) -> bool {
    let host = request.headers_mut().remove(header::HOST);
    let authority = host.and_then(|host| http::uri::Authority::try_from(host.as_bytes()).ok());
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(scheme);
    parts.authority = authority;
    match Uri::from_parts(parts) {
        Ok(uri) => {
            *request.uri_mut() = uri;
            true
        }
        Err(_) => false,
    }
}

/// Back to what every try begins with; Host is set anew by each.
fn make_relative(request: &mut Request<RequestBody>, uri: Uri) {
    *request.uri_mut() = uri;
    request.headers_mut().remove(header::TE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_sent_twice_is_copied() {
        let copied = |method: Method, body| {
            let mut request = Request::new(body);
            *request.method_mut() = method;
            copy_of(&request).is_some()
        };
        let whole = || RequestBody::Whole(Some(bytes::Bytes::from_static(b"x")));
        assert!(copied(Method::GET, RequestBody::Empty) && copied(Method::PUT, whole()));
        assert!(copied(Method::DELETE, RequestBody::Empty));
        assert!(!copied(Method::POST, RequestBody::Empty) && !copied(Method::PATCH, whole()));
    }
}
