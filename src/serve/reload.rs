//! Replacing the configuration in force: whole, or not at all.
//!
//! A reload that fails leaves the last good configuration where it is, and is visible in the
//! process's own log, in the status and in the metric. What cannot change while running is reported
//! as `restart_required`, and the rest applies.

mod swap;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::chronicle::{Chapter, Chronicle};
use crate::audit::SinkSettings;
use crate::config::files::Inputs;
use crate::config::load::load_beside;
use crate::config::raw::ServerText;
use crate::config::{Admin, Listener, Outcome, Settings, Setup};
use crate::decision::Version;
use crate::layers::Snapshot;
use crate::metrics::Metrics;
use crate::policy::code::Severity;
use crate::policy::diagnostic::Diagnostic;
use crate::policy::source::Sources;
use crate::policy::{Policy, World};
use crate::state::{Counts, Origin};
use crate::upstream::{Board, Condition};

/// What the command line sets over the file, also at every reload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// Addresses to listen on instead of the configured ones.
    pub(crate) listen: Vec<SocketAddr>,
    /// The admin listener's address.
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Worker threads.
    pub(crate) threads: Option<usize>,
}

/// What asked for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// The start of the process.
    Start,
    /// A file changed.
    File,
    /// SIGHUP.
    Signal,
    /// The admin interface.
    Api,
}

/// Holds the configuration in force, and replaces it.
#[derive(Debug)]
pub(crate) struct Installer {
    path: PathBuf,
    overrides: Overrides,
    current: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    /// How well the upstreams' servers are.
    board: Arc<Board>,
    /// What the process was started with.
    started: Settings,
    /// Keys the hashes in the decision log.
    key: [u8; 32],
    /// What was in force before.
    chronicle: Chronicle,
    /// What was in force, and may still be judged by. A large policy takes milliseconds to drop, which must
    /// not happen on the way of a request.
    retired: Mutex<Vec<Arc<Snapshot>>>,
    /// Held by a reload from its first look at the files on, so that none overtakes another.
    turn: Mutex<()>,
    /// The configuration in force as a whole, once somebody wanted it explained.
    setup: Mutex<Option<(Arc<Policy>, Arc<Setup>)>>,
    /// Never held while something is compiled: whoever asks how things stand must not wait for that.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    installed_at: Timestamp,
    inputs: Inputs,
    last: Attempt,
    restart_required: Vec<&'static str>,
    /// What had been counted when the policy in force came.
    counted: Counts,
}

#[derive(Clone, Debug)]
struct Attempt {
    at: Timestamp,
    trigger: Trigger,
    errors: Vec<String>,
}

/// How things stand, for the admin interface.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    /// The policy in force.
    pub(crate) version: Version,
    /// Since when.
    pub(crate) installed_at: Timestamp,
    /// How many written rules it has.
    pub(crate) rules: usize,
    /// When a reload was last tried.
    pub(crate) last_at: Timestamp,
    /// What asked for it.
    pub(crate) last_trigger: Trigger,
    /// Why it failed; empty if it did not.
    pub(crate) errors: Vec<String>,
    /// Settings whose change waits for a restart.
    pub(crate) restart_required: Vec<&'static str>,
}

/// How an upstream's servers are.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamStatus {
    /// Its name.
    pub(crate) name: String,
    /// Where each server is, and how.
    pub(crate) servers: Vec<(String, Condition)>,
}

/// A reload that was refused.
#[derive(Clone, Debug)]
pub(crate) struct ReloadError {
    /// What is wrong, one line a problem: `file:line:column: message`.
    pub(crate) errors: Vec<String>,
}

impl Trigger {
    /// The word in logs and status.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Trigger::Start => "start",
            Trigger::File => "file",
            Trigger::Signal => "signal",
            Trigger::Api => "api",
        }
    }
}

impl Installer {
    /// Puts the first configuration in force.
    pub(crate) fn new(
        path: PathBuf,
        overrides: Overrides,
        setup: Setup,
        inputs: Inputs,
        metrics: Arc<Metrics>,
        key: [u8; 32],
    ) -> io::Result<Arc<Installer>> {
        let now = Timestamp::now();
        let setup = overrides.apply(setup);
        let started = setup.settings.clone();
        let chronicle = Chronicle::open(&started)?;
        let origin = Origin { at: now, trigger: Trigger::Start.name(), by: None };
        let Chapter { version: Version { generation, .. }, changes, taken } = chronicle.begin(&setup, origin);
        let mut snapshot = Snapshot::new(setup, World::default(), generation, &key);
        snapshot.changes = changes;
        snapshot.taken = taken;
        metrics.policy_installed(generation);
        let state = State {
            installed_at: now,
            inputs,
            last: Attempt { at: now, trigger: Trigger::Start, errors: Vec::new() },
            restart_required: Vec::new(),
            counted: Counts::default(),
        };
        Ok(Arc::new(Installer {
            path,
            overrides,
            current: Arc::new(ArcSwap::from_pointee(snapshot)),
            metrics,
            board: Arc::default(),
            started,
            key,
            chronicle,
            retired: Mutex::default(),
            turn: Mutex::new(()),
            setup: Mutex::default(),
            state: Mutex::new(state),
        }))
    }

    /// Where the configuration in force is found by those who judge by it.
    pub(crate) fn current(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.current)
    }

    /// How well the upstreams' servers are, as the threads note it down.
    pub(crate) fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// How each server of each upstream is, in the order of the configuration.
    pub(crate) fn upstreams(&self) -> Vec<UpstreamStatus> {
        let settings = Arc::clone(&self.current.load().settings);
        let server =
            |name: &str, url: &ServerText| (url.to_string(), self.board.standing(name, url).condition());
        let upstreams = settings.upstreams.iter().map(|upstream| UpstreamStatus {
            name: upstream.name.clone(),
            servers: upstream.servers.iter().map(|at| server(&upstream.name, &at.url)).collect(),
        });
        upstreams.collect()
    }

    /// The metrics as they are now, in the OpenMetrics text format.
    pub(crate) fn exposition(&self) -> String {
        let upstreams = self.upstreams();
        let counts = upstreams.iter().flat_map(|upstream| {
            Condition::ALL.into_iter().map(|condition| {
                let count = upstream.servers.iter().filter(|(_, is)| *is == condition).count();
                (upstream.name.as_str(), condition.name(), count)
            })
        });
        self.metrics.upstream_servers(counts);
        self.metrics.render()
    }

    /// The file of the decision log, if it is one.
    pub(crate) fn log_file(&self) -> Option<PathBuf> {
        match &self.current.load().settings.log.sink {
            SinkSettings::File { path, .. } => Some(path.into()),
            SinkSettings::Stdout | SinkSettings::None => None,
        }
    }

    /// The files that were read last, whether they could be used or not.
    pub(crate) fn inputs(&self) -> Inputs {
        self.lock().inputs.clone()
    }

    /// How things stand.
    pub(crate) fn status(&self) -> Status {
        let snapshot = self.current.load();
        let state = self.lock();
        Status {
            version: snapshot.policy.version,
            installed_at: state.installed_at,
            rules: snapshot.policy.rules.iter().len(),
            last_at: state.last.at,
            last_trigger: state.last.trigger,
            errors: state.last.errors.clone(),
            restart_required: state.restart_required.clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reloads if the files are not as they were when last read. Blocks while it compiles.
    pub(crate) fn reload_if_changed(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody may have asked for a reload since the change was seen.
        if self.inputs().changed() {
            let _ = self.load_and_install(Trigger::File, None);
        }
    }

    /// Loads the configuration anew and puts it in force. Blocks while it compiles.
    pub(crate) fn reload(&self, trigger: Trigger) -> Result<Version, ReloadError> {
        self.reload_for(trigger, None)
    }

    /// The same, for somebody of whom something is known.
    pub(crate) fn reload_for(&self, trigger: Trigger, by: Option<&str>) -> Result<Version, ReloadError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.load_and_install(trigger, by)
    }

    /// What had been counted when the policy in force came.
    pub(super) fn counted(&self) -> Counts {
        self.lock().counted.clone()
    }

    /// What was in force before.
    pub(crate) fn chronicle(&self) -> &Chronicle {
        &self.chronicle
    }

    fn load_and_install(&self, trigger: Trigger, by: Option<&str>) -> Result<Version, ReloadError> {
        let now = Timestamp::now();
        let origin = Origin { at: now, trigger: trigger.name(), by };
        let before = self.current.load_full();
        let replaced = (&*before.policy, &*before.sources);
        // What is new is found out while it is compiled.
        let (outcome, inputs, followed) = load_beside(&self.path, now, |news| {
            // Before the first news there is time for it.
            self.clear();
            self.chronicle.follow(replaced, &news, now)
        });
        let errors = refusals(&outcome);
        let setup = outcome.setup.filter(|_| errors.is_empty());
        // On the disk before anything is judged by it.
        let ready = setup.map(|setup| {
            let setup = self.overrides.apply(setup);
            let chapter = self.chronicle.replace(replaced, &setup, followed, origin);
            (setup, chapter)
        });
        drop(before);
        let mut state = self.lock();
        state.inputs = inputs;
        state.last = Attempt { at: now, trigger, errors: errors.clone() };
        let Some((setup, Chapter { version: Version { generation, .. }, changes, taken })) = ready else {
            self.chronicle.refuse(&errors, origin);
            self.metrics.policy_reload_success.set(0);
            tracing::error!(
                trigger = trigger.name(),
                problems = errors.len(),
                first = errors.first().map_or("", String::as_str),
                "the configuration was not reloaded; the last good one stays in force"
            );
            return Err(ReloadError { errors });
        };
        state.restart_required = self.restart_required(&setup.settings);
        self.metrics.restart_required.set(i64::from(!state.restart_required.is_empty()));
        let old = self.current.load();
        let changed = old.policy.version.hash != setup.policy.version.hash;
        // Fetched keys outlive the configuration; key sets that it no longer names do no harm.
        let mut snapshot = Snapshot::new(setup, old.world.clone(), generation, &self.key);
        snapshot.changes = changes;
        snapshot.taken = taken;
        snapshot.verbose = old.verbose.clone();
        let version = snapshot.policy.version;
        if changed {
            state.installed_at = now;
            let (total, refused) = self.metrics.refusals();
            state.counted = Counts { total, refused };
            self.metrics.policy_installed(generation);
            tracing::info!(trigger = trigger.name(), policy = %version, "a new policy is in force");
        } else {
            self.metrics.policy_reload_success.set(1);
            tracing::info!(trigger = trigger.name(), policy = %version, "the policy is unchanged");
        }
        for key in &state.restart_required {
            tracing::warn!(key, "a change takes effect only after a restart");
        }
        drop(old);
        let old = self.current.swap(Arc::new(snapshot));
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).push(old);
        Ok(version)
    }

    /// Gives up what is no longer judged by. Blocks while it does.
    pub(crate) fn clear(&self) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|old| Arc::strong_count(old) > 1);
    }

    /// Whether there may be anything to give up.
    pub(crate) fn is_cluttered(&self) -> bool {
        !self.retired.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The configuration in force as it was loaded, for whoever explains it. Made when it is first
    /// asked for.
    pub(crate) fn setup(&self) -> Arc<Setup> {
        let snapshot = self.current.load_full();
        let mut setup = self.setup.lock().unwrap_or_else(PoisonError::into_inner);
        match &*setup {
            Some((made_of, setup)) if Arc::ptr_eq(made_of, &snapshot.policy) => Arc::clone(setup),
            _ => {
                let made = Arc::new(Setup {
                    settings: Settings::clone(&snapshot.settings),
                    policy: Policy::clone(&snapshot.policy),
                    sources: Sources::clone(&snapshot.sources),
                });
                *setup = Some((Arc::clone(&snapshot.policy), Arc::clone(&made)));
                made
            }
        }
    }

    /// Settings that are read once, and now differ from what the process was started with.
    fn restart_required(&self, new: &Settings) -> Vec<&'static str> {
        let old = &self.started;
        let addresses = |settings: &Settings| -> Vec<SocketAddr> {
            settings.listeners.iter().map(|listener| listener.address).collect()
        };
        let checks = [
            (addresses(old) != addresses(new), "listener"),
            (old.threads != new.threads, "server.threads"),
            (old.admin != new.admin, "admin"),
            (old.log.sink != new.log.sink, "log.sink"),
            (old.state_dir != new.state_dir, "server.state_dir"),
            (old.history != new.history, "history"),
            (old.otlp != new.otlp, "otlp"),
        ];
        checks.into_iter().filter(|(differs, _)| *differs).map(|(_, key)| key).collect()
    }
}

impl Overrides {
    /// Sets what the command line says.
    pub(crate) fn apply(&self, mut setup: Setup) -> Setup {
        let settings = &mut setup.settings;
        if !self.listen.is_empty() {
            settings.listeners = self.listen.iter().copied().map(Listener::plain).collect();
        }
        if let Some(listen) = self.admin_listen {
            match &mut settings.admin {
                Some(admin) => admin.listen = listen,
                none => {
                    *none = Some(Admin { listen, token_file: None, socket: None, metrics_need_token: false })
                }
            }
        }
        if let Some(threads) = self.threads {
            settings.threads = threads;
        }
        setup
    }
}

/// Why a configuration must not be used: its errors, and its lints of severity deny.
pub(crate) fn refusals(outcome: &Outcome) -> Vec<String> {
    let refused = |diagnostic: &&Diagnostic| diagnostic.severity >= Severity::Deny;
    let line = |diagnostic: &Diagnostic| match diagnostic.place {
        Some(place) => {
            let at = outcome.sources.line_column(place);
            let file = outcome.sources.get(place.file).map_or("?", |source| &source.name);
            format!("{file}:{}:{}: {}", at.line, at.column, diagnostic.message)
        }
        None => diagnostic.message.clone(),
    };
    outcome.diagnostics.iter().filter(refused).map(line).collect()
}
