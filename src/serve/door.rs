//! How a listener takes connections, by the configuration in force: looked up when a connection comes,
//! so that a reload concerns the next connection and leaves those that are open alone.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::server::ProducesTickets;
use tokio_rustls::TlsAcceptor;

use super::tls::server_config;
use crate::config::{Clients, Listener, ListenerKey, Settings};
use crate::facts::Scheme;
use crate::policy::ip::IpSet;

/// How connections are taken.
pub(super) struct Door {
    /// The proxies that begin with a PROXY protocol header.
    pub(super) proxies: Option<IpSet>,
    pub(super) way: Way,
}

/// What is spoken, behind a PROXY protocol header.
pub(super) enum Way {
    /// HTTP in clear text.
    Clear,
    /// TLS, and how client certificates are verified.
    Tls(TlsAcceptor, Option<Clients>),
    /// Nothing.
    Shut,
}

/// The doors of one listener on one thread: the last one, and how to make the next.
pub(super) struct Doors {
    /// Which listener it is.
    pub(super) key: ListenerKey,
    tickets: Arc<dyn ProducesTickets>,
    last: RefCell<Option<(Arc<Settings>, Rc<Door>)>>,
}

impl Door {
    const SHUT: Door = Door { proxies: None, way: Way::Shut };

    fn new(listener: &Listener, tickets: &Arc<dyn ProducesTickets>) -> Door {
        let way = match &listener.tls {
            None => Way::Clear,
            Some(tls) => tls
                .material
                .as_ref()
                .and_then(|material| {
                    let config = server_config(material, tickets).ok()?;
                    Some(Way::Tls(TlsAcceptor::from(config), material.clients.clone()))
                })
                .unwrap_or(Way::Shut),
        };
        Door { proxies: listener.proxy_protocol.clone(), way }
    }

    /// The scheme of what comes through.
    pub(super) fn scheme(&self) -> Scheme {
        match self.way {
            Way::Clear => Scheme::Http,
            Way::Tls(..) | Way::Shut => Scheme::Https,
        }
    }

    /// Whether a peer must begin with a PROXY protocol header.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxies.as_ref().is_some_and(|proxies| proxies.contains(peer))
    }
}

impl Doors {
    /// For a listener.
    pub(super) fn new(key: ListenerKey, tickets: Arc<dyn ProducesTickets>) -> Doors {
        Doors { key, tickets, last: RefCell::default() }
    }

    /// The door by these settings. A listener that they no longer have keeps the door it had until the
    /// restart that it waits for.
    pub(super) fn door(&self, settings: &Arc<Settings>) -> Rc<Door> {
        let mut last = self.last.borrow_mut();
        let door = match (&*last, settings.listener(self.key)) {
            (Some((made_by, door)), _) if Arc::ptr_eq(made_by, settings) => return Rc::clone(door),
            (_, Some(listener)) => Rc::new(Door::new(listener, &self.tickets)),
            (Some((_, door)), None) => Rc::clone(door),
            (None, None) => Rc::new(Door::SHUT),
        };
        *last = Some((Arc::clone(settings), Rc::clone(&door)));
        door
    }
}
