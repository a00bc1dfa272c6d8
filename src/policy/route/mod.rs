//! What serves a request.
//!
//! A request takes the most specific of the routes that cover it: exact host before wildcard
//! (the longer one first) before none, then segment by segment literal before `{name}` before
//! `{*rest}`, then more conditions (methods, header fields) before fewer. That order is total over
//! the routes that can meet on one request (two that are equally specific and overlap are a load
//! error), so each pattern gets its rank when it is compiled and finding a route is taking the least
//! rank among all that cover the request.

mod compile;
mod condition;
mod cors;
mod edit;
mod fields;
mod names;
mod patience;
mod raw;
mod rewrite;
mod split;
#[cfg(test)]
mod tests;
mod transport;

pub use compile::Around;
pub use condition::{Conditions, FieldWord};
pub use cors::Cors;
pub use edit::Edits;
pub use names::RouteNames;
pub use patience::Patience;
pub use raw::{AcceptWord, AuthnWord, BodyLimit, RawRoute, UpgradeWord, WafBodyWord};
pub use rewrite::Rewrite;
pub use split::Split;
pub use transport::secure_location;

use std::cmp::Reverse;
use std::collections::HashSet;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use smallvec::SmallVec;

use self::condition::Choice;
use super::diagnostic::suggest;
use super::mode::Mode;
use super::scope::{HostPattern, PathPattern, Patterns, Segment};
use crate::decision::{Builtin, Denial, Stage, StepOutcome, Trace, Verdict};
use crate::facts::{Accept, Facts, RouteId, Target};

/// What a route says about the requests it serves.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its id.
    pub name: Box<str>,
    /// The host it serves; any if absent.
    pub host: Option<HostPattern>,
    /// The paths it serves.
    pub path: PathPattern,
    /// The methods and header fields it wants.
    pub conditions: Conditions,
    /// Where its requests go.
    pub upstream: Split,
    /// What becomes of the path on the way.
    pub rewrite: Option<Rewrite>,
    /// Header fields set and removed towards the upstream.
    pub request_edits: Edits,
    /// Header fields set and removed in its answers.
    pub response_edits: Edits,
    /// How long it waits.
    pub patience: Patience,
    /// Which pages of other origins may use it.
    pub cors: Option<Cors>,
    /// Whether requests over clear text are sent elsewhere.
    pub redirect: bool,
    /// The value of Strict-Transport-Security, for answers over TLS.
    pub hsts: Option<HeaderValue>,
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
    patterns: Patterns<Ranked>,
    /// Routes of one host and path that are told apart by conditions.
    choices: Vec<Choice>,
    /// The hosts that routes serve, and with a dot in front those below which they do.
    hosts: HashSet<Box<str>>,
    /// The most dots that one of the latter has. A request's host is cut at no more.
    dots: usize,
    /// Whether a route serves any host.
    any_host: bool,
    /// Whether a route answers preflights.
    any_cors: bool,
    /// By upstream: whether a route uses it.
    used: Vec<bool>,
}

/// A route by its place in the order of precedence, which decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    rank: u32,
    /// The only route of this host and path.
    route: RouteId,
    /// Where in `choices` several are, or one with conditions.
    choice: Option<u32>,
}

impl Routes {
    /// The most specific route that serves the target; the rule that refuses a request that repeats
    /// a field which such a route looks at.
    #[inline]
    pub fn find(&self, target: &Target, headers: &HeaderMap) -> Result<Option<RouteId>, Builtin> {
        if self.any_cors
            && let Some(method) = cors::preflight(&target.method, headers)
            && let Some(route) = self.find_for(&method, target, headers)?
            && self.get(route).cors.as_ref().is_some_and(|cors| cors.listed(headers).is_some())
        {
            // A page asks whether it may do something: that is for the route which would serve it. The
            // route's gate answers, so it gets no further.
            return Ok(Some(route));
        }
        self.find_for(&target.method, target, headers)
    }

    /// The same, were the method another than the target's.
    #[inline]
    fn find_for(
        &self,
        method: &Method,
        target: &Target,
        headers: &HeaderMap,
    ) -> Result<Option<RouteId>, Builtin> {
        let mut best: Option<Ranked> = None;
        let mut choices: SmallVec<[Ranked; 4]> = SmallVec::new();
        self.patterns.visit(target, None, |found| match found.choice {
            None => best = Some(best.map_or(*found, |best| best.min(*found))),
            Some(_) => choices.push(*found),
        });
        if !choices.is_empty() {
            choices.retain(|found| best.is_none_or(|best| *found < best));
            choices.sort_unstable();
            for choice in choices.iter().filter_map(|found| self.choices.get(found.choice? as usize)) {
                let conditions = |id: RouteId| self.routes.get(id.0 as usize).map(|route| &route.conditions);
                if let Some(route) = choice.find(method, headers, conditions)? {
                    return Ok(Some(route));
                }
            }
        }
        Ok(best.map(|best| best.route))
    }

    /// What is forwarded for a target that a route serves, where that is not what was asked for.
    pub fn rewrite(&self, route: RouteId, target: &Target) -> Result<Option<PathAndQuery>, Builtin> {
        let rewrite = self.routes.get(route.0 as usize).and_then(|route| route.rewrite.as_ref());
        rewrite.map(|rewrite| rewrite.apply(target)).transpose()
    }

    /// Whether any route serves this host.
    pub fn serves_host(&self, host: &str) -> bool {
        let mut ends = host.rmatch_indices('.').take(self.dots).filter_map(|(dot, _)| host.get(dot..));
        self.any_host || self.hosts.contains(host) || ends.any(|end| self.hosts.contains(end))
    }

    /// A route.
    pub fn get(&self, id: RouteId) -> &Route {
        &self.routes[id.0 as usize]
    }

    /// All routes, in policy order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (RouteId, &Route)> {
        self.routes.iter().enumerate().map(|(at, route)| (RouteId(at as u32), route))
    }

    /// The header fields that routes look at.
    pub fn read_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.routes.iter().flat_map(|route| route.conditions.fields.iter().map(|(name, _)| name))
    }

    /// The methods beyond the standard ones that routes name.
    pub fn extension_methods(&self) -> impl Iterator<Item = &Method> {
        self.routes.iter().flat_map(|route| route.conditions.methods.extensions())
    }

    /// The upstreams that no route uses, by their places in the list the policy was compiled with.
    pub fn unused_upstreams(&self) -> impl Iterator<Item = usize> + '_ {
        self.used.iter().enumerate().filter(|(_, used)| !**used).map(|(at, _)| at)
    }

    /// Judges whether anything serves this.
    pub fn check(&self, facts: &Facts<'_>, trace: Option<&mut Trace>) -> Verdict {
        let (verdict, rule) = match facts.route {
            Some(route) if let Some(rule) = self.own_answer(route, facts) => (Verdict::Answer(rule), rule),
            Some(_) => (Verdict::Pass(Builtin::Routed.into()), Builtin::Routed),
            None => {
                let served = self.serves_host(facts.target.host());
                let rule = if served { Builtin::NoRoute } else { Builtin::RouteAuthority };
                (Verdict::Deny(Denial::builtin(Stage::Route, rule)), rule)
            }
        };
        if let Some(trace) = trace {
            let outcome = match verdict {
                Verdict::Pass(_) | Verdict::Answer(_) => StepOutcome::Pass,
                Verdict::Deny(denial) => StepOutcome::Deny(denial.reason),
            };
            trace.rule(Stage::Route, rule, outcome, self.explain(facts, rule));
        }
        verdict
    }

    /// What the gateway answers by itself.
    fn own_answer(&self, route: RouteId, facts: &Facts<'_>) -> Option<Builtin> {
        let route = self.get(route);
        if route.redirect && transport::is_open(facts.target) {
            return Some(Builtin::Redirect);
        }
        let cors = route.cors.as_ref()?;
        cors::preflight(&facts.target.method, facts.headers)?;
        cors.listed(facts.headers).map(|_| Builtin::Preflight)
    }

    /// The route that was taken, or the ones that were nearly taken.
    #[cold]
    fn explain(&self, facts: &Facts<'_>, rule: Builtin) -> String {
        let target = facts.target;
        if let Some(route) = facts.route.and_then(|id| self.routes.get(id.0 as usize)) {
            return format!("route {route} serves {}{}", target.host(), target.path());
        }
        if rule == Builtin::RouteAuthority {
            let hosts =
                self.routes.iter().filter_map(|route| route.host.as_ref()).map(HostPattern::to_string);
            let hosts: Vec<String> = hosts.collect();
            return match suggest(target.host(), hosts.iter().map(String::as_str)) {
                Some(near) => format!("no route serves the host `{}`; one serves `{near}`", target.host()),
                None => format!("no route serves the host `{}`", target.host()),
            };
        }
        let mut near: Vec<_> = self
            .routes
            .iter()
            .filter(|route| route.host.as_ref().is_none_or(|host| host.matches(target.host())))
            .map(|route| (Reverse(route.shared_segments(target)), route))
            .collect();
        near.sort_by_key(|(shared, _)| *shared);
        let near: Vec<String> = near.iter().take(3).map(|(_, route)| route.to_string()).collect();
        format!("no route serves {}; nearest: {}", target.path(), near.join(", "))
    }
}

impl Route {
    /// Whether it takes the same requests as another, and reads their targets and fields alike.
    pub fn reads_as(&self, other: &Route) -> bool {
        (&self.name, &self.host, &self.path) == (&other.name, &other.host, &other.path)
            && (&self.conditions, &self.accept) == (&other.conditions, &other.accept)
    }

    /// Whether what the first gate let pass on another route, or on none, it lets pass here too: the same spellings
    /// are taken, and bodies of the same size and pace.
    pub fn takes_what(&self, other: Option<&Route>) -> bool {
        let accept = other.map(|route| route.accept).unwrap_or_default();
        let limit = other.and_then(|route| route.body_limit);
        let paced = other.is_none_or(|route| route.patience.body_idle == self.patience.body_idle);
        let sized = self.body_limit.is_none_or(|most| limit.is_some_and(|limit| most >= limit));
        self.accept.covers(accept) && paced && sized
    }

    /// Whether it refuses and answers what the other does, wherever it sends what passes and whatever is
    /// done to that on the way. What it accepts and whether it asks who asks are left out.
    pub fn decides_as(&self, other: &Route) -> bool {
        // Named whole, so that whoever adds a field has to say which kind it is.
        let Route {
            name,
            host,
            path,
            conditions,
            rewrite,
            patience,
            cors,
            redirect,
            websocket,
            body_limit,
            waf_body,
            mode,
            upstream: _,
            request_edits: _,
            response_edits: _,
            hsts: _,
            preserve_host: _,
            authn: _,
            accept: _,
        } = self;
        (name, host, path, conditions) == (&other.name, &other.host, &other.path, &other.conditions)
            && (rewrite, patience.body_idle, cors) == (&other.rewrite, other.patience.body_idle, &other.cors)
            && (redirect, websocket) == (&other.redirect, &other.websocket)
            && (body_limit, waf_body) == (&other.body_limit, &other.waf_body)
            && *mode == other.mode
    }

    /// How many leading segments of the target the path agrees with.
    fn shared_segments(&self, target: &Target) -> usize {
        let agree = |(segment, part): &(&Segment, &str)| match segment {
            Segment::Literal(text) => &**text == *part,
            Segment::Any(_) => true,
        };
        self.path.segments().iter().zip(target.segments()).take_while(agree).count()
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` (", self.name)?;
        if let Some(host) = &self.host {
            write!(f, "{host}")?;
        }
        write!(f, "{}{})", self.path, self.conditions)
    }
}
