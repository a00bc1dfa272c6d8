//! From a connection that comes to one that is served: room for it, who it is from, TLS.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tower::Service;

use super::connection::{Protocol, Session};
use super::door::{Door, Doors, Way};
use super::drain::{Connections, Control};
use super::listen::{Admission, Full, Place, Seat};
use super::proxy_protocol::{self, Unsaid};
use super::shown::shown;
use super::wire::Wire;
use crate::config::Clients;
use crate::decision::Builtin;
use crate::facts::Scheme;
use crate::facts::proxied::Said;
use crate::layers::{Arrival, Context, Outgoing, Peer, Secured, certificate_rule, record_head, turn_away};
use crate::metrics::Metrics;

/// Takes the connections of one listening socket.
pub(super) struct Acceptor<S> {
    pub(super) context: Rc<Context>,
    pub(super) stack: S,
    pub(super) connections: Rc<Connections>,
    pub(super) admission: Arc<Admission>,
    pub(super) doors: Doors,
}

/// A connection that may be served.
struct Admitted<S> {
    session: Session<S>,
    stream: Stream,
    _seat: Seat,
    _open: Open,
}

/// What it is served over.
enum Stream {
    Clear(TcpStream),
    // In a place of its own: the state of TLS is a kilobyte that would be part of every future around it.
    Tls(Box<TlsStream<TcpStream>>),
}

impl<S> Acceptor<S>
where
    S: Service<Arrival, Response = Response<Outgoing>, Error = Infallible> + Clone + 'static,
    S::Future: 'static,
{
    /// Accepts until it is told to stop, and then still those who came before that.
    pub(super) async fn accept(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let acceptor = Rc::new(self);
        let take = |(stream, address)| {
            // Counted from here on, so that the end of the process waits for it.
            let (control, place) = (acceptor.connections.add(), acceptor.admission.arrive());
            tokio::task::spawn_local(Rc::clone(&acceptor).connection(stream, address, control, place));
        };
        tokio::select! {
            () = accept_all(async || self::accept(&listener, &acceptor.admission).await, take) => {}
            () = stop => {}
        }
        let queued = poll_fn(|cx| {
            while let Poll::Ready(Ok(connection)) = listener.poll_accept(cx) {
                take(connection);
            }
            Poll::Ready(())
        });
        // However many there are: what is left in the queue is reset.
        unconstrained(queued).await;
    }

    async fn connection(
        self: Rc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        control: Rc<Control>,
        _place: Place,
    ) {
        // In a place that is free again when the connection is served, which may be for hours.
        let Some(admitted) = Box::pin(self.admit(stream, address, control)).await else { return };
        drop(self);
        let Admitted { session, stream, _seat, _open } = admitted;
        match stream {
            Stream::Clear(stream) => session.run(stream).await,
            Stream::Tls(stream) => session.run(stream).await,
        }
    }

    /// Whether there is room for it, who it is from, and TLS.
    async fn admit(
        &self,
        mut stream: TcpStream,
        address: SocketAddr,
        control: Rc<Control>,
    ) -> Option<Admitted<S>> {
        let mut address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let installed = self.context.installed();
        let settings = &installed.snapshot.settings;
        let door = self.doors.door(settings);
        let limits = settings.connections;
        let deadline = Instant::now() + settings.timeouts.first_byte;
        let wire = Wire::new(settings.timeouts);
        drop(installed);
        let mut seat = match self.admission.enter(limits) {
            Ok(seat) => seat,
            Err(full) => return self.full(stream, address, &door, full).await,
        };
        let open = Open::new(Arc::clone(&self.context.metrics));
        if door.is_proxy(address.ip()) {
            match timeout_at(deadline, proxy_protocol::read(&mut stream)).await {
                Ok(Ok(Said::Client(client))) => address = client,
                // The proxy's own connections are those of one client, like anybody's.
                Ok(Ok(Said::Local)) => {}
                Ok(Err(Unsaid::Silence)) => return None,
                Ok(Err(Unsaid::Broken(error))) => {
                    tracing::debug!(peer = %address, %error, "a PROXY protocol header broke off");
                    self.record(address, &door, Builtin::ForwardedMalformed);
                    return None;
                }
                Ok(Err(Unsaid::Refused(why))) => {
                    tracing::debug!(peer = %address, why, "a PROXY protocol header is refused");
                    return self.refuse(stream, address, &door, Builtin::ForwardedMalformed).await;
                }
                Err(_) => return self.refuse(stream, address, &door, Builtin::ForwardedMalformed).await,
            }
        }
        seat = match seat.of(address.ip(), limits) {
            Ok(seat) => seat,
            Err(full) => return self.full(stream, address, &door, full).await,
        };
        // Streamed answers must not wait for Nagle.
        let _ = stream.set_nodelay(true);
        let session = |secured, alpn| Session {
            context: Rc::clone(&self.context),
            stack: self.stack.clone(),
            peer: Peer::new(address, door.scheme(), secured),
            wire,
            control,
            alpn,
        };
        let (tls, clients) = match &door.way {
            Way::Clear => {
                let (session, stream) = (session(None, None), Stream::Clear(stream));
                return Some(Admitted { session, stream, _seat: seat, _open: open });
            }
            Way::Tls(tls, clients) => (tls, clients.as_ref()),
            Way::Shut => {
                tracing::error!(peer = %address, "the listener has no usable TLS");
                return None;
            }
        };
        let rule = match timeout_at(deadline, tls.accept(stream)).await {
            Ok(Ok(stream)) => match self.secured(&stream, clients) {
                Ok(secured) => {
                    let protocol = match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => Protocol::Http2,
                        _ => Protocol::Http1,
                    };
                    let session = session(Some(secured), Some(protocol));
                    let stream = Stream::Tls(Box::new(stream));
                    return Some(Admitted { session, stream, _seat: seat, _open: open });
                }
                Err(what) => {
                    tracing::debug!(peer = %address, what, "a client's certificate cannot be read");
                    Some(Builtin::CredentialMalformed)
                }
            },
            Ok(Err(error)) => {
                tracing::debug!(peer = %address, %error, "TLS failed");
                refusal(&error, &door)
            }
            Err(_) => {
                tracing::debug!(peer = %address, "TLS took too long");
                None
            }
        };
        if let Some(rule) = rule {
            self.record(address, &door, rule);
        }
        None
    }

    fn secured(
        &self,
        stream: &TlsStream<TcpStream>,
        clients: Option<&Clients>,
    ) -> Result<Secured, &'static str> {
        let (_, tls) = stream.get_ref();
        let shown = tls.peer_certificates().map(shown).transpose()?;
        Ok(Secured::new(self.doors.key, tls.server_name(), clients, shown))
    }

    /// Records a connection that came to nothing before any request.
    fn record(&self, address: SocketAddr, door: &Door, rule: Builtin) {
        record_head(&self.context, &Peer::new(address, door.scheme(), None), rule, false, b"");
    }

    /// There is no room for the connection.
    async fn full(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        door: &Door,
        full: Full,
    ) -> Option<Admitted<S>> {
        tracing::debug!(peer = %address, limit = full.limit(), "a connection was closed: the limit is reached");
        self.refuse(stream, address, door, Builtin::FaultOverload).await
    }

    /// Records that the connection is not taken, and says so where that can be said without TLS.
    async fn refuse(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        door: &Door,
        rule: Builtin,
    ) -> Option<Admitted<S>> {
        // In TLS nothing can be said before the handshake.
        let open = door.scheme() == Scheme::Http;
        let answer = turn_away(&self.context, &Peer::new(address, door.scheme(), None), rule, open);
        if open {
            let _ = timeout(FAREWELL, farewell(stream, &answer)).await;
        }
        None
    }
}

/// Takes a connection, unless the descriptors that are left are for the upstreams of those who are here.
async fn accept(listener: &TcpListener, admission: &Admission) -> io::Result<(TcpStream, SocketAddr)> {
    if admission.is_crowded() {
        return Err(io::Error::other("the descriptors that are left are for upstreams"));
    }
    listener.accept().await
}

/// Takes whatever comes, for ever. What cannot be accepted, for want of descriptors most likely, stays
/// in the system's queue and is tried again after a pause: at once would spin a core.
async fn accept_all<C>(mut accept: impl AsyncFnMut() -> io::Result<C>, mut take: impl FnMut(C)) {
    let mut warned = None;
    loop {
        match accept().await {
            Ok(connection) => take(connection),
            Err(error) => {
                let now = Instant::now();
                if warned.is_none_or(|at| now - at > Duration::from_secs(5)) {
                    tracing::warn!(%error, "connections cannot be accepted");
                    warned = Some(now);
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// The rule by which a handshake that failed is recorded, if it was a refusal and not an accident: a
/// certificate that does not count, or a PROXY protocol header from a stranger.
fn refusal(error: &io::Error, door: &Door) -> Option<Builtin> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match error {
        rustls::Error::InvalidMessage(_) if door.proxies.is_some() => Some(Builtin::Malformed),
        error => certificate_rule(error),
    }
}

/// How long nobody is accepted after that could not be done.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a connection that is not taken may take to read why.
const FAREWELL: Duration = Duration::from_millis(100);

/// Answers whatever the client asks. What it has sent is read, because closing a connection with
/// unread bytes takes the answer back.
async fn farewell(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    while stream.read(&mut [0; 4096]).await? > 0 {}
    Ok(())
}

/// Counts an open connection in the gauge.
struct Open(Arc<Metrics>);

impl Open {
    fn new(metrics: Arc<Metrics>) -> Open {
        metrics.connections.inc();
        Open(metrics)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn what_cannot_be_accepted_is_tried_again_in_peace() {
        let (mut tried, mut taken) = (0, Vec::new());
        let accept = async || {
            tried += 1;
            if tried % 10 == 0 { Ok(tried) } else { Err(io::Error::from_raw_os_error(libc::EMFILE)) }
        };
        let _ =
            timeout(Duration::from_secs(1), accept_all(accept, |connection| taken.push(connection))).await;
        assert_eq!(taken, [10, 20]);
        assert!(tried < 25, "{tried} times in a second");
    }
}
