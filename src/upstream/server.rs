//! One server as one thread knows it: its idle connections and its requests in flight.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::{Instant, timeout};

use super::body::Lent;
use super::breaker::{Breaker, Room};
use super::choose::Candidate;
use super::dial::{Dialer, Wanted};
use super::fault::Fault;
use super::link::Link;
use super::multiplex::{Multiplex, Stream};
use super::standing::Standing;
use crate::config::Upstream;
use crate::config::raw::ServerText;

/// A server and the connections to it; the rested ones newest last.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it is.
    pub(super) url: ServerText,
    /// How well it is.
    pub(super) standing: Arc<Standing>,
    /// How it is connected to.
    pub(super) dialer: Dialer,
    /// Its HTTP/2 connections.
    pub(super) multiplex: Multiplex,
    authority: HeaderValue,
    rest: Duration,
    breaker: Option<Arc<Breaker>>,
    idle: RefCell<Vec<Link>>,
    /// Connections whose answers are on their way to clients.
    lent: RefCell<Vec<Weak<Lent>>>,
    active: Cell<u32>,
    /// Whether its last connection spoke HTTP/2.
    http2: Cell<Option<bool>>,
}

/// A connection that carries one request, or one stream of it.
#[derive(Debug)]
pub(super) enum Channel {
    /// HTTP/1.1.
    Link(Link),
    /// HTTP/2.
    Stream(Stream),
}

/// A request in flight to a server; over when dropped.
#[derive(Debug)]
pub(in crate::upstream) struct Flight {
    server: Rc<Server>,
    /// Its share of the upstream's requests, where they are limited.
    room: Option<Room>,
}

/// The most connections that rest for one server on one thread; beyond that they are closed.
const MAX_IDLE: usize = 256;

impl Server {
    /// With no connection yet.
    pub(super) fn new(
        url: &ServerText,
        upstream: &Upstream,
        standing: Arc<Standing>,
        breaker: Option<Arc<Breaker>>,
    ) -> Server {
        let authority = match url {
            ServerText::Tcp { authority, .. } => HeaderValue::from_str(authority).ok(),
            ServerText::Echo | ServerText::Unix { .. } => None,
        };
        Server {
            url: url.clone(),
            standing,
            dialer: Dialer::new(url, upstream),
            multiplex: Multiplex::default(),
            authority: authority.unwrap_or_else(|| HeaderValue::from_static("localhost")),
            rest: upstream.idle,
            breaker,
            idle: RefCell::default(),
            lent: RefCell::default(),
            active: Cell::new(0),
            http2: Cell::new(None),
        }
    }

    /// What stands in Host when the client's is not passed on.
    pub(super) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Takes the connection that rested the shortest.
    pub(super) fn take(&self, now: Instant) -> Option<Link> {
        let link = self.idle.borrow_mut().pop()?;
        if now.duration_since(link.idle_since) > self.rest {
            // The others have rested even longer.
            self.idle.borrow_mut().clear();
            return None;
        }
        Some(link)
    }

    /// Lets a connection rest from now on, if nobody else has a better use for its place.
    pub(super) fn put(&self, mut link: Link, now: Instant) {
        let wanted = self.breaker.as_ref().is_some_and(|breaker| breaker.is_short_of_connections());
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE && !wanted && self.dialer.may_share() {
            link.idle_since = now;
            idle.push(link);
        }
    }

    /// Connects, or joins a connection that others use. Requests that would share a connection wait for the one that is being made.
    pub(super) async fn connect(
        &self,
        patience: Duration,
        client: SocketAddr,
        wanted: Wanted,
    ) -> Result<Channel, Fault> {
        let shares = wanted == Wanted::Any
            && self.dialer.may_share()
            && self.dialer.may_speak_http2()
            && self.http2.get() != Some(false);
        let _turn = match shares {
            // Those who wait for another's connection do not wait longer than for their own.
            true => {
                let turn = timeout(patience, self.multiplex.connecting.lock()).await;
                Some(turn.map_err(|_| Fault::ConnectTimeout)?)
            }
            false => None,
        };
        if shares && let Some(stream) = self.multiplex.stream() {
            return Ok(Channel::Stream(stream));
        }
        let room = match &self.breaker {
            Some(breaker) => breaker.connection().await?,
            None => None,
        };
        let dialled = self.dialer.dial(patience, client, wanted).await?;
        if wanted == Wanted::Any {
            self.http2.set(Some(dialled.http2));
        }
        if !dialled.http2 {
            return Ok(Channel::Link(Link::new(dialled.io, room)));
        }
        let stream = Stream::connect(dialled.io, room).await?;
        if self.dialer.may_share() {
            self.multiplex.keep(&stream);
        }
        Ok(Channel::Stream(stream))
    }

    /// Looks after a connection until its answer has gone.
    pub(super) fn watch(&self, lent: &Rc<Lent>) {
        self.lent.borrow_mut().push(Rc::downgrade(lent));
    }

    /// Closes connections that have rested too long, whose clients read nothing, or that somebody
    /// else waits for.
    pub(super) fn expire(&self) {
        let wanted = self.breaker.as_ref().is_some_and(|breaker| breaker.is_short_of_connections());
        let rest = if wanted { Duration::ZERO } else { self.rest };
        self.idle.borrow_mut().retain(|link| !wanted && link.idle_since.elapsed() <= rest);
        self.multiplex.expire(rest);
        self.lent.borrow_mut().retain(|lent| lent.upgrade().is_some_and(|lent| lent.goes_on()));
    }
}

impl Candidate for Rc<Server> {
    fn is_usable(&self) -> bool {
        self.standing.is_usable()
    }

    fn active(&self) -> u32 {
        self.active.get()
    }
}

impl Flight {
    /// A request begins.
    pub(super) fn new(server: &Rc<Server>) -> Flight {
        server.active.set(server.active.get() + 1);
        Flight { server: Rc::clone(server), room: None }
    }

    /// It also takes room.
    pub(super) fn occupy(&mut self, room: Option<Room>) {
        self.room = room;
    }

    /// Where it goes.
    pub(in crate::upstream) fn server(&self) -> &Rc<Server> {
        &self.server
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.server.active.set(self.server.active.get().saturating_sub(1));
    }
}
