//! One worker thread: its own runtime, its own listening sockets, its own connections.
//!
//! A request never leaves the thread that accepted it, so nothing of it is locked or sent.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::connection::{Protocol, Session};
use super::drain::{Ask, Connections};
use super::listen::{Admission, Full};
use super::stack::stack;
use super::wire::Wire;
use crate::facts::Scheme;
use crate::layers::{Context, Peer, turn_away};

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lifecycle {
    /// Serving.
    Running,
    /// Serving, but clients are asked to leave, and health checks say so.
    Leaving,
    /// Not accepting; what is in flight may end.
    Finishing,
    /// What is still in flight is cut.
    Cutting,
}

/// A bound socket of one thread.
pub(super) struct Bound {
    pub(super) socket: std::net::TcpListener,
    pub(super) tls: Option<Arc<ServerConfig>>,
}

/// What a worker is given.
pub(super) struct Worker {
    pub(super) listeners: Vec<Bound>,
    pub(super) admission: Arc<Admission>,
    pub(super) lifecycle: watch::Receiver<Lifecycle>,
}

impl Worker {
    /// Serves until the end of the process. Runs on the thread's own local runtime.
    pub(super) async fn run(self, context: Rc<Context>) {
        let Worker { listeners, admission, mut lifecycle } = self;
        let connections = Rc::new(Connections::default());
        let mut accepting = Vec::new();
        for bound in listeners {
            let acceptor = Acceptor {
                context: Rc::clone(&context),
                connections: Rc::clone(&connections),
                admission: Arc::clone(&admission),
                tls: bound.tls.map(TlsAcceptor::from),
            };
            match TcpListener::from_std(bound.socket) {
                Ok(listener) => accepting.push(tokio::task::spawn_local(acceptor.accept(listener))),
                Err(error) => tracing::error!(%error, "a listening socket cannot be used"),
            }
        }
        let housekeeping = tokio::task::spawn_local(housekeeping(Rc::clone(&context)));
        until(&mut lifecycle, Lifecycle::Leaving).await;
        context.draining.set(true);
        until(&mut lifecycle, Lifecycle::Finishing).await;
        for task in accepting {
            task.abort();
            let _ = task.await;
        }
        connections.ask(Ask::Finish);
        let cut = async {
            until(&mut lifecycle, Lifecycle::Cutting).await;
            connections.ask(Ask::Cut);
            // A cut task needs one more turn to end.
            let _ = timeout(Duration::from_secs(1), connections.all_closed()).await;
        };
        tokio::select! {
            () = connections.all_closed() => {}
            () = cut => {}
        }
        housekeeping.abort();
        if context.log.close().await.is_err() {
            tracing::error!("the decision log did not take its last records");
        }
    }
}

async fn until(lifecycle: &mut watch::Receiver<Lifecycle>, stage: Lifecycle) {
    // An error means that the sender is gone, and with it the process.
    let _ = lifecycle.wait_for(|now| *now >= stage).await;
}

async fn housekeeping(context: Rc<Context>) {
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        context.installed().pools.borrow().expire();
    }
}

struct Acceptor {
    context: Rc<Context>,
    connections: Rc<Connections>,
    admission: Arc<Admission>,
    tls: Option<TlsAcceptor>,
}

impl Acceptor {
    async fn accept(self, listener: TcpListener) {
        let acceptor = Rc::new(self);
        let mut warned = None;
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    tokio::task::spawn_local(Rc::clone(&acceptor).connection(stream, address));
                }
                Err(error) => {
                    // Out of descriptors, most likely: accepting again at once would spin a core.
                    let now = Instant::now();
                    if warned.is_none_or(|at| now - at > Duration::from_secs(5)) {
                        tracing::warn!(%error, "connections cannot be accepted");
                        warned = Some(now);
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn connection(self: Rc<Self>, stream: TcpStream, address: SocketAddr) {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let installed = self.context.installed();
        let settings = &installed.snapshot.settings;
        let scheme = if self.tls.is_some() { Scheme::Https } else { Scheme::Http };
        let _seat = match self.admission.enter(address.ip(), settings.connections) {
            Ok(seat) => seat,
            Err(full) => {
                let limit = match full {
                    Full::Total => "limits.connections",
                    Full::Address => "limits.connections_per_address",
                };
                tracing::debug!(peer = %address, limit, "a connection was closed: the limit is reached");
                let answer = turn_away(&self.context, &Peer::new(address, scheme));
                if self.tls.is_none() {
                    let _ = timeout(FAREWELL, farewell(stream, &answer)).await;
                }
                return;
            }
        };
        let metrics = self.context.handles.borrow().shared();
        let _open = Open::new(&metrics.connections);
        // Streamed answers must not wait for Nagle.
        let _ = stream.set_nodelay(true);
        let deadline = Instant::now() + settings.timeouts.first_byte;
        let wire = Wire::new(settings.timeouts);
        drop(installed);
        let session = |alpn| Session {
            context: Rc::clone(&self.context),
            stack: stack(&self.context),
            peer: Peer::new(address, scheme),
            wire,
            control: self.connections.add(),
            alpn,
        };
        let Some(tls) = &self.tls else { return session(None).run(stream).await };
        match timeout_at(deadline, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let protocol = match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => Protocol::Http2,
                    _ => Protocol::Http1,
                };
                session(Some(protocol)).run(stream).await;
            }
            Ok(Err(error)) => tracing::debug!(peer = %address, %error, "TLS failed"),
            Err(_) => tracing::debug!(peer = %address, "TLS took too long"),
        }
    }
}

/// How long a connection for which there is no room may take to read why.
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
