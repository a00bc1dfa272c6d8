//! One of the two policies that are compared.

use super::meaning::Meaning;
use crate::policy::Policy;
use crate::policy::source::Sources;

/// A policy with what it means.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The texts that it was made of.
    pub sources: &'a Sources,
    /// What it means.
    pub meaning: &'a Meaning,
}
