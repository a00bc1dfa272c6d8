//! What the record of a request always needs, besides the verdict.
//!
//! Notes are written while judging and read when the record is made. They never change a verdict
//! (`tests/it` holds a property test). Nothing here allocates until there is something to note.

use smallvec::SmallVec;

use super::{Reason, RuleRef};

/// What judging a request left to be recorded.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Shadow rules that would have refused.
    pub shadow: SmallVec<[ShadowHit; 2]>,
    /// What the WAF saw.
    pub waf: WafNotes,
    /// Whether a rule about addresses, or a condition on one or on cookies, was asked: what it allowed is for
    /// this caller.
    pub personal: bool,
}

/// A rule in shadow that would have refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShadowHit {
    /// The rule.
    pub rule: RuleRef,
    /// The reason it would have given.
    pub reason: Reason,
}

/// The WAF's score and matches.
#[derive(Clone, Debug, Default)]
pub struct WafNotes {
    /// The sum so far, over the enforced scoring rules that matched.
    pub score: u32,
    /// The threshold that applied; 0 when no WAF rule applied to this request.
    pub threshold: u32,
    /// Whether the body was inspected, and if not, why.
    pub body: BodyInspection,
    /// Every rule that matched, in the order in which they did.
    pub matched: Vec<WafMatch>,
}

/// One WAF rule that matched, with what the decision log lists of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WafMatch {
    /// The rule.
    pub rule: RuleRef,
    /// What it matched on, in the language of `targets`: `query:q`, `header:user-agent`.
    pub target: String,
    /// What it added to the score.
    pub score: u32,
    /// Whether it counts only in shadow.
    pub shadow: bool,
    /// The matched bytes, escaped and cut to `log.waf_data`; empty when none are kept.
    pub data: String,
    /// The rule's message, macros expanded; empty for rules without one.
    pub msg: String,
}

/// What happened to the body on its way through the WAF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyInspection {
    /// The request had no body, or no rule wanted one, or it was refused before.
    #[default]
    None,
    /// Read whole and inspected.
    Inspected,
    /// Not read: the route says `waf_body = "off"`.
    Off,
    /// Not read: gRPC streams are not buffered.
    Grpc,
    /// Not read: the connection changes its protocol.
    Upgrade,
}

impl BodyInspection {
    /// The word in the decision log.
    pub const fn name(self) -> &'static str {
        match self {
            BodyInspection::None => "none",
            BodyInspection::Inspected => "inspected",
            BodyInspection::Off => "not_inspected:off",
            BodyInspection::Grpc => "not_inspected:grpc",
            BodyInspection::Upgrade => "not_inspected:upgrade",
        }
    }
}
