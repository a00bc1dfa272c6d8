//! The addresses of a server's name, looked up beside the requests.
//!
//! The system's resolver blocks, so it runs on the runtime's blocking pool: at most one look-up a name
//! and thread is under way, however many requests ask and give up. Old addresses serve until newer
//! ones are there; only the first look-up is waited for.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::fault::Fault;

/// The addresses of one name and port.
#[derive(Debug)]
pub(super) struct Resolver {
    host: String,
    port: u16,
    fresh: Duration,
    shared: Rc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    known: RefCell<Option<Known>>,
    /// Whether the last look-up failed.
    failed: Cell<bool>,
    busy: Cell<bool>,
    done: Notify,
}

#[derive(Clone, Debug)]
struct Known {
    addresses: Rc<[SocketAddr]>,
    /// When they were last looked for, with or without success.
    at: Instant,
}

impl Resolver {
    /// For a name that is looked up anew after `fresh`.
    pub(super) fn new(host: &str, port: u16, fresh: Duration) -> Resolver {
        Resolver { host: host.to_owned(), port, fresh, shared: Rc::default() }
    }

    /// Its addresses, at least one.
    pub(super) async fn addresses(&self) -> Result<Rc<[SocketAddr]>, Fault> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(Rc::new([SocketAddr::new(ip, self.port)]));
        }
        let known = self.shared.known.borrow().clone();
        if let Some(known) = known {
            if known.at.elapsed() >= self.fresh {
                self.look_up();
            }
            return Ok(known.addresses);
        }
        // Listening comes before asking, so that the end cannot be missed.
        let done = self.shared.done.notified();
        tokio::pin!(done);
        done.as_mut().enable();
        self.look_up();
        done.await;
        let known = self.shared.known.borrow();
        known.as_ref().map(|known| Rc::clone(&known.addresses)).ok_or(Fault::Dns)
    }

    /// Begins a look-up, if none is under way.
    fn look_up(&self) {
        if self.shared.busy.replace(true) {
            return;
        }
        let (host, port, shared) = (self.host.clone(), self.port, Rc::clone(&self.shared));
        tokio::task::spawn_local(async move {
            let found = tokio::net::lookup_host((host.as_str(), port)).await;
            shared.take(&host, found.map(Iterator::collect));
        });
    }
}

impl Shared {
    fn take(&self, host: &str, found: std::io::Result<Vec<SocketAddr>>) {
        let mut known = self.known.borrow_mut();
        let failed = match found {
            Ok(addresses) if !addresses.is_empty() => {
                *known = Some(Known { addresses: addresses.into(), at: Instant::now() });
                false
            }
            other => {
                if !self.failed.get() {
                    let why = other.err().map_or("no address".to_owned(), |error| error.to_string());
                    tracing::warn!(host, why, "the name of an upstream's server cannot be resolved");
                }
                // What was known serves on, and is looked for again later.
                if let Some(known) = known.as_mut() {
                    known.at = Instant::now();
                }
                true
            }
        };
        drop(known);
        self.failed.set(failed);
        self.busy.set(false);
        self.done.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(future: impl Future<Output = ()>) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
        runtime.expect("a runtime").block_on(future);
    }

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 80))
    }

    #[test]
    fn an_address_is_its_own_name() {
        local(async {
            let resolver = Resolver::new("::1", 81, Duration::from_secs(1));
            assert_eq!(
                resolver.addresses().await.expect("an address").to_vec(),
                ["[::1]:81".parse().expect("one")]
            );
        });
    }

    #[test]
    fn a_failed_look_up_keeps_what_was_known_and_a_first_one_is_a_fault() {
        local(async {
            let resolver = Resolver::new("app.test", 80, Duration::from_secs(60));
            resolver.shared.take("app.test", Ok(vec![address(1), address(2)]));
            resolver.shared.take("app.test", Err(std::io::Error::other("no resolver")));
            assert_eq!(resolver.addresses().await.expect("addresses").len(), 2);
            resolver.shared.take("app.test", Ok(vec![address(3)]));
            assert_eq!(resolver.addresses().await.expect("an address").to_vec(), [address(3)]);
            let unknown = Resolver::new("nobody.invalid", 80, Duration::from_secs(60));
            assert_eq!(unknown.addresses().await.err(), Some(Fault::Dns));
        });
    }

    #[test]
    fn what_is_old_serves_while_it_is_looked_up_once() {
        local(async {
            let resolver = Resolver::new("localhost", 80, Duration::ZERO);
            resolver.shared.take("localhost", Ok(vec![address(9)]));
            for _ in 0..3 {
                assert_eq!(resolver.addresses().await.expect("an address").to_vec(), [address(9)]);
            }
            assert!(resolver.shared.busy.get());
            resolver.shared.done.notified().await;
            let fresh = resolver.shared.known.borrow().clone().expect("addresses");
            assert!(fresh.addresses.iter().all(|found| found.ip().is_loopback() && *found != address(9)));
        });
    }
}
