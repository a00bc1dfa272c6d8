//! The services behind the gateway, checked and with their defaults filled in.

pub mod raw;
#[cfg(test)]
mod tests;
mod tls;

pub use tls::{Built, ClientTls};

use std::time::Duration;

use self::raw::{BalanceWord, HashOn, ProxyProtocolWord, RawHealth, RawOutlier, RawRetry, RawUpstream};
use super::raw::ServerText;
use super::settings::Timeouts;
use super::tls::Certificate;
use crate::policy::code::Code;
use crate::policy::decode::{Name, ProcessPath, Span};
use crate::policy::diagnostic::{At, Diagnostics, Place};
use crate::policy::source::Sources;

/// A service behind the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// Its servers, at least one.
    pub servers: Vec<Server>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// TLS towards its servers, if one wants it.
    pub tls: Option<ClientTls>,
    /// How servers are asked whether they are well.
    pub health: Option<Health>,
    /// When a server that fails requests is left alone.
    pub outlier: Outlier,
    /// How long things may take.
    pub timeouts: UpstreamTimeouts,
    /// Which requests are sent again.
    pub retry: Retry,
    /// How long a connection may rest.
    pub idle: Duration,
    /// How long the addresses of a name are used.
    pub resolve: Duration,
    /// How much may be under way at once.
    pub limits: UpstreamLimits,
    /// Whether the servers are told the client's address ahead of the request.
    pub proxy_protocol: Option<ProxyProtocolWord>,
    /// Where its servers are named.
    pub place: Place,
}

/// A server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it is.
    pub url: ServerText,
    /// Its share of the requests.
    pub weight: u32,
}

/// How the server of a request is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn.
    RoundRobin,
    /// Of two, the one with less to do.
    LeastRequest,
    /// By a hash of this.
    Hash(HashOn),
}

/// How servers are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The path that is asked for.
    pub path: String,
    /// The time between two checks.
    pub interval: Duration,
    /// The time for one check.
    pub timeout: Duration,
    /// Good checks in a row that bring a server back.
    pub healthy: u32,
    /// Bad checks in a row that take it out.
    pub unhealthy: u32,
    /// The statuses of a good check; empty: 200 to 299.
    pub status: Vec<u16>,
}

/// When a server that fails requests is left alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlier {
    /// After so many failures in a row; 0: never.
    pub failures: u32,
    /// How long at first, and how much longer each time.
    pub eject: Duration,
    /// How long at most.
    pub max_eject: Duration,
    /// The most servers at once, as a share.
    pub share: f64,
}

/// How long things may take; what is absent is as `[timeouts]` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// To connect.
    pub connect: Option<Duration>,
    /// To the head of the answer.
    pub first_byte: Option<Duration>,
    /// Between two pieces of a body.
    pub body_idle: Option<Duration>,
    /// To the end of the answer.
    pub total: Option<Duration>,
}

/// Which requests are sent again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Tries in all.
    pub attempts: u32,
    /// The most retries, as a share of the requests.
    pub budget: f64,
    /// Statuses after which another server is asked.
    pub status: Vec<u16>,
    /// Whether a request that got no answer is sent again, where that does no harm. Without `[retry]`
    /// only what never reached a server is.
    pub repeat: bool,
}

/// How much may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamLimits {
    /// Requests in flight.
    pub requests: Option<u32>,
    /// Open connections to each server.
    pub connections: Option<u32>,
    /// Requests that may wait for room.
    pub pending: u32,
    /// How long they wait.
    pub patience: Duration,
}

impl UpstreamTimeouts {
    /// The process's timeouts with what this upstream says instead.
    pub fn over(&self, timeouts: Timeouts) -> Timeouts {
        Timeouts {
            connect: self.connect.unwrap_or(timeouts.connect),
            upstream_first_byte: self.first_byte.unwrap_or(timeouts.upstream_first_byte),
            body_idle: self.body_idle.unwrap_or(timeouts.body_idle),
            ..timeouts
        }
    }
}

/// Checks the tables.
pub(super) fn compile(
    raw: &[(At<String>, RawUpstream)],
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Vec<Upstream> {
    let mut upstreams: Vec<(Place, Upstream)> = Vec::new();
    for (key, raw) in raw {
        if Name::new(&key.value).is_none() {
            diagnostics.push(Code::BadValue, key.place, format!("`{}` is not a name", key.value)).help(
                "a name has 1 to 64 characters of a-z, 0-9, `.`, `_`, `-` and begins with a letter or digit",
            );
        }
        if let Some((first, _)) = upstreams.iter().find(|(_, other)| other.name == key.value) {
            diagnostics
                .push(Code::DuplicateId, key.place, format!("the upstream `{}` is defined twice", key.value))
                .also(*first, "the first definition");
        }
        upstreams.push((key.place, upstream(&key.value, raw, sources, diagnostics)));
    }
    upstreams.into_iter().map(|(_, upstream)| upstream).collect()
}

fn upstream(name: &str, raw: &RawUpstream, sources: &Sources, diagnostics: &mut Diagnostics) -> Upstream {
    let servers = servers(raw, diagnostics);
    let tls = tls(raw, &servers, sources, diagnostics);
    if let Some(word) = raw.proxy_protocol
        && servers.iter().any(|server| server.url == ServerText::Echo)
    {
        diagnostics.push(Code::Conflict, word.place, "`builtin:echo` does not take the PROXY protocol");
    }
    let mut upstream = Upstream {
        name: name.to_owned(),
        balance: balance(raw, diagnostics),
        tls,
        health: raw.health.as_ref().map(|health| self::health(health, diagnostics)),
        outlier: outlier(raw.outlier.as_ref(), diagnostics),
        timeouts: UpstreamTimeouts::default(),
        retry: retry(raw.retry.as_ref(), diagnostics),
        idle: Duration::from_secs(4),
        resolve: Duration::from_secs(30),
        limits: UpstreamLimits {
            requests: limit(raw.max_requests, diagnostics),
            connections: limit(raw.max_connections, diagnostics),
            pending: raw.max_pending.map_or(1024, |pending| pending.value),
            patience: Duration::from_secs(2),
        },
        proxy_protocol: raw.proxy_protocol.map(|word| word.value),
        place: raw.servers.place,
        servers,
    };
    span(raw.idle, &mut upstream.idle, diagnostics);
    span(raw.resolve, &mut upstream.resolve, diagnostics);
    span(raw.pending_timeout, &mut upstream.limits.patience, diagnostics);
    let unlimited = upstream.limits.requests.is_none() && upstream.limits.connections.is_none();
    let pending = raw.max_pending.map(|at| at.place).or(raw.pending_timeout.map(|at| at.place));
    if let Some(place) = pending.filter(|_| unlimited) {
        diagnostics
            .push(Code::Conflict, place, "nothing waits where there is no limit")
            .help("set `max_requests` or `max_connections` too, or remove this");
    }
    if let Some(times) = &raw.timeouts {
        for (to, from) in [
            (&mut upstream.timeouts.connect, times.connect),
            (&mut upstream.timeouts.first_byte, times.first_byte),
            (&mut upstream.timeouts.body_idle, times.body_idle),
            (&mut upstream.timeouts.total, times.total),
        ] {
            let mut value = Duration::ZERO;
            span(from, &mut value, diagnostics);
            *to = from.map(|_| value);
        }
    }
    upstream
}

fn servers(raw: &RawUpstream, diagnostics: &mut Diagnostics) -> Vec<Server> {
    let list = &raw.servers.value.0;
    if list.is_empty() {
        let message = "an upstream needs at least one server";
        diagnostics.push_unless_lost(raw.place, &["servers"], Code::BadValue, raw.servers.place, message);
    }
    if list.len() > MAX_SERVERS {
        let message = format!("an upstream has up to {MAX_SERVERS} servers");
        diagnostics.push(Code::BadValue, raw.servers.place, message);
    }
    let mut servers: Vec<Server> = Vec::with_capacity(list.len());
    for (at, raw) in list.iter().enumerate() {
        if let Some(weight) = raw.weight.filter(|weight| !(1..=1000).contains(&weight.value)) {
            diagnostics
                .push(Code::BadValue, weight.place, "a weight is a number from 1 to 1000")
                .help("to take a server out of use, remove it");
        }
        if let Some(first) = servers.iter().position(|other| other.url == raw.url.value) {
            let first = list.get(first).map_or(raw.url.place, |first| first.url.place);
            diagnostics
                .push(Code::Conflict, raw.url.place, format!("the server `{}` is named twice", raw.url.value))
                .also(first, "the first time")
                .help("to send it more requests, give it a `weight`");
        }
        debug_assert_eq!(at, servers.len());
        let weight = raw.weight.map_or(1, |weight| u32::from(weight.value).max(1));
        servers.push(Server { url: raw.url.value.clone(), weight });
    }
    servers
}

/// More are a mistake, and would make choosing slow.
const MAX_SERVERS: usize = 1000;

fn balance(raw: &RawUpstream, diagnostics: &mut Diagnostics) -> Balance {
    let word = raw.balance.map_or(BalanceWord::RoundRobin, |word| word.value);
    if let Some(on) = raw.hash_on.as_ref().filter(|_| word != BalanceWord::Hash) {
        diagnostics
            .push(Code::Conflict, on.place, "`hash_on` means nothing without `balance = \"hash\"`")
            .help("add `balance = \"hash\"`, or remove this");
    }
    match word {
        BalanceWord::RoundRobin => Balance::RoundRobin,
        BalanceWord::LeastRequest => Balance::LeastRequest,
        BalanceWord::Hash => {
            Balance::Hash(raw.hash_on.as_ref().map_or(HashOn::Client, |on| on.value.clone()))
        }
    }
}

fn tls(
    raw: &RawUpstream,
    servers: &[Server],
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Option<ClientTls> {
    let wanted = servers.iter().any(|server| server.url.is_https());
    let Some(tls) = &raw.tls else {
        let place = raw.servers.place;
        return wanted.then_some(ClientTls { ca: None, certificate: None, sni: None, place, built: None });
    };
    if !wanted && !servers.is_empty() {
        diagnostics
            .push(Code::Conflict, tls.place, "no server of this upstream is spoken to in TLS")
            .help("write `https://` in front of its servers, or remove `tls`");
    }
    let path = |file: &At<ProcessPath>| sources.resolve(file.place.file, &file.value.0).into();
    let certificate = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => Some(Certificate { cert: path(cert), key: path(key), place: cert.place }),
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => {
            diagnostics
                .push(Code::MissingKey, one.place, "a client certificate needs both `cert` and `key`")
                .help("name both files, or none");
            None
        }
    };
    if let Some(sni) = &tls.sni
        && rustls::pki_types::ServerName::try_from(sni.value.as_str()).is_err()
    {
        diagnostics.push(Code::BadValue, sni.place, format!("`{}` is not a server name", sni.value));
    }
    Some(ClientTls {
        ca: tls.ca.as_ref().map(path),
        certificate,
        sni: tls.sni.as_ref().map(|sni| sni.value.clone()),
        place: tls.place,
        built: None,
    })
}

fn health(raw: &RawHealth, diagnostics: &mut Diagnostics) -> Health {
    let mut health = Health {
        path: raw.path.value.clone(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        healthy: 2,
        unhealthy: 3,
        status: statuses(&raw.status, diagnostics),
    };
    if !health.path.starts_with('/') || health.path.parse::<http::uri::PathAndQuery>().is_err() {
        diagnostics
            .push(Code::BadValue, raw.path.place, format!("`{}` is not a path", health.path))
            .help("write \"/healthz\"");
    }
    span(raw.interval, &mut health.interval, diagnostics);
    span(raw.timeout, &mut health.timeout, diagnostics);
    for (to, from) in [(&mut health.healthy, raw.healthy), (&mut health.unhealthy, raw.unhealthy)] {
        let Some(from) = from else { continue };
        if from.value == 0 {
            diagnostics.push(Code::BadValue, from.place, "this is a number from 1 on");
        }
        *to = u32::from(from.value);
    }
    health
}

fn outlier(raw: Option<&RawOutlier>, diagnostics: &mut Diagnostics) -> Outlier {
    let mut outlier = Outlier {
        failures: 5,
        eject: Duration::from_secs(30),
        max_eject: Duration::from_secs(300),
        share: 0.5,
    };
    let Some(raw) = raw else { return outlier };
    outlier.failures = raw.failures.map_or(outlier.failures, |failures| u32::from(failures.value));
    span(raw.eject, &mut outlier.eject, diagnostics);
    span(raw.max_eject, &mut outlier.max_eject, diagnostics);
    share(raw.share, &mut outlier.share, diagnostics);
    outlier
}

fn retry(raw: Option<&RawRetry>, diagnostics: &mut Diagnostics) -> Retry {
    let mut retry = Retry { attempts: 2, budget: 0.2, status: Vec::new(), repeat: raw.is_some() };
    let Some(raw) = raw else { return retry };
    if let Some(attempts) = raw.attempts {
        if !(1..=10).contains(&attempts.value) {
            diagnostics.push(Code::BadValue, attempts.place, "this is a number from 1 to 10");
        }
        retry.attempts = u32::from(attempts.value);
    }
    share(raw.budget, &mut retry.budget, diagnostics);
    retry.status = statuses(&raw.status, diagnostics);
    retry
}

fn statuses(raw: &[At<u16>], diagnostics: &mut Diagnostics) -> Vec<u16> {
    for status in raw.iter().filter(|status| !(200..=599).contains(&status.value)) {
        let message = format!("`{}` is not the status of an answer", status.value);
        diagnostics.push(Code::BadValue, status.place, message).help("a number from 200 to 599");
    }
    raw.iter().map(|status| status.value).collect()
}

fn limit(raw: Option<At<u32>>, diagnostics: &mut Diagnostics) -> Option<u32> {
    let raw = raw?;
    if raw.value == 0 {
        diagnostics
            .push(Code::BadValue, raw.place, "a limit of 0 would refuse every request")
            .help("leave the key out for no limit");
    }
    Some(raw.value)
}

fn share(from: Option<At<f64>>, to: &mut f64, diagnostics: &mut Diagnostics) {
    let Some(from) = from else { return };
    if !(0.0..=1.0).contains(&from.value) {
        diagnostics.push(Code::BadValue, from.place, "a share is a number from 0 to 1");
    }
    *to = from.value;
}

fn span(from: Option<At<Span>>, to: &mut Duration, diagnostics: &mut Diagnostics) {
    let Some(from) = from else { return };
    let time = from.value.0;
    if time.is_zero() || time > Duration::from_secs(24 * 60 * 60) {
        diagnostics
            .push(Code::BadValue, from.place, "a time here is more than zero and at most a day")
            .help("leave the key out for the default");
    }
    *to = time;
}
