//! One recorded request through another policy: what would be decided, or why that cannot be told.
//!
//! The gates are the server's. A gate whose facts the record lacks is passed over and noted: where
//! another refuses, the request is refused whatever it would have said; where none does, nothing is
//! known. What a record says of its own decision is used for gates that did not change.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde_json::Value;

use super::known::Known;
use crate::audit::{IdentityLine, Line, Recalled, Values, is_cut, is_never_recorded};
use crate::config::Setup;
use crate::decision::{Builtin, Reason, RuleRef, Stage, Verdict};
use crate::facts::{Body, Client, Derivation, Facts, Holder, Identity, RouteId};
use crate::policy::condition::Fact;
use crate::policy::rbac::{Access, Blind};
use crate::policy::route::AuthnWord;
use crate::policy::{Policy, Progress};

/// What became of a recorded request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Finding {
    /// It is decided as before, by the same rule or by another.
    Same {
        /// Whether the rule is the recorded one, as far as that is known.
        rule: bool,
        /// The rule that decides it now, where that is known.
        by: Option<RuleRef>,
    },
    /// It was refused, and would be allowed by this grant.
    Allowed(RuleRef),
    /// It was allowed, and would be refused by this rule.
    Refused(RuleRef),
    /// The record does not tell enough.
    Unknown(Gap),
}

/// What a record lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::cli) enum Gap {
    /// The line is no record.
    Unreadable,
    /// The gateway itself failed, so nothing was decided.
    Failed,
    /// The path is redacted.
    Path,
    /// What the first gate looks at.
    Intake,
    /// The client's address.
    Client,
    /// What routes look at.
    Route,
    /// The text that WAF rules look at.
    Waf,
    /// The same, where this rule lets pass what was refused before, so that those rules come to look.
    Behind(RuleRef),
    /// Who asked: nobody had looked, or other sources are asked now.
    Identity,
    /// Roles that did not count then.
    Roles,
    /// A value that this rule's condition looks at, or the subject or scopes that it names.
    Condition(RuleRef),
}

/// Judges records by one policy, against one that decided them.
pub(in crate::cli) struct Replayer<'a> {
    policy: &'a Policy,
    known: Known,
    /// Every fact that a condition looks at.
    asked: Vec<(String, Fact)>,
    routes: HashMap<&'a str, RouteId, RandomState>,
    /// Whether routes look at header fields.
    reads_headers: bool,
    /// Who asked, by what a record says of it.
    seen: HashMap<Box<str>, Seen, RandomState>,
    values: Values,
    /// The names of values of which only the beginning is kept.
    cut: Vec<String>,
}

/// Somebody who asked.
#[derive(Clone)]
struct Seen {
    state: State,
    /// Resolved by the policy.
    identity: Identity,
    /// With the roles that did not count then and may now.
    more: Option<Identity>,
    has_subject: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    None,
    Valid,
    Invalid,
}

/// More callers are not remembered.
const MOST_SEEN: usize = 50_000;

impl<'a> Replayer<'a> {
    /// For records of one policy, where that is known.
    pub(in crate::cli) fn new(old: Option<&Setup>, new: &'a Setup) -> Replayer<'a> {
        let policy = &new.policy;
        let mut asked: Vec<(String, Fact)> = Vec::new();
        for fact in policy.rbac.conditions().flat_map(|condition| condition.facts()) {
            if !matches!(fact, Fact::Now | Fact::Method | Fact::Host) {
                asked.push((fact.to_string(), fact.clone()));
            }
        }
        asked.sort_by(|a, b| a.0.cmp(&b.0));
        asked.dedup_by(|a, b| a.0 == b.0);
        Replayer {
            policy,
            known: Known::between(old, new),
            asked,
            routes: policy.routes.iter().map(|(id, route)| (&*route.name, id)).collect(),
            reads_headers: policy.routes.read_headers().next().is_some(),
            seen: HashMap::default(),
            values: Values::new(),
            cut: Vec::new(),
        }
    }

    /// Whether the policy that decided is known.
    pub(in crate::cli) fn knows_old(&self) -> bool {
        self.known.anything
    }

    /// What would become of a recorded request.
    pub(in crate::cli) fn judge(&mut self, line: &Line<'_>) -> Finding {
        let was = match (&*line.decision, &*line.rule) {
            ("allow", _) => true,
            // It may have passed, and the upstream failed.
            (
                "error",
                "fault/upstream-connect"
                | "fault/upstream-timeout"
                | "fault/upstream-reset"
                | "fault/upstream-protocol",
            ) => true,
            ("deny", _) => false,
            _ => return Finding::Unknown(Gap::Failed),
        };
        // Bans are no policy: whoever was banned then was so under any.
        if &*line.rule == "ip/banned" {
            return Finding::Same { rule: true, by: None };
        }
        match self.decide(line, was) {
            Err(gap) => Finding::Unknown(gap),
            Ok((true, rule)) if was => Finding::Same { rule: self.is(rule, line), by: rule },
            Ok((false, rule)) if !was => Finding::Same { rule: self.is(rule, line), by: rule },
            Ok((true, rule)) => Finding::Allowed(rule.unwrap_or(Builtin::Routed.into())),
            Ok((false, rule)) => Finding::Refused(rule.unwrap_or(Builtin::DefaultDeny.into())),
        }
    }

    fn is(&self, rule: Option<RuleRef>, line: &Line<'_>) -> bool {
        rule.is_none_or(|rule| self.policy.rules.name(rule) == &*line.rule) || &*line.decision == "error"
    }

    /// Whether it passes, and by which rule, where that is known.
    fn decide(&mut self, line: &Line<'_>, was: bool) -> Result<(bool, Option<RuleRef>), Gap> {
        let policy = self.policy;
        let at = |stage: &str| !was && &*line.stage == stage;
        if at("intake") {
            return if self.known.intake { Ok((false, None)) } else { Err(Gap::Intake) };
        }
        let mut gaps = Gaps(None);
        gaps.add(!self.known.intake_wider, Gap::Intake);
        self.values = if self.asked.is_empty() { Values::new() } else { line.values() };
        // A list that holds the subject is not kept where that is not.
        let is_cut =
            |name: &str, value: &Value| is_cut(value) || (value.is_null() && name.starts_with("claims."));
        let cut = self.values.iter().filter(|(name, value)| is_cut(name, value));
        self.cut = cut.map(|(name, _)| name.clone()).collect();
        self.values.retain(|name, value| !is_cut(name, value));
        let identity = if self.asked.is_empty() { None } else { line.identity() };
        let recalled = line.recall(identity.as_ref(), &self.values).ok_or(Gap::Unreadable)?;
        if !recalled.has_path {
            return Err(Gap::Path);
        }
        let Recalled { now, method, scheme, version, uri, headers, ip, peer, .. } = &recalled;
        let address = ip.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
        let mut admitted = policy.admit(method, *scheme, uri, *version, headers, peer.unwrap_or(address));
        if admitted.target.error.is_some() {
            // It was intelligible then.
            return Err(Gap::Intake);
        }
        admitted.client = client(line, address, peer.unwrap_or(address));
        let own_answer = matches!(&*line.rule, "route/preflight" | "route/redirect");
        if self.known.routes {
            admitted.route = line.route.as_ref().and_then(|name| self.routes.get(&**name).copied());
        } else {
            gaps.add(self.reads_headers || own_answer, Gap::Route);
        }
        let then = line.route.as_ref().and_then(|name| self.known.then.get(&**name));
        let takes = policy.route(admitted.route).is_none_or(|route| route.takes_what(then));
        gaps.add(!takes, Gap::Intake);
        let nobody = Identity::Nobody;
        let facts = policy.facts(&admitted, headers, &nobody, &Body::Absent, *now);
        let mut progress = Progress::default();

        // Who may come from where.
        if let Verdict::Deny(denial) = policy.check(Stage::Intake, &facts, &mut progress, None) {
            return Ok((false, Some(denial.rule)));
        }
        let unknown_client = ip.is_none() || !self.known.client;
        match unknown_client && policy.ip.concerns(&facts) {
            true => gaps.add(true, Gap::Client),
            false => {
                if let Verdict::Deny(denial) = policy.check(Stage::Ip, &facts, &mut progress, None) {
                    return Ok((false, Some(denial.rule)));
                }
            }
        }

        // What serves it.
        if &*line.rule == "route/authority" && policy.routes.serves_host(&line.host) {
            // The connection was made for another host, which is not recorded.
            return if self.known.routes { Ok((false, None)) } else { Err(gaps.or(Gap::Route)) };
        }
        if own_answer && self.known.routes {
            return gaps.pass(None);
        }
        match policy.check(Stage::Route, &facts, &mut progress, None) {
            Verdict::Deny(denial) => match self.reads_headers && !self.known.routes {
                true => return Err(gaps.or(Gap::Route)),
                false => return Ok((false, Some(denial.rule))),
            },
            Verdict::Answer(rule) => return gaps.pass(Some(rule.into())),
            Verdict::Pass(_) => {}
        }
        let cors = policy.route(admitted.route).is_some_and(|route| route.cors.is_some());
        gaps.add(!self.known.routes && cors && *method == http::Method::OPTIONS, Gap::Route);

        // What the texts say, as far as that is known from then.
        let changed = self.known.waf.about(&admitted.target, admitted.route).filter(|_| self.known.routes);
        let by_score = line.reason.as_deref() == Some(Reason::WafScore.info().code);
        if at("waf") && changed.as_ref().is_some_and(|changed| changed.refuses_still(&line.rule, by_score)) {
            return Ok((false, None));
        }
        gaps.add(at("waf"), Gap::Waf);
        let passes_still = changed.is_some_and(|changed| changed.passes_still());
        let past_waf = was || at("authn") || at("rbac");
        let enforces = policy.waf_enforces(&facts);
        let concerns =
            if enforces && !(passes_still && was) { policy.waf.concerns(&facts) } else { Default::default() };
        gaps.add(concerns.head && !(passes_still && past_waf), Gap::Waf);

        // Who asks.
        let word = policy.route_authn(admitted.route);
        let seen = self.somebody(line, &recalled);
        let looked = was || at("authn") || at("rbac") || seen.state != State::None;
        let read = line.route.as_ref().is_none_or(|route| !self.known.unread.contains(&**route));
        let known = looked && self.known.authn && read;
        if at("authn") && known && word != AuthnWord::Off {
            // An unproved credential is refused wherever one is read; that none was shown only where
            // one is demanded.
            let demanded =
                seen.state != State::None || &*line.rule != "authn/required" || word == AuthnWord::Required;
            if demanded {
                return Ok((false, None));
            }
        }
        let identity = match word {
            AuthnWord::Off => Identity::Nobody,
            _ if known => seen.identity.clone(),
            // Whoever it is, somebody may be refused or let in for it.
            _ => {
                gaps.add(true, Gap::Identity);
                return Err(gaps.or(Gap::Identity));
            }
        };
        let facts = policy.facts(&admitted, headers, &identity, &Body::Absent, *now);
        if let Verdict::Deny(denial) = policy.check(Stage::Authn, &facts, &mut progress, None) {
            return Ok((false, Some(denial.rule)));
        }

        // May this somebody do this.
        let (passes, rule) = self.may(&facts, &seen, ip.is_none() || !self.known.client, &mut gaps);
        if let (Some(more), AuthnWord::Optional | AuthnWord::Required | AuthnWord::Inherit) =
            (&seen.more, word)
        {
            let facts = policy.facts(&admitted, headers, more, &Body::Absent, *now);
            let mut other = Gaps(None);
            gaps.add(self.may(&facts, &seen, false, &mut other).0 != passes, Gap::Roles);
        }
        if gaps.0 == Some(Gap::Roles) {
            return Err(Gap::Roles);
        }
        if !passes {
            return match gaps.0 {
                Some(gap @ Gap::Condition(_)) => Err(gap),
                _ => Ok((false, rule)),
            };
        }
        let behind = rule.filter(|_| !was).map_or(Gap::Waf, Gap::Behind);
        gaps.add(concerns.body && !(passes_still && was), behind);
        gaps.pass(rule)
    }

    /// What grants and denies say. Where it depends on what is not known, a gap is noted, and the
    /// request is taken to pass.
    fn may(
        &self,
        facts: &Facts<'_>,
        seen: &Seen,
        no_client: bool,
        gaps: &mut Gaps,
    ) -> (bool, Option<RuleRef>) {
        let policy = self.policy;
        let known = facts.identity.who().is_some();
        let unknown = |name: &str, fact: &Fact| match fact {
            Fact::Now | Fact::Method | Fact::Host => false,
            // Nobody has no claims.
            Fact::Claim(_) if !known => false,
            _ if fact.is_secret() || is_never_recorded(name) => true,
            _ if self.cut.iter().any(|cut| cut == name) => true,
            _ => !self.values.contains_key(name) && !self.known.named.contains(name),
        };
        let some_unknown = self.asked.iter().any(|(name, fact)| unknown(name, fact));
        let no_subject = known && !seen.has_subject;
        let no_client_asked = no_client && policy.rbac.asks_for_client();
        let all_known = !some_unknown && !no_subject && !no_client_asked;
        if all_known {
            return match policy.check(Stage::Rbac, facts, &mut Progress::default(), None) {
                Verdict::Pass(rule) => (true, Some(rule)),
                Verdict::Answer(rule) => (true, Some(rule.into())),
                Verdict::Deny(denial) => (false, Some(denial.rule)),
            };
        }
        let ask = |fact: &Fact| unknown(&fact.to_string(), fact);
        let blind = Blind { facts: &ask, client: no_client, holder: no_subject, ..Blind::NOT };
        let outlook = policy.rbac.outlook(facts, blind);
        match outlook.access() {
            Access::Always => (true, outlook.grants.first().map(|rule| (*rule).into())),
            Access::Never => {
                let rule = outlook.denies.first().map_or(Builtin::DefaultDeny.into(), |rule| (*rule).into());
                (false, Some(rule))
            }
            Access::Sometimes => {
                let first = outlook.possible_denies.first().or(outlook.possible_grants.first());
                let rule = first.map_or(Builtin::DefaultDeny.into(), |rule| (*rule).into());
                gaps.add(true, Gap::Condition(rule));
                (true, None)
            }
        }
    }

    /// Who asked, by this policy.
    fn somebody(&mut self, line: &Line<'_>, recalled: &Recalled) -> Seen {
        let raw = line.raw_identity.get();
        // Claims stand among the values, so somebody with other claims is somebody else.
        let cacheable = self.asked.is_empty();
        if let Some(seen) = self.seen.get(raw).filter(|_| cacheable) {
            return seen.clone();
        }
        let identity = line.identity();
        let seen = match &identity {
            Some(identity) => self.resolve(line, identity, recalled),
            None => {
                Seen { state: State::Invalid, identity: Identity::Nobody, more: None, has_subject: false }
            }
        };
        if cacheable && self.seen.len() < MOST_SEEN {
            self.seen.insert(raw.into(), seen.clone());
        }
        seen
    }

    fn resolve(&self, line: &Line<'_>, identity: &IdentityLine<'_>, recalled: &Recalled) -> Seen {
        let state = match &*identity.state {
            "none" => State::None,
            "valid" => State::Valid,
            _ => State::Invalid,
        };
        let fresh = line.recall(Some(identity), &self.values);
        let recalled = fresh.as_ref().unwrap_or(recalled);
        let Some(holder) = &recalled.holder else {
            return Seen { state, identity: Identity::Nobody, more: None, has_subject: true };
        };
        let roles = &self.policy.roles;
        let counts_now = |role: &&str| roles.get(role).is_some() && !self.known.roles.contains(*role);
        let ignored = holder.ignored_roles.iter().map(|role| &**role);
        let may_count: Vec<Box<str>> = ignored.filter(counts_now).map(Into::into).collect();
        let who = |holder: Holder| Identity::Valid(Arc::new(roles.who(Arc::new(holder))));
        let more = (!may_count.is_empty()).then(|| {
            let mut more = Holder::clone(holder);
            more.roles.extend(may_count);
            who(more)
        });
        Seen { state, identity: who(Holder::clone(holder)), more, has_subject: recalled.has_subject }
    }
}

/// The first thing that is not known.
struct Gaps(Option<Gap>);

impl Gaps {
    fn add(&mut self, is: bool, gap: Gap) {
        if is && self.0.is_none() {
            self.0 = Some(gap);
        }
    }

    fn or(&self, gap: Gap) -> Gap {
        self.0.unwrap_or(gap)
    }

    /// No gate refuses: it passes, unless one could not be asked.
    fn pass(&self, rule: Option<RuleRef>) -> Result<(bool, Option<RuleRef>), Gap> {
        self.0.map_or(Ok((true, rule)), Err)
    }
}

fn client(line: &Line<'_>, ip: std::net::IpAddr, peer: std::net::IpAddr) -> Client {
    let via = match &*line.client.via {
        "unreadable" => Derivation::Unreadable,
        "x-forwarded-for" => Derivation::Header { name: "x-forwarded-for", trusted: Default::default() },
        "forwarded" => Derivation::Header { name: "forwarded", trusted: Default::default() },
        _ => Derivation::Peer,
    };
    Client { ip, peer, via, banned: None }
}

impl Gap {
    /// What is missing, in words; `name` gives the name of a rule.
    pub(in crate::cli) fn words<'n>(self, name: impl Fn(RuleRef) -> &'n str) -> String {
        match self {
            Gap::Unreadable => "the line is no record".to_owned(),
            Gap::Failed => "the gateway failed before it decided".to_owned(),
            Gap::Path => "the path is redacted".to_owned(),
            Gap::Intake => {
                "what the first gate looks at is not kept, and its settings of then are others or not known"
                    .to_owned()
            }
            Gap::Client => "the client's address is not kept, or would be found otherwise".to_owned(),
            Gap::Route => "header fields that routes look at are not kept".to_owned(),
            Gap::Waf => "the text that WAF rules would look at is not kept".to_owned(),
            Gap::Behind(rule) => format!(
                "{} lets pass what was refused, and the text that WAF rules would then look at is not kept",
                name(rule)
            ),
            Gap::Identity => "nobody had looked at who asks, or other sources would be asked".to_owned(),
            Gap::Roles => "the token brought roles that did not count then".to_owned(),
            Gap::Condition(rule) => format!("{} looks at something that is not kept", name(rule)),
        }
    }
}
