//! The gates a request passes, and their one order.

/// A place where a request is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Is the request intelligible, unambiguous and within size?
    Intake,
    /// Is this address welcome at all?
    Ip,
    /// Does anything serve this?
    Route,
    /// WAF rules on the request line, headers, cookies and query.
    Waf,
    /// Is someone demanded here, and is what was shown valid?
    Authn,
    /// May this someone do this?
    Rbac,
    /// WAF rules on the body; the head's score is carried on.
    WafBody,
    /// Not a gate: the world broke before a decision could be kept.
    Fault,
}

impl Stage {
    /// Every gate, in the order of judgement. `serve/stack.rs` is compared with this by a test.
    pub const ALL: [Stage; 7] =
        [Stage::Intake, Stage::Ip, Stage::Route, Stage::Waf, Stage::Authn, Stage::Rbac, Stage::WafBody];

    /// The name in rule ids, logs, metrics and answers. Both WAF gates are `waf`: one rule has one name.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Intake => "intake",
            Stage::Ip => "ip",
            Stage::Route => "route",
            Stage::Waf | Stage::WafBody => "waf",
            Stage::Authn => "authn",
            Stage::Rbac => "rbac",
            Stage::Fault => "fault",
        }
    }

    /// Whether it judges by who asks.
    pub const fn looks_at_caller(self) -> bool {
        matches!(self, Stage::Authn | Stage::Rbac)
    }

    /// The name that tells the two WAF gates apart, for traces that people read.
    pub const fn gate(self) -> &'static str {
        match self {
            Stage::WafBody => "waf (body)",
            other => other.name(),
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
