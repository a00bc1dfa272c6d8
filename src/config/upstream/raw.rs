//! `[upstream.NAME]` as written.

use std::borrow::Cow;

use http::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use crate::policy::decode::{Decode, Node, OneOrMany, ProcessPath, Span, bad_value, table, words};
use crate::policy::diagnostic::{At, Diagnostics};

table! {
    /// `[upstream.NAME]`: a service behind the gateway.
    pub struct RawUpstream as "[upstream]" {
        /// Its servers: `http://`, `https://` or `h2c://` with host and port, `unix:/path`, or `builtin:echo`, the embedded demonstration. One that takes more or less than the others is a table with `url` and `weight`.
        req servers: At<OneOrMany<RawServer>>,
        /// How the server of a request is chosen; `round-robin` by default.
        opt balance: At<BalanceWord>,
        /// What `balance = "hash"` looks at: `client` (the address, the default), `path`, `header:NAME` or `cookie:NAME`. A request without it takes its turn.
        opt hash_on: At<HashOn>,
        /// How `https://` servers are verified, and what is shown to them.
        opt tls: RawUpstreamTls,
        /// Asks each server by itself whether it is well; one that is not gets no requests.
        opt health: RawHealth,
        /// When a server that fails requests is left alone for a while.
        opt outlier: RawOutlier,
        /// How long things may take here, instead of what `[timeouts]` says.
        opt timeouts: RawUpstreamTimeouts,
        /// Which requests are sent again when a server fails them.
        opt retry: RawRetry,
        /// How long a connection may rest before it is closed; keep it below what the servers allow. `4s` by default.
        opt idle: At<Span>,
        /// How long the addresses of a name are used before it is looked up again; `30s` by default.
        opt resolve: At<Span>,
        /// Requests in flight over all servers; unlimited by default.
        opt max_requests: At<u32>,
        /// Open connections to each server, also those that rest; unlimited by default.
        opt max_connections: At<u32>,
        /// Requests that may wait for room under these two limits; 1024 by default. More are refused with `fault/overload`.
        opt max_pending: At<u32>,
        /// How long they wait; `2s` by default.
        opt pending_timeout: At<Span>,
        /// Tells the servers the client's address ahead of the request, in this version of the PROXY protocol. Each request then has a connection of its own.
        opt proxy_protocol: At<ProxyProtocolWord>,
    }
}

words! {
    /// How the server of a request is chosen.
    pub enum BalanceWord {
        /// In turn, by weight.
        RoundRobin = "round-robin",
        /// Of two at random, the one with fewer requests in flight for its weight.
        LeastRequest = "least-request",
        /// The same server for the same client, path, header or cookie.
        Hash = "hash",
    }
}

words! {
    /// A version of the PROXY protocol.
    pub enum ProxyProtocolWord {
        /// A line of text.
        V1 = "v1",
        /// Binary.
        V2 = "v2",
    }
}

table! {
    /// A server with a weight.
    pub struct RawWeighted as "a server" {
        /// The server, as a string would name it.
        req url: At<ServerText>,
        /// Its share of the requests, from 1 to 1000; 1 by default.
        opt weight: At<u16>,
    }
}

table! {
    /// TLS towards `https://` servers.
    pub struct RawUpstreamTls as "tls" {
        /// PEM file of the authorities that are believed; by default those of the system.
        opt ca: At<ProcessPath>,
        /// PEM file of the certificate chain that is shown to the servers.
        opt cert: At<ProcessPath>,
        /// PEM file of its private key.
        opt key: At<ProcessPath>,
        /// The name that is asked for and verified; by default the host of the server.
        opt sni: At<String>,
    }
}

table! {
    /// Asks each server by itself whether it is well.
    pub struct RawHealth as "health" {
        /// The path that is asked for.
        req path: At<String>,
        /// The time between two checks; `10s` by default.
        opt interval: At<Span>,
        /// The time for one check; `2s` by default.
        opt timeout: At<Span>,
        /// So many good checks in a row bring a server back; 2 by default.
        opt healthy: At<u16>,
        /// So many bad checks in a row take it out; 3 by default.
        opt unhealthy: At<u16>,
        /// The statuses of a good check; by default 200 to 299.
        list status: At<u16>,
    }
}

table! {
    /// When a server that fails requests is left alone for a while.
    pub struct RawOutlier as "outlier" {
        /// So many failed requests in a row; 5 by default, 0 for never.
        opt failures: At<u16>,
        /// How long it is left alone at first; each time it is this much longer. `30s` by default.
        opt eject: At<Span>,
        /// The longest that it is left alone; `5m` by default.
        opt max_eject: At<Span>,
        /// The most servers that are left alone at once, as a share from 0 to 1; 0.5 by default.
        opt share: At<f64>,
    }
}

table! {
    /// How long things may take with this upstream.
    pub struct RawUpstreamTimeouts as "timeouts" {
        /// To connect, look-up of the name and TLS included.
        opt connect: At<Span>,
        /// From the request sent to the head of the answer.
        opt first_byte: At<Span>,
        /// Between two pieces of an answer's body.
        opt body_idle: At<Span>,
        /// From the request to the end of its answer; unlimited by default.
        opt total: At<Span>,
    }
}

table! {
    /// Which requests are sent again when a server fails them.
    pub struct RawRetry as "retry" {
        /// Tries in all, from 1 to 10; 2 by default.
        opt attempts: At<u16>,
        /// The most retries, as a share of the requests from 0 to 1; 0.2 by default.
        opt budget: At<f64>,
        /// Statuses of answers after which another server is asked; none by default.
        list status: At<u16>,
    }
}

/// A server and its weight.
#[derive(Clone, Debug)]
pub struct RawServer {
    /// The server.
    pub url: At<ServerText>,
    /// Its share of the requests.
    pub weight: Option<At<u16>>,
}

/// What a hash is taken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    Client,
    /// The path.
    Path,
    /// A header field.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP/1.1 in clear text.
    Http,
    /// TLS, with HTTP/2 where the server offers it.
    Https,
    /// HTTP/2 in clear text.
    H2c,
}

/// A server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerText {
    /// The embedded demonstration upstream.
    Echo,
    /// HTTP/1.1 over a unix socket.
    Unix {
        /// The path of the socket.
        path: String,
    },
    /// A host and a port.
    Tcp {
        /// How it is spoken to.
        transport: Transport,
        /// Host and port as written.
        authority: String,
        /// The host, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

impl std::fmt::Display for ServerText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ServerText::Echo => f.write_str("builtin:echo"),
            ServerText::Unix { path } => write!(f, "unix:{path}"),
            ServerText::Tcp { transport, authority, .. } => {
                let scheme = match transport {
                    Transport::Http => "http",
                    Transport::Https => "https",
                    Transport::H2c => "h2c",
                };
                write!(f, "{scheme}://{authority}")
            }
        }
    }
}

impl ServerText {
    /// Reads a server, or says what is wrong.
    fn parse(text: &str) -> Result<ServerText, &'static str> {
        if text == "builtin:echo" {
            return Ok(ServerText::Echo);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err("the path of a unix socket begins with `/`");
            }
            // The size of `sun_path`, with its terminating zero.
            if path.len() > 107 || path.contains('\0') {
                return Err("a unix socket's path has up to 107 bytes");
            }
            return Ok(ServerText::Unix { path: path.to_owned() });
        }
        let (transport, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Transport::Http, rest),
            Some(("https", rest)) => (Transport::Https, rest),
            Some(("h2c", rest)) => (Transport::H2c, rest),
            _ => {
                return Err(
                    "a server begins with `http://`, `https://`, `h2c://` or `unix:/`, or is `builtin:echo`",
                );
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err("a server has no path: the route's path is forwarded as it is");
        }
        let authority =
            crate::facts::Authority::parse_str(rest).map_err(|_| "this is not a host and port")?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let default = if transport == Transport::Https { 443 } else { 80 };
        let port = authority.port().unwrap_or(default);
        Ok(ServerText::Tcp { transport, authority: rest.to_owned(), host, port })
    }

    /// Whether it is spoken to in TLS.
    pub fn is_https(&self) -> bool {
        matches!(self, ServerText::Tcp { transport: Transport::Https, .. })
    }
}

impl Decode for ServerText {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("a server", diagnostics)?;
        match ServerText::parse(text) {
            Ok(server) => Some(server),
            Err(why) => {
                let help = "write \"http://127.0.0.1:9001\", or \"builtin:echo\"";
                // What is refused is kept in the history, which more people read than the file.
                let text = without_userinfo(text);
                bad_value(node, format!("`{text}` cannot be used as a server: {why}"), help, diagnostics);
                None
            }
        }
    }
}

/// A server without the name and password in it.
fn without_userinfo(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return text.into() };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}").into(),
        None => text.into(),
    }
}

impl JsonSchema for ServerText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Server".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let examples =
            ["http://127.0.0.1:9001", "https://app.example", "h2c://[::1]:50051", "unix:/run/app.sock"];
        json_schema!({ "type": "string", "examples": examples })
    }
}

impl Decode for RawServer {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        if let DeValue::Table(_) = node.value() {
            let RawWeighted { url, weight, .. } = RawWeighted::decode(node, diagnostics)?;
            return Some(RawServer { url, weight });
        }
        Some(RawServer { url: At::decode(node, diagnostics)?, weight: None })
    }
}

impl JsonSchema for RawServer {
    fn schema_name() -> Cow<'static, str> {
        "config.upstream.raw.RawServer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = generator.subschema_for::<ServerText>();
        let table = generator.subschema_for::<RawWeighted>();
        json_schema!({ "anyOf": [text, table] })
    }
}

impl HashOn {
    fn parse(text: &str) -> Result<HashOn, &'static str> {
        match text.split_once(':') {
            None if text == "client" => Ok(HashOn::Client),
            None if text == "path" => Ok(HashOn::Path),
            Some(("header", name)) => {
                HeaderName::try_from(name).map(HashOn::Header).map_err(|_| "this is no header name")
            }
            Some(("cookie", name)) if !name.is_empty() && !name.contains(['=', ';', ' ']) => {
                Ok(HashOn::Cookie(name.to_owned()))
            }
            Some(("cookie", _)) => Err("this is no cookie name"),
            _ => Err("it is `client`, `path`, `header:NAME` or `cookie:NAME`"),
        }
    }
}

impl Decode for HashOn {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("what a hash is taken of", diagnostics)?;
        match HashOn::parse(text) {
            Ok(on) => Some(on),
            Err(why) => {
                let help = "write \"client\", or \"header:x-session\"";
                bad_value(node, format!("no hash can be taken of `{text}`: {why}"), help, diagnostics);
                None
            }
        }
    }
}

impl JsonSchema for HashOn {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HashOn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(client|path|header:.+|cookie:.+)$" })
    }
}
