//! The facts that a condition may look at, and how each is read.

use std::borrow::Cow;
use std::fmt;

use http::HeaderName;
use http::header;
use jiff::Timestamp;
use serde_json::Value as Json;

use super::number::Number;
use super::query;
use crate::facts::Facts;

/// Something in a request that a condition looks at. (Segments of the path are named by a rule's own
/// pattern, and are not facts by themselves.)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A claim of the verified credential, by its path.
    Claim(Box<[Box<str>]>),
    /// A header field.
    Header(HeaderName),
    /// A query parameter, decoded.
    Query(Box<str>),
    /// When the request is judged.
    Now,
    /// The method.
    Method,
    /// The host.
    Host,
}

impl Fact {
    /// The header field that it is, if it is one.
    pub fn header(&self) -> Option<&HeaderName> {
        match self {
            Fact::Header(name) => Some(name),
            _ => None,
        }
    }
}

/// What a request has where a condition looks.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen<'a> {
    /// A header field or query parameter.
    Text(Cow<'a, str>),
    /// A claim.
    Claim(&'a Json),
    /// Something that is no one value: it is given twice, or it is no text.
    Unclear,
}

/// A fact's value. A `null` in a claim counts as no value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Number(Number),
    Bool(bool),
    Time(Timestamp),
    Array(&'a [Json]),
    /// Of a type that nothing compares with.
    Object,
}

/// Why a fact has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// It is not there.
    Absent,
    /// It is there twice, so there is no telling which one counts.
    Twice,
    /// It is no text: bad UTF-8 or percent-encoding.
    Unreadable,
}

impl Fact {
    /// The value in a request.
    pub(super) fn read<'a>(&self, facts: &Facts<'a>) -> Result<Value<'a>, Unknown> {
        match self {
            Fact::Claim(path) => {
                let claims = facts.identity.who().map(|who| &who.holder.claims).ok_or(Unknown::Absent)?;
                let (first, rest) = path.split_first().ok_or(Unknown::Absent)?;
                let mut value = claims.get(&**first).ok_or(Unknown::Absent)?;
                for name in rest {
                    value = value.get(&**name).ok_or(Unknown::Absent)?;
                }
                Value::from_json(value).ok_or(Unknown::Absent)
            }
            Fact::Header(name) => {
                let mut values = facts.headers.get_all(name).iter();
                let value = values.next().ok_or(Unknown::Absent)?;
                if values.next().is_some() {
                    return Err(Unknown::Twice);
                }
                let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Unknown::Unreadable)?;
                Ok(Value::Text(Cow::Borrowed(text)))
            }
            Fact::Query(name) => query::parameter(facts.target.query(), name).map(Value::Text),
            Fact::Now => Ok(Value::Time(facts.now)),
            Fact::Method => Ok(Value::Text(Cow::Borrowed(facts.target.method.as_str()))),
            Fact::Host => Ok(Value::Text(Cow::Borrowed(facts.target.host()))),
        }
    }

    /// Whether it is a credential, of which nothing may be written down.
    pub fn is_secret(&self) -> bool {
        let secret = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];
        matches!(self, Fact::Header(name) if secret.contains(name))
    }

    /// Whether the record keeps its value: claims, headers and query parameters that are no
    /// credential. Everything else is recorded anyway.
    pub fn is_recorded(&self) -> bool {
        match self {
            Fact::Claim(_) | Fact::Query(_) => true,
            Fact::Header(_) => !self.is_secret(),
            Fact::Now | Fact::Method | Fact::Host => false,
        }
    }

    /// What a request has there, for the record, from which a condition must be judged again in the
    /// same way. None if it has nothing there, or a credential.
    pub fn seen<'a>(&self, facts: &Facts<'a>) -> Option<Seen<'a>> {
        if self.is_secret() {
            return None;
        }
        match self.read(facts) {
            Err(Unknown::Absent) => None,
            Err(Unknown::Twice | Unknown::Unreadable) => Some(Seen::Unclear),
            Ok(value) => match (self.claim(facts), value) {
                (Some(claim), _) => Some(Seen::Claim(claim)),
                (None, Value::Text(text)) => Some(Seen::Text(text)),
                // Headers and query parameters are texts; nothing else is recorded.
                (None, _) => None,
            },
        }
    }

    /// The claim that it is, as it stands in the token.
    fn claim<'a>(&self, facts: &Facts<'a>) -> Option<&'a Json> {
        let Fact::Claim(path) = self else { return None };
        let (first, rest) = path.split_first()?;
        let mut value = facts.identity.who()?.holder.claims.get(&**first)?;
        for name in rest {
            value = value.get(&**name)?;
        }
        Some(value)
    }
}

impl<'a> Value<'a> {
    pub(super) fn from_json(json: &'a Json) -> Option<Value<'a>> {
        match json {
            Json::Null => None,
            Json::Bool(value) => Some(Value::Bool(*value)),
            Json::Number(number) => Some(Number::from_json(number).map_or(Value::Object, Value::Number)),
            Json::String(text) => Some(Value::Text(Cow::Borrowed(text))),
            Json::Array(items) => Some(Value::Array(items)),
            Json::Object(_) => Some(Value::Object),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Claim(path) => {
                f.write_str("claims")?;
                path.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            Fact::Header(name) => write!(f, "header.{name}"),
            Fact::Query(name) => write!(f, "query.{name}"),
            Fact::Now => f.write_str("now"),
            Fact::Method => f.write_str("method"),
            Fact::Host => f.write_str("host"),
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unknown::Absent => "absent",
            Unknown::Twice => "given twice",
            Unknown::Unreadable => "not readable as text",
        })
    }
}

/// As the trace shows it: one line, cut.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = |text: &str| text.chars().take(SHOWN).flat_map(char::escape_debug).collect::<String>();
        match self {
            Value::Text(text) => write!(f, "\"{}\"", cut(text)),
            Value::Number(number) => write!(f, "{number}"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Time(time) => write!(f, "{time}"),
            Value::Array(items) => write!(f, "{}", cut(&Json::Array(items.to_vec()).to_string())),
            Value::Object => f.write_str("an object"),
        }
    }
}

/// Characters of a value that a trace shows.
const SHOWN: usize = 80;
