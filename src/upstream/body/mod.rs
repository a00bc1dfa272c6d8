//! Bodies on their way through: the client's towards the upstream, the upstream's towards the client.

mod clock;
mod request;
mod response;
mod stream;

pub(super) use clock::Clock;
pub(crate) use request::{BodyEnd, ClientBody, Fate, RequestBody};
pub(crate) use response::ResponseBody;
pub(super) use response::{Lent, PooledBody};
pub(super) use stream::StreamBody;

/// A body that failed; of a client's, the details are in its [`Fate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFailure {
    /// It ended early.
    Cut,
    /// It took too long.
    Late,
}

impl std::fmt::Display for BodyFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BodyFailure::Cut => "the body ended early",
            BodyFailure::Late => "the body took too long",
        })
    }
}

impl std::error::Error for BodyFailure {}
