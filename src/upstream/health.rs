//! Asks servers by themselves whether they are well, where `[upstream.NAME.health]` says how.
//!
//! One thread does this for all: what it finds stands where all threads look ([`Standing`]). Each check
//! has a connection of its own, since one that rests says nothing about new ones.
//!
//! [`Standing`]: super::standing::Standing

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, Uri, header};
use tokio::task::AbortHandle;
use tokio::time::{interval, sleep, timeout};

use super::added::Beside;
use super::body::RequestBody;
use super::cluster::{Cluster, Upstreams};
use super::dial::Wanted;
use super::link::Link;
use super::multiplex::Stream;
use super::server::Server;
use crate::config::upstream::Health;

/// The checks of one server.
struct Watched {
    server: Rc<Server>,
    health: Health,
    task: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Checks all servers of the configuration in force, for ever. `upstreams` tells which these are.
pub(crate) async fn keep(with_upstreams: impl Fn(&mut dyn FnMut(&Upstreams))) {
    let mut watched: Vec<Watched> = Vec::new();
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        with_upstreams(&mut |upstreams| watch(&mut watched, upstreams.all()));
    }
}

/// Begins what is new, ends what is gone, and leaves the rest alone.
fn watch(watched: &mut Vec<Watched>, clusters: &[Rc<Cluster>]) {
    let wanted = clusters.iter().filter_map(|cluster| Some((cluster, cluster.settings.health.as_ref()?)));
    let wanted: Vec<(&Rc<Server>, &Health)> = wanted
        .flat_map(|(cluster, health)| cluster.servers().iter().map(move |server| (server, health)))
        .collect();
    let is = |old: &Watched, (server, health): &(&Rc<Server>, &Health)| {
        Rc::ptr_eq(&old.server, server) && old.health == **health
    };
    watched.retain(|old| {
        let stays = wanted.iter().any(|wanted| is(old, wanted));
        if !stays {
            // Nobody would ever call it well again.
            old.server.standing.checked(true);
        }
        stays
    });
    for (server, health) in wanted {
        if !watched.iter().any(|old| is(old, &(server, health))) {
            let task = tokio::task::spawn_local(check(Rc::clone(server), health.clone())).abort_handle();
            watched.push(Watched { server: Rc::clone(server), health: health.clone(), task });
        }
    }
}

async fn check(server: Rc<Server>, health: Health) {
    let mut tally = Tally { well: true, differing: 0 };
    loop {
        let well = matches!(timeout(health.timeout, probe(&server, &health)).await, Ok(Some(true)));
        if tally.count(well, &health) {
            server.standing.checked(tally.well);
            tracing::warn!(server = %server.url, well, "the health of a server has changed");
        }
        sleep(health.interval).await;
    }
}

/// What the checks of a server add up to.
#[derive(Clone, Copy, Debug)]
struct Tally {
    well: bool,
    /// How many in a row say otherwise.
    differing: u32,
}

impl Tally {
    /// Counts a check; whether that changes what the server is taken for.
    fn count(&mut self, well: bool, health: &Health) -> bool {
        if well == self.well {
            self.differing = 0;
            return false;
        }
        self.differing += 1;
        let enough = if well { health.healthy } else { health.unhealthy };
        if self.differing < enough {
            return false;
        }
        *self = Tally { well, differing: 0 };
        true
    }
}

/// Asks once; none if there is no answer.
async fn probe(server: &Server, health: &Health) -> Option<bool> {
    let us = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let dialled = server.dialer.dial(health.timeout, us, Wanted::Any).await.ok()?;
    let mut request = Request::new(RequestBody::Empty);
    *request.uri_mut() = health.path.parse().ok()?;
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("portcullis-health"));
    let status = if dialled.http2 {
        let authority = server.authority().to_str().ok()?;
        let uri = Uri::builder().scheme(server.dialer.scheme()).authority(authority);
        *request.uri_mut() = uri.path_and_query(health.path.as_str()).build().ok()?;
        Stream::connect(dialled.io, None).await.ok()?.exchange(&mut request).await.ok()?.status()
    } else {
        request.headers_mut().insert(header::HOST, server.authority().clone());
        Link::new(dialled.io, None).exchange(&mut request, Beside::default()).await.ok()?.1.status()
    };
    Some(is_good(status, &health.status))
}

fn is_good(status: StatusCode, good: &[u16]) -> bool {
    if good.is_empty() { status.is_success() } else { good.contains(&status.as_u16()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_several_checks_in_a_row_change_anything() {
        let health = Health {
            path: "/".to_owned(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy: 2,
            unhealthy: 3,
            status: Vec::new(),
        };
        let mut tally = Tally { well: true, differing: 0 };
        let mut changes = Vec::new();
        for (at, well) in
            [false, false, true, false, false, false, true, false, true, true].into_iter().enumerate()
        {
            if tally.count(well, &health) {
                changes.push((at, well));
            }
        }
        assert_eq!(changes, [(5, false), (9, true)]);
    }

    #[test]
    fn the_statuses_of_a_good_check_may_be_listed() {
        assert!(is_good(StatusCode::NO_CONTENT, &[]) && !is_good(StatusCode::FOUND, &[]));
        assert!(is_good(StatusCode::UNAUTHORIZED, &[401]) && !is_good(StatusCode::OK, &[401]));
    }
}
