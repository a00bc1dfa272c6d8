//! A request as a span.

use jiff::Timestamp;

/// A span that has begun: who it is, before anything is known of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    /// The trace, as 32 hexadecimal digits.
    pub(crate) trace: [u8; 32],
    /// The span, as 16. The upstream gets it as its parent.
    pub(crate) id: [u8; 16],
    /// The span of the caller, if the caller has one.
    pub(crate) parent: Option<[u8; 16]>,
    /// Whether it is sent, and whether the upstream is to send its own.
    pub(crate) sampled: bool,
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// Who it is.
    pub(crate) begun: Begun,
    /// Method and the pattern of the route.
    pub(crate) name: String,
    /// When the request came.
    pub(crate) start: Timestamp,
    /// When its answer had gone.
    pub(crate) end: Timestamp,
    /// What is known of it.
    pub(crate) attributes: Vec<(&'static str, Value)>,
    /// Why it failed, if it did. A refusal is no failure.
    pub(crate) failure: Option<&'static str>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// Several texts.
    Texts(Vec<String>),
}

impl Begun {
    /// Whether a span is sent that ends in a refusal or a failure, or else in an allow. The caller's word
    /// counts; without one, what was not chosen is sent all the same if it was not allowed.
    pub(crate) fn is_sent(&self, allowed: bool) -> bool {
        self.sampled || self.parent.is_none() && !allowed
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}
