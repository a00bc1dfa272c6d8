//! The root document as written: process tables here, policy tables from `policy::raw`.
//!
//! One file may hold all of it. Included files hold policy tables and upstreams; what concerns the
//! process stands in the main file alone.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::HeaderName;
use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

pub use super::otlp::RawOtlp;
pub use super::upstream::raw::{RawUpstream, ServerText};
use crate::audit::RawLog;
use crate::deny::{RawPage, RawResponseHeaders};
use crate::policy::decode::{Decode, Node, OneOrMany, ProcessPath, Size, Span, bad_value, table, words};
use crate::policy::diagnostic::{At, Diagnostics};
use crate::policy::network::{NetItem, parse_net};
use crate::policy::raw::RawPolicy;

table! {
    /// The main configuration file of portcullis.
    pub struct Root as "the configuration" {
        /// The version of the file format: 1.
        req version: At<u32>,
        /// Further files with policy tables; globs are sorted bytewise and must match something.
        list include: At<String>,
        /// Where to listen, and whom to believe.
        opt server: RawServer,
        /// Listeners with settings of their own.
        list listener: RawListener,
        /// Sizes and counts beyond which requests and connections are refused.
        opt limits: RawLimits,
        /// How long things may take.
        opt timeouts: RawTimeouts,
        /// The listener for operators.
        opt admin: RawAdmin,
        /// The decision log.
        opt log: RawLog,
        /// The policies that were in force before.
        opt history: RawHistory,
        /// Traces and metrics for OpenTelemetry.
        opt otlp: RawOtlp,
        /// Which of our headers clients see.
        opt response_headers: RawResponseHeaders,
        /// The page that people in browsers get with a refusal.
        opt page: RawPage,
        /// The names of the headers that tell upstreams who asks.
        opt upstream_headers: RawUpstreamHeaders,
        /// The services behind the gateway, by name.
        map upstream: RawUpstream,
        /// The policy.
        part policy: RawPolicy,
    }
}

table! {
    /// An included file: policy tables and upstreams.
    pub struct Included as "an included file" {
        /// The services behind the gateway, by name.
        map upstream: RawUpstream,
        /// The policy.
        part policy: RawPolicy,
    }
}

words! {
    /// Where a trusted proxy names its client.
    pub enum ClientAddressWord {
        /// X-Forwarded-For.
        XForwardedFor = "x-forwarded-for",
        /// Forwarded (RFC 7239).
        Forwarded = "forwarded",
        /// Nowhere: the TCP peer is the client.
        Peer = "peer",
    }
}

words! {
    /// Whose X-Request-Id is taken over.
    pub enum RequestIdWord {
        /// That of a trusted proxy.
        Trusted = "trusted",
        /// Anybody's.
        Accept = "accept",
        /// Nobody's.
        Generate = "generate",
    }
}

table! {
    /// `[server]`: where to listen, and whom to believe.
    pub struct RawServer as "[server]" {
        /// Addresses to listen on in clear text: short for one `[[listener]]` each.
        list listen: At<Address>,
        /// The proxies in front of us: addresses, networks or names of networks.
        list trusted_proxies: At<NetItem>,
        /// The one header in which they name their clients.
        opt client_address: ClientAddressWord,
        /// Whose X-Request-Id is taken over.
        opt request_id: RequestIdWord,
        /// Worker threads; 0: one a core.
        opt threads: At<u16>,
        /// The folder for what must outlive a restart, such as the history of the policy; made when
        /// absent. Without one it is kept in memory.
        opt state_dir: At<ProcessPath>,
    }
}

table! {
    /// `[history]`: the policies that were in force before.
    pub struct RawHistory as "[history]" {
        /// How many are kept with their texts.
        opt keep: At<u32>,
        /// How much room their texts may take in `server.state_dir`, compressed.
        opt size: At<Size>,
    }
}

table! {
    /// `[[listener]]`: an address with settings of its own.
    pub struct RawListener as "[[listener]]" {
        /// The address to listen on.
        req address: At<Address>,
        /// TLS; absent: clear text.
        opt tls: RawTls,
        /// Whose PROXY protocol headers are believed; absent: nobody's.
        opt proxy_protocol: RawProxyProtocol,
    }
}

table! {
    /// The TLS settings of a listener.
    pub struct RawTls as "tls" {
        /// Certificate chains with their keys; the first is the default, the others are chosen by SNI.
        req certificates: Vec<RawCertificate>,
        /// PEM file of the authorities whose client certificates are believed; absent: none is asked for.
        opt client_ca: At<ProcessPath>,
        /// Whether a client must show a certificate: `required` (default) or `optional`.
        opt client_cert: At<ClientCertWord>,
        /// PEM files of the revocation lists of these authorities. With any, every certificate of a client
        /// must be covered by one that has not run out.
        list client_crl: At<ProcessPath>,
    }
}

words! {
    /// Whether clients show certificates.
    pub enum ClientCertWord {
        /// A client may show one, which must then be valid.
        Optional = "optional",
        /// A connection without a valid one is refused.
        Required = "required",
    }
}

table! {
    /// The PROXY protocol (version 1 or 2) in front of whatever else comes.
    pub struct RawProxyProtocol as "proxy_protocol" {
        /// The proxies that speak it, by addresses or networks: they must, and nobody else may.
        req from: At<OneOrMany<At<Net>>>,
    }
}

table! {
    /// A certificate chain with its key.
    pub struct RawCertificate as "a certificate" {
        /// PEM file of the chain, the server's own certificate first.
        req cert: At<ProcessPath>,
        /// PEM file of the private key.
        req key: At<ProcessPath>,
    }
}

table! {
    /// `[limits]`: sizes and counts beyond which requests and connections are refused.
    pub struct RawLimits as "[limits]" {
        /// Bytes of a request head.
        opt head: At<Size>,
        /// Header fields of a request.
        opt fields: At<u16>,
        /// Bytes of a request target.
        opt target: At<Size>,
        /// Bytes of a credential.
        opt credential: At<Size>,
        /// Open client connections.
        opt connections: At<u32>,
        /// Open connections of one client address.
        opt connections_per_address: At<u32>,
    }
}

table! {
    /// `[timeouts]`: how long things may take.
    pub struct RawTimeouts as "[timeouts]" {
        /// From accept to the first byte of a request, TLS included.
        opt first_byte: At<Span>,
        /// From the first byte of a request head to its last.
        opt head: At<Span>,
        /// Between two pieces of a request or response body.
        opt body_idle: At<Span>,
        /// To connect to an upstream.
        opt connect: At<Span>,
        /// From the request sent to the head of the upstream's answer.
        opt upstream_first_byte: At<Span>,
        /// A connection without a request.
        opt idle: At<Span>,
        /// From SIGTERM until listeners close.
        opt drain_delay: At<Span>,
        /// After that, until what is still in flight is cut.
        opt drain: At<Span>,
    }
}

words! {
    /// Who may read the metrics.
    pub enum MetricsWord {
        /// Whoever reaches the admin listener; on loopback by a loopback `Host`, as for all reading.
        Open = "open",
        /// Who has the token.
        Token = "token",
    }
}

table! {
    /// `[admin]`: the listener for operators.
    pub struct RawAdmin as "[admin]" {
        /// Where it listens; keep it on loopback.
        req listen: At<Address>,
        /// The file of the token that changes need; made when absent.
        opt token_file: At<ProcessPath>,
        /// A socket beside it, which only the gateway's own user may open: no token is needed there.
        opt socket: At<ProcessPath>,
        /// Who may read `/metrics`.
        opt metrics: MetricsWord,
    }
}

table! {
    /// `[upstream_headers]`: the names of the headers that tell upstreams who asks.
    pub struct RawUpstreamHeaders as "[upstream_headers]" {
        /// The verified subject; `x-portcullis-subject` by default.
        opt subject: At<FieldName>,
        /// The declared roles, separated by commas; `x-portcullis-roles` by default.
        opt roles: At<FieldName>,
        /// The grant that allows the request; `x-portcullis-rule` by default.
        opt rule: At<FieldName>,
    }
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

/// An address or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net(pub IpNet);

/// The name of a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldName(pub HeaderName);

impl Decode for Address {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("an address with port", diagnostics)?;
        let address = text.parse().ok().map(Address);
        if address.is_none() {
            let help = "write an address and a port: \"127.0.0.1:8080\", \"[::]:8443\"";
            bad_value(node, format!("`{text}` is not an address to listen on"), help, diagnostics);
        }
        address
    }
}

impl JsonSchema for Address {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["127.0.0.1:8080", "[::]:8443"] })
    }
}

impl Decode for Net {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("an address or a network", diagnostics)?;
        match parse_net(text) {
            Ok(net) => Some(Net(net)),
            Err(why) => {
                let help = "write \"192.0.2.7\", \"192.0.2.0/24\" or \"2001:db8::/32\"";
                bad_value(node, format!("`{text}` {why}"), help, diagnostics);
                None
            }
        }
    }
}

impl JsonSchema for Net {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Net".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["192.0.2.7", "10.0.0.0/8"] })
    }
}

impl Decode for FieldName {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("the name of a header field", diagnostics)?;
        let name = HeaderName::try_from(text).ok().filter(|name| !name.as_str().contains(['_', '.']));
        if name.is_none() {
            let help = "letters, digits and `-`; no `_` or `.`, which some servers take for `-`";
            bad_value(node, format!("`{text}` is not a header name that can be set"), help, diagnostics);
        }
        name.map(FieldName)
    }
}

impl JsonSchema for FieldName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "FieldName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9-]+$" })
    }
}
