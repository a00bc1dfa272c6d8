//! What the layers of one thread share: the configuration in force, and what is kept beside it.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use tokio::sync::{Notify, Semaphore};

use super::buffers::Buffers;
use super::held::Held;
use super::ids::IdSource;
use super::secured::Secured;
use super::taken::Taken;
use super::verbose::Verbose;
use crate::audit::{HashKey, LogHandle, Recorder};
use crate::config::{Settings, Setup};
use crate::decision::{Builtin, Change, RuleRef};
use crate::facts::{Identity, Scheme, Target};
use crate::metrics::{Handles, Metrics};
use crate::policy::authn::TokenCache;
use crate::policy::condition::Fact;
use crate::policy::source::Sources;
use crate::policy::waf::Memory;
use crate::policy::{Policy, World};
use crate::state::Collections;
use crate::upstream::{Board, Hygiene, Tunnel, Upstreams};

/// A configuration in force: judged by and answered with as a whole. Shared by all threads.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The policy.
    pub(crate) policy: Arc<Policy>,
    /// Keys and revocations, which change without a new generation.
    pub(crate) world: World,
    /// Timeouts, header names, upstreams.
    pub(crate) settings: Arc<Settings>,
    /// Which header fields pass.
    pub(crate) hygiene: Arc<Hygiene>,
    /// How facts are taken down for the decision log.
    pub(crate) recorder: Arc<Recorder>,
    /// The values that the policy's conditions look at, with their names in the record.
    pub(crate) recorded: Arc<[(String, Fact)]>,
    /// When each written rule last changed, as far as that is known.
    pub(crate) changes: Arc<[Option<Change>]>,
    /// What roles lost, for refusals by the default deny.
    pub(crate) taken: Arc<Taken>,
    /// The texts that the configuration was made of.
    pub(crate) sources: Arc<Sources>,
    /// For which requests trails are kept; mostly none.
    pub(crate) verbose: Option<Arc<Verbose>>,
}

/// A snapshot with what one thread keeps for it.
#[derive(Debug)]
pub(crate) struct Installed {
    /// The configuration.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The upstreams with their connections, which outlive the snapshot.
    pub(crate) upstreams: Rc<RefCell<Upstreams>>,
    /// The metrics of its rules and routes, which are found by their numbers in this policy.
    pub(crate) handles: RefCell<Handles>,
}

/// What the layers of one thread share.
#[derive(Debug)]
pub(crate) struct Context {
    current: Arc<ArcSwap<Snapshot>>,
    installed: RefCell<Rc<Installed>>,
    board: Arc<Board>,
    /// Makes request ids.
    pub(crate) ids: RefCell<IdSource>,
    /// What is counted; shared by all threads.
    pub(crate) metrics: Arc<Metrics>,
    /// The decision log.
    pub(crate) log: LogHandle,
    /// Credentials that were verified before; shared by all threads.
    pub(crate) tokens: Arc<TokenCache>,
    /// Key sets that are worth a fetch.
    pub(crate) keys_wanted: Arc<KeysWanted>,
    /// How many passwords may be checked at once, over all threads.
    pub(crate) passwords: Arc<Semaphore>,
    /// What rules of the WAF remember from request to request; shared by all threads.
    collections: Arc<Collections>,
    /// Bodies that are held to be inspected; shared by all threads.
    pub(crate) buffers: Arc<Buffers>,
    /// Whether answers ask the client to close its connection.
    pub(crate) draining: Cell<bool>,
    /// Set while a request that panicked is being dropped.
    pub(crate) panicked: Cell<bool>,
    /// Where spans go, if they are made.
    #[cfg(feature = "otlp")]
    pub(crate) spans: Option<crate::otlp::Spans>,
}

/// What all threads share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// The configuration in force.
    pub(crate) current: Arc<ArcSwap<Snapshot>>,
    /// Counters.
    pub(crate) metrics: Arc<Metrics>,
    /// Credentials that were verified before.
    pub(crate) tokens: Arc<TokenCache>,
    /// Key sets that are worth a fetch.
    pub(crate) keys_wanted: Arc<KeysWanted>,
    /// How many passwords may be checked at once.
    pub(crate) passwords: Arc<Semaphore>,
    /// What rules of the WAF remember from request to request.
    pub(crate) collections: Arc<Collections>,
    /// Bodies that are held to be inspected.
    pub(crate) buffers: Arc<Buffers>,
    /// How well the upstreams' servers are.
    pub(crate) board: Arc<Board>,
    /// Where spans go, if they are made.
    #[cfg(feature = "otlp")]
    pub(crate) spans: Option<crate::otlp::Spans>,
}

/// Key sets that some request missed a key of. Requests ask; whoever fetches decides when.
#[derive(Debug, Default)]
pub(crate) struct KeysWanted {
    urls: Mutex<BTreeSet<Arc<str>>>,
    changed: Notify,
}

impl KeysWanted {
    /// Asks for a fetch that nobody waits for.
    pub(super) fn want(&self, url: &Arc<str>) {
        let mut urls = self.urls.lock().unwrap_or_else(PoisonError::into_inner);
        if !urls.contains(url) {
            urls.insert(Arc::clone(url));
            self.changed.notify_one();
        }
    }

    /// Waits until something is asked for.
    pub(crate) async fn wait(&self) -> Vec<Arc<str>> {
        loop {
            let wanted = std::mem::take(&mut *self.urls.lock().unwrap_or_else(PoisonError::into_inner));
            if !wanted.is_empty() {
                return wanted.into_iter().collect();
            }
            self.changed.notified().await;
        }
    }
}

/// The connection a request came over.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The other end.
    pub(crate) address: SocketAddr,
    /// Whether it is encrypted.
    pub(crate) scheme: Scheme,
    /// What TLS said, once the handshake is over.
    pub(crate) secured: Option<Secured>,
    /// Set by an answer that changes the protocol; the connection's task carries the bytes.
    pub(crate) switch: RefCell<Option<Switch>>,
    /// The address as a header value, once it is asked for.
    text: OnceCell<HeaderValue>,
}

impl Peer {
    /// A connection from this address.
    pub(crate) fn new(address: SocketAddr, scheme: Scheme, secured: Option<Secured>) -> Rc<Peer> {
        Rc::new(Peer { address, scheme, secured, switch: RefCell::default(), text: OnceCell::new() })
    }

    /// The address as a header value, written once for all requests of the connection.
    pub(crate) fn text(&self) -> &HeaderValue {
        self.text.get_or_init(|| {
            HeaderValue::try_from(self.address.ip().to_canonical().to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        })
    }
}

/// A change of protocol that was allowed.
#[derive(Debug)]
pub(crate) struct Switch {
    /// The upstream's end.
    pub(crate) tunnel: Tunnel,
    /// What is known of the request, for the record of the end.
    pub(crate) held: Held,
}

impl Snapshot {
    /// What a configuration means, as generation `generation`. `key`: hashes personal data in records.
    pub(crate) fn new(setup: Setup, world: World, generation: u64, key: &[u8]) -> Snapshot {
        let Setup { settings, mut policy, sources } = setup;
        policy.version.generation = generation;
        let read = policy.rbac.condition_facts().iter().filter_map(Fact::header);
        let read = read.chain(policy.routes.read_headers());
        let credentials: Vec<HeaderName> = policy.authn.key_headers().cloned().collect();
        let hygiene = Arc::new(Hygiene::new(settings.upstream_headers.names(), read, &credentials));
        let key = settings.log.hash_key.as_ref().map_or(key, HashKey::bytes);
        let recorder = Arc::new(Recorder::new(&settings.log, &credentials, key));
        let recorded =
            policy.rbac.condition_facts().iter().map(|fact| (fact.to_string(), fact.clone())).collect();
        Snapshot {
            policy: Arc::new(policy),
            world,
            settings: Arc::new(settings),
            hygiene,
            recorder,
            recorded,
            sources: Arc::new(sources),
            verbose: None,
            changes: Arc::default(),
            taken: Arc::default(),
        }
    }

    /// The last change of the rule that decided a request, as far as this installation knows it: of the
    /// default deny, the last that took what is asked for from who asks.
    pub(crate) fn change_for(&self, rule: RuleRef, target: &Target, identity: &Identity) -> Option<Change> {
        match rule {
            RuleRef::Builtin(Builtin::DefaultDeny) => self.taken.from(target, identity),
            rule => self.change(rule),
        }
    }

    /// The last change of a written rule, as far as this installation knows it.
    pub(crate) fn change(&self, rule: RuleRef) -> Option<Change> {
        match rule {
            RuleRef::Written(written) => self.changes.get(written.0 as usize).copied().flatten(),
            RuleRef::Builtin(_) => None,
        }
    }
}

impl Context {
    /// What rules of the WAF remember from request to request.
    pub(crate) fn collections(&self) -> Arc<dyn Memory> {
        Arc::<Collections>::clone(&self.collections)
    }

    /// For one thread.
    pub(crate) fn new(shared: &Shared, log: LogHandle) -> Rc<Context> {
        let snapshot = shared.current.load_full();
        let upstreams = Rc::new(RefCell::new(Upstreams::default()));
        upstreams.borrow_mut().install(&snapshot.settings.upstreams, &shared.board);
        let handles = RefCell::new(Handles::new(Arc::clone(&shared.metrics)));
        Rc::new(Context {
            current: Arc::clone(&shared.current),
            installed: RefCell::new(Rc::new(Installed { snapshot, upstreams, handles })),
            board: Arc::clone(&shared.board),
            ids: RefCell::default(),
            metrics: Arc::clone(&shared.metrics),
            log,
            tokens: Arc::clone(&shared.tokens),
            keys_wanted: Arc::clone(&shared.keys_wanted),
            passwords: Arc::clone(&shared.passwords),
            collections: Arc::clone(&shared.collections),
            buffers: Arc::clone(&shared.buffers),
            draining: Cell::new(false),
            panicked: Cell::new(false),
            #[cfg(feature = "otlp")]
            spans: shared.spans.clone(),
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
        let upstreams = Rc::clone(&self.installed.borrow().upstreams);
        upstreams.borrow_mut().install(&snapshot.settings.upstreams, &self.board);
        let handles = RefCell::new(Handles::new(Arc::clone(&self.metrics)));
        self.installed.replace(Rc::new(Installed { snapshot, upstreams, handles }));
    }
}

#[cfg(test)]
impl Context {
    /// For a test, with the configuration given and no log.
    pub(crate) fn for_test(config: &str) -> Rc<Context> {
        use std::hash::RandomState;

        use crate::audit::{Log, Settings, SinkSettings};
        use crate::policy::authn::Bounds;

        let outcome = crate::config::compile(Sources::single("test.toml", config), jiff::Timestamp::now());
        let setup = outcome.setup.unwrap_or_else(|| panic!("{:?}", outcome.diagnostics));
        let log = Log::open(&Settings { sink: SinkSettings::None, ..Settings::default() }).expect("no file");
        let shared = Shared {
            current: Arc::new(ArcSwap::from_pointee(Snapshot::new(setup, World::default(), 1, &[0; 32]))),
            metrics: Arc::default(),
            tokens: Arc::new(TokenCache::new(
                Bounds { entries: 10, bytes: 1000 },
                RandomState::new(),
                &[0; 32],
            )),
            keys_wanted: Arc::default(),
            passwords: Arc::new(Semaphore::new(1)),
            collections: Arc::default(),
            buffers: Arc::default(),
            board: Arc::default(),
            #[cfg(feature = "otlp")]
            spans: None,
        };
        Context::new(&shared, log.handle())
    }
}
