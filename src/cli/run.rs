//! `run`: start the gateway.
//!
//! Here the configuration is loaded and what is wrong with it is told; serving is `serve`'s.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use super::diagnostics;
use super::explain;
use super::reply::{Exit, Reply};
use super::{Common, files};
use crate::admin::{Admin, AdminState};
use crate::config::Setup;
use crate::config::files::Inputs;
use crate::metrics::Metrics;
use crate::policy::code::Severity;
use crate::serve::{self, BanDesk, Installer, Overrides, StartError};
use crate::state::BanBook;

/// Start the gateway.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: portcullis run --config portcullis.toml --listen 127.0.0.1:8080

SIGHUP or a changed file reloads the configuration; SIGTERM drains and ends.")]
pub(super) struct Args {
    /// Listen here in clear text instead of where the configuration says; repeatable.
    #[arg(
        long,
        value_name = "ADDR",
        env = "PORTCULLIS_LISTEN",
        value_delimiter = ',',
        hide_env_values = true
    )]
    listen: Vec<SocketAddr>,
    /// Listen here for operators instead of at `[admin] listen`.
    #[arg(long, value_name = "ADDR", env = "PORTCULLIS_ADMIN_LISTEN", hide_env_values = true)]
    admin_listen: Option<SocketAddr>,
    /// Worker threads; 0: one a core.
    #[arg(long, value_name = "N", env = "PORTCULLIS_THREADS", hide_env_values = true)]
    threads: Option<u16>,
    /// What the process says about itself on stderr: a level, or `module=level,…`.
    #[arg(long, value_name = "FILTER", env = "PORTCULLIS_LOG", hide_env_values = true)]
    log: Option<String>,
}

/// Loads the configuration and serves it until told to stop.
pub(super) fn run(args: &Args, common: &Common) -> ExitCode {
    match prepare(args, common) {
        Ok((read, path, overrides)) => serve(read, path, overrides),
        Err(reply) => reply.write(),
    }
}

fn prepare(args: &Args, common: &Common) -> Result<(Read, PathBuf, Overrides), Reply> {
    let config = files::config_path(common)?;
    let (mut outcome, inputs) = files::load_at(&config, common);
    let refused = outcome.worst() >= Some(Severity::Deny);
    let setup = outcome.setup.take().filter(|_| !refused);
    if !outcome.diagnostics.is_empty() {
        let text = diagnostics::text(&outcome, common);
        // A gateway that cannot tell about its configuration can still serve it.
        let _ = anstream::stderr().write_all(text.as_bytes());
    }
    let Some(setup) = setup else {
        return Err(Reply::failure(Exit::Config, "the configuration is not used, so nothing is served"));
    };
    let Args { listen, admin_listen, threads, log } = args;
    let default = match (common.quiet, common.verbose) {
        (true, _) => "warn",
        (false, true) => "debug",
        (false, false) => "info",
    };
    start_log(log.as_deref().filter(|log| !log.is_empty()).unwrap_or(default))?;
    let threads = threads.map(usize::from);
    Ok(((setup, inputs), config, Overrides { listen: listen.clone(), admin_listen: *admin_listen, threads }))
}

/// What the process says about itself goes to stderr; decisions have a log of their own.
fn start_log(filter: &str) -> Result<(), Reply> {
    let filter = filter
        .parse::<EnvFilter>()
        .map_err(|error| Reply::failure(Exit::Usage, format!("`{filter}` is not a log filter: {error}")))?;
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let subscriber =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).with_ansi(colour);
    // Only a second subscriber could be refused, and there is none.
    let _ = subscriber.try_init();
    Ok(())
}

/// A usable configuration, and the files it was read from.
type Read = (Setup, Inputs);

fn serve((setup, inputs): Read, path: PathBuf, overrides: Overrides) -> ExitCode {
    let metrics = Arc::new(Metrics::new());
    let mut key = [0; 32];
    if aws_lc_rs::rand::fill(&mut key).is_err() {
        return Reply::failure(Exit::Internal, "the system gives no random bytes").write();
    }
    let installer = match Installer::new(path, overrides, setup, inputs, Arc::clone(&metrics), key) {
        Ok(installer) => installer,
        Err(error) => {
            let why = format!("the state folder cannot be used: {error}");
            return Reply::failure(Exit::Internal, why).write();
        }
    };
    let settings = Arc::clone(&installer.current().load().settings);
    let state = (Arc::clone(&installer), Arc::clone(&metrics));
    let served = serve::serve(installer, metrics, async move |lifecycle, log| {
        let (installer, metrics) = state;
        let book = BanBook::open(settings.state_dir.as_deref()).map_err(StartError::Bans)?;
        let bans = BanDesk::open(book, Arc::clone(&installer));
        let admin = match &settings.admin {
            Some(admin) => {
                let verbs = Box::new(explain::Verbs);
                let state = AdminState::new(installer, metrics, lifecycle, &log, Arc::clone(&bans), verbs);
                Some(Admin::bind(admin, Arc::new(state)).await?)
            }
            None => None,
        };
        Ok(async move {
            let admin = async move {
                match admin {
                    Some(admin) => admin.run().await,
                    None => std::future::pending().await,
                }
            };
            tokio::join!(admin, bans.keep());
        })
    });
    served.unwrap_or_else(|error| Reply::failure(Exit::Internal, error.to_string()).write())
}
