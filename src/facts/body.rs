//! The request body as a fact: whole, or not there.

use bytes::Bytes;

/// The request body, as far as judging needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// The request has none.
    #[default]
    Absent,
    /// There is one, but no rule wants it, or rules may not have it; it streams past.
    Unread,
    /// Read whole.
    Whole(Bytes),
    /// Longer than what may be read for inspection.
    TooLarge,
}

impl Body {
    /// The bytes, if it was read.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Body::Whole(bytes) => Some(bytes),
            Body::Absent | Body::Unread | Body::TooLarge => None,
        }
    }
}
