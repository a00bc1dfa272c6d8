//! From a connection that comes to one that is served: room for it, who it is from, TLS.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::server::TlsStream;

use super::connection::{Protocol, Session};
use super::door::{Door, Doors, Way};
use super::drain::{Connections, Control};
use super::listen::{Admission, Full};
use super::proxy_protocol::{self, Said, Unsaid};
use super::shown::shown;
use super::stack::stack;
use super::wire::Wire;
use crate::config::Clients;
use crate::decision::Builtin;
use crate::facts::Scheme;
use crate::layers::{Context, Peer, Secured, certificate_rule, record_head, turn_away};

/// Takes the connections of one listening socket.
pub(super) struct Acceptor {
    pub(super) context: Rc<Context>,
    pub(super) connections: Rc<Connections>,
    pub(super) admission: Arc<Admission>,
    pub(super) doors: Doors,
}

impl Acceptor {
    /// Accepts until it is told to stop, and then still those who came before that.
    pub(super) async fn accept(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let acceptor = Rc::new(self);
        let take = |(stream, address)| {
            // Counted from here on, so that the end of the process waits for it.
            let control = acceptor.connections.add();
            tokio::task::spawn_local(Rc::clone(&acceptor).connection(stream, address, control));
        };
        tokio::select! {
            () = accept_all(async || listener.accept().await, take) => {}
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

    async fn connection(self: Rc<Self>, mut stream: TcpStream, address: SocketAddr, control: Rc<Control>) {
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
        let metrics = self.context.handles.borrow().shared();
        let _open = Open::new(&metrics.connections);
        if door.is_proxy(address.ip()) {
            match timeout_at(deadline, proxy_protocol::read(&mut stream)).await {
                Ok(Ok(Said::Client(client))) => address = client,
                // The proxy's own connections are those of one client, like anybody's.
                Ok(Ok(Said::Local)) => {}
                Ok(Err(Unsaid::Silence)) => return,
                Ok(Err(Unsaid::Broken(error))) => {
                    tracing::debug!(peer = %address, %error, "a PROXY protocol header broke off");
                    return record_head(
                        &self.context,
                        &Peer::new(address, door.scheme(), None),
                        Builtin::ForwardedMalformed,
                        false,
                        b"",
                    );
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
        let _seat = seat;
        // Streamed answers must not wait for Nagle.
        let _ = stream.set_nodelay(true);
        let session = |control, secured, alpn| Session {
            context: Rc::clone(&self.context),
            stack: stack(&self.context),
            peer: Peer::new(address, door.scheme(), secured),
            wire,
            control,
            alpn,
        };
        let (tls, clients) = match &door.way {
            Way::Clear => return session(control, None, None).run(stream).await,
            Way::Tls(tls, clients) => (tls, clients.as_ref()),
            Way::Shut => return tracing::error!(peer = %address, "the listener has no usable TLS"),
        };
        let rule = match timeout_at(deadline, tls.accept(stream)).await {
            Ok(Ok(stream)) => match self.secured(&stream, clients) {
                Ok(secured) => {
                    let protocol = match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => Protocol::Http2,
                        _ => Protocol::Http1,
                    };
                    return session(control, Some(secured), Some(protocol)).run(stream).await;
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
            record_head(&self.context, &Peer::new(address, door.scheme(), None), rule, false, b"");
        }
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

    /// There is no room for the connection.
    async fn full(&self, stream: TcpStream, address: SocketAddr, door: &Door, full: Full) {
        tracing::debug!(peer = %address, limit = full.limit(), "a connection was closed: the limit is reached");
        self.refuse(stream, address, door, Builtin::FaultOverload).await;
    }

    /// Records that the connection is not taken, and says so where that can be said without TLS.
    async fn refuse(&self, stream: TcpStream, address: SocketAddr, door: &Door, rule: Builtin) {
        let answer = turn_away(&self.context, &Peer::new(address, door.scheme(), None), rule);
        if door.scheme() == Scheme::Http {
            let _ = timeout(FAREWELL, farewell(stream, &answer)).await;
        }
    }
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
struct Open<'a>(&'a prometheus_client::metrics::gauge::Gauge);

impl Open<'_> {
    fn new(gauge: &prometheus_client::metrics::gauge::Gauge) -> Open<'_> {
        gauge.inc();
        Open(gauge)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.dec();
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
