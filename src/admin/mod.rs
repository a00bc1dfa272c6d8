//! The listener for operators: health, metrics, the API and the page.
//!
//! Meant for loopback. Reading is open there, but only to a loopback `Host` and without a foreign
//! `Origin`, so that a web page cannot read it through a browser; every change needs the token, or
//! comes over the socket that only the gateway's own user may open. Nothing here is on the way of a
//! request.

mod access;
mod answer;
mod bans;
mod changes;
mod connection;
mod explain;
mod input;
mod live;
mod members;
mod openapi;
mod oracle;
mod page;
mod parameter;
mod patience;
mod query;
mod records;
mod reserve;
mod respond;
mod rules;
mod samples;
mod seats;
mod socket;
mod status;
mod timer;
mod token;
mod verbose;

pub(crate) use answer::CHALLENGE;
pub(crate) use oracle::{Again, Earlier, Oracle, Question};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use self::access::{Access, Origin};
use self::changes::Changes;
use self::reserve::Reserve;
use self::samples::Samples;
use self::seats::{Seat, Seats};
use self::timer::Timer;
use crate::audit::{Log, Recent};
use crate::config;
use crate::layers::Trails;
use crate::metrics::Metrics;
use crate::serve::{BanDesk, Installer, Lifecycle, StartError};

/// What the admin listener can tell and do.
#[derive(Debug)]
pub(crate) struct AdminState {
    installer: Arc<Installer>,
    metrics: Arc<Metrics>,
    lifecycle: watch::Receiver<Lifecycle>,
    recent: Arc<Recent>,
    /// Whether there is a decision log at all.
    log_is_on: bool,
    bans: Arc<BanDesk>,
    trails: Arc<Trails>,
    /// Ends the keeping of trails.
    trails_end: Timer,
    changes: Changes,
    /// Held by whoever searches the files of the decision log.
    searching: Semaphore,
    samples: Samples,
    oracle: Box<dyn Oracle>,
    started: Timestamp,
    clock: Instant,
}

/// The bound listener.
#[derive(Debug)]
pub(crate) struct Admin {
    listener: TcpListener,
    socket: Option<UnixListener>,
    reserve: Arc<Reserve>,
    access: Arc<Access>,
    state: Arc<AdminState>,
}

/// A connection that was accepted.
enum Accepted {
    Address((TcpStream, SocketAddr)),
    Socket(UnixStream),
}

impl AdminState {
    /// For a server that starts now. From now on its recent decisions are kept.
    pub(crate) fn new(
        installer: Arc<Installer>,
        metrics: Arc<Metrics>,
        lifecycle: watch::Receiver<Lifecycle>,
        log: &Log,
        bans: Arc<BanDesk>,
        oracle: Box<dyn Oracle>,
    ) -> AdminState {
        let recent = log.recent();
        recent.keep();
        AdminState {
            installer,
            metrics,
            lifecycle,
            recent,
            log_is_on: log.is_on(),
            bans,
            trails: Arc::default(),
            trails_end: Timer::default(),
            changes: Changes::default(),
            searching: Semaphore::new(1),
            samples: Samples::default(),
            oracle,
            started: Timestamp::now(),
            clock: Instant::now(),
        }
    }

    /// Looks at the metrics.
    fn sample(&self) {
        self.samples.take(&self.metrics.render(), Timestamp::now());
    }
}

impl Admin {
    /// Binds the address and reads the token, or makes one.
    pub(crate) async fn bind(settings: &config::Admin, state: Arc<AdminState>) -> Result<Admin, StartError> {
        let unusable = |error: io::Error| StartError::listen(settings.listen, error);
        let listener = TcpListener::bind(settings.listen).await.map_err(unusable)?;
        let token =
            settings.token_file.as_deref().map(token::Token::load).transpose().map_err(StartError::Token)?;
        let address = listener.local_addr().map_err(unusable)?;
        let socket = match settings.socket.as_deref() {
            Some(path) => {
                let bound = socket::bind(path).await;
                Some(bound.map_err(|error| StartError::Socket { path: path.to_owned(), error })?)
            }
            None => None,
        };
        tracing::info!(%address, "admin listening");
        let access = Access {
            token,
            metrics_need_token: settings.metrics_need_token,
            loopback: address.ip().is_loopback(),
        };
        Ok(Admin { listener, socket, reserve: Reserve::new(), access: Arc::new(access), state })
    }

    /// Serves until the process ends.
    pub(crate) async fn run(self) {
        let sampled = Arc::clone(&self.state);
        let sampling = async move {
            let mut ticks = tokio::time::interval(samples::EVERY);
            loop {
                ticks.tick().await;
                sampled.sample();
            }
        };
        tokio::join!(sampling, self.accept());
    }

    async fn accept(&self) {
        let (seats, socket_seats) = (Seats::new(seats::LISTENER), Seats::new(seats::SOCKET));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted.map(Accepted::Address),
                accepted = socket::accept(self.socket.as_ref()) => accepted.map(Accepted::Socket),
            };
            let Ok(accepted) = accepted else {
                if !self.reserve.give() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                continue;
            };
            match accepted {
                Accepted::Address((stream, peer)) => {
                    let seat = seats.take(Some(peer.ip()));
                    self.serve(stream, Origin::Address(peer), seat);
                }
                Accepted::Socket(stream) => {
                    let user = stream.peer_cred().ok().map(|cred| cred.uid());
                    self.serve(stream, Origin::Socket(user), socket_seats.take(None));
                }
            }
            // Who has come is heard before the next one does: many who come at once must not push him
            // out before he has been asked what he wants.
            tokio::task::yield_now().await;
        }
    }

    /// Serves one connection, beside the others, if there is a seat for it.
    fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        origin: Origin,
        seat: Option<Arc<Seat>>,
    ) {
        let Some(seat) = seat else {
            tracing::warn!(?origin, "all seats at the admin listener are taken by operators");
            return;
        };
        let (access, state) = (Arc::clone(&self.access), Arc::clone(&self.state));
        let reserve = Arc::clone(&self.reserve);
        tokio::spawn(async move {
            let respond = move |request, seat: Arc<Seat>| {
                let (access, state) = (Arc::clone(&access), Arc::clone(&state));
                async move { respond::respond(&access, &state, origin, &seat, request).await }
            };
            if let Err(error) = connection::serve(stream, seat, respond).await {
                tracing::debug!(?origin, %error, "an admin connection failed");
            }
            // The connection's descriptor is free again, and nobody has asked for it yet.
            reserve.refill();
        });
    }
}
