//! What the process needs to know besides the policy, checked and with its defaults filled in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::otlp::Otlp;
use super::raw::{
    ClientCertWord, MetricsWord, RawAdmin, RawHistory, RawLimits, RawListener, RawProxyProtocol, RawTimeouts,
    RawTls, RawUpstreamHeaders, RequestIdWord, Root,
};
use super::tls::{Certificate, ClientAuth, Tls};
use super::upstream::Upstream;
use crate::audit;
use crate::deny::{Page, ResponseHeaders, page};
use crate::policy::code::Code;
use crate::policy::decode::ProcessPath;
use crate::policy::diagnostic::{At, Diagnostics, Place};
use crate::policy::ip::IpSet;
use crate::policy::route::Patience;
use crate::policy::source::Sources;
use crate::state;

/// Everything about the process that is not policy.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listeners: Vec<Listener>,
    /// Worker threads; 0: one a core.
    pub threads: usize,
    /// Whose X-Request-Id is taken over.
    pub request_id: RequestIdWord,
    /// Open client connections, in total and per address.
    pub connections: ConnectionLimits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// The listener for operators.
    pub admin: Option<Admin>,
    /// The decision log.
    pub log: audit::Settings,
    /// Where traces and metrics are sent; nowhere if none.
    pub otlp: Option<Otlp>,
    /// The folder for what outlives a restart.
    pub state_dir: Option<PathBuf>,
    /// How much of the policy's history is kept.
    pub history: state::Limits,
    /// Which of our headers clients see.
    pub response_headers: ResponseHeaders,
    /// The page that people in browsers get with a refusal; the one that ships with portcullis if none.
    pub page: Option<Arc<Page>>,
    /// The names of the headers that tell upstreams who asks.
    pub upstream_headers: UpstreamHeaders,
    /// The services behind the gateway.
    pub upstreams: Vec<Upstream>,
}

/// An address to listen on.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address.
    pub address: SocketAddr,
    /// TLS; none: clear text.
    pub tls: Option<Tls>,
    /// The proxies that begin each connection with a PROXY protocol header.
    pub proxy_protocol: Option<IpSet>,
}

/// What tells the listeners of a configuration apart, also in the next one: the address, and the how
/// manyeth it is of those with port 0, which may stand twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerKey {
    address: SocketAddr,
    nth: usize,
}

impl Listener {
    /// Clear text, with nothing in front of it.
    pub fn plain(address: SocketAddr) -> Listener {
        Listener { address, tls: None, proxy_protocol: None }
    }
}

/// How many connections may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all.
    pub total: u32,
    /// From one address (an IPv6 /64 counts as one).
    pub per_address: u32,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accept to the first byte of a request, TLS included.
    pub first_byte: Duration,
    /// From the first byte of a request head to its last.
    pub head: Duration,
    /// Between two pieces of a body.
    pub body_idle: Duration,
    /// To connect to an upstream.
    pub connect: Duration,
    /// From the request sent to the head of the upstream's answer.
    pub upstream_first_byte: Duration,
    /// A connection without a request.
    pub idle: Duration,
    /// From SIGTERM until listeners close.
    pub drain_delay: Duration,
    /// After that, until what is still in flight is cut.
    pub drain: Duration,
}

/// The listener for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Its address.
    pub listen: SocketAddr,
    /// The file of the token that changes need.
    pub token_file: Option<PathBuf>,
    /// A socket beside it, for its own user.
    pub socket: Option<PathBuf>,
    /// Whether reading the metrics needs the token too.
    pub metrics_need_token: bool,
}

/// The names of the headers that tell upstreams who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamHeaders {
    /// The verified subject.
    pub subject: HeaderName,
    /// The declared roles.
    pub roles: HeaderName,
    /// The grant that allows the request.
    pub rule: HeaderName,
}

impl Admin {
    /// The listener that the table describes.
    pub(super) fn new(raw: &RawAdmin, sources: &Sources) -> Admin {
        let path = |file: &At<ProcessPath>| sources.resolve(file.place.file, &file.value.0).into();
        Admin {
            listen: raw.listen.value.0,
            token_file: raw.token_file.as_ref().map(path),
            socket: raw.socket.as_ref().map(path),
            metrics_need_token: raw.metrics == Some(MetricsWord::Token),
        }
    }
}

impl Timeouts {
    /// The same on a route that has times of its own.
    pub fn on(mut self, patience: &Patience) -> Timeouts {
        self.upstream_first_byte = patience.upstream_first_byte.unwrap_or(self.upstream_first_byte);
        self.body_idle = patience.body_idle.unwrap_or(self.body_idle);
        self
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        let seconds = Duration::from_secs;
        Timeouts {
            first_byte: seconds(10),
            head: seconds(10),
            body_idle: seconds(30),
            connect: seconds(2),
            upstream_first_byte: seconds(30),
            idle: seconds(60),
            drain_delay: seconds(5),
            drain: seconds(30),
        }
    }
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits { total: 10_000, per_address: 1_000 }
    }
}

impl Default for UpstreamHeaders {
    fn default() -> UpstreamHeaders {
        UpstreamHeaders {
            subject: HeaderName::from_static("x-portcullis-subject"),
            roles: HeaderName::from_static("x-portcullis-roles"),
            rule: HeaderName::from_static("x-portcullis-rule"),
        }
    }
}

impl UpstreamHeaders {
    fn new(raw: Option<&RawUpstreamHeaders>, diagnostics: &mut Diagnostics) -> UpstreamHeaders {
        let mut names = UpstreamHeaders::default();
        let Some(raw) = raw else { return names };
        for (to, from) in
            [(&mut names.subject, &raw.subject), (&mut names.roles, &raw.roles), (&mut names.rule, &raw.rule)]
        {
            let Some(from) = from else { continue };
            if RESERVED.contains(&from.value.0.as_str()) {
                diagnostics
                    .push(
                        Code::BadValue,
                        from.place,
                        format!("the header `{}` has a meaning of its own", from.value.0),
                    )
                    .help("choose a name that nothing else uses, such as `x-portcullis-subject`");
            }
            *to = from.value.0.clone();
        }
        names
    }

    /// The three names.
    pub fn names(&self) -> [&HeaderName; 3] {
        [&self.subject, &self.roles, &self.rule]
    }
}

/// Fields that the gateway writes or reads for other purposes.
const RESERVED: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

impl Settings {
    /// Checks the process tables and fills in their defaults.
    pub fn new(
        root: &Root,
        upstreams: Vec<Upstream>,
        sources: &Sources,
        diagnostics: &mut Diagnostics,
    ) -> Settings {
        let server = root.server.as_ref();
        let admin = root.admin.as_ref().map(|admin| Admin::new(admin, sources));
        Settings {
            listeners: listeners(root, sources, diagnostics),
            threads: server.and_then(|server| server.threads).map_or(0, |threads| usize::from(threads.value)),
            request_id: server.and_then(|server| server.request_id).unwrap_or(RequestIdWord::Trusted),
            connections: connection_limits(root.limits.as_ref(), diagnostics),
            timeouts: timeouts(root.timeouts.as_ref(), diagnostics),
            admin,
            log: log(root, sources, diagnostics),
            otlp: root.otlp.as_ref().and_then(|raw| Otlp::new(raw, diagnostics)),
            state_dir: server
                .and_then(|server| server.state_dir.as_ref())
                .map(|folder| sources.resolve(folder.place.file, &folder.value.0).into()),
            history: history(root.history.as_ref(), diagnostics),
            response_headers: root
                .response_headers
                .as_ref()
                .map_or_else(ResponseHeaders::default, Into::into),
            page: root.page.as_ref().and_then(|raw| page(raw, sources, diagnostics)),
            upstream_headers: UpstreamHeaders::new(root.upstream_headers.as_ref(), diagnostics),
            upstreams,
        }
    }
}

impl Settings {
    /// The keys of the listeners, in their order.
    pub fn listener_keys(&self) -> Vec<ListenerKey> {
        let nth =
            |at: usize, address| self.listeners[..at].iter().filter(|other| other.address == address).count();
        let key = |(at, listener): (usize, &Listener)| ListenerKey {
            address: listener.address,
            nth: nth(at, listener.address),
        };
        self.listeners.iter().enumerate().map(key).collect()
    }

    /// A listener of this configuration or of another, as this one has it.
    pub fn listener(&self, key: ListenerKey) -> Option<&Listener> {
        self.listeners.iter().filter(|listener| listener.address == key.address).nth(key.nth)
    }
}

/// The decision log. Headers in which some source of identity reads credentials are not recorded.
fn log(root: &Root, sources: &Sources, diagnostics: &mut Diagnostics) -> audit::Settings {
    let Some(raw) = &root.log else { return audit::Settings::default() };
    let credentials: Vec<HeaderName> =
        root.policy.authn.iter().flat_map(|authn| authn.credential_headers()).collect();
    audit::Settings::compile(raw, sources, &credentials, diagnostics)
}

/// How much of the policy's history is kept.
fn history(raw: Option<&RawHistory>, diagnostics: &mut Diagnostics) -> state::Limits {
    let mut limits = state::Limits::default();
    if let Some(At { value, place }) = raw.and_then(|raw| raw.keep) {
        if !(2..=MOST_POLICIES).contains(&value) {
            let message = format!("2 to {MOST_POLICIES} policies can be kept");
            diagnostics
                .push(Code::BadValue, place, message)
                .help("two are the one in force and the one before, which is what a change is read from");
        }
        limits.keep = value as usize;
    }
    if let Some(At { value, place }) = raw.and_then(|raw| raw.size) {
        if value.0 < SMALLEST_HISTORY {
            diagnostics.push(Code::BadValue, place, "the history needs at least 1MiB");
        }
        limits.size = value.0;
    }
    limits
}

const MOST_POLICIES: u32 = 10_000;
const SMALLEST_HISTORY: u64 = 1 << 20;

fn listeners(root: &Root, sources: &Sources, diagnostics: &mut Diagnostics) -> Vec<Listener> {
    let mut listeners: Vec<(Place, Listener)> = Vec::new();
    let short = root.server.iter().flat_map(|server| &server.listen);
    for address in short {
        listeners.push((address.place, Listener::plain(address.value.0)));
    }
    for raw in &root.listener {
        listeners.push((raw.address.place, listener(raw, sources, diagnostics)));
    }
    if listeners.is_empty() {
        // A listener that could not be read is one all the same.
        diagnostics
            .push_unless_lost(
                root.place,
                &["server", "listener"],
                Code::MissingKey,
                root.place,
                "nothing to listen on",
            )
            .help("add `[server] listen = [\"127.0.0.1:8080\"]`");
    }
    for (index, (place, listener)) in listeners.iter().enumerate() {
        // Port 0 asks the system for a free port, so it may stand twice.
        let first = listeners[..index].iter().find(|(_, other)| other.address == listener.address);
        if let Some((first, _)) = first.filter(|_| listener.address.port() != 0) {
            diagnostics
                .push(Code::Conflict, *place, format!("`{}` is listened on twice", listener.address))
                .also(*first, "the first listener");
        }
    }
    listeners.into_iter().map(|(_, listener)| listener).collect()
}

fn listener(raw: &RawListener, sources: &Sources, diagnostics: &mut Diagnostics) -> Listener {
    Listener {
        address: raw.address.value.0,
        tls: raw.tls.as_ref().map(|tls| self::tls(tls, sources, diagnostics)),
        proxy_protocol: raw.proxy_protocol.as_ref().map(|raw| proxies(raw, diagnostics)),
    }
}

fn tls(raw: &RawTls, sources: &Sources, diagnostics: &mut Diagnostics) -> Tls {
    let path = |file: &At<ProcessPath>| -> PathBuf { sources.resolve(file.place.file, &file.value.0).into() };
    if raw.certificates.is_empty() && !diagnostics.lacks(raw.place, &["certificates"]) {
        diagnostics.push(Code::BadValue, raw.place, "TLS needs at least one certificate");
    }
    let orphan = raw.client_cert.as_ref().map(|word| ("client_cert", word.place));
    let orphan = orphan.or(raw.client_crl.first().map(|file| ("client_crl", file.place)));
    if let (None, Some((key, place)), false) =
        (&raw.client_ca, orphan, diagnostics.lacks(raw.place, &["client_ca"]))
    {
        diagnostics
            .push(Code::Conflict, place, format!("`{key}` needs `client_ca`"))
            .help("say whose certificates are believed: `client_ca = \"ca.pem\"`");
    }
    let certificate = |raw: &super::raw::RawCertificate| Certificate {
        cert: path(&raw.cert),
        key: path(&raw.key),
        place: raw.place,
    };
    let client = raw.client_ca.as_ref().map(|ca| ClientAuth {
        ca: path(ca),
        place: ca.place,
        required: raw.client_cert.is_none_or(|word| word.value == ClientCertWord::Required),
        crls: raw.client_crl.iter().map(|file| (path(file), file.place)).collect(),
    });
    Tls { certificates: raw.certificates.iter().map(certificate).collect(), client, material: None }
}

/// Whose PROXY protocol headers are believed.
fn proxies(raw: &RawProxyProtocol, diagnostics: &mut Diagnostics) -> IpSet {
    let from = IpSet::new(raw.from.value.0.iter().map(|net| net.value.0));
    if from.is_empty() && !diagnostics.lacks(raw.place, &["from"]) {
        diagnostics
            .push(Code::BadValue, raw.from.place, "`from` names no proxy")
            .help("list the addresses of the proxies that speak the PROXY protocol, or leave the table out");
    }
    if from.covers_everything() {
        diagnostics
            .push(Code::TrustsTheWorld, raw.from.place, "`from` contains every address")
            .help("list the addresses of the proxies in front of this listener");
    }
    from
}

fn connection_limits(raw: Option<&RawLimits>, diagnostics: &mut Diagnostics) -> ConnectionLimits {
    let mut limits = ConnectionLimits::default();
    let Some(raw) = raw else { return limits };
    for (to, from) in
        [(&mut limits.total, raw.connections), (&mut limits.per_address, raw.connections_per_address)]
    {
        let Some(from) = from else { continue };
        if from.value == 0 {
            diagnostics.push(Code::BadValue, from.place, "a limit of 0 would refuse every connection");
        }
        *to = from.value;
    }
    limits
}

fn timeouts(raw: Option<&RawTimeouts>, diagnostics: &mut Diagnostics) -> Timeouts {
    let mut times = Timeouts::default();
    let Some(raw) = raw else { return times };
    // Zero would cut everything at once; the drain times may be zero, to stop without waiting.
    let fields = [
        (&mut times.first_byte, raw.first_byte, false),
        (&mut times.head, raw.head, false),
        (&mut times.body_idle, raw.body_idle, false),
        (&mut times.connect, raw.connect, false),
        (&mut times.upstream_first_byte, raw.upstream_first_byte, false),
        (&mut times.idle, raw.idle, false),
        (&mut times.drain_delay, raw.drain_delay, true),
        (&mut times.drain, raw.drain, true),
    ];
    for (to, from, zero_allowed) in fields {
        let Some(from) = from else { continue };
        if from.value.0.is_zero() && !zero_allowed {
            diagnostics
                .push(Code::BadValue, from.place, "a timeout of zero would cut everything at once")
                .help("leave the key out for the default; there is no way to wait for ever");
        }
        if from.value.0 > LONGEST {
            diagnostics.push(Code::BadValue, from.place, "a timeout of more than a day is not a timeout");
        }
        *to = from.value.0;
    }
    times
}

/// Timers take this; nothing that is waited for takes longer.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
