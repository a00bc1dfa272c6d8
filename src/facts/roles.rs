//! Roles as numbers, and sets of them as bits.
//!
//! A policy numbers its roles when it is compiled; a set is resolved once for each verified
//! credential and generation, so that judging compares bits and never names.

use smallvec::SmallVec;

/// A role, by its place in the policy's table of roles. 0 and 1 are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleId(pub u16);

impl RoleId {
    /// `anyone`: everybody, identified or not.
    pub const ANYONE: RoleId = RoleId(0);
    /// `authenticated`: everybody with a valid credential.
    pub const AUTHENTICATED: RoleId = RoleId(1);
}

/// A set of roles. Holds 256 roles without allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleSet {
    words: SmallVec<[u64; 4]>,
}

impl RoleSet {
    /// The set of nobody in particular: `anyone` alone.
    pub fn anyone() -> RoleSet {
        let mut set = RoleSet::default();
        set.insert(RoleId::ANYONE);
        set
    }

    /// Adds a role.
    pub fn insert(&mut self, role: RoleId) {
        let word = usize::from(role.0 / 64);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (role.0 % 64);
    }

    /// Whether the role is in the set.
    #[inline]
    pub fn contains(&self, role: RoleId) -> bool {
        self.words.get(usize::from(role.0 / 64)).is_some_and(|word| word >> (role.0 % 64) & 1 == 1)
    }

    /// Adds all roles of another set.
    pub fn union_with(&mut self, other: &RoleSet) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }

    /// The roles as bits, 64 in a word: word 0 has the roles 0 to 63. Words at the end that would
    /// be 0 may be absent.
    #[inline]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The roles, ascending.
    pub fn iter(&self) -> impl Iterator<Item = RoleId> + '_ {
        self.words.iter().zip(0u16..).flat_map(|(word, index)| {
            (0u16..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| RoleId(index * 64 + bit))
        })
    }
}

impl FromIterator<RoleId> for RoleSet {
    fn from_iter<I: IntoIterator<Item = RoleId>>(roles: I) -> Self {
        let mut set = RoleSet::default();
        roles.into_iter().for_each(|role| set.insert(role));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        let set: RoleSet = [RoleId(0), RoleId(63), RoleId(64), RoleId(1000)].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [RoleId(0), RoleId(63), RoleId(64), RoleId(1000)]);
        assert!(!set.contains(RoleId(1)) && !set.contains(RoleId(999)) && !set.contains(RoleId(5000)));
    }
}
