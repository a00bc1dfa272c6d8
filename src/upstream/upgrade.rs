//! Connections that stop being HTTP.
//!
//! Bytes flow only after the upstream has answered 101; what a client sent before that waits until then. The connection is not taken from a pool and never returns to one.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::body::{RequestBody, ResponseBody, StreamBody};
use super::breaker::Room;
use super::dial::Wanted;
use super::fault::Fault;
use super::forward::Forwarded;
use super::link::Failure;
use super::server::{Channel, Flight};
use super::terms::Terms;

/// The upstream's end of a connection that changed its protocol.
#[derive(Debug)]
pub(crate) struct Tunnel {
    upstream: OnUpgrade,
    carried: Rc<Carried>,
    /// It counts among the requests in flight, and the connections, until it ends.
    _flight: Flight,
    _seat: Option<Room>,
}

/// How many bytes went through a tunnel so far, for whoever outlives it.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// From the client.
    pub(crate) received: Cell<u64>,
    /// From the upstream.
    pub(crate) sent: Cell<u64>,
}

impl Tunnel {
    /// What it counts, also when it is cut.
    pub(crate) fn carried(&self) -> Rc<Carried> {
        Rc::clone(&self.carried)
    }

    /// Carries bytes both ways until one side closes. `early` are bytes that the client sent behind its
    /// request.
    pub(crate) async fn run(self, client: &mut (impl AsyncRead + AsyncWrite + Unpin), early: &[u8]) {
        let Tunnel { upstream, carried, _flight, _seat } = self;
        let Ok(upstream) = upstream.await else { return };
        let mut upstream = Counted { stream: TokioIo::new(upstream), carried };
        if upstream.write_all(early).await.is_ok() {
            // However it ends, what was carried is counted.
            let _ = copy_bidirectional(client, &mut upstream).await;
        }
    }
}

/// A stream that counts what it carries.
struct Counted<S> {
    stream: S,
    carried: Rc<Carried>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let sent = &self.carried.sent;
        sent.set(sent.get() + (buf.filled().len() - before) as u64);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = polled {
            let received = &self.carried.received;
            received.set(received.get() + written as u64);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Sends a request that asks for another protocol.
pub(super) async fn exchange(
    request: &mut Request<RequestBody>,
    terms: &Terms,
    mut flight: Flight,
    room: &mut Option<Room>,
) -> Result<Forwarded, Failure> {
    let server = flight.server();
    if server.dialer.speaks_only_http2() {
        // RFC 9113 section 8.6: there is no Upgrade in HTTP/2.
        return Err(Failure::Broken(Fault::Protocol));
    }
    let link = match server.connect(terms.connect_patience(), terms.client, Wanted::Http1).await {
        Ok(Channel::Link(link)) => link,
        Ok(Channel::Stream(_)) => return Err(Failure::Broken(Fault::Protocol)),
        Err(fault) => return Err(Failure::Unsent(fault)),
    };
    let (io, seat) = link.into_parts();
    let handshake = http1::handshake::<_, RequestBody>(TokioIo::new(io)).await;
    let (mut sender, driver) = handshake.map_err(|_| Failure::Broken(Fault::Connect))?;
    tokio::task::spawn_local(async move {
        // It ends when both halves of the exchange have; its error is seen by the exchange.
        let _ = driver.with_upgrades().await;
    });
    let sent = sender.send_request(std::mem::take(request));
    let mut alarm = Alarm::default();
    let answered = terms.in_time(&mut alarm, Instant::now(), async move {
        sent.await.map_err(|error| Failure::Broken(Fault::from_hyper(&error)))
    });
    let mut response = answered.await?;
    flight.occupy(room.take());
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        if is_framed_twice(response.headers()) {
            return Err(Failure::Broken(Fault::Protocol));
        }
        let body = |incoming| StreamBody::new(incoming, None, flight, terms.clock());
        return Ok(Forwarded::Answer(
            response.map(|incoming| ResponseBody::Driven(Box::new(body(incoming)))),
        ));
    }
    let upstream = hyper::upgrade::on(&mut response);
    let response = Response::from_parts(response.into_parts().0, ResponseBody::Whole(None));
    Ok(Forwarded::Switched(
        response,
        Tunnel { upstream, carried: Rc::default(), _flight: flight, _seat: seat },
    ))
}

/// Whether an answer says of its end more than once: a length beside chunks, or a second one, makes
/// readers disagree about it (RFC 9112 section 6.3). hyper's client takes such an answer.
fn is_framed_twice(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (Some(_), Some(_)) => true,
        (Some(_), None) => headers.contains_key(header::TRANSFER_ENCODING),
        (None, _) => false,
    }
}
