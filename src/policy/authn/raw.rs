//! `[authn]` as written: who is believed, and with which keys.
//!
//! Single values are of the right form here. Whether keys fit algorithms, names exist and ids are
//! unique is checked when the table is compiled.

use std::borrow::Cow;

use http::HeaderName;
use jsonwebtoken::Algorithm;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::api_key;
use crate::policy::decode::{Decode, FilePath, Moment, Name, Node, OneOrMany, Span, bad_value, table, words};
use crate::policy::diagnostic::{At, Diagnostics};
use crate::policy::merge;
use crate::policy::route::AuthnWord;

words! {
    /// What a route means that says nothing about credentials.
    pub enum AuthnMode {
        /// A credential may be shown, and must then be valid.
        Optional = "optional",
        /// A valid credential is demanded.
        Required = "required",
    }
}

words! {
    /// Signature algorithms, by the names of RFC 7518 and RFC 8037.
    pub enum AlgorithmWord {
        /// RSA PKCS#1 v1.5, SHA-256.
        Rs256 = "RS256",
        /// RSA PKCS#1 v1.5, SHA-384.
        Rs384 = "RS384",
        /// RSA PKCS#1 v1.5, SHA-512.
        Rs512 = "RS512",
        /// RSA-PSS, SHA-256.
        Ps256 = "PS256",
        /// RSA-PSS, SHA-384.
        Ps384 = "PS384",
        /// RSA-PSS, SHA-512.
        Ps512 = "PS512",
        /// ECDSA on P-256.
        Es256 = "ES256",
        /// ECDSA on P-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
        /// HMAC, SHA-256.
        Hs256 = "HS256",
        /// HMAC, SHA-384.
        Hs384 = "HS384",
        /// HMAC, SHA-512.
        Hs512 = "HS512",
    }
}

table! {
    /// `[authn]`: who is believed.
    pub struct RawAuthn as "[authn]" {
        /// What `authn = "inherit"` means on a route: `optional` (default) or `required`.
        opt mode: At<AuthnMode>,
        /// Credentials that were withdrawn: a TOML file with lists `token_ids` (`jti`), `api_keys` (ids),
        /// `certificates` (`sha256:…`) and `key_ids` (`kid`), and a table `[subjects]` of subjects, each with the
        /// time up to which what was issued to it is void. It is read again whenever it changes.
        opt revoked: RawFile,
        /// Issuers of tokens.
        list jwt: RawJwt,
        /// Keys of programs.
        list api_key: RawApiKey,
        /// User names and passwords.
        list basic: RawBasic,
        /// Certificates that clients show in TLS.
        list mtls: RawMtls,
    }
}

table! {
    /// A file to be read.
    pub struct RawFile as "a file" {
        /// Its path, relative to the file that names it.
        req file: At<FilePath>,
    }
}

table! {
    /// `[[authn.jwt]]`: tokens of one issuer, as `Authorization: Bearer`.
    pub struct RawJwt as "[[authn.jwt]]" {
        /// The id of the source.
        req id: At<Name>,
        /// What `iss` must be.
        req issuer: At<String>,
        /// What `aud` must be or contain: one of these.
        req audience: OneOrMany<At<String>>,
        /// The algorithms that tokens may be signed with.
        req algorithms: Vec<At<AlgorithmWord>>,
        /// How far clocks may differ; `30s` unless given, at most `5m`.
        opt leeway: At<Span>,
        /// The keys that verify tokens.
        opt jwks: RawKeySet,
        /// A file with the secret of HMAC algorithms; its text without the last line break.
        opt secret_file: At<FilePath>,
        /// The claim that names the subject; `sub` unless given.
        opt subject: At<ClaimPath>,
        /// The claim that lists the roles.
        opt roles: At<ClaimPath>,
        /// The claim that lists the scopes; `scope`, else `scp`, unless given.
        opt scopes: At<ClaimPath>,
        /// The roles that its tokens may bring. Default: all if this is the only issuer, else none.
        opt roles_allowed: Vec<At<Name>>,
        /// Whether the upstream sees its tokens.
        opt forward: bool,
    }
}

table! {
    /// A JSON Web Key Set: from a file, an address, or inline.
    pub struct RawKeySet as "jwks" {
        /// A file.
        opt file: At<FilePath>,
        /// An address that is fetched at start and then regularly.
        opt url: At<String>,
        /// How often the address is fetched; `5m` unless given.
        opt refresh: At<Span>,
        /// The key set itself.
        opt inline: At<String>,
    }
}

table! {
    /// `[[authn.api_key]]`: one key, of which only the hash is known here.
    pub struct RawApiKey as "[[authn.api_key]]" {
        /// The id of the key.
        req id: At<Name>,
        /// The header field that carries it.
        req header: At<KeyHeaderName>,
        /// `sha256:…`, as `portcullis hash-key` prints it.
        opt hash: At<KeyHash>,
        /// A file that holds it, instead of `hash`.
        opt hash_file: At<FilePath>,
        /// The roles of its holder.
        list roles: At<Name>,
        /// The subject; the id unless given.
        opt subject: At<String>,
        /// The scopes of its holder.
        list scopes: String,
        /// When it ends.
        opt expires: At<Moment>,
    }
}

table! {
    /// `[[authn.basic]]`: user names and passwords, as `Authorization: Basic`.
    pub struct RawBasic as "[[authn.basic]]" {
        /// The id of the source.
        req id: At<Name>,
        /// What a browser shows when it asks for the password; `portcullis` unless given.
        opt realm: At<String>,
        /// A file of lines `name:hash` as `htpasswd -B` writes them.
        opt users: RawFile,
        /// Users.
        list user: RawUser,
        /// The roles of every user.
        list roles: At<Name>,
    }
}

table! {
    /// `[[authn.basic.user]]`: one user.
    pub struct RawUser as "[[authn.basic.user]]" {
        /// The name, which is the subject.
        req name: At<String>,
        /// The password's hash: argon2 (`$argon2id$…`) or bcrypt (`$2y$…`).
        req hash: At<String>,
        /// Roles beyond those of every user.
        list roles: At<Name>,
    }
}

words! {
    /// The part of a certificate that names its holder.
    pub enum SubjectWord {
        /// A URI of the Subject Alternative Name, such as a SPIFFE id.
        Uri = "uri",
        /// A DNS name of it.
        Dns = "dns",
        /// A mail address of it.
        Email = "email",
        /// The common name.
        CommonName = "cn",
    }
}

words! {
    /// The part of a certificate that names roles.
    pub enum RolesFromWord {
        /// The organizational units.
        Unit = "ou",
    }
}

table! {
    /// `[[authn.mtls]]`: certificates that clients show to listeners with `client_ca`. The first source that
    /// knows a certificate identifies its holder, if the request shows no other credential.
    pub struct RawMtls as "[[authn.mtls]]" {
        /// The id of the source.
        req id: At<Name>,
        /// The part that names the holder, and is the subject.
        req subject: SubjectWord,
        /// What this name must be: whole, or with one `*` for any characters. Default: anything.
        opt r#match: OneOrMany<At<String>>,
        /// The common name of the authority that issued it: one of these. Default: any that the listener
        /// believes.
        opt issuer: OneOrMany<At<String>>,
        /// The roles of every holder.
        list roles: At<Name>,
        /// The part that names further roles; needs `roles_allowed`.
        opt roles_from: At<RolesFromWord>,
        /// The roles that it may name.
        opt roles_allowed: Vec<At<Name>>,
    }
}

/// Where a claim stands: names from the outside in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(pub Box<[Box<str>]>);

/// The digest of an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHash(pub api_key::Digest);

/// A header field that may carry an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHeaderName(pub HeaderName);

impl RawAuthn {
    /// What `authn = "inherit"` means on a route.
    pub fn default_for_routes(&self) -> AuthnWord {
        match self.mode.as_ref().map(|mode| mode.value) {
            None | Some(AuthnMode::Optional) => AuthnWord::Optional,
            Some(AuthnMode::Required) => AuthnWord::Required,
        }
    }

    /// Whether there is no source.
    pub fn is_empty(&self) -> bool {
        self.jwt.is_empty() && self.api_key.is_empty() && self.basic.is_empty() && self.mtls.is_empty()
    }

    /// Takes the table of the next file.
    pub fn absorb(&mut self, other: RawAuthn, diagnostics: &mut Diagnostics) {
        merge::once(&mut self.mode, other.mode, "authn.mode", diagnostics);
        match (&self.revoked, other.revoked) {
            (Some(first), Some(second)) => {
                merge::twice("authn.revoked", first.place, second.place, diagnostics);
            }
            (None, second) => self.revoked = second,
            (Some(_), None) => {}
        }
        self.jwt.extend(other.jwt);
        self.api_key.extend(other.api_key);
        self.basic.extend(other.basic);
        self.mtls.extend(other.mtls);
    }

    /// The header fields in which API keys are read.
    pub fn credential_headers(&self) -> impl Iterator<Item = HeaderName> {
        self.api_key.iter().map(|source| source.header.value.0.clone())
    }

    /// Every file that the table refers to, for the loader.
    pub fn files(&self) -> impl Iterator<Item = &At<FilePath>> {
        let keys = self.jwt.iter().filter_map(|jwt| jwt.jwks.as_ref()?.file.as_ref());
        let secrets = self.jwt.iter().filter_map(|jwt| jwt.secret_file.as_ref());
        let users = self.basic.iter().filter_map(|basic| Some(&basic.users.as_ref()?.file));
        let hashes = self.api_key.iter().filter_map(|key| key.hash_file.as_ref());
        self.revoked.iter().map(|revoked| &revoked.file).chain(keys).chain(secrets).chain(users).chain(hashes)
    }
}

impl From<AlgorithmWord> for Algorithm {
    fn from(word: AlgorithmWord) -> Algorithm {
        match word {
            AlgorithmWord::Rs256 => Algorithm::RS256,
            AlgorithmWord::Rs384 => Algorithm::RS384,
            AlgorithmWord::Rs512 => Algorithm::RS512,
            AlgorithmWord::Ps256 => Algorithm::PS256,
            AlgorithmWord::Ps384 => Algorithm::PS384,
            AlgorithmWord::Ps512 => Algorithm::PS512,
            AlgorithmWord::Es256 => Algorithm::ES256,
            AlgorithmWord::Es384 => Algorithm::ES384,
            AlgorithmWord::EdDsa => Algorithm::EdDSA,
            AlgorithmWord::Hs256 => Algorithm::HS256,
            AlgorithmWord::Hs384 => Algorithm::HS384,
            AlgorithmWord::Hs512 => Algorithm::HS512,
        }
    }
}

// === ClaimPath ===

impl ClaimPath {
    /// The path of a claim at the top.
    pub fn top(name: &str) -> ClaimPath {
        ClaimPath(Box::new([name.into()]))
    }
}

/// A string is split at its dots. A name that has dots itself, such as `https://example.com/roles`,
/// is written as an array of names. Guessing between the two would let a claim with a dotted name
/// pass for a nested one.
impl Decode for ClaimPath {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let names: Vec<Box<str>> = match node.value() {
            DeValue::Array(_) => {
                Vec::<String>::decode(node, diagnostics)?.into_iter().map(String::into_boxed_str).collect()
            }
            _ => node
                .string("a claim such as \"realm_access.roles\"", diagnostics)?
                .split('.')
                .map(Into::into)
                .collect(),
        };
        if names.is_empty() || names.iter().any(|name| name.is_empty()) {
            let help = "write \"roles\", \"realm_access.roles\", or [\"https://example.com/roles\"] for a name with dots";
            bad_value(node, "this is not the path of a claim", help, diagnostics);
            return None;
        }
        Some(ClaimPath(names.into()))
    }
}

impl JsonSchema for ClaimPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ClaimPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "string", "minLength": 1 }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }],
            "examples": ["roles", "realm_access.roles", ["https://example.com/roles"]],
        })
    }
}

// === KeyHash ===

impl Decode for KeyHash {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("a hash such as \"sha256:…\"", diagnostics)?;
        let digest = api_key::parse_hash(text);
        if digest.is_none() {
            // The value may be the key itself, so it is not repeated.
            let help = "write `sha256:` and 64 hexadecimal digits, as `portcullis hash-key` prints them";
            bad_value(node, "this is not the hash of a key", help, diagnostics);
        }
        digest.map(KeyHash)
    }
}

impl JsonSchema for KeyHash {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "KeyHash".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^sha256:[0-9a-fA-F]{64}$" })
    }
}

// === KeyHeaderName ===

impl Decode for KeyHeaderName {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("a header name such as \"x-api-key\"", diagnostics)?;
        let Ok(name) = HeaderName::try_from(text) else {
            bad_value(node, format!("`{}` is not a header name", text.escape_debug()), "", diagnostics);
            return None;
        };
        if TAKEN.contains(&name.as_str()) || name.as_str().contains(['_', '.']) {
            bad_value(
                node,
                format!("`{name}` cannot carry an API key"),
                "use a field of its own, such as `x-api-key`",
                diagnostics,
            );
            return None;
        }
        Some(KeyHeaderName(name))
    }

    fn stand_in() -> Option<Self> {
        Some(KeyHeaderName(HeaderName::from_static("x-api-key")))
    }
}

impl JsonSchema for KeyHeaderName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HeaderName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["x-api-key"] })
    }
}

/// Fields with a meaning of their own. A key in one of them would be refused, dropped or misread
/// before it is looked at; and names with `_` or `.` fold to others downstream.
const TAKEN: [&str; 14] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
