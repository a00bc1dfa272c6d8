//! Text → raw → checked → compiled; then facts → verdict.
//!
//! [`Policy`] is one compiled generation. The server's layers call [`Policy::check`] gate by gate;
//! `explain`, `test` and the benches call [`Policy::decide`], which runs the same gates in the same
//! order over a [`Sample`]. Both build their facts with [`Policy::admit`].

pub mod authn;
pub mod code;
pub mod compile;
pub mod condition;
pub mod decode;
pub mod diagnostic;
pub mod diff;
pub mod disclosure;
#[cfg(test)]
pub(crate) mod fixture;
mod frame;
mod identify;
pub mod intake;
pub mod ip;
pub mod lint;
mod merge;
pub mod mode;
pub mod network;
pub mod raw;
pub mod rbac;
pub mod route;
pub mod rules;
mod sample;
pub mod scope;
pub mod source;
pub mod waf;
mod world;

pub use frame::Frame;
pub use sample::{Caller, Sample};
pub use world::World;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Uri, Version as HttpVersion, header};
use jiff::Timestamp;

use self::authn::Authn;
use self::code::Code;
use self::compile::Compile;
use self::diagnostic::Diagnostics;
use self::disclosure::Disclosure;
use self::intake::{Intake, TrustedProxies};
use self::ip::{Ip, IpSet};
use self::mode::Mode;
use self::network::Networks;
use self::raw::RawPolicy;
use self::rbac::{Rbac, Roles};
use self::route::{Around, AuthnWord, Route, RouteNames, Routes};
use self::rules::Rules;
use self::source::Sources;
use self::waf::Waf;
use crate::decision::{
    BodyInspection, Builtin, Denial, Notes, RuleRef, Stage, StepOutcome, Trace, Verdict, Version,
};
use crate::facts::{Accept, Body, Client, Facts, Fields, Identity, RouteId, Scheme, Target};

/// One compiled generation of the policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which one it is.
    pub version: Version,
    /// All written rules.
    pub rules: Rules,
    /// The declared roles.
    pub roles: Roles,
    /// What the intake gate needs.
    pub intake: Intake,
    /// The proxies in front of us.
    pub proxies: TrustedProxies,
    /// The named networks, for whoever compares policies.
    pub networks: Networks,
    /// Address rules.
    pub ip: Ip,
    /// Routes.
    pub routes: Routes,
    /// WAF rules.
    pub waf: Waf,
    /// Sources of identity.
    pub authn: Authn,
    /// Grants and denies.
    pub rbac: Rbac,
    /// How much a refusal tells whom.
    pub disclosure: Disclosure,
    /// Whom a refused caller can ask.
    pub contact: Option<Box<str>>,
    ip_mode: Mode,
    waf_mode: Mode,
}

impl Policy {
    /// The same without its rules about addresses.
    pub fn without_addresses(&self) -> Policy {
        Policy { ip: Ip::default(), ..self.clone() }
    }
}

/// What judging one request carries from gate to gate.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// What the record needs.
    pub notes: Notes,
    /// What the WAF's head gate leaves for its body gate.
    pub waf: waf::Carried,
}

impl Progress {
    /// With what the WAF's rules remember of the requests before, and are to remember of this one.
    pub fn remembering(memory: Arc<dyn waf::Memory>) -> Progress {
        Progress { waf: waf::Carried::remembering(memory), ..Progress::default() }
    }
}

/// The facts that are known before the first gate.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Method, host, path and query.
    pub target: Target,
    /// Findings about the header fields.
    pub fields: Fields,
    /// The client's address.
    pub client: Client,
    /// The route that serves the target, if one does.
    pub route: Option<RouteId>,
}

/// What is to become of a request body before the upstream may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyPlan {
    /// It streams past unread; why the WAF does not see it, if it would want to.
    Pass(BodyInspection),
    /// It is read whole, up to this many bytes, and judged.
    Read(u64),
}

/// An upstream's answer, as far as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// The first part of its body, as it came; empty where no rule looks at it.
    pub body: &'a [u8],
}

/// What is to become of an answer before the client may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerPlan {
    /// No rule looks at answers.
    Pass,
    /// Rules look at its head alone.
    Head,
    /// Rules look at so much of its body.
    Body(usize),
}

impl Policy {
    /// What is to become of an answer.
    pub fn answer_plan(&self, status: StatusCode, headers: &HeaderMap) -> AnswerPlan {
        self.waf.answer_plan(status, headers)
    }

    /// Asks the WAF about an answer, whose request every gate has let pass.
    pub fn check_answer(&self, facts: &Facts<'_>, answer: &Answer<'_>, progress: &mut Progress) -> Verdict {
        let shadow = self.waf_in_shadow(facts);
        self.waf.check_answer(facts, answer, shadow, &mut progress.waf, &mut progress.notes)
    }

    /// Whether the WAF, or the route for it, is in shadow.
    fn waf_in_shadow(&self, facts: &Facts<'_>) -> bool {
        let route = self.route(facts.route);
        self.waf_mode.in_shadow(facts.now) || route.is_some_and(|route| route.mode.in_shadow(facts.now))
    }

    /// Lets the WAF look at a request that was refused as unintelligible, for the record alone.
    pub fn look_at_refused(&self, facts: &Facts<'_>, progress: &mut Progress) {
        self.look_at_irregular(facts, &mut progress.notes);
    }

    /// Whoever would come no further than the next gate is not worth that work.
    fn look_at_irregular(&self, facts: &Facts<'_>, notes: &mut Notes) {
        let in_shadow = |mode: Mode| mode.in_shadow(facts.now);
        let shadow =
            in_shadow(self.ip_mode) || self.route(facts.route).is_some_and(|route| in_shadow(route.mode));
        let ip = self.ip.check(facts, shadow, &mut Notes::default(), None);
        if !matches!(ip, Verdict::Deny(_)) {
            self.waf.look_at_refused(facts, notes);
        }
    }

    /// Compiles the tables of all files. `None`: there are errors among the diagnostics.
    pub fn compile(
        raw: &RawPolicy,
        frame: &Frame,
        sources: &Sources,
        now: Timestamp,
        diagnostics: &mut Diagnostics,
    ) -> Option<Policy> {
        let networks = Networks::compile(&raw.network, sources, diagnostics);
        let roles =
            raw.rbac.as_ref().map_or_else(Roles::default, |rbac| Roles::compile(&rbac.role, diagnostics));
        let (rules, routes) = (Rules::default(), RouteNames::default());
        let mut cx = Compile { sources, now, diagnostics, rules, networks, roles, routes };

        let trusted = cx.networks.resolve(&frame.trusted_proxies, cx.diagnostics);
        let proxies = TrustedProxies { proxies: IpSet::new(trusted), source: frame.client_address };
        if let Some(first) = frame.trusted_proxies.first().filter(|_| proxies.proxies.covers_everything()) {
            cx.diagnostics
                .push(Code::TrustsTheWorld, first.place, "`trusted_proxies` contains every address")
                .help("list the addresses of the proxies in front of this gateway");
        }
        let upstreams: Vec<&str> = frame.upstreams.iter().map(String::as_str).collect();
        let inherit = raw.authn.as_ref().map_or(AuthnWord::Optional, authn::RawAuthn::default_for_routes);
        let around = Around { upstreams: &upstreams, inherit, managed: &frame.managed_headers };
        let routes = Routes::compile(&raw.route, &around, &mut cx);
        let ip_mode = raw.ip.as_ref().map_or(Mode::Enforce, |ip| cx.stage_mode(&ip.mode, Some("ip")));
        let ip = raw.ip.as_ref().map_or_else(Ip::default, |ip| Ip::compile(ip, &mut cx));
        let authn = raw
            .authn
            .as_ref()
            .map_or_else(Authn::default, |authn| Authn::compile(authn, frame.limits.credential, &mut cx));
        let rbac = raw.rbac.as_ref().map_or_else(Rbac::default, |rbac| Rbac::compile(rbac, &mut cx));
        if rbac.grants_nothing() && cx.diagnostics.read_everything() {
            let place = raw.rbac.as_ref().map(|rbac| rbac.place);
            cx.diagnostics
                .push(
                    Code::NothingGranted,
                    place,
                    "no [[rbac.grant]] allows anything, so every request is refused",
                )
                .help("allow something: `[[rbac.grant]]` with `id`, `roles = [\"anyone\"]` and `path`");
        }
        let (mut waf, waf_mode) = Waf::compile(raw.waf.as_ref(), &mut cx);
        waf.data_limit = frame.waf_data;
        waf.credentials = authn.key_headers().cloned().collect();
        let disclosure = Disclosure::compile(&raw.disclosure, &mut cx);
        let contact = raw.contact.as_ref().filter(|contact| !cx.diagnostics.lacks(contact.place, &["url"]));
        let contact = contact.and_then(|contact| disclosure::contact(contact, cx.diagnostics));
        cx.networks.report_unused(cx.diagnostics);
        cx.roles.report_unused(cx.diagnostics);

        let mut intake = Intake {
            limits: frame.limits,
            managed: frame.managed_headers.clone(),
            extension_methods: rbac.extension_methods(),
        };
        for method in routes.extension_methods() {
            if !intake.extension_methods.contains(method) {
                intake.extension_methods.push(method.clone());
            }
        }
        intake.managed.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        let policy = Policy {
            version: Version { generation: 0, hash: frame.hash },
            rules: cx.rules,
            roles: cx.roles,
            intake,
            proxies,
            networks: cx.networks.without_compiled(),
            ip,
            routes,
            waf,
            authn,
            rbac,
            disclosure,
            contact,
            ip_mode,
            waf_mode,
        };
        (!diagnostics.has_errors()).then_some(policy)
    }

    /// Makes the facts that are known before the first gate. Nothing is refused here: what cannot
    /// be read is kept as the target's error, and the intake gate refuses it.
    pub fn admit(
        &self,
        method: &Method,
        scheme: Scheme,
        uri: &Uri,
        version: HttpVersion,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> Admitted {
        let fields = Fields::scan(method, version, headers);
        let mut target = Target::parse(method, scheme, uri, headers);
        let client = self.proxies.client(peer, headers).unwrap_or_else(|rule| {
            target.refuse(rule, uri);
            Client::unreadable(peer)
        });
        let mut route = self.find_route(&mut target, uri, headers);
        if target.irregular().double_slash
            && let Some(merged) = route
            && self.routes.get(merged).accept.double_slash
        {
            // The route was found on the merged path. With its empty segments kept, the path must
            // still lead to the same route, or two readers would disagree about who serves it.
            target.keep_double_slashes(uri);
            route = self.find_route(&mut target, uri, headers);
            if route != Some(merged) {
                target.refuse(Builtin::BadTarget, uri);
            }
        }
        match route.map(|route| self.routes.rewrite(route, &target)) {
            Some(Ok(Some(text))) => target.forward_as(text),
            Some(Err(rule)) => target.refuse(rule, uri),
            Some(Ok(None)) | None => {}
        }
        Admitted { target, fields, client, route }
    }

    fn find_route(&self, target: &mut Target, uri: &Uri, headers: &HeaderMap) -> Option<RouteId> {
        if target.error.is_some() {
            return None;
        }
        self.routes.find(target, headers).unwrap_or_else(|rule| {
            target.refuse(rule, uri);
            None
        })
    }

    /// The route of a request, if it has one.
    pub fn route(&self, id: Option<RouteId>) -> Option<&Route> {
        id.map(|id| self.routes.get(id))
    }

    /// What a route says about credentials; without a route nothing is read.
    pub fn route_authn(&self, id: Option<RouteId>) -> AuthnWord {
        self.route(id).map_or(AuthnWord::Optional, |route| route.authn)
    }

    /// Asks one gate. `progress` carries what later gates and the record need; neither it nor the
    /// trace can change a verdict.
    pub fn check(
        &self,
        stage: Stage,
        facts: &Facts<'_>,
        progress: &mut Progress,
        trace: Option<&mut Trace>,
    ) -> Verdict {
        // A target in error has no meaning for the gates behind the first, so they never pass it.
        if let (Some(error), true) = (&facts.target.error, stage != Stage::Intake) {
            return Verdict::Deny(Denial::builtin(Stage::Intake, error.rule));
        }
        let route = self.route(facts.route);
        let shadow = |mode: Mode| {
            mode.in_shadow(facts.now) || route.is_some_and(|route| route.mode.in_shadow(facts.now))
        };
        let authn = self.route_authn(facts.route);
        let Progress { notes, waf } = progress;
        match stage {
            Stage::Intake => {
                let accept = route.map_or_else(Accept::default, |route| route.accept);
                let verdict = self.intake.check(facts, accept, trace);
                if matches!(verdict, Verdict::Deny(_)) {
                    self.look_at_irregular(facts, notes);
                }
                verdict
            }
            Stage::Ip => self.ip.check(facts, shadow(self.ip_mode), notes, trace),
            Stage::Route if facts.target.misdirected => {
                let rule = Builtin::RouteAuthority;
                let denial = Denial::builtin(Stage::Route, rule);
                if let Some(trace) = trace {
                    let note = "the TLS connection was made for another name";
                    trace.rule(Stage::Route, rule, StepOutcome::Deny(denial.reason), note);
                }
                Verdict::Deny(denial)
            }
            Stage::Route => self.routes.check(facts, trace),
            Stage::Waf => self.waf.check_head(facts, shadow(self.waf_mode), waf, notes, trace),
            Stage::Authn => self.authn.check(facts, authn, trace),
            Stage::Rbac => self.rbac.check(facts, self.can_identify(authn), notes, trace),
            Stage::WafBody => self.waf.check_body(facts, shadow(self.waf_mode), waf, notes, trace),
            Stage::Fault => Verdict::Deny(Denial::builtin(Stage::Fault, Builtin::FaultInternal)),
        }
    }

    /// Whether a route has a credential source, so that a refused nobody can be told to log in.
    pub fn can_identify(&self, authn: AuthnWord) -> bool {
        authn != AuthnWord::Off && self.authn.has_sources()
    }

    /// Whether this is a WAF rule whose matches are recorded and refuse nothing. What rules of a program do
    /// depends on others, so of those it is never said.
    pub fn waf_only_notes(&self, name: &str) -> bool {
        match self.rules.by_name(name) {
            Some(RuleRef::Written(rule)) => self.waf.reach(rule).is_some_and(|reach| !reach.refuses),
            Some(RuleRef::Builtin(_)) | None => false,
        }
    }

    /// Whether WAF rules can refuse this request, and are not all watched in shadow.
    pub fn waf_enforces(&self, facts: &Facts<'_>) -> bool {
        let shadow = |mode: Mode| mode.in_shadow(facts.now);
        !shadow(self.waf_mode) && !self.route(facts.route).is_some_and(|route| shadow(route.mode))
    }

    /// What is to become of a request's body. Asked after every gate before `WafBody` has passed.
    pub fn body_plan(&self, facts: &Facts<'_>, upgrade: bool) -> BodyPlan {
        let grpc = || {
            let kind = facts.headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
            kind.is_some_and(|kind| {
                kind.get(..16).is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/grpc"))
            })
        };
        if upgrade {
            BodyPlan::Pass(BodyInspection::Upgrade)
        } else if !self.waf.wants_body(facts) {
            BodyPlan::Pass(BodyInspection::None)
        } else if self.route(facts.route).is_some_and(|route| !route.waf_body) {
            BodyPlan::Pass(BodyInspection::Off)
        } else if grpc() {
            BodyPlan::Pass(BodyInspection::Grpc)
        } else {
            BodyPlan::Read(self.waf.body_limit())
        }
    }

    /// Borrows admitted facts together with what was found out since.
    pub fn facts<'a>(
        &self,
        admitted: &'a Admitted,
        headers: &'a HeaderMap,
        identity: &'a Identity,
        body: &'a Body,
        now: Timestamp,
    ) -> Facts<'a> {
        let Admitted { target, fields, client, route } = admitted;
        Facts { now, target, headers, fields, client, route: *route, identity, body }
    }
}
