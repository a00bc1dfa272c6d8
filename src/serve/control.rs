//! The main thread: starts the workers, listens to signals, and brings everything to its end.

use std::hash::RandomState;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::holder::Holder;
use super::listen::{Admission, bind};
use super::memory::Shares;
use super::reload::{Installer, Trigger};
use super::watch::watch as watch_files;
use super::worker::{Bound, Lifecycle, Worker};
use super::{descriptors, keys, memory, rises, tls};
use crate::audit::{Log, SinkSettings};
use crate::config::Settings;
use crate::layers::{Buffers, Context, Shared};
use crate::metrics::Metrics;
use crate::policy::authn::{Bounds, TokenCache};

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}{holder}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
        /// Who listens there.
        holder: Holder,
    },
    /// The admin socket cannot be made.
    #[error("cannot listen on `{}`: {error}", path.display())]
    Socket {
        /// Where.
        path: std::path::PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no key for the tickets of TLS sessions.
    #[error("TLS cannot be offered: {0}")]
    Tls(#[from] rustls::Error),
    /// The decision log cannot be written.
    #[error("the decision log{} cannot be written: {error}; `[log] sink` says where it goes", at.as_ref().map(|path| format!(" `{}`", path.display())).unwrap_or_default())]
    Log {
        /// Where, if it is a file.
        at: Option<std::path::PathBuf>,
        /// Why.
        error: io::Error,
    },
    /// The book of bans cannot be used.
    #[error("the bans cannot be used: {0}")]
    Bans(io::Error),
    /// The admin listener's token file cannot be used.
    #[error("the admin token cannot be used: {0}")]
    Token(io::Error),
    /// The system refuses threads or runtimes.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// An address cannot be listened on.
    pub(crate) fn listen(address: SocketAddr, error: io::Error) -> StartError {
        let holder = Holder::of(address, &error);
        StartError::Listen { address, error, holder }
    }
}

/// Serves until the process is told to end. `beside` starts what runs on the main thread beside the
/// server (the admin listener), once the server may start.
pub(crate) fn serve<B, F>(
    installer: Arc<Installer>,
    metrics: Arc<Metrics>,
    beside: B,
) -> Result<ExitCode, StartError>
where
    B: AsyncFnOnce(watch::Receiver<Lifecycle>, Arc<Log>) -> Result<F, StartError>,
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(installer, metrics, beside))
}

async fn run<B, F>(
    installer: Arc<Installer>,
    metrics: Arc<Metrics>,
    beside: B,
) -> Result<ExitCode, StartError>
where
    B: AsyncFnOnce(watch::Receiver<Lifecycle>, Arc<Log>) -> Result<F, StartError>,
    F: Future<Output = ()> + Send + 'static,
{
    // Signals are caught before anything listens, so that none is lost.
    let mut signals = Signals::new()?;
    let settings = Arc::clone(&installer.current().load().settings);
    let threads = match settings.threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let room = descriptors::take(settings.connections);
    let memory = memory::take(&settings);
    let (lifecycle, watching) = watch::channel(Lifecycle::Running);
    let log = Log::open(&settings.log).map_err(|error| log_error(&settings.log.sink, error))?;
    let mut bound = bind_all(&settings, threads)?;
    let beside = beside(watching.clone(), Arc::clone(&log)).await?;
    #[cfg(feature = "otlp")]
    let (spans, telemetry) = telemetry(&installer, &settings)?;
    let shared = shared(&installer, &metrics, threads, memory)?;
    #[cfg(feature = "otlp")]
    let shared = Shared { spans, ..shared };
    let admission = Admission::new(room, memory.connections);
    let tickets = tls::tickets()?;
    let mut workers = Vec::with_capacity(threads);
    for index in 0..threads {
        let worker = Worker {
            listeners: bound.pop().unwrap_or_default(),
            admission: Arc::clone(&admission),
            tickets: Arc::clone(&tickets),
            lifecycle: watching.clone(),
            checks_health: index == 0,
        };
        let (shared, log) = (shared.clone(), Arc::clone(&log));
        workers.push(spawn(index, move || {
            let context = Context::new(&shared, log.handle());
            worker.run(context)
        })?);
    }
    let beside = tokio::spawn(beside);
    let losses = tokio::spawn(count_losses(Arc::clone(&log), Arc::clone(&metrics)));
    let files = tokio::spawn(watch_files(Arc::clone(&installer)));
    let clearing = tokio::spawn(clear(Arc::clone(&installer)));
    let rises = tokio::spawn(rises::watch(Arc::clone(&installer), Arc::clone(&metrics)));
    let fetching = tokio::spawn(keys::keep(Arc::clone(&installer), shared.keys_wanted, Arc::clone(&metrics)));
    signals.until_term(&installer, &log).await;

    tracing::info!("ending: clients are asked to leave");
    lifecycle.send_replace(Lifecycle::Leaving);
    let quit = signals.or_quit(sleep(settings.timeouts.drain_delay)).await;
    lifecycle.send_replace(Lifecycle::Finishing);
    let joined =
        tokio::task::spawn_blocking(move || workers.into_iter().map(JoinHandle::join).all(|end| end.is_ok()));
    tokio::pin!(joined);
    let patience = if quit { Duration::ZERO } else { settings.timeouts.drain };
    let clean = tokio::select! {
        joined = timeout(patience, &mut joined) => joined.ok(),
        () = signals.quit() => None,
    };
    let clean = match clean {
        Some(clean) => clean.unwrap_or(false),
        None => {
            tracing::warn!("what is still in flight is cut");
            lifecycle.send_replace(Lifecycle::Cutting);
            joined.await.unwrap_or(false)
        }
    };
    #[cfg(feature = "otlp")]
    if let Some(telemetry) = telemetry {
        telemetry.end().await;
    }
    losses.abort();
    files.abort();
    clearing.abort();
    rises.abort();
    fetching.abort();
    beside.abort();
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::from(70) })
}

/// What all threads share besides the sockets.
fn log_error(sink: &SinkSettings, error: io::Error) -> StartError {
    let at = match sink {
        SinkSettings::File { path, .. } => Some(path.into()),
        SinkSettings::Stdout | SinkSettings::None => None,
    };
    StartError::Log { at, error }
}

fn shared(
    installer: &Installer,
    metrics: &Arc<Metrics>,
    threads: usize,
    memory: Shares,
) -> Result<Shared, StartError> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret)
        .map_err(|_| StartError::System(io::Error::other("no random bytes")))?;
    Ok(Shared {
        current: installer.current(),
        metrics: Arc::clone(metrics),
        tokens: Arc::new(TokenCache::new(TOKENS, RandomState::new(), &secret)),
        keys_wanted: Arc::default(),
        passwords: Arc::new(Semaphore::new(threads * 2)),
        collections: Arc::default(),
        buffers: Buffers::new(memory.bodies),
        board: installer.board(),
        #[cfg(feature = "otlp")]
        spans: None,
    })
}

/// Begins to send traces and metrics, if the configuration says where to.
#[cfg(feature = "otlp")]
fn telemetry(
    installer: &Arc<Installer>,
    settings: &crate::config::Settings,
) -> Result<(Option<crate::otlp::Spans>, Option<crate::otlp::Exporting>), StartError> {
    let Some(otlp) = &settings.otlp else { return Ok((None, None)) };
    let metrics = otlp.interval.map(|every| {
        let installer = Arc::clone(installer);
        (every, Box::new(move || installer.exposition()) as crate::otlp::Exposition)
    });
    let (spans, exporting) = crate::otlp::start(otlp.endpoint.clone(), &otlp.service, otlp.sample, metrics)
        .map_err(|error| StartError::System(io::Error::other(error)))?;
    Ok((spans, Some(exporting)))
}

/// How many verified credentials are remembered.
const TOKENS: Bounds = Bounds { entries: 100_000, bytes: 64 << 20 };

/// Tells the metric how many records the log has given up so far.
async fn count_losses(log: Arc<Log>, metrics: Arc<Metrics>) {
    let mut counted = 0;
    loop {
        let lost = log.lost();
        metrics.log_lost.inc_by(lost - counted);
        counted = lost;
        sleep(Duration::from_millis(500)).await;
    }
}

/// Gives up policies that were replaced, once no thread judges by them.
async fn clear(installer: Arc<Installer>) {
    loop {
        sleep(Duration::from_secs(1)).await;
        if installer.is_cluttered() {
            let installer = Arc::clone(&installer);
            let _ = tokio::task::spawn_blocking(move || installer.clear()).await;
        }
    }
}

/// The sockets of each thread.
fn bind_all(settings: &Settings, threads: usize) -> Result<Vec<Vec<Bound>>, StartError> {
    let mut bound: Vec<Vec<Bound>> = (0..threads).map(|_| Vec::new()).collect();
    for (listener, key) in settings.listeners.iter().zip(settings.listener_keys()) {
        let sockets =
            bind(listener.address, threads).map_err(|error| StartError::listen(listener.address, error))?;
        let address = sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(listener.address);
        let scheme = if listener.tls.is_some() { "https" } else { "http" };
        tracing::info!(%address, scheme, "listening");
        for (thread, socket) in bound.iter_mut().zip(sockets) {
            thread.push(Bound { socket, key });
        }
    }
    Ok(bound)
}

/// Starts a worker thread with a runtime of its own.
fn spawn<F, W>(index: usize, work: W) -> io::Result<JoinHandle<()>>
where
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let runtime = move || Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    thread::Builder::new().name(format!("worker-{index}")).spawn(move || match runtime() {
        Ok(runtime) => runtime.block_on(async { work().await }),
        Err(error) => tracing::error!(%error, "a worker thread has no runtime"),
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Reloads at every SIGHUP until SIGTERM or SIGINT.
    async fn until_term(&mut self, installer: &Arc<Installer>, log: &Arc<Log>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    log.reopen();
                    let installer = Arc::clone(installer);
                    let _ = tokio::task::spawn_blocking(move || installer.reload(Trigger::Signal)).await;
                }
            }
        }
    }

    /// A second SIGINT.
    async fn quit(&mut self) {
        self.interrupt.recv().await;
    }

    /// Waits, unless a second SIGINT comes; whether it did.
    async fn or_quit(&mut self, wait: impl Future<Output = ()>) -> bool {
        tokio::select! {
            () = wait => false,
            () = self.quit() => true,
        }
    }
}
