//! `[[disclosure]]` and `[contact]` as written.

use crate::policy::decode::{Name, table, words};
use crate::policy::diagnostic::At;
use crate::policy::network::NetItem;

words! {
    /// How much a caller is told.
    pub enum LevelWord {
        /// Nothing: the answer of an unrouted path.
        Silent = "silent",
        /// Status, request id, stage.
        Id = "id",
        /// The rule, the reason, and what would help.
        Rule = "rule",
        /// Everything.
        Full = "full",
    }
}

words! {
    /// The stages, as disclosure entries name them.
    pub enum StageWord {
        /// Intake.
        Intake = "intake",
        /// Addresses.
        Ip = "ip",
        /// Routes.
        Route = "route",
        /// WAF, head and body.
        Waf = "waf",
        /// Credentials.
        Authn = "authn",
        /// Roles.
        Rbac = "rbac",
        /// Breakage.
        Fault = "fault",
    }
}

table! {
    /// `[[disclosure]]`: how much a refusal tells whom; the first matching entry decides, keys are ANDed.
    pub struct RawDisclosure as "[[disclosure]]" {
        /// To whom: client addresses.
        opt networks: Vec<At<NetItem>>,
        /// To whom: verified holders of any of these roles.
        opt roles: Vec<At<Name>>,
        /// On which routes.
        opt routes: Vec<At<Name>>,
        /// For refusals of which stages.
        opt stages: Vec<At<StageWord>>,
        /// How much.
        req level: LevelWord,
    }
}

table! {
    /// `[contact]`: whom a refused caller can ask.
    pub struct RawContact as "[contact]" {
        /// A page or address: `https://…` or `mailto:…`.
        req url: At<String>,
    }
}
