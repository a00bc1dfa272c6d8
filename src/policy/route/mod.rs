//! What serves a request.

mod names;
mod raw;

pub use names::RouteNames;
pub use raw::{AcceptWord, AuthnWord, BodyLimit, RawRoute, UpgradeWord, WafBodyWord};

use super::compile::Compile;
use super::mode::Mode;
use crate::decision::{Builtin, Denial, Stage, Trace, Verdict};
use crate::facts::{Accept, Facts, RouteId, Target};

/// What a route says about the requests it serves.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its id.
    pub name: Box<str>,
    /// Place in the list of upstreams that the policy was compiled with.
    pub upstream: usize,
    /// Whether it wants to know who asks; `inherit` is resolved.
    pub authn: AuthnWord,
    /// Whether `Upgrade: websocket` is passed.
    pub websocket: bool,
    /// Irregular requests that it takes.
    pub accept: Accept,
    /// The largest request body that is passed.
    pub body_limit: Option<u64>,
    /// Whether the WAF reads its bodies.
    pub waf_body: bool,
    /// Whether the upstream sees the client's Host.
    pub preserve_host: bool,
    /// The mode of ip and waf rules here.
    pub mode: Mode,
}

/// The compiled routes.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    routes: Vec<Route>,
}

impl Routes {
    /// Compiles the routes; adds their ids to `cx.routes`. `upstreams`: the names that exist.
    /// `inherit`: what `authn = "inherit"` means (`[authn] mode`).
    pub fn compile(
        _raw: &[RawRoute],
        _upstreams: &[&str],
        _inherit: AuthnWord,
        _cx: &mut Compile<'_>,
    ) -> Routes {
        Routes::default()
    }

    /// The most specific route that serves the target.
    pub fn find(&self, _target: &Target) -> Option<RouteId> {
        None
    }

    /// Whether any route serves this host.
    pub fn serves_host(&self, _host: &str) -> bool {
        true
    }

    /// A route.
    pub fn get(&self, id: RouteId) -> &Route {
        &self.routes[id.0 as usize]
    }

    /// Judges whether anything serves this.
    pub fn check(&self, facts: &Facts<'_>, _trace: Option<&mut Trace>) -> Verdict {
        match facts.route {
            Some(_) => Verdict::Pass(Builtin::Routed.into()),
            None if self.serves_host(facts.target.host()) => {
                Verdict::Deny(Denial::builtin(Stage::Route, Builtin::NoRoute))
            }
            None => Verdict::Deny(Denial::builtin(Stage::Route, Builtin::RouteAuthority)),
        }
    }
}
