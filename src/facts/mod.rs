//! What is known of one request, in the only form that rules may read.
//!
//! Every fact is made once, here, and never parsed again: the target that was judged is the target
//! that is forwarded. Time and chance are facts too (`now` comes in as a value), so that replay,
//! tests and benches are exact.

mod authority;
mod body;
mod certificate;
mod client;
mod fields;
mod hash;
mod identity;
mod path;
pub mod proxied;
mod roles;
mod target;
mod upgrade;

use http::HeaderMap;
use jiff::Timestamp;

pub use authority::{Authority, AuthorityError, hash_host};
pub use body::Body;
pub use certificate::Certificate;
pub use client::{Client, Derivation};
pub use fields::{Expect, Fields, HOP_BY_HOP, Length, Names, REQUEST_ONLY, decimal, fold_name, is_odd_name};
pub use hash::{HashPlace, hash_text};
pub use identity::{Holder, Identity, IdentityState, Problem, Who};
pub use path::{Cut, Irregular, Path, PathError, Slashes};
pub use roles::{RoleId, RoleSet};
pub use target::{Accept, Scheme, Target, TargetError};
pub use upgrade::upgrade_wanted;

/// The facts of one request, borrowed by whoever judges.
///
/// A stage reads only the facts of the stages above it: before `identify` the identity is that of
/// nobody, before the body is read there is none.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// When the request is judged.
    pub now: Timestamp,
    /// Method, host, path and query, parsed once.
    pub target: &'a Target,
    /// The header fields as they came.
    pub headers: &'a HeaderMap,
    /// What one pass over the header fields found.
    pub fields: &'a Fields,
    /// The client's address, and how it was derived.
    pub client: &'a Client,
    /// The route that serves this request, if one does.
    pub route: Option<RouteId>,
    /// Who asks.
    pub identity: &'a Identity,
    /// The request body, once read.
    pub body: &'a Body,
}

/// Index into the policy's table of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);
