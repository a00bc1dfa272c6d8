//! The request that `explain` was asked about: from the command line into a [`Request`].

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use serde_json::{Map, Value};

use super::hidden::Hidden;
use crate::cli::files;
use crate::cli::layout::printable;
use crate::cli::request::{Person, Request};
use crate::facts::Scheme;
use crate::policy::Caller;

/// The request, in arguments.
#[derive(Debug, clap::Args)]
pub(super) struct RequestArgs {
    /// The path and query, or a whole URL.
    target: Option<String>,
    /// The method [default: GET, or POST with a body].
    #[arg(short = 'X', long, value_name = "METHOD", requires = "target")]
    method: Option<Method>,
    /// The client's address [default: 127.0.0.1].
    #[arg(long, value_name = "ADDR", requires = "target")]
    ip: Option<IpAddr>,
    /// The other end of the connection, when it is a proxy that names --ip as its client.
    #[arg(long, value_name = "ADDR", requires = "target")]
    peer: Option<IpAddr>,
    /// Who asks, as if a credential of this subject had been verified.
    #[arg(long = "as", value_name = "SUBJECT", requires = "target")]
    subject: Option<String>,
    /// A role of who asks; repeatable.
    #[arg(long = "role", value_name = "ROLE", requires = "target")]
    roles: Vec<String>,
    /// A scope of who asks; repeatable.
    #[arg(long = "scope", value_name = "SCOPE", requires = "target")]
    scopes: Vec<String>,
    /// A claim of who asks: NAME=VALUE, the value as JSON or else as a string; repeatable.
    #[arg(long = "claim", value_name = "NAME=VALUE", requires = "target", value_parser = claim)]
    claims: Vec<(String, Value)>,
    /// A header field, `Name: value`; repeatable.
    #[arg(short = 'H', long = "header", value_name = "FIELD", requires = "target", value_parser = field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The host that is asked [default: that of the URL, or localhost].
    #[arg(long, value_name = "HOST", requires = "target")]
    host: Option<HeaderValue>,
    /// The connection is encrypted.
    #[arg(long, requires = "target")]
    https: bool,
    /// The file of the request body; `-` is standard input.
    #[arg(long, value_name = "FILE", requires = "target")]
    body: Option<PathBuf>,
    /// The Content-Type of the body.
    #[arg(long, value_name = "TYPE", requires = "target")]
    content_type: Option<HeaderValue>,
    /// The file of a bearer token to send; `-` is standard input.
    #[arg(long, value_name = "FILE", requires = "target", conflicts_with_all = ["subject", "roles", "scopes", "claims"])]
    token_file: Option<PathBuf>,
    /// The file of an API key to send; `-` is standard input.
    #[arg(long, value_name = "FILE", requires = "target", conflicts_with_all = ["subject", "roles", "scopes", "claims", "token_file"])]
    key_file: Option<PathBuf>,
    /// The header field that carries the API key.
    #[arg(long, value_name = "NAME", requires = "key_file", default_value = "x-api-key")]
    key_header: HeaderName,
}

/// A request, who makes it, and what had to be assumed.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) caller: Caller,
    /// Where the body came from, for the command that reproduces the request.
    pub(super) body: Option<PathBuf>,
    /// The field that carries an API key read from a file.
    pub(super) key_header: Option<HeaderName>,
    /// Facts that nobody stated.
    pub(super) assumed: Vec<String>,
    /// Roles that who asks is said to have.
    pub(super) roles: Vec<String>,
    /// What is kept of the client, where its address is not: then another stands in the request.
    pub(super) hidden: Option<Hidden>,
    /// What the user should know besides the answer.
    pub(super) warnings: Vec<&'static str>,
}

impl RequestArgs {
    /// Reads the arguments and the files they name.
    pub(super) fn read(&self) -> Result<Asked, String> {
        let inputs = [&self.body, &self.token_file, &self.key_file];
        if inputs.iter().filter(|file| file.as_deref().is_some_and(files::is_stdin)).count() > 1 {
            return Err("standard input can be read only once".to_owned());
        }
        let mut assumed = Vec::new();
        let mut warnings = Vec::new();
        let url = Url::parse(self.target.as_deref().unwrap_or_default())?;
        let host = self.host.clone().or(url.host);
        let mut headers = self.fields(&mut warnings)?;
        if host.is_none() && !headers.contains_key(header::HOST) {
            assumed.push("the host is `localhost` (`--host` names another)".to_owned());
        }
        if self.ip.is_none() {
            assumed.push("the client is 127.0.0.1 (`--ip` names another)".to_owned());
        }
        let body = self.body.as_deref().map(files::read).transpose()?.map(Bytes::from).unwrap_or_default();
        if let Some(kind) = &self.content_type {
            headers.insert(header::CONTENT_TYPE, kind.clone());
        }
        let person = self.person();
        if let Some(person) = person.as_ref().filter(|person| !person.claims.contains_key("sub")) {
            let subject = printable(&person.subject);
            assumed.push(format!("`claims.sub` is `{subject}` (`--claim sub=…` gives another)"));
        }
        let caller = person.map_or(Caller::FromHeaders, Person::caller);
        let credentials = [header::AUTHORIZATION, header::COOKIE, self.key_header.clone()];
        if matches!(caller, Caller::Assumed(_)) && credentials.iter().any(|name| headers.contains_key(name)) {
            warnings.push("who asks was given by arguments, so credentials in header fields are not read");
        }
        let posts = self.body.is_some();
        let request = Request {
            method: self.method.clone().unwrap_or(if posts { Method::POST } else { Method::GET }),
            target: url.target,
            fragment: false,
            version: Version::HTTP_11,
            scheme: if self.https || url.https { Scheme::Https } else { Scheme::Http },
            host,
            headers,
            body,
            peer: self.peer,
            ip: self.ip.unwrap_or(IpAddr::from([127, 0, 0, 1])),
            certificate: None,
        };
        let key_header = self.key_file.as_ref().map(|_| self.key_header.clone());
        Ok(Asked {
            request,
            caller,
            body: self.body.clone(),
            key_header,
            assumed,
            roles: self.roles.clone(),
            hidden: None,
            warnings,
        })
    }

    fn fields(&self, warnings: &mut Vec<&'static str>) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            if is_secret(name) {
                warnings.push(
                    "a secret on the command line is seen by other users and kept by the shell; use `--token-file` or `--key-file`",
                );
            }
            headers.append(name, value.clone());
        }
        warnings.dedup();
        let secret = |file: &Path, prefix: &[u8]| {
            let value = HeaderValue::from_bytes(&[prefix, &files::read_secret(file)?].concat());
            value.map_err(|_| "the secret cannot stand in a header field".to_owned())
        };
        if let Some(file) = &self.token_file {
            headers.append(header::AUTHORIZATION, secret(file, b"Bearer ")?);
        }
        if let Some(file) = &self.key_file {
            headers.append(&self.key_header, secret(file, b"")?);
        }
        Ok(headers)
    }

    fn person(&self) -> Option<Person> {
        let RequestArgs { subject, roles, scopes, claims, .. } = self;
        if subject.is_none() && roles.is_empty() && scopes.is_empty() && claims.is_empty() {
            return None;
        }
        let mut tree = Map::new();
        for (name, value) in claims {
            put(&mut tree, name, value.clone());
        }
        let named = || tree.get("sub").and_then(Value::as_str).map(str::to_owned);
        let subject = subject.clone().or_else(named).unwrap_or_else(|| SOMEBODY.to_owned());
        Some(Person { subject, roles: roles.clone(), scopes: scopes.clone(), claims: tree })
    }
}

/// The subject of who asks, when only roles, scopes or claims were given.
pub(super) const SOMEBODY: &str = "somebody";

/// Whether a field usually carries a credential.
pub(super) fn is_secret(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "authorization" | "proxy-authorization" | "cookie")
        || ["token", "secret", "password", "api-key", "apikey"].iter().any(|word| name.contains(word))
}

/// The parts of the target argument.
#[derive(Debug)]
pub(super) struct Url {
    pub(super) https: bool,
    pub(super) host: Option<HeaderValue>,
    /// Path and query.
    pub(super) target: Uri,
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Url, String> {
        // A client cuts the fragment off before it sends anything.
        let text = text.split('#').next().unwrap_or_default();
        let bad = |error: http::uri::InvalidUri| format!("the target cannot be read: {error}");
        if text.starts_with('/') || text == "*" {
            return Ok(Url { https: false, host: None, target: text.parse().map_err(bad)? });
        }
        if !text.contains("://") {
            let shown = printable(text);
            return Err(format!(
                "the target `{shown}` lacks its leading slash: write `/{shown}`, or a URL with `http://` or `https://`"
            ));
        }
        let uri: Uri = text.parse().map_err(bad)?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => {
                return Err("a target is a path such as `/orders/42`, or a URL with http or https".to_owned());
            }
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err("a URL with a user name is not taken; use `--header` or `--token-file`".to_owned());
        }
        let host = HeaderValue::from_str(authority).map_err(|_| "the host cannot be read".to_owned())?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).parse().map_err(bad)?;
        Ok(Url { https, host: Some(host), target })
    }
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write `Name: value`")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is not the name of a header field"))?;
    let value = HeaderValue::from_bytes(value.trim().as_bytes());
    Ok((name, value.map_err(|_| "the value has characters that cannot be sent".to_owned())?))
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write `name=value`")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

/// Puts a claim where its dotted path says.
pub(super) fn put(tree: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(tree.insert(path.to_owned(), value)),
        Some((first, rest)) => {
            let inner = tree.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
