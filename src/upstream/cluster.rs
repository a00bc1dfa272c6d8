//! The upstreams of one thread, and the servers of each.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, header};

use super::breaker::{Breaker, Room};
use super::choose::{Chooser, Tried, hash};
use super::fault::Fault;
use super::server::Server;
use super::standing::{Board, Condition};
use crate::config::Upstream;
use crate::config::upstream::raw::HashOn;
use crate::config::upstream::{Balance, Outlier};
use crate::policy::diagnostic::Place;

/// One upstream: its servers, and how they share its requests.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// What is configured.
    pub(super) settings: Upstream,
    servers: Vec<Rc<Server>>,
    chooser: Chooser,
    breaker: Option<Arc<Breaker>>,
    budget: Budget,
}

/// The upstreams of the configuration that is in force.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    clusters: Vec<Rc<Cluster>>,
}

impl Upstreams {
    /// Takes over the upstreams of a configuration. One that has not changed stays as it is; of one
    /// that has, the servers that stay keep their connections, unless these are made otherwise now.
    pub(crate) fn install(&mut self, upstreams: &[Upstream], board: &Board) {
        let old: HashMap<String, Rc<Cluster>> =
            self.clusters.drain(..).map(|cluster| (cluster.settings.name.clone(), cluster)).collect();
        self.clusters = upstreams
            .iter()
            .map(|upstream| {
                // Where it stands in the file does not matter.
                let settings = Upstream { place: Place::default(), ..upstream.clone() };
                match old.get(&settings.name) {
                    Some(cluster) if cluster.settings == settings => Rc::clone(cluster),
                    other => Rc::new(Cluster::new(settings, board, other.map(|cluster| &**cluster))),
                }
            })
            .collect();
        drop(old);
        board.sweep();
    }

    /// An upstream, by its place in the configuration.
    pub(crate) fn get(&self, at: usize) -> Option<Rc<Cluster>> {
        self.clusters.get(at).cloned()
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Rc<Cluster>] {
        &self.clusters
    }

    /// Closes connections that have rested too long, or whose clients read nothing.
    pub(crate) fn expire(&self) {
        self.clusters.iter().flat_map(|cluster| &cluster.servers).for_each(|server| server.expire());
    }
}

impl Cluster {
    fn new(settings: Upstream, board: &Board, old: Option<&Cluster>) -> Cluster {
        let breaker = board.breaker(&settings);
        let old = old.filter(|old| old.connects_as(&settings));
        let server = |wanted: &crate::config::upstream::Server| {
            let kept = old.and_then(|old| old.servers.iter().find(|server| server.url == wanted.url));
            kept.cloned().unwrap_or_else(|| {
                let standing = board.standing(&settings.name, &wanted.url);
                Rc::new(Server::new(&wanted.url, &settings, standing, breaker.clone()))
            })
        };
        Cluster {
            servers: settings.servers.iter().map(server).collect(),
            chooser: Chooser::new(&settings.balance, &settings.servers),
            budget: Budget::new(settings.retry.budget),
            breaker,
            settings,
        }
    }

    /// Whether connections of this one may serve another configuration.
    fn connects_as(&self, other: &Upstream) -> bool {
        let own = &self.settings;
        own.tls == other.tls
            && own.proxy_protocol == other.proxy_protocol
            && own.idle == other.idle
            && own.resolve == other.resolve
            && own.limits == other.limits
    }

    /// Its servers.
    pub(super) fn servers(&self) -> &[Rc<Server>] {
        &self.servers
    }

    /// What `[upstream]` says about how long things may take.
    pub(crate) fn timeouts(&self) -> crate::config::upstream::UpstreamTimeouts {
        self.settings.timeouts
    }

    /// What decides between the servers, where a hash does.
    pub(crate) fn key(&self, client: IpAddr, path: &str, headers: &HeaderMap) -> Option<u64> {
        let Balance::Hash(on) = &self.settings.balance else { return None };
        match on {
            HashOn::Client => match client {
                IpAddr::V4(ip) => Some(hash(&ip.octets())),
                IpAddr::V6(ip) => Some(hash(&ip.octets())),
            },
            HashOn::Path => Some(hash(path.as_bytes())),
            HashOn::Header(name) => headers.get(name).map(|value| hash(value.as_bytes())),
            HashOn::Cookie(name) => cookie(headers, name).map(hash),
        }
    }

    /// Room for one more request, for which there may be a wait.
    pub(super) async fn enter(&self) -> Result<Option<Room>, Fault> {
        self.budget.earn();
        match &self.breaker {
            Some(breaker) => breaker.request().await,
            None => Ok(None),
        }
    }

    /// The next server for a request that has been to others.
    pub(super) fn choose(&self, key: Option<u64>, tried: &Tried) -> Option<(usize, &Rc<Server>)> {
        let at = self.chooser.choose(&self.servers, key, tried)?;
        Some((at, self.servers.get(at)?))
    }

    /// Whether a request may be sent once more; it is then counted.
    pub(super) fn may_retry(&self) -> bool {
        self.budget.spend()
    }

    /// A server answered as it should.
    pub(super) fn succeeded(&self, server: &Server) {
        server.standing.succeeded();
    }

    /// A server failed a request. After too many in a row it is left alone, as long as enough others
    /// are left: the only server of an upstream is never left alone.
    pub(super) fn failed(&self, server: &Server) {
        let outlier = &self.settings.outlier;
        if server.standing.failed(outlier) && self.may_eject(outlier) {
            server.standing.eject(outlier);
            tracing::warn!(upstream = self.settings.name, server = %server.url, "a server is left alone");
        }
    }

    fn may_eject(&self, outlier: &Outlier) -> bool {
        let ejected = |server: &&Rc<Server>| server.standing.condition() == Condition::Ejected;
        let ejected = self.servers.iter().filter(ejected).count();
        (ejected + 1) as f64 <= self.servers.len() as f64 * outlier.share
    }
}

/// The value of a cookie.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let crumbs = headers.get_all(header::COOKIE).iter();
    crumbs.flat_map(|value| value.as_bytes().split(|byte| *byte == b';')).find_map(|crumb| {
        let rest = crumb.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    })
}

/// How many retries there may be: each request earns a share of one, so that retries cannot multiply
/// the load on an upstream that is failing already.
#[derive(Debug)]
struct Budget {
    /// In thousandths of a retry.
    saved: Cell<u32>,
    earns: u32,
}

/// Saved at the start, so that the first requests may be sent again too.
const AT_START: u32 = 3_000;
/// The most that is saved for bad times.
const MOST: u32 = 10_000;
const ONE_RETRY: u32 = 1_000;

impl Budget {
    fn new(share: f64) -> Budget {
        // From 0 to 1, as the configuration was checked.
        let earns = (share.clamp(0.0, 1.0) * f64::from(ONE_RETRY)) as u32;
        Budget { saved: Cell::new(if earns == 0 { 0 } else { AT_START }), earns }
    }

    fn earn(&self) {
        self.saved.set((self.saved.get() + self.earns).min(MOST));
    }

    fn spend(&self) -> bool {
        let left = self.saved.get().checked_sub(ONE_RETRY);
        if let Some(left) = left {
            self.saved.set(left);
        }
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_the_requests() {
        let budget = Budget::new(0.2);
        let retries = (0..1000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(retries.count(), 203);
        assert!(!Budget::new(0.0).spend());
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "aid=1; id=2".parse().expect("a value"));
        headers.append(header::COOKIE, "b=3".parse().expect("a value"));
        assert_eq!(cookie(&headers, "id"), Some(&b"2"[..]));
        assert_eq!(cookie(&headers, "b"), Some(&b"3"[..]));
        assert_eq!(cookie(&headers, "d"), None);
    }
}
