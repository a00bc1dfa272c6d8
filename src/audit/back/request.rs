//! A recorded request as a value again, as far as its record tells it.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::line::{IdentityLine, Line};
use crate::audit::settings::is_credential;
use crate::facts::{Holder, Scheme};

/// A request that was recorded.
#[derive(Clone, Debug)]
pub struct Recalled {
    /// When it was judged.
    pub now: Timestamp,
    /// The method.
    pub method: Method,
    /// The scheme of its connection.
    pub scheme: Scheme,
    /// Its version of HTTP.
    pub version: Version,
    /// The path, and of the query what conditions looked at.
    pub uri: Uri,
    /// The host, and of the other fields what was recorded.
    pub headers: HeaderMap,
    /// The client, unless addresses are cut or hashed.
    pub ip: Option<IpAddr>,
    /// The other end of the connection, under the same condition.
    pub peer: Option<IpAddr>,
    /// Who asked, if that somebody was believed.
    pub holder: Option<Arc<Holder>>,
    /// Whether the path is the whole path: not redacted, and readable.
    pub has_path: bool,
    /// Whether who asked is known whole: not hashed or left out.
    pub has_subject: bool,
}

/// What conditions looked at and the headers that are recorded, by their names in the record.
pub type Values = Map<String, Value>;

/// Whether a value of this name is never recorded, since it may be a credential: `header.x-api-key`.
pub fn is_never_recorded(name: &str) -> bool {
    let own = name.split_once('.').map_or(name, |(_, own)| own);
    is_credential(own)
}

/// Whether a recorded value is not what was there: it may be only the beginning, or is a hash.
pub fn is_cut(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.ends_with('…') || is_hash(text))
}

/// Whether a text is what `[log]` keeps instead of a subject, where it is told to.
pub fn is_hash(text: &str) -> bool {
    let digits = text.strip_prefix("hash:");
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl Line<'_> {
    /// What conditions looked at, by name.
    pub fn values(&self) -> Values {
        self.facts.and_then(|facts| serde_json::from_str(facts.get()).ok()).unwrap_or_default()
    }

    /// The request. None where the record is no request at all. `values`: [`Line::values`], or none
    /// where nothing looks at them.
    pub fn recall(&self, identity: Option<&IdentityLine<'_>>, values: &Values) -> Option<Recalled> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(&self.host).ok()?);
        let mut target = self.path.to_string();
        let mut separator = '?';
        for (name, value) in values {
            if let Some(name) = name.strip_prefix("header.") {
                let Ok(name) = HeaderName::try_from(name) else { continue };
                match value {
                    // It had no one value.
                    Value::Null => {
                        for text in ["a", "b"] {
                            headers.try_append(&name, HeaderValue::from_static(text)).ok()?;
                        }
                    }
                    value => {
                        if let Some(text) = value.as_str().and_then(|text| HeaderValue::from_str(text).ok()) {
                            headers.try_append(name, text).ok()?;
                        }
                    }
                }
            } else if let Some(name) = name.strip_prefix("query.") {
                let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
                let texts = match value {
                    Value::Null => ["a", "b"].map(Some).to_vec(),
                    value => vec![value.as_str()],
                };
                for text in texts.into_iter().flatten() {
                    target.push_str(&format!(
                        "{separator}{name}={}",
                        utf8_percent_encode(text, NON_ALPHANUMERIC)
                    ));
                    separator = '&';
                }
            }
        }
        let uri: Option<Uri> = target.parse().ok();
        let address = |text: &str| text.parse().ok();
        let hashed = |identity: &&IdentityLine<'_>| {
            identity.subject.as_ref().is_none_or(|subject| subject.starts_with("hash:"))
        };
        let valid = identity.filter(|identity| &*identity.state == "valid");
        Some(Recalled {
            now: self.at()?,
            method: Method::from_bytes(self.method.as_bytes()).ok()?,
            scheme: if &*self.scheme == "https" { Scheme::Https } else { Scheme::Http },
            version: match &*self.version {
                "HTTP/1.0" => Version::HTTP_10,
                "HTTP/2" => Version::HTTP_2,
                "HTTP/3" => Version::HTTP_3,
                _ => Version::HTTP_11,
            },
            has_path: uri.is_some() && self.path.starts_with('/') && !self.path.contains('{'),
            uri: uri.unwrap_or_default(),
            headers,
            ip: address(&self.client.ip),
            peer: address(&self.client.peer),
            holder: valid.map(|identity| Arc::new(holder(identity, values))),
            has_subject: valid.filter(hashed).is_none(),
        })
    }
}

/// Who asked.
fn holder(identity: &IdentityLine<'_>, values: &Values) -> Holder {
    let texts = |list: &[super::Text<'_>]| list.iter().map(|text| (**text).into()).collect();
    let mut claims = Map::new();
    for (name, value) in values {
        if let Some(path) = name.strip_prefix("claims.") {
            put(&mut claims, path, value.clone());
        }
    }
    Holder {
        source: identity.source.as_deref().unwrap_or_default().into(),
        subject: identity.subject.as_deref().unwrap_or_default().into(),
        roles: texts(&identity.roles),
        ignored_roles: texts(&identity.ignored_roles),
        scopes: texts(&identity.scopes),
        expires_at: identity.expires_at.as_ref().and_then(|at| at.parse().ok()),
        claims,
        bearer: true,
        ..Holder::default()
    }
}

/// Puts a claim where its path says.
fn put(tree: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(tree.insert(path.to_owned(), value)),
        Some((first, rest)) => {
            if let Value::Object(inner) = tree.entry(first).or_insert_with(|| Value::Object(Map::new())) {
                put(inner, rest, value);
            }
        }
    }
}
