//! Whether one scope has all that another has, and whether two have anything in common.
//!
//! What lints conclude from. Both answers are proofs where they are needed as such: "covers" is said
//! only where it holds for every request, "meets" is denied only where no request is in both. (A
//! union may cover what none of its parts does; that is not seen, and no lint comes of it.)

use super::{HostPattern, MethodSet, PathPattern, Scope, Segment};

impl PathPattern {
    /// Whether every path that `other` matches is matched by this pattern too.
    pub fn covers(&self, other: &PathPattern) -> bool {
        let (mine, theirs) = (self.segments(), other.segments());
        let enough = match (self.rest(), other.rest()) {
            (Some(_), _) => mine.len() <= theirs.len(),
            (None, Some(_)) => false,
            (None, None) => mine.len() == theirs.len(),
        };
        enough
            && mine.iter().zip(theirs).all(|pair| match pair {
                (Segment::Any(_), _) => true,
                (Segment::Literal(mine), Segment::Literal(theirs)) => mine == theirs,
                (Segment::Literal(_), Segment::Any(_)) => false,
            })
    }

    /// Whether some path is matched by both.
    pub fn meets(&self, other: &PathPattern) -> bool {
        let (mine, theirs) = (self.segments(), other.segments());
        let lengths = match (self.rest(), other.rest()) {
            (Some(_), Some(_)) => true,
            (Some(_), None) => mine.len() <= theirs.len(),
            (None, Some(_)) => theirs.len() <= mine.len(),
            (None, None) => mine.len() == theirs.len(),
        };
        lengths
            && mine.iter().zip(theirs).all(|pair| match pair {
                (Segment::Literal(mine), Segment::Literal(theirs)) => mine == theirs,
                _ => true,
            })
    }
}

impl HostPattern {
    /// Whether every host that `other` matches is matched by this pattern too.
    pub fn covers(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (HostPattern::Exact(mine), HostPattern::Exact(theirs)) => mine == theirs,
            (HostPattern::Exact(_), HostPattern::Below(_)) => false,
            (HostPattern::Below(_), HostPattern::Exact(host)) => self.matches(host),
            (HostPattern::Below(mine), HostPattern::Below(theirs)) => theirs.ends_with(&**mine),
        }
    }

    /// Whether some host is matched by both.
    pub fn meets(&self, other: &HostPattern) -> bool {
        self.covers(other) || other.covers(self)
    }
}

impl MethodSet {
    /// Whether every method of `other` is in this set too.
    pub fn covers(&self, other: &MethodSet) -> bool {
        self.is_any() || !other.is_any() && other.named().all(|method| self.contains(method))
    }
}

impl Scope {
    /// Whether every request that `other` is about is one that this scope is about, each of the
    /// other's patterns covered by one of ours.
    pub fn covers(&self, other: &Scope) -> bool {
        each(&self.paths, &other.paths, PathPattern::covers)
            && each(&self.hosts, &other.hosts, HostPattern::covers)
            && self.methods.covers(&other.methods)
            && each(&self.routes, &other.routes, |mine, theirs| mine == theirs)
    }

    /// Whether some request may be in both scopes.
    pub fn meets(&self, other: &Scope) -> bool {
        some(&self.paths, &other.paths, PathPattern::meets)
            && some(&self.hosts, &other.hosts, HostPattern::meets)
            && self.methods.meets(&other.methods)
            && some(&self.routes, &other.routes, |mine, theirs| mine == theirs)
    }
}

/// Whether each of theirs is covered by one of ours. None listed means any.
fn each<T>(mine: &[T], theirs: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    mine.is_empty()
        || !theirs.is_empty() && theirs.iter().all(|theirs| mine.iter().any(|mine| covers(mine, theirs)))
}

/// Whether one of theirs meets one of ours. None listed means any.
fn some<T>(mine: &[T], theirs: &[T], meets: impl Fn(&T, &T) -> bool) -> bool {
    mine.is_empty()
        || theirs.is_empty()
        || mine.iter().any(|mine| theirs.iter().any(|theirs| meets(mine, theirs)))
}
