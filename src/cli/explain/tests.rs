//! What people and programs read about decisions of every kind. The decisions are made up here, so
//! that the words are tested and not the gates.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, Version};
use jiff::Timestamp;

use super::account::Account;
use super::asked::Asked;
use super::what_if::{Change, Said, TokenFrom};
use super::{curl, json, text};
use crate::cli::Common;
use crate::cli::request::{Person, Request};
use crate::config::{self, Setup};
use crate::decision::{
    Builtin, Decision, Denial, Notes, Outcome, Reason, RuleRef, ShadowHit, Stage, StepOutcome, Trace,
    WafMatch,
};
use crate::facts::{Identity, Scheme};
use crate::policy::World;
use crate::policy::diagnostic::{At, Diagnostics, Place};
use crate::policy::mode::Mode;
use crate::policy::rbac::{Nearest, Unmet};
use crate::policy::rules::RuleInfo;
use crate::policy::source::Sources;

const POLICY: &str = "\
version = 1

[server]
listen = [\"127.0.0.1:8080\"]

[upstream.app]
servers = [\"builtin:echo\"]

[network]
office = [\"192.0.2.0/24\"]

[[ip.rule]]
id = \"office-only\"
path = \"/orders/{*rest}\"
allow = [\"office\"]
remediation = \"Connect through the office VPN.\"

[rbac.role.orders-reader]

[rbac.role.orders-admin]
inherits = [\"orders-reader\"]

[[rbac.grant]]
id = \"orders-read\"
roles = [\"orders-reader\"]
methods = [\"GET\", \"HEAD\"]
path = \"/orders/{*rest}\"

[[rbac.grant]]
id = \"orders-write\"
roles = [\"orders-admin\"]
path = \"/orders/{*rest}\"

[[rbac.deny]]
id = \"no-deletes-in-freeze\"
methods = [\"DELETE\"]
path = \"/{*rest}\"
# The freeze of the year's end.
until = 2026-12-31T00:00:00Z
reason = \"Change freeze, ticket OPS-12.\"
";

/// A request of Alice for an order, and the policy about it.
struct Scene {
    setup: Setup,
    asked: Asked,
}

impl Scene {
    fn new() -> Scene {
        let outcome = config::compile(Sources::single("policy.toml", POLICY), Timestamp::UNIX_EPOCH);
        let setup = outcome.setup.unwrap_or_else(|| panic!("{:?}", outcome.diagnostics));
        let request = Request {
            method: Method::DELETE,
            target: Uri::from_static("/orders/42"),
            fragment: false,
            version: Version::HTTP_11,
            scheme: Scheme::Http,
            host: Some(http::HeaderValue::from_static("api.example.com")),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            peer: None,
            ip: IpAddr::from([203, 0, 113, 9]),
            certificate: None,
        };
        let roles = vec!["orders-reader".to_owned()];
        let caller = Person { subject: "alice".to_owned(), roles, ..Person::default() }.caller();
        let (assumed, warnings) = (Vec::new(), Vec::new());
        Scene {
            setup,
            asked: Asked {
                request,
                caller,
                body: None,
                key_header: None,
                assumed,
                roles: Vec::new(),
                hidden: None,
                warnings,
            },
        }
    }

    /// The rule of this name that begins with this text.
    fn rule(&mut self, stage: Stage, name: &str, begin: &str) -> RuleRef {
        let rules = &mut self.setup.policy.rules;
        if let Some(rule) = rules.by_name(name) {
            return rule;
        }
        let start = POLICY.find(begin).unwrap() as u32;
        let place = Place { start, end: start + begin.find('\n').unwrap() as u32, ..Place::default() };
        let own = begin[1..].find("\n[").map_or(begin, |end| &begin[..end]);
        let word = |key: &str| {
            let (_, rest) = own.split_once(&format!("\n{key} = \""))?;
            rest.split('"').next().map(Into::into)
        };
        let info = RuleInfo {
            stage,
            name: name.into(),
            public_name: None,
            at: self.setup.sources.show(place).into(),
            place,
            mode: Mode::Enforce,
            reason: word("reason"),
            remediation: word("remediation"),
            contact: None,
        };
        let id = At { value: crate::policy::decode::Name::new("x").unwrap(), place };
        rules.add(&id, info, &mut Diagnostics::default()).into()
    }

    fn account(&self, outcome: Outcome, notes: Notes, trace: Trace, nearest: Vec<Nearest>) -> Account<'_> {
        let (setup, asked) = (&self.setup, &self.asked);
        let now = "2026-12-24T08:00:00Z".parse().unwrap();
        let sample = asked.request.clone().sample(&setup.policy, now, asked.caller.clone());
        let mut admitted = setup.policy.admit(
            &sample.method,
            sample.scheme,
            &sample.uri,
            sample.version,
            &sample.headers,
            sample.peer,
        );
        admitted.route = None;
        let mut version = setup.policy.version;
        version.hash = 0x3f9a_2c1d;
        let decision = Decision { outcome, notes, policy: version };
        let identity = setup.policy.identify_sample(None, &sample, &World::default());
        let reached = super::account::passage(&decision, Stage::Authn) != super::account::Passage::NotReached;
        let curl = curl::Command::new(setup, asked, &sample, None);
        Account {
            setup,
            sample,
            decision,
            trace,
            admitted,
            identity: reached.then_some(identity),
            nearest,
            unheld: Vec::new(),
            what_if: Vec::new(),
            assumed: &asked.assumed,
            hidden: None,
            level: Default::default(),
            curl,
            over: false,
        }
    }
}

fn plain(account: &Account<'_>) -> String {
    let text = anstream::adapter::strip_str(&text::render(account, &Common::default())).to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    text
}

#[test]
fn a_written_deny_is_shown_with_its_lines_and_words() {
    let mut scene = Scene::new();
    let deny = scene.rule(
        Stage::Rbac,
        "rbac/no-deletes-in-freeze",
        &POLICY[POLICY.find("[[rbac.deny]]").unwrap()..],
    );
    let denial = Denial {
        stage: Stage::Rbac,
        rule: deny,
        reason: Reason::DeniedByRule,
        until: "2026-12-31T00:00:00Z".parse().ok(),
    };
    let mut trace = Trace::default();
    trace.rule(Stage::Ip, Builtin::NoIpRule, StepOutcome::Pass, "");
    trace.rule(
        Stage::Rbac,
        deny,
        StepOutcome::Deny(Reason::DeniedByRule),
        "DELETE /orders/42 is within its path and methods",
    );
    let account = scene.account(Outcome::Deny(denial), Notes::default(), trace, Vec::new());
    insta::assert_snapshot!("written_deny", plain(&account));
}

#[test]
fn a_default_deny_names_what_would_help() {
    let mut scene = Scene::new();
    let shadow = scene.rule(Stage::Ip, "ip/office-only", &POLICY[POLICY.find("[[ip.rule]]").unwrap()..]);
    let read = scene.rule(Stage::Rbac, "rbac/orders-read", &POLICY[POLICY.find("[[rbac.grant]]").unwrap()..]);
    let write =
        scene.rule(Stage::Rbac, "rbac/orders-write", &POLICY[POLICY.rfind("[[rbac.grant]]").unwrap()..]);
    let RuleRef::Written(near) = write else { panic!("a written rule") };
    let admin = scene.setup.policy.roles.get("orders-admin").unwrap();
    let denial = Denial::builtin(Stage::Rbac, Builtin::DefaultDeny).because(Reason::RoleMissing);
    let mut notes = Notes::default();
    notes.shadow.push(ShadowHit { rule: shadow, reason: Reason::IpNotAllowed });
    let mut trace = Trace::default();
    trace.rule(
        Stage::Ip,
        shadow,
        StepOutcome::ShadowDeny(Reason::IpNotAllowed),
        "203.0.113.9 is not in office",
    );
    trace.rule(Stage::Rbac, read, StepOutcome::Unmet, "its methods are GET, HEAD");
    trace.rule(
        Stage::Rbac,
        write,
        StepOutcome::Unmet,
        "needs the role orders-admin; alice has orders-reader",
    );
    trace.rule(Stage::Rbac, Builtin::DefaultDeny, StepOutcome::Deny(Reason::RoleMissing), "");
    let nearest = vec![Nearest { rule: near, unmet: vec![Unmet::Roles(vec![admin])] }];
    let account = scene.account(Outcome::Deny(denial), notes, trace, nearest);
    insta::assert_snapshot!("default_deny", plain(&account));
    insta::assert_json_snapshot!("default_deny_json", json::document(&account));
}

#[test]
fn an_allow_names_its_grant() {
    let mut scene = Scene::new();
    let grant =
        scene.rule(Stage::Rbac, "rbac/orders-write", &POLICY[POLICY.rfind("[[rbac.grant]]").unwrap()..]);
    let account = scene.account(Outcome::Allow(grant), Notes::default(), Trace::default(), Vec::new());
    insta::assert_snapshot!("allow", plain(&account));
}

#[test]
fn a_refusal_of_the_waf_lists_what_matched() {
    let mut scene = Scene::new();
    // Any written rule will do for the name.
    let rule = scene.rule(Stage::Waf, "waf/sqli-tautology", &POLICY[POLICY.find("[[ip.rule]]").unwrap()..]);
    let denial = Denial { stage: Stage::Waf, rule, reason: Reason::WafScore, until: None };
    let mut notes = Notes::default();
    (notes.waf.score, notes.waf.threshold) = (5, 5);
    notes.waf.matched.push(WafMatch {
        rule,
        target: "query:q".to_owned(),
        score: 5,
        shadow: false,
        data: "1 or 1=1\u{1b}[2J".to_owned(),
        msg: "a tautology".to_owned(),
    });
    let mut trace = Trace::default();
    trace.rule(Stage::Waf, rule, StepOutcome::Score(5), "on query:q");
    let account = scene.account(Outcome::Deny(denial), notes, trace, Vec::new());
    insta::assert_snapshot!("waf", plain(&account));
}

#[test]
fn comparing_tells_which_fact_decides() {
    let mut scene = Scene::new();
    let grant =
        scene.rule(Stage::Rbac, "rbac/orders-write", &POLICY[POLICY.rfind("[[rbac.grant]]").unwrap()..]);
    let network = scene.rule(Stage::Ip, "ip/office-only", &POLICY[POLICY.find("[[ip.rule]]").unwrap()..]);
    let policy = &scene.setup.policy;
    let said = |outcome| {
        Said::new(policy, &Decision { outcome, notes: Notes::default(), policy: policy.version }, None)
    };
    let allow = said(Outcome::Allow(grant));
    let deny = |stage, rule, reason| said(Outcome::Deny(Denial { stage, rule, reason, until: None }));
    let ip = deny(Stage::Ip, network, Reason::IpNotAllowed);
    let ban = deny(Stage::Ip, Builtin::Banned.into(), Reason::IpBanned);
    let role = deny(Stage::Rbac, Builtin::DefaultDeny.into(), Reason::RoleMissing);
    let nobody = deny(Stage::Rbac, Builtin::DefaultDeny.into(), Reason::CredentialsMissing);
    let expired = deny(Stage::Authn, Builtin::Expired.into(), Reason::TokenExpired);
    let address = Change::Ip(IpAddr::from([192, 0, 2, 7]));
    let roles = Change::Roles(vec!["orders-admin".to_owned()]);
    let token = Change::Token(TokenFrom::File("alice.tok".into()));
    let check = |base, changed, change, want: &str| {
        assert_eq!(super::what_if::conclude(base, changed, change), want);
    };
    check(&ban, &allow, &address, "with the address 192.0.2.7: allowed, so it is the ban of the address");
    check(
        &nobody,
        &allow,
        &roles,
        "with the role orders-admin: allowed, so what it lacks is a valid credential with this role",
    );
    // It may be the same subject, so it is not who asks.
    check(&expired, &allow, &token, "with the token in alice.tok: allowed, so it is the credential");
    check(
        &role,
        &expired,
        &token,
        "with the token in alice.tok: refused earlier, by authn/expired (token_expired), so this token alone does not help",
    );
    let at = Change::At(Timestamp::UNIX_EPOCH);
    check(
        &role,
        &role,
        &at,
        "at 1970-01-01T00:00:00Z: still refused by rbac/default-deny, so this time alone does not help",
    );
    // Another role may help.
    check(
        &role,
        &role,
        &roles,
        "with the role orders-admin: still refused by rbac/default-deny, so this role alone does not help",
    );
    check(
        &ip,
        &allow,
        &address,
        "with the address 192.0.2.7: allowed, so it is the network rule ip/office-only",
    );
    check(
        &ip,
        &ip,
        &address,
        "with the address 192.0.2.7: still refused by ip/office-only, so this address alone does not help",
    );
    check(
        &ip,
        &role,
        &address,
        "with the address 192.0.2.7: refused by rbac/default-deny (role_missing), so this address alone is not enough",
    );
    check(&role, &allow, &roles, "with the role orders-admin: allowed, so it is the missing role");
    check(
        &role,
        &allow,
        &address,
        "with the address 192.0.2.7: allowed, so rbac/default-deny depends on the address",
    );
    check(
        &allow,
        &ip,
        &address,
        "with the address 192.0.2.7: refused by ip/office-only (ip_not_allowed), so the address matters",
    );
    check(&allow, &allow, &roles, "with the role orders-admin: allowed as well, by rbac/orders-write");
}

#[test]
fn a_role_is_added_to_whoever_asks() {
    let scene = Scene::new();
    let caller =
        super::beside::with_roles(&scene.asked.caller, Some(&Identity::Nobody), &["orders-admin".to_owned()]);
    let crate::policy::Caller::Assumed(holder) = caller else { panic!("an assumed holder") };
    assert_eq!((&*holder.subject, holder.roles.len()), ("alice", 2));
    let anonymous = crate::policy::Caller::FromHeaders;
    let caller = super::beside::with_roles(&anonymous, Some(&Identity::Nobody), &["orders-admin".to_owned()]);
    let crate::policy::Caller::Assumed(holder) = caller else { panic!("an assumed holder") };
    assert_eq!((&*holder.subject, holder.roles.len()), ("somebody", 1));
    // Nothing to vary, nothing varied.
    let now = Timestamp::UNIX_EPOCH;
    let account = Account::new(&scene.setup, &scene.asked, now);
    let world = World::default();
    assert!(super::beside::compare(&account, &world, (&scene.asked, now), &[], &[], &[]).is_empty());
}
