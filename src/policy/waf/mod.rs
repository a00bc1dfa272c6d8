//! WAF rules: intermediate representation, front ends, compiled engine.

mod raw;

pub use raw::RawWaf;

use super::compile::Compile;
use super::mode::Mode;
use crate::decision::{Builtin, Notes, Trace, Verdict};
use crate::facts::Facts;

/// The compiled WAF rules.
#[derive(Clone, Debug, Default)]
pub struct Waf {}

/// What the head gate leaves for the body gate.
#[derive(Clone, Debug, Default)]
pub struct Carried {}

impl Waf {
    /// Compiles `[waf]`; the mode is that of the whole stage.
    pub fn compile(_raw: Option<&RawWaf>, _cx: &mut Compile<'_>) -> (Waf, Mode) {
        (Waf {}, Mode::Enforce)
    }

    /// Judges the request line, headers, cookies and query.
    pub fn check_head(
        &self,
        _facts: &Facts<'_>,
        _shadow: bool,
        _carried: &mut Carried,
        _notes: &mut Notes,
        _trace: Option<&mut Trace>,
    ) -> Verdict {
        Verdict::Pass(Builtin::WafClean.into())
    }

    /// Whether any rule wants the body of this request read.
    pub fn wants_body(&self, _facts: &Facts<'_>) -> bool {
        false
    }

    /// The largest body that is read for inspection.
    pub fn body_limit(&self) -> u64 {
        128 * 1024
    }

    /// Judges the body; also runs when there is none.
    pub fn check_body(
        &self,
        _facts: &Facts<'_>,
        _shadow: bool,
        _carried: &mut Carried,
        _notes: &mut Notes,
        _trace: Option<&mut Trace>,
    ) -> Verdict {
        Verdict::Pass(Builtin::WafClean.into())
    }
}
