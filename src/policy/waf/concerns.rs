//! Whether any rule is about a request at all: for replay, which has no texts to show to rules and must
//! know whether one would have looked.

use super::Waf;
use crate::facts::Facts;

/// The gates at which some rule looks at a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Concerns {
    /// Its head.
    pub head: bool,
    /// Its body, or what rules about bodies see of the head.
    pub body: bool,
}

impl Waf {
    /// Which gates have rules that look at this request. Whatever they would see, no others do.
    pub fn concerns(&self, facts: &Facts<'_>) -> Concerns {
        let Some(engine) = &self.engine else { return Concerns::default() };
        let [head, body] = [&engine.head, &engine.body]
            .map(|gate| !gate.rules.is_empty() && !gate.heads(&gate.active(facts)).is_empty());
        Concerns { head, body }
    }
}
