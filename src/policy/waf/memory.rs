//! What rules remember from one request to the next: the collections of `initcol`.
//!
//! A rule names whom a collection is about (`initcol:ip=%{REMOTE_ADDR}`), and from then on the variables
//! that it sets there are found by later requests of the same one. Where they are kept is not the
//! engine's business; without a memory, as in `explain`, they last for the request.

use std::fmt::Debug;

/// The collections that outlive a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// `GLOBAL`
    Global,
    /// `IP`
    Ip,
    /// `RESOURCE` (`setrsc`)
    Resource,
    /// `SESSION` (`setsid`)
    Session,
    /// `USER` (`setuid`)
    User,
}

impl Kept {
    /// How many there are.
    pub(super) const COUNT: usize = 5;

    /// All, with their names in small letters.
    const EVERY: [(Kept, &'static str); Kept::COUNT] = [
        (Kept::Global, "global"),
        (Kept::Ip, "ip"),
        (Kept::Resource, "resource"),
        (Kept::Session, "session"),
        (Kept::User, "user"),
    ];

    /// The collection of this name, in whatever letters.
    pub(super) fn by_name(name: &str) -> Option<Kept> {
        Kept::EVERY.into_iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(kept, _)| kept)
    }

    /// The collection that a variable such as `ip.x` is in, and its name there.
    pub(super) fn of(full: &str) -> Option<(Kept, &str)> {
        let (collection, name) = full.split_once('.')?;
        Some((Kept::by_name(collection)?, name))
    }

    /// Its name, in small letters.
    pub(super) fn name(self) -> &'static str {
        Kept::EVERY[self as usize].1
    }
}

/// Whom variables are about: a collection, and the key that a rule gave for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner<'k> {
    /// The collection.
    pub kept: Kept,
    /// Who it is.
    pub key: &'k [u8],
}

/// A value that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// A counter.
    Number(i64),
    /// A text.
    Text(Box<[u8]>),
}

impl Remembered {
    /// The number that it is or begins with.
    pub fn number(&self) -> i64 {
        match self {
            Remembered::Number(number) => *number,
            Remembered::Text(text) => super::program::number(text),
        }
    }
}

/// What becomes of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// It is this from now on.
    Put(Remembered),
    /// So much is added to what it is by now; other requests may have counted meanwhile.
    Add(i64),
    /// It is forgotten.
    Remove,
}

/// Where collections are kept. Shared by all threads; times are seconds of Unix.
pub trait Memory: Debug + Send + Sync {
    /// All that is remembered of somebody, by name.
    fn recall(&self, owner: Owner<'_>, now: i64) -> Vec<(Box<str>, Remembered)>;

    /// Changes a value; what it is now. All of an owner is forgotten `lasts` seconds after its last change.
    fn update(
        &self,
        owner: Owner<'_>,
        name: &str,
        update: Update,
        now: i64,
        lasts: u32,
    ) -> Option<Remembered>;

    /// Forgets a value at a time (`expirevar`).
    fn expire(&self, owner: Owner<'_>, name: &str, at: i64);
}
