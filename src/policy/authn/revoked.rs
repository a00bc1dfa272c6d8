//! Credentials that were withdrawn.

/// The list of withdrawn credentials.
#[derive(Clone, Debug, Default)]
pub struct Revocations {}
