//! From a server to a connected stream, in the time there is.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::announce;
use super::fault::Fault;
use super::io::UpstreamIo;
use super::resolve::Resolver;
use crate::config::Upstream;
use crate::config::raw::ServerText;
use crate::config::upstream::Built;
use crate::config::upstream::raw::{ProxyProtocolWord, Transport};

/// How a server is connected to.
#[derive(Debug)]
pub(super) struct Dialer {
    way: Way,
    announce: Option<ProxyProtocolWord>,
}

#[derive(Debug)]
enum Way {
    Unix(String),
    Tcp(Resolver),
    Http2(Resolver),
    Tls { resolver: Resolver, name: Option<ServerName<'static>>, built: Option<Built> },
    Nowhere,
}

/// Which protocols will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What the server likes best.
    Any,
    /// HTTP/1.1, because of what is asked for.
    Http1,
}

/// A connected stream and the protocol on it.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) io: UpstreamIo,
    pub(super) http2: bool,
}

impl Dialer {
    /// For a server of an upstream.
    pub(super) fn new(server: &ServerText, upstream: &Upstream) -> Dialer {
        let way = match server {
            ServerText::Echo => Way::Nowhere,
            ServerText::Unix { path } => Way::Unix(path.clone()),
            ServerText::Tcp { transport, host, port, .. } => {
                let resolver = Resolver::new(host, *port, upstream.resolve);
                match transport {
                    Transport::Http => Way::Tcp(resolver),
                    Transport::H2c => Way::Http2(resolver),
                    Transport::Https => {
                        let tls = upstream.tls.as_ref();
                        let name = tls.and_then(|tls| tls.sni.clone()).unwrap_or_else(|| host.clone());
                        Way::Tls {
                            resolver,
                            name: ServerName::try_from(name).ok(),
                            built: tls.and_then(|tls| tls.built.clone()),
                        }
                    }
                }
            }
        };
        Dialer { way, announce: upstream.proxy_protocol }
    }

    /// Whether a connection may serve several requests: not once it has said whose it is.
    pub(super) fn may_share(&self) -> bool {
        self.announce.is_none()
    }

    /// Whether HTTP/2 may be spoken; whether it is shows once connected.
    pub(super) fn may_speak_http2(&self) -> bool {
        matches!(self.way, Way::Http2(_) | Way::Tls { .. })
    }

    /// Whether HTTP/2 alone is spoken.
    pub(super) fn speaks_only_http2(&self) -> bool {
        matches!(self.way, Way::Http2(_))
    }

    /// The scheme of what is asked over HTTP/2.
    pub(super) fn scheme(&self) -> http::uri::Scheme {
        match self.way {
            Way::Tls { .. } => http::uri::Scheme::HTTPS,
            Way::Unix(_) | Way::Tcp(_) | Way::Http2(_) | Way::Nowhere => http::uri::Scheme::HTTP,
        }
    }

    /// Connects within `patience`. `client`: whom the PROXY protocol announces.
    pub(super) async fn dial(
        &self,
        patience: Duration,
        client: SocketAddr,
        wanted: Wanted,
    ) -> Result<Dialled, Fault> {
        let deadline = Instant::now() + patience;
        match &self.way {
            Way::Nowhere => Err(Fault::Connect),
            Way::Unix(path) => {
                let connected = timeout_at(deadline, UnixStream::connect(path)).await;
                let stream = connected.map_err(|_| Fault::ConnectTimeout)?;
                let mut stream = stream.map_err(|error| Fault::from_connect(&error))?;
                self.announce(&mut stream, deadline, client, None).await?;
                Ok(Dialled { io: UpstreamIo::Unix(stream), http2: false })
            }
            Way::Tcp(resolver) => {
                let stream = self.tcp(resolver, deadline, client).await?;
                Ok(Dialled { io: UpstreamIo::Tcp(stream), http2: false })
            }
            Way::Http2(resolver) => {
                let stream = self.tcp(resolver, deadline, client).await?;
                Ok(Dialled { io: UpstreamIo::Tcp(stream), http2: true })
            }
            Way::Tls { resolver, name, built } => {
                // A configuration that no file was read for has nobody to believe.
                let (Some(name), Some(built)) = (name, built) else { return Err(Fault::Tls) };
                let either = wanted == Wanted::Any && self.may_share();
                let config = if either { &built.either } else { &built.http1 };
                let stream = self.tcp(resolver, deadline, client).await?;
                tls(stream, config, name, deadline).await
            }
        }
    }

    /// Tries the addresses one after the other; each gets its share of the time that is left.
    async fn tcp(
        &self,
        resolver: &Resolver,
        deadline: Instant,
        client: SocketAddr,
    ) -> Result<TcpStream, Fault> {
        let resolved = timeout_at(deadline, resolver.addresses()).await;
        let addresses = resolved.map_err(|_| Fault::Dns)??;
        let mut fault = Fault::Dns;
        for (at, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
            let now = Instant::now();
            let until = now + deadline.saturating_duration_since(now) / left.max(1);
            match timeout_at(until, TcpStream::connect(address)).await {
                Ok(Ok(mut stream)) => {
                    // A streamed body must not wait for Nagle.
                    let _ = stream.set_nodelay(true);
                    let local = self.announce.and_then(|_| stream.local_addr().ok());
                    self.announce(&mut stream, deadline, client, local).await?;
                    return Ok(stream);
                }
                Ok(Err(error)) => fault = Fault::from_connect(&error),
                Err(_) => fault = Fault::ConnectTimeout,
            }
        }
        Err(fault)
    }

    async fn announce(
        &self,
        stream: &mut (impl AsyncWriteExt + Unpin),
        deadline: Instant,
        client: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Result<(), Fault> {
        let Some(version) = self.announce else { return Ok(()) };
        let header = announce::header(version, client, local);
        within(deadline, stream.write_all(&header)).await?.map_err(|_| Fault::Connect)
    }
}

async fn tls(
    stream: TcpStream,
    config: &Arc<ClientConfig>,
    name: &ServerName<'static>,
    deadline: Instant,
) -> Result<Dialled, Fault> {
    let connecting = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream);
    let stream = within(deadline, connecting).await?.map_err(|error| Fault::from_tls(&error))?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Dialled { io: UpstreamIo::Tls(Box::new(stream)), http2 })
}

async fn within<T>(deadline: Instant, future: impl Future<Output = T>) -> Result<T, Fault> {
    timeout_at(deadline, future).await.map_err(|_| Fault::ConnectTimeout)
}
