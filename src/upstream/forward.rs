//! One request to one upstream, and its answer.

use std::rc::Rc;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use tokio::time::timeout;

use super::body::{BodyEnd, Fate, PooledBody, RequestBody, ResponseBody};
use super::fault::Fault;
use super::link::{Failure, Link};
use super::pool::Pool;
use super::{echo, upgrade};
use crate::config::Timeouts;
use crate::config::raw::ServerText;

/// A request that may leave.
#[derive(Debug)]
pub(crate) struct Outbound {
    /// The request, its fields cleaned and ours set.
    pub(crate) request: Request<RequestBody>,
    /// What becomes of the client's body.
    pub(crate) fate: Rc<Fate>,
    /// The server.
    pub(crate) pool: Rc<Pool>,
    /// How long things may take.
    pub(crate) timeouts: Timeouts,
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

/// Forwards a request.
pub(crate) async fn forward(outbound: Outbound) -> Result<Forwarded, Fault> {
    let Outbound { request, fate, pool, timeouts, upgrade } = outbound;
    let forwarded = async {
        if matches!(pool.server, ServerText::Echo) {
            return echo::answer(request).await.map(Forwarded::Answer);
        }
        if upgrade {
            return upgrade::exchange(&pool, request, timeouts).await;
        }
        exchange(&pool, request, timeouts).await.map(Forwarded::Answer)
    };
    forwarded.await.map_err(|fault| match fate.end() {
        // A body that broke off at the client looks like a broken connection to the upstream.
        BodyEnd::Broken => Fault::ClientBody,
        BodyEnd::TooLarge => Fault::ClientBodyTooLarge,
        BodyEnd::Well => fault,
    })
}

async fn exchange(
    pool: &Rc<Pool>,
    request: Request<RequestBody>,
    timeouts: Timeouts,
) -> Result<Response<ResponseBody>, Fault> {
    let mut request = request;
    while let Some(mut link) = pool.take() {
        if !link.is_usable().await {
            continue;
        }
        let spare = spare(&request, &link);
        let failure = match answer(pool, link, request, timeouts).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        request = match (failure, spare) {
            (Failure::Unsent(request), _) => *request,
            // The upstream closed a rested connection just as we wrote to it. It answered nothing,
            // and asking again does no harm.
            (Failure::Broken(Fault::Reset), Some(spare)) => spare,
            (Failure::Broken(fault), _) => return Err(fault),
        };
        // A second rested connection may be as stale as the first; a new one is not.
        break;
    }
    let link = Link::connect(&pool.server, timeouts.connect).await?;
    answer(pool, link, request, timeouts).await.map_err(|failure| match failure {
        Failure::Unsent(_) => Fault::Reset,
        Failure::Broken(fault) => fault,
    })
}

/// A copy of the request for a second try, where one is safe and may be needed: no body, a method
/// without effect, and a connection that rested long enough for its server to have closed it.
fn spare(request: &Request<RequestBody>, link: &Link) -> Option<Request<RequestBody>> {
    let harmless = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let rested = link.idle_since.elapsed() > RACE;
    if !harmless || !rested || !matches!(request.body(), RequestBody::Empty) {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// A close that came earlier than this would have been seen when the connection was taken.
const RACE: std::time::Duration = std::time::Duration::from_millis(50);

async fn answer(
    pool: &Rc<Pool>,
    mut link: Link,
    request: Request<RequestBody>,
    timeouts: Timeouts,
) -> Result<Response<ResponseBody>, Failure> {
    let response = match timeout(timeouts.upstream_first_byte, link.exchange(request)).await {
        Ok(response) => response?,
        Err(_) => return Err(Failure::Broken(Fault::Timeout)),
    };
    if !is_plain(response.status(), response.headers()) {
        return Err(Failure::Broken(Fault::Protocol));
    }
    Ok(response.map(|body| {
        ResponseBody::Pooled(Box::new(PooledBody::new(body, link, Rc::clone(pool), timeouts.body_idle)))
    }))
}

/// Whether an answer is to what was asked, and ends in one place only. Nobody asked here for another
/// protocol, and a length beside chunks, or a second one, makes readers disagree about the end
/// (RFC 9112 section 6.3).
pub(super) fn is_plain(status: StatusCode, headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let framed_twice = match (lengths.next(), lengths.next()) {
        (Some(_), Some(_)) => true,
        (Some(_), None) => headers.contains_key(header::TRANSFER_ENCODING),
        (None, _) => false,
    };
    status != StatusCode::SWITCHING_PROTOCOLS && !framed_twice
}
