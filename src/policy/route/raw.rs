//! `[[route]]` as written.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::condition::FieldWord;
use super::cors::RawCors;
use super::edit::RawEdits;
use super::patience::RawPatience;
use super::rewrite::Prefix;
use super::split::RawSplit;
use super::transport::{RawHsts, RedirectWord};
use crate::policy::decode::{Decode, FilePath, Name, Node, OneOrMany, Size, table, words};
use crate::policy::diagnostic::{At, Diagnostics};
use crate::policy::mode::RawMode;
use crate::policy::scope::{HostPattern, MethodName, PathPattern};

words! {
    /// Whether a route wants to know who asks.
    pub enum AuthnWord {
        /// As `[authn] mode` says.
        Inherit = "inherit",
        /// A valid credential is demanded.
        Required = "required",
        /// A credential may be shown, and must then be valid.
        Optional = "optional",
        /// Credentials are neither read nor removed; the caller is `anyone`.
        Off = "off",
    }
}

words! {
    /// Protocols that a connection may change to.
    pub enum UpgradeWord {
        /// RFC 6455.
        Websocket = "websocket",
    }
}

words! {
    /// Irregular requests that a route takes all the same.
    pub enum AcceptWord {
        /// `%2F` inside a path segment.
        EncodedSlash = "encoded-slash",
        /// `\` in the path, plain or encoded.
        Backslash = "backslash",
        /// `;` behind a name in the path.
        PathParameters = "path-parameters",
        /// Empty path segments, kept instead of merged.
        DoubleSlash = "double-slash",
        /// Header names with `_`.
        UnderscoreHeaders = "underscore-headers",
        /// Request trailers are forwarded, unless the body is read to be inspected: then none are.
        Trailers = "trailers",
    }
}

words! {
    /// Whether the WAF reads bodies.
    pub enum WafBodyWord {
        /// It does.
        Inspect = "inspect",
        /// It does not; recorded as not inspected.
        Off = "off",
    }
}

/// A size limit, or `"none"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(pub Option<u64>);

impl Decode for BodyLimit {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.string("a size or \"none\"", diagnostics)? {
            "none" => Some(BodyLimit(None)),
            _ => Size::decode(node, diagnostics).map(|size| BodyLimit(Some(size.0))),
        }
    }
}

impl JsonSchema for BodyLimit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "BodyLimit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["none", "10MiB"] })
    }
}

table! {
    /// `[[route]]`: which upstream serves which requests.
    pub struct RawRoute as "[[route]]" {
        /// The id of the route.
        req id: At<Name>,
        /// The host it serves: exact or `*.example.com`, without port. Absent: any.
        opt host: At<HostPattern>,
        /// The paths it serves.
        req path: At<PathPattern>,
        /// The methods it serves; absent: any. `GET` does not include `HEAD`.
        opt methods: OneOrMany<At<MethodName>>,
        /// What header fields must be: a text for exactly this value, `true` for any, `false` for none.
        map headers: At<FieldWord>,
        /// The name of the upstream that answers, or several by weight: `[{ name = "a", weight = 9 }, …]`.
        req upstream: At<RawSplit>,
        /// What is taken off the front of the path before it is forwarded: `/api`.
        opt strip_prefix: At<Prefix>,
        /// What is put in front of the path before it is forwarded.
        opt add_prefix: At<Prefix>,
        /// Header fields that are set or removed on the way to the upstream.
        opt request_headers: RawEdits,
        /// Header fields that are set or removed on the way back; ours and those of refusals stay as they are.
        opt response_headers: RawEdits,
        /// How long things may take here, instead of what `[timeouts]` says.
        opt timeouts: RawPatience,
        /// Whether it wants to know who asks.
        opt authn: AuthnWord,
        /// Protocols that a connection may change to.
        list upgrade: At<UpgradeWord>,
        /// Irregular requests that it takes all the same.
        list accept: AcceptWord,
        /// The largest request body that is passed.
        opt body_limit: BodyLimit,
        /// Whether the WAF reads its bodies.
        opt waf_body: WafBodyWord,
        /// Pages of other origins that may use it.
        opt cors: RawCors,
        /// `https`: requests over clear text are sent to the same target over TLS. Needs `host`.
        opt redirect: At<RedirectWord>,
        /// Strict-Transport-Security on all answers over TLS, refusals included.
        opt hsts: RawHsts,
        /// Whether the upstream sees the client's Host (default) or its own.
        opt preserve_host: bool,
        /// The mode of ip and waf rules on this route.
        part mode: RawMode,
    }
}

impl RawRoute {
    /// The files that hold values of header fields, which are secret.
    pub fn secret_files(&self) -> impl Iterator<Item = &At<FilePath>> {
        [&self.request_headers, &self.response_headers].into_iter().flatten().flat_map(RawEdits::files)
    }
}
