//! One of the two policies that are compared.

use super::meaning::Meaning;
use crate::policy::Policy;

/// A policy with what it means.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// What it means.
    pub meaning: &'a Meaning,
}
