//! `[rbac]` as written.

use super::RawRole;
use crate::policy::compile::RawWords;
use crate::policy::decode::{Moment, Name, table};
use crate::policy::diagnostic::At;
use crate::policy::mode::RawMode;
use crate::policy::scope::RawScope;

table! {
    /// `[rbac]`: who may do what.
    pub struct RawRbac as "[rbac]" {
        /// The roles.
        map role: RawRole,
        /// What is allowed.
        list grant: RawGrant,
        /// What is forbidden, whatever is allowed.
        list deny: RawDeny,
    }
}

table! {
    /// `[[rbac.grant]]`: allows. Says to whom: roles, subjects or scopes.
    pub struct RawGrant as "[[rbac.grant]]" {
        /// The id of the grant.
        req id: At<Name>,
        /// Which requests it is about.
        part scope: RawScope,
        /// Words for people.
        part words: RawWords,
        /// Who: any of these roles.
        opt roles: Vec<At<Name>>,
        /// Who: any of these subjects.
        opt subjects: Vec<At<String>>,
        /// Who: whose token has all of these scopes.
        opt scopes: Vec<At<String>>,
        /// A condition on the request.
        opt when: At<String>,
        /// The grant begins then.
        opt from: At<Moment>,
        /// The grant ends then.
        opt until: At<Moment>,
    }
}

table! {
    /// `[[rbac.deny]]`: forbids. Without roles, subjects and scopes it concerns everyone.
    pub struct RawDeny as "[[rbac.deny]]" {
        /// The id of the deny.
        req id: At<Name>,
        /// Which requests it is about.
        part scope: RawScope,
        /// Whether it counts.
        part mode: RawMode,
        /// Words for people.
        part words: RawWords,
        /// Whom: any of these roles.
        opt roles: Vec<At<Name>>,
        /// Who is exempt, whatever other roles they have.
        opt except_roles: Vec<At<Name>>,
        /// Whom: any of these subjects.
        opt subjects: Vec<At<String>>,
        /// Whom: whose token has any of these scopes.
        opt scopes: Vec<At<String>>,
        /// A condition on the request; a value that is absent or of another type counts as met.
        opt when: At<String>,
        /// The deny begins then.
        opt from: At<Moment>,
        /// The deny ends then.
        opt until: At<Moment>,
    }
}
