//! Routes as written into routes as they are found.

use std::cmp::Reverse;
use std::collections::HashMap;

use http::HeaderName;

use super::condition::{Choice, Conditions, FieldWord, MAX_VIEWS, Tie};
use super::cors::Cors;
use super::edit::{Edits, RawEdits};
use super::fields::Direction;
use super::patience::Patience;
use super::raw::{AcceptWord, AuthnWord, RawRoute, UpgradeWord, WafBodyWord};
use super::rewrite::Rewrite;
use super::split::Split;
use super::{Ranked, Route, Routes, fields, transport};
use crate::decision::{Builtin, Stage};
use crate::facts::{Accept, RouteId};
use crate::policy::code::Code;
use crate::policy::compile::Compile;
use crate::policy::diagnostic::{Diagnostics, Place};
use crate::policy::mode::Mode;
use crate::policy::scope::{HostPattern, MethodSet, PatternsBuilder, Scope, Segment};

/// What routes need to know of the rest of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The upstreams that exist.
    pub upstreams: &'a [&'a str],
    /// What `authn = "inherit"` means (`[authn] mode`).
    pub inherit: AuthnWord,
    /// Header fields that the gateway sets.
    pub managed: &'a [HeaderName],
}

impl Routes {
    /// Compiles the routes; adds their ids to `cx.routes`.
    pub fn compile(raw: &[RawRoute], around: &Around<'_>, cx: &mut Compile<'_>) -> Routes {
        let upstreams = around.upstreams;
        let known: HashMap<&str, usize> = upstreams.iter().copied().zip(0..).collect();
        let mut routes = Routes { used: vec![false; upstreams.len()], ..Routes::default() };
        let mut places: Vec<Place> = Vec::new();
        for raw in raw {
            let mode = cx.stage_mode(&raw.mode, Some(&format!("route/{}", raw.id.value)));
            let upstream = Split::new(&raw.upstream, &known, cx.diagnostics);
            upstream.all().for_each(|at| routes.used[at] = true);
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
            if raw.id.value.is_stand_in()
                || cx.diagnostics.lacks(raw.place, &["host", "path", "methods", "headers"])
            {
                cx.diagnostics.lose(raw.id.value.as_str());
                continue;
            }
            let conditions = conditions(raw, around, cx.diagnostics);
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
            let edits = |raw: Option<&RawEdits>, direction, diagnostics: &mut Diagnostics| {
                Edits::new(raw, direction, around.managed, cx.sources, diagnostics)
            };
            routes.routes.push(Route {
                upstream,
                mode,
                rewrite: Rewrite::new(raw, cx.diagnostics),
                request_edits: edits(raw.request_headers.as_ref(), Direction::Request, cx.diagnostics),
                response_edits: edits(raw.response_headers.as_ref(), Direction::Response, cx.diagnostics),
                patience: Patience::new(raw.timeouts.as_ref(), cx.diagnostics),
                cors: raw.cors.as_ref().map(|cors| Cors::new(cors, &conditions.methods, cx.diagnostics)),
                redirect: transport::redirects(raw, cx.diagnostics),
                hsts: raw.hsts.as_ref().map(|hsts| transport::hsts(hsts, cx.diagnostics)),
                conditions,
                ..Route::new(raw, around.inherit)
            });
        }
        routes.index(&places, cx);
        routes
    }

    /// Sorts the routes by what they say of hosts, then of paths. Names and texts do not matter:
    /// where two routes differ in a text, no request meets both.
    fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<(_, usize)> = self.routes.iter().map(Route::precedence).zip(0..).collect();
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
        self.any_cors = self.routes.iter().any(|route| route.cors.is_some());
        self.any_host = self.routes.iter().any(|route| route.host.is_none());
        let hosts = || self.routes.iter().filter_map(|route| route.host.as_ref());
        let dots = hosts().map(|host| host.text().matches('.').count()).max();
        (self.hosts, self.dots) = (hosts().map(|host| host.text().into()).collect(), dots.unwrap_or(0));
        let (found, choices) = (&self.routes, &mut self.choices);
        let name = |at: RouteId| found.get(at.0 as usize).map_or("", |route| &route.name);
        let place = |at: RouteId| places.get(at.0 as usize).copied().unwrap_or_default();
        self.patterns = builder.finish(|routes| {
            let first = routes.first().copied().unwrap_or_default();
            let mut ranked = Ranked {
                rank: ranks.get(first as usize).copied().unwrap_or(u32::MAX),
                route: RouteId(first),
                choice: None,
            };
            let members: Vec<_> = routes
                .iter()
                .filter_map(|at| Some((RouteId(*at), &found.get(*at as usize)?.conditions)))
                .collect();
            if members.iter().all(|(_, conditions)| conditions.count() == 0) && members.len() == 1 {
                return ranked;
            }
            let (choice, ties, too_many) = Choice::new(&members);
            for Tie { first, second } in ties {
                let message = format!("`{}` and `{}` serve the same requests", name(first), name(second));
                cx.diagnostics
                    .push(Code::AmbiguousRoute, place(second), message)
                    .also(place(first), "the other route")
                    .help("make one of them more specific, or remove it");
            }
            if too_many {
                let message = format!(
                    "the routes of this host and path look at more than {MAX_VIEWS} combinations of methods and fields"
                );
                cx.diagnostics
                    .push(Code::Limit, place(ranked.route), message)
                    .help("let routes of one path look at the same fields");
            }
            ranked.choice = Some(choices.len() as u32);
            choices.push(choice);
            ranked
        });
    }
}

impl Route {
    /// How specific its host and path are: the least is taken first.
    pub(in crate::policy) fn precedence(&self) -> impl Ord + use<> {
        let host = match &self.host {
            Some(HostPattern::Exact(_)) => (0, Reverse(0)),
            Some(HostPattern::Below(suffix)) => (1, Reverse(suffix.len())),
            None => (2, Reverse(0)),
        };
        let segments = self.path.segments().iter().map(|segment| match segment {
            Segment::Literal(_) => 0u8,
            Segment::Any(_) => 1,
        });
        (host, segments.chain(self.path.rest().map(|_| 2)).collect::<Vec<u8>>())
    }

    /// What can be taken over as it is written.
    fn new(raw: &RawRoute, inherit: AuthnWord) -> Route {
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
            conditions: Conditions::default(),
            upstream: Split::default(),
            rewrite: None,
            request_edits: Edits::default(),
            response_edits: Edits::default(),
            patience: Patience::default(),
            cors: None,
            redirect: false,
            hsts: None,
            authn: match raw.authn.unwrap_or(AuthnWord::Inherit) {
                AuthnWord::Inherit => inherit,
                word => word,
            },
            websocket: raw.upgrade.iter().any(|word| word.value == UpgradeWord::Websocket),
            accept,
            body_limit: raw.body_limit.and_then(|limit| limit.0),
            waf_body: raw.waf_body != Some(WafBodyWord::Off),
            preserve_host: raw.preserve_host.unwrap_or(true),
            mode: Mode::Enforce,
        }
    }
}

/// Methods and header fields that a route wants.
fn conditions(raw: &RawRoute, around: &Around<'_>, diagnostics: &mut Diagnostics) -> Conditions {
    if raw.methods.as_ref().is_some_and(|methods| methods.0.is_empty()) {
        diagnostics
            .push(Code::BadValue, raw.id.place, "`methods` is empty, so this route would serve nothing")
            .help("remove `methods` to mean any");
    }
    let methods = raw.methods.iter().flat_map(|methods| &methods.0).map(|method| &method.value.0);
    let mut fields: Vec<(HeaderName, FieldWord)> = Vec::new();
    for (key, word) in &raw.headers {
        let Some(name) = fields::readable(key, around.managed, diagnostics) else { continue };
        if fields.iter().any(|(other, _)| *other == name) {
            diagnostics.push(Code::Conflict, key.place, format!("the field `{name}` stands here twice"));
        }
        fields.push((name, word.value.clone()));
    }
    fields.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    Conditions { methods: MethodSet::new(methods), fields }
}
