//! Idle connections of one thread, by server.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use super::body::Lent;
use super::link::Link;
use crate::config::Upstream;
use crate::config::raw::ServerText;

/// The rested connections to one server, the newest last.
#[derive(Debug)]
pub(crate) struct Pool {
    /// The server.
    pub(super) server: ServerText,
    authority: HeaderValue,
    idle: RefCell<Vec<Link>>,
    /// Connections whose answers are on their way to clients.
    lent: RefCell<Vec<Weak<Lent>>>,
}

/// The most connections that rest for one server on one thread; beyond that they are closed.
const MAX_IDLE: usize = 256;

/// How long a connection may rest. Below the five seconds after which Node and others close theirs,
/// so that a request rarely meets a connection that is being closed.
pub(crate) const MAX_REST: Duration = Duration::from_secs(4);

impl Pool {
    fn new(server: ServerText) -> Pool {
        let authority = match &server {
            ServerText::Http { authority, .. } => HeaderValue::from_str(authority).ok(),
            ServerText::Echo => None,
        };
        let authority = authority.unwrap_or_else(|| HeaderValue::from_static("localhost"));
        Pool { server, authority, idle: RefCell::default(), lent: RefCell::default() }
    }

    /// What stands in Host when the client's is not passed on.
    pub(crate) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Takes the connection that rested the shortest.
    pub(super) fn take(&self) -> Option<Link> {
        let link = self.idle.borrow_mut().pop()?;
        if link.idle_since.elapsed() > MAX_REST {
            // The others have rested even longer.
            self.idle.borrow_mut().clear();
            return None;
        }
        Some(link)
    }

    /// Lets a connection rest.
    pub(super) fn put(&self, mut link: Link) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE {
            link.idle_since = Instant::now();
            idle.push(link);
        }
    }

    /// Looks after a connection until its answer has gone.
    pub(super) fn watch(&self, lent: &Rc<Lent>) {
        self.lent.borrow_mut().push(Rc::downgrade(lent));
    }

    fn expire(&self) {
        self.idle.borrow_mut().retain(|link| link.idle_since.elapsed() <= MAX_REST);
        self.lent.borrow_mut().retain(|lent| lent.upgrade().is_some_and(|lent| lent.goes_on()));
    }
}

/// The pools of one thread, for the upstreams of the configuration that is in force.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    by_server: HashMap<ServerText, Rc<Pool>>,
    upstreams: Vec<Balanced>,
}

/// The servers of one upstream, taken in turn.
#[derive(Debug)]
struct Balanced {
    servers: Vec<Rc<Pool>>,
    next: Cell<usize>,
}

impl Pools {
    /// Takes over the upstreams of a configuration; pools of servers that stay keep their connections.
    pub(crate) fn install(&mut self, upstreams: &[Upstream]) {
        let mut old = std::mem::take(&mut self.by_server);
        self.upstreams = upstreams
            .iter()
            .map(|upstream| {
                let pool = |server: &ServerText| {
                    let kept = self.by_server.get(server).cloned().or_else(|| old.remove(server));
                    let pool = kept.unwrap_or_else(|| Rc::new(Pool::new(server.clone())));
                    self.by_server.insert(server.clone(), Rc::clone(&pool));
                    pool
                };
                Balanced { servers: upstream.servers.iter().map(pool).collect(), next: Cell::new(0) }
            })
            .collect();
    }

    /// The server whose turn it is.
    pub(crate) fn pick(&self, upstream: usize) -> Option<Rc<Pool>> {
        let upstream = self.upstreams.get(upstream)?;
        let next = upstream.next.get();
        upstream.next.set(next.wrapping_add(1));
        upstream.servers.get(next.checked_rem(upstream.servers.len())?).cloned()
    }

    /// Closes connections that have rested too long, or whose clients read nothing.
    pub(crate) fn expire(&self) {
        self.by_server.values().for_each(|pool| pool.expire());
    }
}
