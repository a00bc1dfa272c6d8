//! User names and passwords (RFC 7617), with slow hashes: argon2 and bcrypt.
//!
//! Checking one takes tens of milliseconds on purpose, so [`PasswordCheck`] is a value that the
//! shell runs where it blocks nobody. A user that does not exist costs as much as one that does.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc;
use argon2::{Argon2, Params};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fingerprint::Parts;
use super::revoked::Revocations;
use crate::decision::Builtin;
use crate::facts::{Holder, Problem};

/// The users of all `[[authn.basic]]` sources.
#[derive(Clone, Debug)]
pub(super) struct Passwords {
    pub(super) users: HashMap<Box<str>, User>,
    /// The hashes of all users, ordered by name: what an unknown user is compared with.
    decoys: Vec<Arc<PasswordHash>>,
}

/// One user.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) hash: Arc<PasswordHash>,
    pub(super) holder: Arc<Holder>,
}

/// The slow hash of a password.
pub(super) enum PasswordHash {
    /// A PHC string.
    Argon2(Box<phc::PasswordHash>),
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt(Box<str>),
}

/// A password to be checked. Slow: [`PasswordCheck::run`] belongs on a thread that may block.
pub struct PasswordCheck {
    password: Box<[u8]>,
    hash: Arc<PasswordHash>,
    /// The holder, unless there is no such user.
    holder: Option<Arc<Holder>>,
    /// The revocations of the policy's own file.
    revoked: Arc<Revocations>,
}

impl PasswordCheck {
    /// Checks the password; takes tens of milliseconds.
    pub fn run(self, revoked: &Revocations) -> Result<Arc<Holder>, Problem> {
        // The comparison is made for unknown users too, so that they cost the same time.
        let right = self.hash.matches(&self.password);
        let Some(holder) = self.holder.filter(|_| right) else {
            return Err(Problem::new(Builtin::Password, "there is no such user with this password"));
        };
        if self.revoked.covers(&holder) || revoked.covers(&holder) {
            return Err(Problem {
                claimed: Some(holder),
                ..Problem::new(Builtin::Revoked, "the user is revoked")
            });
        }
        Ok(holder)
    }
}

impl Passwords {
    pub(super) fn new(users: HashMap<Box<str>, User>) -> Passwords {
        let mut named: Vec<_> = users.iter().collect();
        named.sort_unstable_by_key(|(name, _)| *name);
        let decoys = named.into_iter().map(|(_, user)| user.hash.clone()).collect();
        Passwords { users, decoys }
    }

    /// Everything that a cached check rests on.
    pub(super) fn fingerprint(&self, parts: &mut Parts) {
        let mut users: Vec<_> = self.users.iter().collect();
        users.sort_unstable_by_key(|(name, _)| *name);
        for (name, User { hash, holder }) in users {
            parts.add("basic").add(name.as_bytes()).add(hash.text()).add(holder.source.as_bytes());
            parts.add_all(holder.roles.iter().map(|role| role.as_bytes()));
        }
    }

    /// What `Authorization: Basic` shows, ready to be checked. Nothing slow happens here.
    pub(super) fn check(&self, encoded: &[u8], revoked: &Arc<Revocations>) -> Result<PasswordCheck, Problem> {
        let malformed = || {
            Problem::new(
                Builtin::CredentialMalformed,
                "the Basic credential is not `user:password` in base64",
            )
        };
        let decoded = STANDARD.decode(encoded).map_err(|_| malformed())?;
        let text = std::str::from_utf8(&decoded).map_err(|_| malformed())?;
        let (name, password) = text.split_once(':').ok_or_else(malformed)?;
        // RFC 7617 section 2: neither may have control characters.
        if name.is_empty() || text.chars().any(char::is_control) || password.len() > MAX_PASSWORD {
            return Err(malformed());
        }
        let user = self.users.get(name);
        // Which hash an unknown name is compared with depends on the name alone, as for a user.
        let sum = name.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let decoy = self.decoys.get(sum % self.decoys.len().max(1));
        let hash = user.map(|user| &user.hash).or(decoy).ok_or_else(malformed)?.clone();
        let holder = user.map(|user| user.holder.clone());
        Ok(PasswordCheck { password: password.as_bytes().into(), hash, holder, revoked: revoked.clone() })
    }
}

impl PasswordHash {
    /// Reads the hash of a policy file; the error says what it is instead.
    pub(super) fn parse(text: &str) -> Result<PasswordHash, &'static str> {
        if text.starts_with("$argon2") {
            let hash = phc::PasswordHash::new(text).map_err(|_| "this is not a complete argon2 hash")?;
            let params = Params::try_from(&hash)
                .map_err(|_| "this argon2 hash has parameters that are not supported")?;
            if argon2::Algorithm::try_from(hash.algorithm.as_str()).is_err()
                || hash.salt.is_none()
                || hash.hash.is_none()
            {
                return Err("this is not a complete argon2 hash");
            }
            if params.m_cost() > MAX_ARGON2_KIB
                || params.t_cost() > MAX_ARGON2_PASSES
                || params.p_cost() > MAX_ARGON2_LANES
            {
                return Err("this argon2 hash costs more than 256 MiB, 16 passes or 16 lanes");
            }
            return Ok(PasswordHash::Argon2(Box::new(hash)));
        }
        match text.get(..4) {
            Some("$2a$" | "$2b$" | "$2y$") => {
                let parts: bcrypt::HashParts =
                    text.parse().map_err(|_| "this is not a complete bcrypt hash")?;
                if !(4..=MAX_BCRYPT_COST).contains(&parts.get_cost()) {
                    return Err("this bcrypt hash has a cost that is not from 4 to 16");
                }
                Ok(PasswordHash::Bcrypt(text.into()))
            }
            Some("$2x$") => Err("this is a hash of a broken bcrypt"),
            Some("$apr") => Err("this is an MD5 hash, which is guessed in no time"),
            _ if text.starts_with("$1$") => Err("this is an MD5 hash, which is guessed in no time"),
            _ if text.starts_with("{SHA}") || text.starts_with("{SSHA}") => {
                Err("this is a SHA-1 hash, which is guessed in no time")
            }
            _ if text.starts_with("$5$") || text.starts_with("$6$") => {
                Err("this is a SHA-crypt hash, which is not supported")
            }
            _ => Err("this is a crypt hash or no hash at all"),
        }
    }

    fn matches(&self, password: &[u8]) -> bool {
        match self {
            PasswordHash::Argon2(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
            PasswordHash::Bcrypt(hash) => {
                // bcrypt reads 72 bytes and ignores the rest. A longer password is refused, after the
                // usual time, instead of being taken for its beginning.
                let same = bcrypt::verify(password, hash).unwrap_or(false);
                same && password.len() <= 72
            }
        }
    }

    /// The text, for fingerprints.
    pub(super) fn text(&self) -> String {
        match self {
            PasswordHash::Argon2(hash) => hash.to_string(),
            PasswordHash::Bcrypt(hash) => hash.to_string(),
        }
    }
}

/// Says which kind of hash it is, and nothing of the hash.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PasswordHash::Argon2(_) => "Argon2",
            PasswordHash::Bcrypt(_) => "Bcrypt",
        })
    }
}

/// Says who, and nothing of the password.
impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordCheck").field("holder", &self.holder).finish_non_exhaustive()
    }
}

/// What to do about a hash that is not taken.
pub(super) const HASH_HELP: &str =
    "make one with `portcullis hash-key --password FILE`; bcrypt of `htpasswd -nB USER` will do as well";

/// The longest password that is looked at.
const MAX_PASSWORD: usize = 1024;

/// Limits on what one check may cost, so that a hash in a file cannot stop the gateway.
const MAX_ARGON2_KIB: u32 = 256 * 1024;
const MAX_ARGON2_PASSES: u32 = 16;
const MAX_ARGON2_LANES: u32 = 16;
const MAX_BCRYPT_COST: u32 = 16;
