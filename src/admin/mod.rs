//! The listener for operators: health, metrics, status, reload.
//!
//! Meant for loopback. Reading is open there, but only to a loopback `Host` and without a foreign
//! `Origin`, so that a web page cannot read it through a browser; every change needs the token.

mod history;
mod reserve;
mod respond;
mod token;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use self::reserve::Reserve;
use crate::config;
use crate::metrics::Metrics;
use crate::serve::{Installer, Lifecycle, StartError};

/// What the admin listener can tell and do.
#[derive(Debug)]
pub(crate) struct AdminState {
    installer: Arc<Installer>,
    metrics: Arc<Metrics>,
    lifecycle: watch::Receiver<Lifecycle>,
    started: Timestamp,
    clock: Instant,
}

/// The bound listener.
#[derive(Debug)]
pub(crate) struct Admin {
    listener: TcpListener,
    reserve: Arc<Reserve>,
    access: Arc<Access>,
    state: Arc<AdminState>,
}

/// Who may do what.
#[derive(Debug)]
struct Access {
    token: Option<token::Token>,
    metrics_need_token: bool,
    loopback: bool,
}

/// More would be no operator.
const MAX_CONNECTIONS: usize = 64;

impl AdminState {
    /// For a server that starts now.
    pub(crate) fn new(
        installer: Arc<Installer>,
        metrics: Arc<Metrics>,
        lifecycle: watch::Receiver<Lifecycle>,
    ) -> AdminState {
        AdminState { installer, metrics, lifecycle, started: Timestamp::now(), clock: Instant::now() }
    }
}

impl Admin {
    /// Binds the address and reads the token, or makes one.
    pub(crate) async fn bind(settings: &config::Admin, state: Arc<AdminState>) -> Result<Admin, StartError> {
        let unusable = |error: io::Error| StartError::Listen { address: settings.listen, error };
        let listener = TcpListener::bind(settings.listen).await.map_err(unusable)?;
        let token =
            settings.token_file.as_deref().map(token::Token::load).transpose().map_err(StartError::Token)?;
        let address = listener.local_addr().map_err(unusable)?;
        tracing::info!(%address, "admin listening");
        let access = Access {
            token,
            metrics_need_token: settings.metrics_need_token,
            loopback: address.ip().is_loopback(),
        };
        Ok(Admin { listener, reserve: Reserve::new(), access: Arc::new(access), state })
    }

    /// Serves until the process ends.
    pub(crate) async fn run(self) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else {
                if !self.reserve.give() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                continue;
            };
            let Ok(seat) = Arc::clone(&room).try_acquire_owned() else { continue };
            let (access, state) = (Arc::clone(&self.access), Arc::clone(&self.state));
            let reserve = Arc::clone(&self.reserve);
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let (access, state) = (Arc::clone(&access), Arc::clone(&state));
                    async move { Ok::<_, Infallible>(respond::respond(&access, &state, peer, request).await) }
                });
                let mut server = http1::Builder::new();
                server
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(10))
                    .max_buf_size(16 * 1024);
                let served = server.serve_connection(TokioIo::new(stream), service).await;
                if let Err(error) = served {
                    tracing::debug!(%peer, %error, "an admin connection failed");
                }
                // The connection's descriptor is free again, and nobody has asked for it yet.
                reserve.refill();
                drop(seat);
            });
        }
    }
}

impl Access {
    /// Whether a caller may read: on loopback only with a loopback `Host` and no foreign `Origin`
    /// (DNS rebinding, cross-site requests); elsewhere with the token.
    fn may_read(&self, peer: SocketAddr, headers: &http::HeaderMap) -> bool {
        if self.has_token(headers) {
            return true;
        }
        let local = |value: &http::HeaderValue| {
            let text = value.to_str().unwrap_or("");
            let authority = text.rsplit_once("//").map_or(text, |(_, authority)| authority);
            crate::facts::Authority::parse_str(authority).is_ok_and(|authority| {
                let host = authority.host().trim_matches(['[', ']']);
                host == "localhost"
                    || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            })
        };
        self.loopback
            && peer.ip().to_canonical().is_loopback()
            && headers.get(http::header::HOST).is_some_and(local)
            && headers.get(http::header::ORIGIN).is_none_or(local)
    }

    /// Whether a caller shows the token.
    fn has_token(&self, headers: &http::HeaderMap) -> bool {
        let shown = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
        self.token.as_ref().zip(shown).is_some_and(|(token, shown)| token.is(shown))
    }
}
