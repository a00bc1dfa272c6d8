//! Who asks: credentials into identities, and whether someone is demanded.

mod raw;
mod revoked;

pub use raw::RawAuthn;
pub use revoked::Revocations;

use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;

use super::compile::Compile;
use super::route::AuthnWord;
use crate::decision::{Builtin, Trace, Verdict};
use crate::facts::{Facts, Holder, Problem};

/// The compiled sources of identity.
#[derive(Clone, Debug, Default)]
pub struct Authn {}

/// The keys that sources verify with; they change without a new policy generation.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {}

/// What a request shows.
#[derive(Debug)]
pub enum Presented<'h> {
    /// Nothing that a source of this route reads.
    Nothing,
    /// One credential.
    One(Credential<'h>),
    /// Something that is refused without being verified.
    Refused(Problem),
}

/// A credential in its carrier.
#[derive(Debug)]
pub struct Credential<'h> {
    _bytes: &'h [u8],
}

/// What verifying came to.
#[derive(Debug)]
pub enum Verification {
    /// Believed or not.
    Done(Result<Arc<Holder>, Problem>),
    /// A password: slow on purpose, to be run where it blocks nobody.
    Slow(PasswordCheck),
}

/// A password to be checked.
#[derive(Debug)]
pub struct PasswordCheck {}

impl PasswordCheck {
    /// Checks the password; takes tens of milliseconds.
    pub fn run(self, _revoked: &Revocations, _now: Timestamp) -> Result<Arc<Holder>, Problem> {
        Err(Problem::new(Builtin::Password, "stub"))
    }
}

impl Authn {
    /// Compiles `[authn]`.
    pub fn compile(_raw: &RawAuthn, _cx: &mut Compile<'_>) -> Authn {
        Authn {}
    }

    /// stand-in
    pub fn challenges(&self, _route: AuthnWord) -> crate::deny::Challenges<'_> {
        crate::deny::Challenges::default()
    }

    /// stand-in
    pub fn strip_credentials(&self, _route: AuthnWord, _identity: &crate::facts::Identity, _headers: &mut HeaderMap) {}

    /// Whether there is any source at all.
    pub fn has_sources(&self) -> bool {
        false
    }

    /// What the request shows to a route.
    pub fn presented<'h>(&self, _route: AuthnWord, _headers: &'h HeaderMap) -> Presented<'h> {
        Presented::Nothing
    }

    /// Verifies a credential.
    pub fn verify(
        &self,
        _credential: &Credential<'_>,
        _keys: &KeyRing,
        _revoked: &Revocations,
        _now: Timestamp,
    ) -> Verification {
        Verification::Done(Err(Problem::new(Builtin::Signature, "stub")))
    }

    /// Judges whether someone is demanded here, and whether what was shown is valid.
    pub fn check(&self, _facts: &Facts<'_>, _route: AuthnWord, _trace: Option<&mut Trace>) -> Verdict {
        Verdict::Pass(Builtin::Anonymous.into())
    }
}
