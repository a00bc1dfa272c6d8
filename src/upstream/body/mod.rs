//! Bodies on their way through: the client's towards the upstream, the upstream's towards the client.

mod request;
mod response;

pub(crate) use request::{BodyEnd, ClientBody, Fate, RequestBody};
pub(crate) use response::ResponseBody;
pub(super) use response::{Lent, PooledBody};

/// A body that failed; the details are in its [`Fate`] or in the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyFailure;

impl std::fmt::Display for BodyFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body ended early")
    }
}

impl std::error::Error for BodyFailure {}
