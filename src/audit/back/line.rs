//! A record as it was read, borrowed from its line.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use http::{HeaderValue, Method};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::value::RawValue;

use crate::decision::Version;

/// A record. Members that nobody asks for are passed over.
#[derive(Debug, Deserialize)]
pub struct Line<'a> {
    /// When the request came.
    #[serde(borrow)]
    pub ts: Text<'a>,
    /// The value of `x-request-id`.
    #[serde(borrow)]
    pub request_id: Text<'a>,
    /// The name of the decision.
    #[serde(borrow)]
    pub decision_id: Text<'a>,
    /// `allow`, `deny` or `error`.
    #[serde(borrow)]
    pub decision: Text<'a>,
    /// The gate.
    #[serde(borrow)]
    pub stage: Text<'a>,
    /// The deciding rule.
    #[serde(borrow)]
    pub rule: Text<'a>,
    /// Where it stood.
    #[serde(borrow, default)]
    pub rule_at: Option<Text<'a>>,
    /// When it last changed.
    #[serde(borrow, default)]
    pub rule_changed: Option<Text<'a>>,
    /// The reason of a refusal.
    #[serde(borrow, default)]
    pub reason: Option<Text<'a>>,
    /// When the refusal ends by itself, where that was known.
    #[serde(borrow, default)]
    pub until: Option<Text<'a>>,
    /// The status of the answer.
    pub status: u16,
    /// The policy that judged.
    #[serde(borrow)]
    pub policy: PolicyLine<'a>,
    /// Where it came from.
    #[serde(borrow)]
    pub client: ClientLine<'a>,
    /// `http` or `https`.
    #[serde(borrow)]
    pub scheme: Text<'a>,
    /// `HTTP/1.1`.
    #[serde(borrow)]
    pub version: Text<'a>,
    /// The method.
    #[serde(borrow)]
    pub method: Text<'a>,
    /// The host.
    #[serde(borrow)]
    pub host: Text<'a>,
    /// The canonical path.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// The route.
    #[serde(borrow, default)]
    pub route: Option<Text<'a>>,
    /// The length of the body as the client announced it, or `chunked`; none: no body in HTTP/1.
    #[serde(borrow, default)]
    pub announced: Option<&'a RawValue>,
    /// Who asked, as it stands there; see [`Line::identity`].
    #[serde(borrow, rename = "identity")]
    pub raw_identity: &'a RawValue,
    /// What conditions looked at, and recorded headers: an object.
    #[serde(borrow, default)]
    pub facts: Option<&'a RawValue>,
    /// Score and matches.
    #[serde(borrow, default)]
    pub waf: Option<&'a RawValue>,
    /// Rules in shadow that would have refused.
    #[serde(borrow, default)]
    pub shadow: Option<&'a RawValue>,
}

/// The policy that judged.
#[derive(Debug, Deserialize)]
pub struct PolicyLine<'a> {
    /// Its number.
    pub generation: u64,
    /// Its hash.
    #[serde(borrow)]
    pub hash: Text<'a>,
}

/// Where a request came from.
#[derive(Debug, Deserialize)]
pub struct ClientLine<'a> {
    /// The client.
    #[serde(borrow)]
    pub ip: Text<'a>,
    /// The other end of the connection.
    #[serde(borrow)]
    pub peer: Text<'a>,
    /// How the client was found.
    #[serde(borrow)]
    pub via: Text<'a>,
}

/// Who asked.
#[derive(Debug, Deserialize)]
pub struct IdentityLine<'a> {
    /// `none`, `valid`, …
    #[serde(borrow)]
    pub state: Text<'a>,
    /// The source.
    #[serde(borrow, default)]
    pub source: Option<Text<'a>>,
    /// The subject, or its hash.
    #[serde(borrow, default)]
    pub subject: Option<Text<'a>>,
    /// The roles that counted.
    #[serde(borrow, default)]
    pub roles: Vec<Text<'a>>,
    /// The scopes.
    #[serde(borrow, default)]
    pub scopes: Vec<Text<'a>>,
    /// Roles that did not count.
    #[serde(borrow, default)]
    pub ignored_roles: Vec<Text<'a>>,
    /// When the credential ends.
    #[serde(borrow, default)]
    pub expires_at: Option<Text<'a>>,
}

/// A text, borrowed unless it has escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'a> Line<'a> {
    /// Reads a line.
    pub fn read(line: &'a [u8]) -> Option<Line<'a>> {
        Line::parse(line).ok()
    }

    /// The same with what is wrong with it.
    pub fn parse(line: &'a [u8]) -> serde_json::Result<Line<'a>> {
        serde_json::from_slice(line)
    }

    /// What of a record that is one cannot have been in any request, so that it cannot be judged again.
    pub fn flaw(&self) -> Option<&'static str> {
        let wrong = [
            (self.at().is_none(), "`ts` is no time"),
            (Method::from_bytes(self.method.as_bytes()).is_err(), "`method` is no method"),
            (HeaderValue::from_str(&self.host).is_err(), "`host` is no host"),
        ];
        wrong.into_iter().find_map(|(wrong, what)| wrong.then_some(what))
    }

    /// When the request came.
    pub fn at(&self) -> Option<Timestamp> {
        self.ts.parse().ok()
    }

    /// The policy that judged.
    pub fn policy(&self) -> Option<Version> {
        let hash = u32::from_str_radix(&self.policy.hash, 16).ok()?;
        Some(Version { generation: self.policy.generation, hash })
    }

    /// Who asked.
    pub fn identity(&self) -> Option<IdentityLine<'a>> {
        serde_json::from_str(self.raw_identity.get()).ok()
    }

    /// Whether this is one of its ids.
    pub fn is(&self, id: &str) -> bool {
        *self.request_id == *id || *self.decision_id == *id
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;

        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }

        deserializer.deserialize_str(Borrow)
    }
}
