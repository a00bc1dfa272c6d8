//! How a decision refers to the rule that made it: eight bytes, no allocation.

use super::Builtin;

/// The rule behind a verdict. The text of a written rule lives in the policy that judged
/// (`Policy::rule`), which the request keeps until its record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleRef {
    /// A rule nobody wrote; it has a name all the same.
    Builtin(Builtin),
    /// A rule of the policy, by its place in the policy's table of rules (which is policy order).
    Written(Written),
}

/// Index into the table of rules of one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Written(pub u32);

impl From<Builtin> for RuleRef {
    fn from(builtin: Builtin) -> Self {
        RuleRef::Builtin(builtin)
    }
}

impl From<Written> for RuleRef {
    fn from(written: Written) -> Self {
        RuleRef::Written(written)
    }
}
