//! What serves a request.
//!
//! A request takes the most specific of the routes that cover it: exact host before wildcard
//! (the longer one first) before none, then segment by segment literal before `{name}` before
//! `{*rest}`. That order is total over the routes that can meet on one request (two that are
//! equally specific and overlap are a load error), so each route gets its rank when it is compiled
//! and finding one is taking the least rank among all that cover the request.

mod names;
mod raw;
#[cfg(test)]
mod tests;

pub use names::RouteNames;
pub use raw::{AcceptWord, AuthnWord, BodyLimit, RawRoute, UpgradeWord, WafBodyWord};

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::code::Code;
use super::compile::{Compile, unknown_name};
use super::diagnostic::{Place, suggest};
use super::mode::Mode;
use super::scope::{HostPattern, PathPattern, Patterns, PatternsBuilder, Scope, Segment};
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
    patterns: Patterns<Ranked>,
    /// The hosts that routes serve, and with a dot in front those below which they do.
    hosts: HashSet<Box<str>>,
    /// The most dots that one of the latter has. A request's host is cut at no more.
    dots: usize,
    /// Whether a route serves any host.
    any_host: bool,
    /// By upstream: whether a route uses it.
    used: Vec<bool>,
}

/// A route by its place in the order of precedence, which decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    rank: u32,
    route: RouteId,
}

impl Routes {
    /// Compiles the routes; adds their ids to `cx.routes`. `upstreams`: the names that exist.
    /// `inherit`: what `authn = "inherit"` means (`[authn] mode`).
    pub fn compile(raw: &[RawRoute], upstreams: &[&str], inherit: AuthnWord, cx: &mut Compile<'_>) -> Routes {
        let known: HashMap<&str, usize> = upstreams.iter().copied().zip(0..).collect();
        let mut routes = Routes { used: vec![false; upstreams.len()], ..Routes::default() };
        let mut places: Vec<Place> = Vec::new();
        for raw in raw {
            let mode = cx.stage_mode(&raw.mode);
            let upstream = known.get(raw.upstream.as_str()).copied();
            match upstream {
                Some(upstream) => routes.used[upstream] = true,
                None if raw.upstream.value.is_stand_in() => {}
                None => unknown_name(
                    "upstream",
                    raw.upstream.as_str(),
                    raw.upstream.place,
                    upstreams.iter().copied(),
                    cx.diagnostics,
                ),
            }
            if Builtin::by_name(&format!("{}/{}", Stage::Route.name(), raw.id.value)).is_some() {
                cx.diagnostics
                    .push(
                        Code::ReservedId,
                        raw.id.place,
                        format!("`route/{}` is a built-in rule", raw.id.value),
                    )
                    .help("choose another id; `portcullis explain --rules builtin` lists the reserved ones");
            }
            // How specific a route is cannot be told without these.
            if raw.id.value.is_stand_in() || cx.diagnostics.lacks(raw.place, &["host", "path"]) {
                cx.diagnostics.lose(raw.id.value.as_str());
                continue;
            }
            if let Err(first) = cx.routes.add(raw.id.value.clone()) {
                let problem = cx.diagnostics.push(
                    Code::DuplicateId,
                    raw.id.place,
                    format!("the id `{}` is taken", raw.id.value),
                );
                if let Some(place) = places.get(first.0 as usize) {
                    problem.also(*place, "the first route with this id");
                }
                continue;
            }
            places.push(raw.id.place);
            routes.routes.push(Route::new(raw, upstream.unwrap_or(0), inherit, mode));
        }
        routes.index(&places, cx);
        routes
    }

    /// Sorts the routes by what they say of hosts, then of paths. Names and texts do not matter:
    /// where two routes differ in a text, no request meets both.
    fn ranks(&self) -> Vec<u32> {
        let key = |route: &Route| {
            let host = match &route.host {
                Some(HostPattern::Exact(_)) => (0, Reverse(0)),
                Some(HostPattern::Below(suffix)) => (1, Reverse(suffix.len())),
                None => (2, Reverse(0)),
            };
            let segments = route.path.segments().iter().map(|segment| match segment {
                Segment::Literal(_) => 0u8,
                Segment::Any(_) => 1,
            });
            (host, segments.chain(route.path.rest().map(|_| 2)).collect::<Vec<u8>>())
        };
        let mut order: Vec<(_, usize)> = self.routes.iter().map(key).zip(0..).collect();
        order.sort();
        let mut ranks = vec![0; self.routes.len()];
        for ((_, route), rank) in order.into_iter().zip(0..) {
            ranks[route] = rank;
        }
        ranks
    }

    /// Routes with one pattern cover the same requests.
    fn index(&mut self, places: &[Place], cx: &mut Compile<'_>) {
        let ranks = self.ranks();
        let scope = |route: &Route| Scope {
            paths: vec![route.path.clone()],
            hosts: route.host.iter().cloned().collect(),
            ..Scope::default()
        };
        let scopes: Vec<Scope> = self.routes.iter().map(scope).collect();
        let mut builder = PatternsBuilder::default();
        for (scope, at) in scopes.iter().zip(0u32..) {
            builder.add(scope, |_| at);
        }
        self.any_host = self.routes.iter().any(|route| route.host.is_none());
        let hosts = || self.routes.iter().filter_map(|route| route.host.as_ref());
        let dots = hosts().map(|host| host.text().matches('.').count()).max();
        (self.hosts, self.dots) = (hosts().map(|host| host.text().into()).collect(), dots.unwrap_or(0));
        let name = |at: u32| self.routes.get(at as usize).map_or("", |route| &route.name);
        let patterns = builder.finish(|routes| {
            let first = routes.first().copied().unwrap_or_default();
            for other in routes.iter().skip(1) {
                let message = format!("`{}` and `{}` serve the same requests", name(first), name(*other));
                cx.diagnostics
                    .push(Code::AmbiguousRoute, places[*other as usize], message)
                    .also(places[first as usize], "the other route")
                    .help("make one of them more specific, or remove it");
            }
            Ranked { rank: ranks.get(first as usize).copied().unwrap_or(u32::MAX), route: RouteId(first) }
        });
        self.patterns = patterns;
    }

    /// The most specific route that serves the target.
    #[inline]
    pub fn find(&self, target: &Target) -> Option<RouteId> {
        let mut best: Option<Ranked> = None;
        self.patterns.visit(target, None, |found| best = Some(best.map_or(*found, |best| best.min(*found))));
        best.map(|best| best.route)
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

    /// The upstreams that no route uses, by their places in the list the policy was compiled with.
    pub fn unused_upstreams(&self) -> impl Iterator<Item = usize> + '_ {
        self.used.iter().enumerate().filter(|(_, used)| !**used).map(|(at, _)| at)
    }

    /// Judges whether anything serves this.
    pub fn check(&self, facts: &Facts<'_>, trace: Option<&mut Trace>) -> Verdict {
        let (verdict, rule) = match facts.route {
            Some(_) => (Verdict::Pass(Builtin::Routed.into()), Builtin::Routed),
            None => {
                let served = self.serves_host(facts.target.host());
                let rule = if served { Builtin::NoRoute } else { Builtin::RouteAuthority };
                (Verdict::Deny(Denial::builtin(Stage::Route, rule)), rule)
            }
        };
        if let Some(trace) = trace {
            let outcome = match verdict {
                Verdict::Pass(_) => StepOutcome::Pass,
                Verdict::Deny(denial) => StepOutcome::Deny(denial.reason),
            };
            trace.rule(Stage::Route, rule, outcome, self.explain(facts, rule));
        }
        verdict
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
    fn new(raw: &RawRoute, upstream: usize, inherit: AuthnWord, mode: Mode) -> Route {
        let mut accept = Accept::default();
        for word in &raw.accept {
            *match word {
                AcceptWord::EncodedSlash => &mut accept.encoded_slash,
                AcceptWord::Backslash => &mut accept.backslash,
                AcceptWord::PathParameters => &mut accept.path_parameters,
                AcceptWord::DoubleSlash => &mut accept.double_slash,
                AcceptWord::UnderscoreHeaders => &mut accept.underscore_headers,
                AcceptWord::Trailers => &mut accept.trailers,
            } = true;
        }
        Route {
            name: raw.id.as_str().into(),
            host: raw.host.as_ref().map(|host| host.value.clone()),
            path: raw.path.value.clone(),
            upstream,
            authn: match raw.authn.unwrap_or(AuthnWord::Inherit) {
                AuthnWord::Inherit => inherit,
                word => word,
            },
            websocket: raw.upgrade.iter().any(|word| word.value == UpgradeWord::Websocket),
            accept,
            body_limit: raw.body_limit.and_then(|limit| limit.0),
            waf_body: raw.waf_body != Some(WafBodyWord::Off),
            preserve_host: raw.preserve_host.unwrap_or(true),
            mode,
        }
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
        write!(f, "{})", self.path)
    }
}
