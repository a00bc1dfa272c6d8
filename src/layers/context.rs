//! What the layers of one thread share: the configuration in force, and what is kept beside it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use super::audit::Held;
use super::ids::IdSource;
use crate::audit::LogHandle;
use crate::config::Settings;
use crate::facts::Scheme;
use crate::metrics::Handles;
use crate::policy::{Policy, World};
use crate::upstream::{Hygiene, Pools, Tunnel};

/// A configuration in force: judged by and answered with as a whole. Shared by all threads.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The policy.
    pub(crate) policy: Policy,
    /// Keys and revocations, which change without a new generation.
    pub(crate) world: World,
    /// Timeouts, header names, upstreams.
    pub(crate) settings: Settings,
    /// Which header fields pass.
    pub(crate) hygiene: Hygiene,
}

/// A snapshot with what one thread keeps for it.
#[derive(Debug)]
pub(crate) struct Installed {
    /// The configuration.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Connections to upstreams; they outlive the snapshot.
    pub(crate) pools: Rc<RefCell<Pools>>,
}

/// What the layers of one thread share.
#[derive(Debug)]
pub(crate) struct Context {
    current: Arc<ArcSwap<Snapshot>>,
    installed: RefCell<Rc<Installed>>,
    /// Makes request ids.
    pub(crate) ids: RefCell<IdSource>,
    /// Counters.
    pub(crate) handles: RefCell<Handles>,
    /// The decision log.
    pub(crate) log: LogHandle,
    /// How many passwords may be checked at once, over all threads.
    pub(crate) passwords: Arc<Semaphore>,
    /// Whether answers ask the client to close its connection.
    pub(crate) draining: Cell<bool>,
    /// Set while a request that panicked is being dropped.
    pub(crate) panicked: Cell<bool>,
}

/// The connection a request came over.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The other end.
    pub(crate) address: SocketAddr,
    /// Whether it is encrypted.
    pub(crate) scheme: Scheme,
    /// Set by an answer that changes the protocol; the connection's task carries the bytes.
    pub(crate) switch: RefCell<Option<Switch>>,
}

/// A change of protocol that was allowed.
#[derive(Debug)]
pub(crate) struct Switch {
    /// The upstream's end.
    pub(crate) tunnel: Tunnel,
    /// What is known of the request, for the record of the end.
    pub(crate) held: Held,
}

impl Context {
    /// For one thread.
    pub(crate) fn new(
        current: Arc<ArcSwap<Snapshot>>,
        handles: Handles,
        passwords: Arc<Semaphore>,
        log: LogHandle,
    ) -> Rc<Context> {
        let snapshot = current.load_full();
        let pools = Rc::new(RefCell::new(Pools::default()));
        pools.borrow_mut().install(&snapshot.settings.upstreams);
        Rc::new(Context {
            current,
            installed: RefCell::new(Rc::new(Installed { snapshot, pools })),
            ids: RefCell::default(),
            handles: RefCell::new(handles),
            log,
            passwords,
            draining: Cell::new(false),
            panicked: Cell::new(false),
        })
    }

    /// The configuration to judge the next request by; it stays with the request to its end.
    pub(crate) fn installed(&self) -> Rc<Installed> {
        let newest = self.current.load();
        if !Arc::ptr_eq(&newest, &self.installed.borrow().snapshot) {
            self.install(Arc::clone(&newest));
        }
        Rc::clone(&self.installed.borrow())
    }

    fn install(&self, snapshot: Arc<Snapshot>) {
        let pools = Rc::clone(&self.installed.borrow().pools);
        pools.borrow_mut().install(&snapshot.settings.upstreams);
        let metrics = self.handles.borrow().shared();
        self.handles.replace(Handles::new(metrics));
        self.installed.replace(Rc::new(Installed { snapshot, pools }));
    }
}
