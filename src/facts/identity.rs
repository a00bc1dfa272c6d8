//! Who asks: what the credential said, whether it was believed, and what it is worth in this policy.

use std::sync::Arc;

use jiff::Timestamp;

use super::RoleSet;
use crate::decision::{Builtin, Reason};

/// What is known of a credential's holder once it was verified. Independent of any policy generation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holder {
    /// Which source verified it (`[[authn.…]] id`).
    pub source: Box<str>,
    /// The subject.
    pub subject: Box<str>,
    /// The roles the credential brings, within the source's `roles_allowed`, as names.
    pub roles: Vec<Box<str>>,
    /// Roles it named that this source may not bring; recorded, never counted.
    pub ignored_roles: Vec<Box<str>>,
    /// OAuth scopes.
    pub scopes: Vec<Box<str>>,
    /// All claims, for `when` conditions. Empty for API keys and Basic.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
    /// `nbf`, without leeway.
    pub not_before: Option<Timestamp>,
    /// `exp`, without leeway.
    pub expires_at: Option<Timestamp>,
    /// `jti`, or the id of an API key: what a revocation list may name.
    pub token_id: Option<Box<str>>,
    /// The id of the key that signed it.
    pub key_id: Option<Box<str>>,
    /// Whether it came as a bearer token, so that a missing scope is challenged as RFC 6750 says.
    pub bearer: bool,
}

/// A holder as one policy generation sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Who {
    /// What the credential said.
    pub holder: Arc<Holder>,
    /// The declared roles with all they inherit, `anyone` and `authenticated` included.
    pub roles: RoleSet,
    /// Roles it brought that the policy does not declare; recorded, never counted.
    pub undeclared: Vec<Box<str>>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Identity {
    /// Nobody was shown.
    Nobody,
    /// A valid credential.
    Valid(Arc<Who>),
    /// Something was shown and is not to be believed.
    Invalid(Problem),
}

/// Why a credential is not believed.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The built-in `authn/` rule that refuses it.
    pub rule: Builtin,
    /// The reason; the table's unless the case is special.
    pub reason: Reason,
    /// When it becomes valid by itself (`nbf`).
    pub until: Option<Timestamp>,
    /// What it claimed to be, for the record only: never a basis for a decision.
    pub claimed: Option<Arc<Holder>>,
    /// One sentence for the operator's trace, without any part of the credential.
    pub note: Box<str>,
}

/// The word in the decision log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityState {
    /// Nobody was shown.
    None,
    /// Believed.
    Valid,
    /// Past its end.
    Expired,
    /// Before its beginning.
    NotYet,
    /// Withdrawn.
    Revoked,
    /// Signature, issuer, audience or password are wrong.
    Forged,
    /// Cannot be read.
    Malformed,
    /// No source knows it, or nothing could be verified.
    Unknown,
}

impl IdentityState {
    /// The word in the decision log.
    pub const fn name(self) -> &'static str {
        match self {
            IdentityState::None => "none",
            IdentityState::Valid => "valid",
            IdentityState::Expired => "expired",
            IdentityState::NotYet => "not_yet",
            IdentityState::Revoked => "revoked",
            IdentityState::Forged => "forged",
            IdentityState::Malformed => "malformed",
            IdentityState::Unknown => "unknown",
        }
    }
}

impl Problem {
    /// A credential refused by a built-in rule, with the reason of its table.
    pub fn new(rule: Builtin, note: impl Into<Box<str>>) -> Problem {
        Problem { rule, reason: rule.info().reason, until: None, claimed: None, note: note.into() }
    }
}

impl Identity {
    /// The word in the decision log.
    pub fn state(&self) -> IdentityState {
        let problem = match self {
            Identity::Nobody => return IdentityState::None,
            Identity::Valid(_) => return IdentityState::Valid,
            Identity::Invalid(problem) => problem,
        };
        match problem.reason {
            Reason::TokenExpired => IdentityState::Expired,
            Reason::TokenNotYetValid => IdentityState::NotYet,
            Reason::TokenRevoked => IdentityState::Revoked,
            Reason::TokenInvalid | Reason::PasswordWrong => IdentityState::Forged,
            Reason::TokenMalformed
            | Reason::SchemeUnknown
            | Reason::CredentialsConflict
            | Reason::SubjectInvalid => IdentityState::Malformed,
            _ => IdentityState::Unknown,
        }
    }

    /// The believed holder, if any.
    pub fn who(&self) -> Option<&Arc<Who>> {
        match self {
            Identity::Valid(who) => Some(who),
            Identity::Nobody | Identity::Invalid(_) => None,
        }
    }

    /// The verified subject, if any.
    pub fn subject(&self) -> Option<&str> {
        self.who().map(|who| &*who.holder.subject)
    }
}
