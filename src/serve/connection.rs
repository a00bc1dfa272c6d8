//! One client connection: TLS, HTTP/1.1 or HTTP/2, upgrades, rest, and its end.

mod handler;
mod streams;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use http::Response;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tower::Service;

use self::handler::Handler;
use self::streams::Streams;
use super::drain::{Ask, Control};
use super::wire::{ClientIo, Phase, Wire};
use crate::decision::Builtin;
use crate::layers::{Arrival, Context, Outgoing, Peer, Switch, record_head};
use crate::upstream::turn;

/// What a connection needs besides its stream.
pub(super) struct Session<S> {
    pub(super) context: Rc<Context>,
    pub(super) stack: S,
    pub(super) peer: Rc<Peer>,
    pub(super) wire: Rc<Wire>,
    pub(super) control: Rc<Control>,
    /// The protocol that TLS agreed on; clear text is told by its first bytes.
    pub(super) alpn: Option<Protocol>,
}

/// The HTTP version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl<S> Session<S>
where
    S: Service<Arrival, Response = Response<Outgoing>, Error = Infallible> + 'static,
    S::Future: 'static,
{
    /// Serves the connection to its end.
    pub(super) async fn run<T: AsyncRead + AsyncWrite + Unpin + 'static>(self, stream: T) {
        let wire = Rc::clone(&self.wire);
        let mut served = pin!(self.serve(stream));
        poll_fn(|cx| {
            turn::begin();
            let ended = served.as_mut().poll(cx);
            wire.end_turn();
            ended
        })
        .await;
    }

    async fn serve<T: AsyncRead + AsyncWrite + Unpin + 'static>(self, stream: T) {
        let mut io = ClientIo::new(stream, Rc::clone(&self.wire));
        let protocol = match self.alpn {
            Some(protocol) => Ok(protocol),
            None => self.detected(&mut io).await,
        };
        match protocol {
            Ok(Protocol::Http1) => self.http1(io).await,
            Ok(Protocol::Http2) => self.http2(io).await,
            // Silent, gone, or broken before anything that could be recorded.
            Err(_) => {}
        }
    }

    /// The protocol that the first bytes tell. Who has sent none when the process ends is not waited for.
    async fn detected<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: &mut ClientIo<T>,
    ) -> io::Result<Protocol> {
        let mut detecting = pin!(detect(io));
        poll_fn(|cx| match (detecting.as_mut().poll(cx), self.control.poll(cx)) {
            (Poll::Ready(protocol), _) => Poll::Ready(protocol),
            (Poll::Pending, Ask::Finish) if self.wire.is_idle() => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            (Poll::Pending, Ask::Cut) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            (Poll::Pending, Ask::Nothing | Ask::Leave | Ask::Finish) => Poll::Pending,
        })
        .await
    }

    async fn http1<T: AsyncRead + AsyncWrite + Unpin + 'static>(self, mut io: ClientIo<T>) {
        let Session { context, stack, peer, wire, control, .. } = self;
        let mut handler = Handler::new(stack, Rc::clone(&peer), Rc::clone(&wire));
        let (connection, ended) = loop {
            let limits = context.installed().snapshot.policy.intake.limits;
            let mut builder = http1::Builder::new();
            builder.max_buf_size(usize::try_from(limits.head).unwrap_or(usize::MAX));
            builder.header_read_timeout(None);
            // One more than the gate takes, so that the gate is the one to refuse and name its rule.
            builder.max_headers(limits.fields + 1);
            // In a place of its own, which a connection that rests does not have.
            let mut connection = Box::new(builder.serve_connection(TokioIo::new(io), handler));
            let ended = poll_fn(|cx| {
                let ask = control.poll(cx);
                if ask == Ask::Cut {
                    return Poll::Ready(Some(Ok(())));
                }
                // Read first: a request that has begun to come is served, and its answer closes the
                // connection.
                let polled = Pin::new(&mut *connection).poll(cx);
                if polled.is_pending() && ask == Ask::Finish && wire.is_idle() {
                    Pin::new(&mut *connection).graceful_shutdown();
                    return Pin::new(&mut *connection).poll(cx).map(Some);
                }
                if polled.is_pending() && wire.rest() {
                    return Poll::Ready(None);
                }
                polled.map(Some)
            });
            if let Some(ended) = ended.await {
                break (connection, ended);
            }
            let parts = connection.into_parts();
            (io, handler) = (parts.io.into_inner(), parts.service);
            // The wire has seen every byte in a request that was answered. If the parser has one left all
            // the same, the two do not agree where requests end, and nothing more is taken for one.
            if !parts.read_buf.is_empty() || !woken(&mut io, &control).await {
                return;
            }
        };
        if let Some(Switch { tunnel, held }) = peer.switch.take() {
            wire.set_tunnel();
            let parts = connection.into_parts();
            let mut io = parts.io.into_inner();
            let carried = tunnel.carried();
            // In a place of its own: most connections never have one.
            let mut tunnel = Box::pin(tunnel.run(&mut io, &parts.read_buf));
            poll_fn(|cx| match control.poll(cx) {
                Ask::Cut => Poll::Ready(()),
                Ask::Nothing | Ask::Leave | Ask::Finish => tunnel.as_mut().poll(cx),
            })
            .await;
            held.closed(carried.received.get(), carried.sent.get());
            return;
        }
        if let Err(error) = &ended {
            record_refused(&context, &peer, &wire, error);
        }
    }

    async fn http2<T: AsyncRead + AsyncWrite + Unpin + 'static>(self, io: ClientIo<T>) {
        let Session { context, stack, peer, wire, control, .. } = self;
        wire.set_http2();
        let limits = context.installed().snapshot.policy.intake.limits;
        let patience = wire.body_idle();
        let mut builder = http2::Builder::new(Streams { patience });
        builder
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_WINDOW as usize)
            // What is somewhat larger is refused by its gate, with a record and an answer that says so.
            .max_header_list_size(u32::try_from(limits.head.saturating_mul(2)).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(MAX_LOCAL_RESETS);
        let handler = Handler::new(stack, Rc::clone(&peer), Rc::clone(&wire));
        let mut connection = pin!(builder.serve_connection(TokioIo::new(io), handler));
        let mut told = false;
        let ended = poll_fn(|cx| {
            let tell = match control.poll(cx) {
                Ask::Nothing => false,
                // Who has just come is served once before it is sent away.
                Ask::Leave => wire.is_used(),
                Ask::Finish => true,
                Ask::Cut => return Poll::Ready(Ok(())),
            };
            if tell && !told {
                told = true;
                // GOAWAY, twice: streams that the client opened before it reads the first one are served.
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(cx)
        });
        // (Errors of single streams are answered by the protocol, and nobody is told of them.)
        if let Err(error) = ended.await
            && breaks_protocol(&error)
        {
            record_head(&context, &peer, Builtin::Malformed, false, b"");
        }
    }
}

/// Streams that one client may have open; more are refused by the protocol.
const MAX_STREAMS: u32 = 100;
/// Bytes of a body that may wait for us on one stream, and on all of a connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Streams that a client opened and reset before they were looked at (CVE-2023-44487).
const MAX_RESETS: usize = 20;
/// Streams that a client made us reset (CVE-2025-8671).
const MAX_LOCAL_RESETS: usize = 256;

/// Lets a connection of HTTP/1.1 rest until its next request comes; `false` if it ends without one. Most
/// connections that are kept alive rest most of the time, and so they cost no more than a socket.
async fn woken<T: AsyncRead + AsyncWrite + Unpin>(io: &mut ClientIo<T>, control: &Control) -> bool {
    poll_fn(|cx| {
        let ask = control.poll(cx);
        if ask == Ask::Cut {
            return Poll::Ready(false);
        }
        match io.poll_wake(cx) {
            Poll::Ready(Ok(true)) => Poll::Ready(true),
            // It was idle for too long, or broke.
            Poll::Ready(Err(_)) => Poll::Ready(false),
            Poll::Pending if ask != Ask::Finish => Poll::Pending,
            Poll::Ready(Ok(false)) | Poll::Pending => {
                // Whoever does not take the end of TLS at once goes without.
                let _ = Pin::new(&mut *io).poll_shutdown(cx);
                Poll::Ready(false)
            }
        }
    })
    .await
}

/// The beginning of every HTTP/2 connection (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Tells the protocol of a clear-text connection by its first bytes, within the deadline that the
/// stream itself keeps.
async fn detect<T: AsyncRead + AsyncWrite + Unpin>(io: &mut ClientIo<T>) -> io::Result<Protocol> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if io.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let compared = bytes.len().min(PREFACE.len());
        let protocol = if bytes[..compared] != PREFACE[..compared] {
            Protocol::Http1
        } else if compared == PREFACE.len() {
            Protocol::Http2
        } else {
            continue;
        };
        io.unread(bytes);
        return Ok(protocol);
    }
}

/// hyper refused a head before any service existed; the record and the metric are made here.
fn record_refused(context: &Rc<Context>, peer: &Rc<Peer>, wire: &Wire, error: &hyper::Error) {
    let head = wire.refused_head();
    let rule = if error.is_parse_too_large() {
        // The parser has one name for both limits, and the lines tell them apart.
        let fields = memchr::memchr_iter(b'\n', &head).count().saturating_sub(1);
        let most = context.installed().snapshot.policy.intake.limits.fields;
        if fields > most { Builtin::TooManyFields } else { Builtin::HeadTooLarge }
    } else if error.is_parse() || wire.in_head() || wire.expired() == Some(Phase::Head) {
        Builtin::Malformed
    } else {
        return;
    };
    record_head(context, peer, rule, error.is_parse(), &head);
}

/// Whether a connection of HTTP/2 was ended by us, for what its client sent was none.
fn breaks_protocol(error: &hyper::Error) -> bool {
    let mut sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let broken = sources.find_map(|error| error.downcast_ref::<h2::Error>());
    broken.is_some_and(|error| error.is_go_away() && error.is_library())
}

#[cfg(test)]
mod tests;
