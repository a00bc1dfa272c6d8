//! Which addresses are welcome at all.

mod raw;
mod set;

pub use raw::{RawIp, RawIpRule};
pub use set::IpSet;

use super::compile::Compile;
use crate::decision::{Builtin, Notes, Trace, Verdict};
use crate::facts::Facts;

/// The compiled address rules.
#[derive(Clone, Debug, Default)]
pub struct Ip {}

impl Ip {
    /// Compiles `[ip]`.
    pub fn compile(_raw: &RawIp, _cx: &mut Compile<'_>) -> Ip {
        Ip {}
    }

    /// Whether any rule looked at the address of this request.
    pub fn looked_at(&self, _facts: &Facts<'_>) -> bool {
        false
    }

    /// Judges the client's address. `shadow`: the stage or the route is in shadow.
    pub fn check(
        &self,
        _facts: &Facts<'_>,
        _shadow: bool,
        _notes: &mut Notes,
        _trace: Option<&mut Trace>,
    ) -> Verdict {
        Verdict::Pass(Builtin::NoIpRule.into())
    }
}
