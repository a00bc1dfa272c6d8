//! `run`: start the gateway.
//!
//! Here the configuration is loaded and what is wrong with it is told; serving is `serve`'s.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;

use super::diagnostics;
use super::reply::{Exit, Reply};
use super::{Common, files};
use crate::config::{Admin, Listener, Settings, Setup, load};
use crate::policy::code::Severity;

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

/// What the command line says besides the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The main configuration file, to be read again on reload.
    pub(crate) config: PathBuf,
    /// The filter of the process's own log.
    pub(crate) log: String,
    /// Settings that win over the file's, now and after each reload.
    pub(crate) overrides: Overrides,
}

/// Settings from the command line or the environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    listen: Vec<SocketAddr>,
    admin_listen: Option<SocketAddr>,
    threads: Option<u16>,
}

impl Overrides {
    /// Puts them in the place of what the file says.
    pub(crate) fn apply(&self, settings: &mut Settings) {
        if !self.listen.is_empty() {
            let clear = |address: &SocketAddr| Listener { address: *address, tls: Vec::new() };
            settings.listeners = self.listen.iter().map(clear).collect();
        }
        if let Some(listen) = self.admin_listen {
            match &mut settings.admin {
                Some(admin) => admin.listen = listen,
                none => *none = Some(Admin { listen, token_file: None, metrics_need_token: false }),
            }
        }
        if let Some(threads) = self.threads {
            settings.threads = usize::from(threads);
        }
    }
}

/// Loads the configuration and serves it until told to stop.
pub(super) fn run(args: &Args, common: &Common) -> ExitCode {
    match prepare(args, common) {
        Ok((setup, options)) => serve(setup, options),
        Err(reply) => reply.write(),
    }
}

fn prepare(args: &Args, common: &Common) -> Result<(Setup, Options), Reply> {
    let config = files::config_path(common)?;
    let mut outcome = load::load(&config, Timestamp::now());
    let refused = outcome.worst() >= Some(Severity::Deny);
    let setup = outcome.setup.take().filter(|_| !refused);
    if !outcome.diagnostics.is_empty() {
        let text = diagnostics::text(&outcome, common);
        // A gateway that cannot tell about its configuration can still serve it.
        let _ = anstream::stderr().write_all(text.as_bytes());
    }
    let Some(mut setup) = setup else {
        return Err(Reply::failure(Exit::Config, "the configuration is not used, so nothing is served"));
    };
    let Args { listen, admin_listen, threads, log } = args;
    let overrides = Overrides { listen: listen.clone(), admin_listen: *admin_listen, threads: *threads };
    overrides.apply(&mut setup.settings);
    let default = match (common.quiet, common.verbose) {
        (true, _) => "warn",
        (false, true) => "debug",
        (false, false) => "info",
    };
    let log = log.as_deref().filter(|log| !log.is_empty()).unwrap_or(default).to_owned();
    Ok((setup, Options { config, log, overrides }))
}

/// Stands in for `crate::serve::serve(setup, options)`.
fn serve(setup: Setup, options: Options) -> ExitCode {
    let Options { config, log, overrides } = options;
    let _ = (setup, config, log, overrides);
    Reply::failure(Exit::Internal, "this build does not serve").write()
}
