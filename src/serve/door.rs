//! How a listener takes connections, by the configuration in force: looked up when a connection comes,
//! so that a reload concerns the next connection and leaves those that are open alone.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rustls::server::ProducesTickets;
use tokio_rustls::TlsAcceptor;

use super::tls::server_config;
use crate::config::{ListenerKey, Settings};
use crate::facts::Scheme;

/// How connections are taken.
pub(super) enum Door {
    /// In clear text.
    Clear,
    /// Encrypted.
    Tls(TlsAcceptor),
    /// Not at all.
    Shut,
}

/// The doors of one listener on one thread: the last one, and how to make the next.
pub(super) struct Doors {
    key: ListenerKey,
    tickets: Arc<dyn ProducesTickets>,
    last: RefCell<Option<(Arc<Settings>, Rc<Door>)>>,
}

impl Door {
    fn new(listener: &crate::config::Listener, tickets: &Arc<dyn ProducesTickets>) -> Door {
        let Some(tls) = &listener.tls else { return Door::Clear };
        let config = tls.material.as_ref().map(|material| server_config(material, tickets));
        match config {
            Some(Ok(config)) => Door::Tls(TlsAcceptor::from(config)),
            Some(Err(_)) | None => Door::Shut,
        }
    }

    /// The scheme of what comes through.
    pub(super) fn scheme(&self) -> Scheme {
        match self {
            Door::Clear => Scheme::Http,
            Door::Tls(_) | Door::Shut => Scheme::Https,
        }
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
            (None, None) => Rc::new(Door::Shut),
        };
        *last = Some((Arc::clone(settings), Rc::clone(&door)));
        door
    }
}
