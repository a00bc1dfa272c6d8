//! Levels against facts, entry by entry.

use std::sync::Arc;

use http::{HeaderMap, Method, Uri};
use jiff::Timestamp;
use toml::de::DeTable;

use super::*;
use crate::decision::Builtin;
use crate::facts::{Body, Client, Fields, Holder, Identity, Problem, Scheme, Target};
use crate::policy::decode::{Name, Part, TableReader};
use crate::policy::diagnostic::{FileId, Place};
use crate::policy::raw::RawPolicy;
use crate::policy::source::Sources;
use crate::policy::{network::Networks, rbac::Roles, route::RouteNames, rules::Rules};

/// The names that the entries of these tests refer to. Routes: `shop` is 0, `admin` is 1.
const NAMES: &str = "[network]\noffice = [\"192.0.2.0/24\"]\n[rbac.role.sre]\n[rbac.role.dev]\n";

struct Setup {
    disclosure: Disclosure,
    roles: Roles,
    problems: Vec<Code>,
}

fn setup(text: &str) -> Setup {
    let text = format!("{NAMES}{text}");
    let sources = Sources::single("t.toml", text.as_str());
    let mut diagnostics = Diagnostics::default();
    let table = DeTable::parse(&text).unwrap();
    let mut reader = TableReader::new(FileId(0), "a policy file", table.get_ref(), Place::default());
    let raw = RawPolicy::read(&mut reader, &mut diagnostics).unwrap();
    let networks = Networks::compile(&raw.network, &sources, &mut diagnostics);
    let roles = Roles::compile(&raw.rbac.as_ref().unwrap().role, &mut diagnostics);
    let mut routes = RouteNames::default();
    for name in ["shop", "admin"] {
        routes.add(Name::new(name).unwrap()).unwrap();
    }
    let mut cx = Compile {
        sources: &sources,
        now: Timestamp::UNIX_EPOCH,
        diagnostics: &mut diagnostics,
        rules: Rules::default(),
        networks,
        roles,
        routes,
    };
    let disclosure = Disclosure::compile(&raw.disclosure, &mut cx);
    let roles = cx.roles;
    if let Some(raw) = &raw.contact {
        contact(raw, &mut diagnostics);
    }
    Setup { disclosure, roles, problems: diagnostics.iter().map(|problem| problem.code).collect() }
}

/// Who asks for what, in these tests.
struct Ask {
    client: Client,
    identity: Identity,
    route: Option<RouteId>,
    error: Option<Builtin>,
}

fn from(ip: &str) -> Ask {
    Ask { client: Client::direct(ip.parse().unwrap()), identity: Identity::Nobody, route: None, error: None }
}

impl Ask {
    fn role(mut self, setup: &Setup, role: &str) -> Ask {
        let holder = Holder { roles: vec![role.into()], ..Holder::default() };
        self.identity = Identity::Valid(Arc::new(setup.roles.who(Arc::new(holder))));
        self
    }

    fn route(mut self, route: u32) -> Ask {
        self.route = Some(RouteId(route));
        self
    }

    fn level(&self, setup: &Setup, stage: Option<Stage>) -> Level {
        let uri = Uri::from_static("http://a.test/x");
        let mut target = Target::parse(&Method::GET, Scheme::Http, &uri, &HeaderMap::new());
        if let Some(rule) = self.error {
            target.refuse(rule, &uri);
        }
        setup.disclosure.level(
            &Facts {
                now: Timestamp::UNIX_EPOCH,
                target: &target,
                headers: &HeaderMap::new(),
                fields: &Fields::default(),
                client: &self.client,
                route: self.route,
                identity: &self.identity,
                body: &Body::Absent,
            },
            stage,
        )
    }
}

fn entry(keys: &str, level: &str) -> String {
    format!("[[disclosure]]\n{keys}\nlevel = \"{level}\"\n")
}

#[test]
fn what_is_refused_on_every_path_says_nothing_of_routes() {
    let setup = setup(&entry("routes = [\"admin\"]", "silent"));
    let ask = from("192.0.2.1").route(1);
    assert_eq!(ask.level(&setup, Some(Stage::Intake)), Level::Rule);
    assert_eq!(ask.level(&setup, Some(Stage::Ip)), Level::Silent);
    assert_eq!(ask.level(&setup, Some(Stage::Rbac)), Level::Silent);
}

#[test]
fn an_address_that_is_refused_everywhere_cannot_tell_a_silent_route_from_no_route() {
    let setup = setup(&[entry("routes = [\"admin\"]", "silent"), entry("", "id")].concat());
    for (route, level) in [(Some(1), Level::Silent), (None, Level::Silent), (Some(0), Level::Id)] {
        let ask = Ask { route: route.map(RouteId), ..from("192.0.2.1") };
        assert_eq!(ask.level(&setup, Some(Stage::Ip)), level, "{route:?}");
    }
}

#[test]
fn without_entries_the_rule_is_told() {
    assert_eq!(from("192.0.2.1").level(&setup(""), Some(Stage::Rbac)), Level::Rule);
    assert_eq!(from("192.0.2.1").level(&setup(""), Some(Stage::Route)), Level::Rule);
    assert_eq!(from("192.0.2.1").level(&setup(""), None), Level::Rule);
}

#[test]
fn the_first_matching_entry_decides() {
    let setup = setup(&[entry("networks = [\"office\"]", "full"), entry("", "id")].concat());
    assert_eq!(from("192.0.2.1").level(&setup, Some(Stage::Ip)), Level::Full);
    assert_eq!(from("::ffff:192.0.2.1").level(&setup, Some(Stage::Ip)), Level::Full);
    assert_eq!(from("198.51.100.1").level(&setup, Some(Stage::Ip)), Level::Id);
    assert_eq!(from("192.0.2.1").level(&setup, None), Level::Full);
}

#[test]
fn selectors_are_anded() {
    let setup = setup(&entry(
        "networks = [\"office\"]\nroles = [\"sre\"]\nroutes = [\"admin\"]\nstages = [\"rbac\"]",
        "full",
    ));
    let whole = from("192.0.2.1").role(&setup, "sre").route(1);
    assert_eq!(whole.level(&setup, Some(Stage::Rbac)), Level::Full);
    assert_eq!(whole.level(&setup, Some(Stage::Waf)), Level::Rule);
    assert_eq!(whole.level(&setup, None), Level::Rule);
    let others = [
        from("198.51.100.1").role(&setup, "sre").route(1),
        from("192.0.2.1").role(&setup, "dev").route(1),
        from("192.0.2.1").role(&setup, "sre").route(0),
        from("192.0.2.1").role(&setup, "sre"),
        from("192.0.2.1").route(1),
    ];
    for other in others {
        assert_eq!(other.level(&setup, Some(Stage::Rbac)), Level::Rule);
    }
}

#[test]
fn both_waf_gates_are_one_stage() {
    let setup = setup(&entry("stages = [\"waf\"]", "id"));
    assert_eq!(from("192.0.2.1").level(&setup, Some(Stage::Waf)), Level::Id);
    assert_eq!(from("192.0.2.1").level(&setup, Some(Stage::WafBody)), Level::Id);
    assert_eq!(from("192.0.2.1").level(&setup, Some(Stage::Fault)), Level::Rule);
}

#[test]
fn an_unverified_identity_has_no_roles() {
    let setup = setup(&entry("roles = [\"anyone\"]", "full"));
    let mut ask = from("192.0.2.1").role(&setup, "sre");
    assert_eq!(ask.level(&setup, Some(Stage::Rbac)), Level::Full);
    ask.identity = Identity::Nobody;
    assert_eq!(ask.level(&setup, Some(Stage::Rbac)), Level::Rule);
    let claimed = Some(Arc::new(Holder { roles: vec!["sre".into()], ..Holder::default() }));
    ask.identity = Identity::Invalid(Problem { claimed, ..Problem::new(Builtin::Expired, "") });
    assert_eq!(ask.level(&setup, Some(Stage::Authn)), Level::Rule);
}

#[test]
fn an_address_behind_an_unreadable_header_is_unknown() {
    // The peer is a proxy of the office; whoever is behind it is not.
    let setup = setup(&entry("networks = [\"office\"]", "full"));
    let mut ask = from("192.0.2.1");
    ask.error = Some(Builtin::BadTarget);
    assert_eq!(ask.level(&setup, Some(Stage::Intake)), Level::Full);
    ask.client = Client::unreadable("192.0.2.1".parse().unwrap());
    assert_eq!(ask.level(&setup, Some(Stage::Intake)), Level::Rule);
}

#[test]
fn the_route_of_an_unreadable_target_is_unknown() {
    let setup = setup(&entry("routes = [\"admin\"]", "full"));
    let mut ask = from("192.0.2.1").route(1);
    assert_eq!(ask.level(&setup, Some(Stage::Ip)), Level::Full);
    ask.error = Some(Builtin::BadTarget);
    assert_eq!(ask.level(&setup, Some(Stage::Intake)), Level::Rule);
}

#[test]
fn an_unrouted_path_is_as_silent_as_any_refusal_might_be() {
    for keys in ["stages = [\"waf\"]", "routes = [\"admin\"]", "roles = [\"dev\"]", "networks = [\"office\"]"]
    {
        let setup = setup(&entry(keys, "silent"));
        assert_eq!(from("192.0.2.1").level(&setup, Some(Stage::Route)), Level::Silent, "{keys}");
    }
    let setup = setup(&entry("networks = [\"office\"]\nstages = [\"waf\"]", "silent"));
    assert_eq!(from("198.51.100.1").level(&setup, Some(Stage::Route)), Level::Rule);
}

#[test]
fn an_unrouted_path_is_not_silent_behind_an_entry_that_always_decides() {
    let setup = setup(&[entry("networks = [\"office\"]", "full"), entry("", "silent")].concat());
    assert_eq!(from("192.0.2.1").level(&setup, Some(Stage::Route)), Level::Full);
    assert_eq!(from("198.51.100.1").level(&setup, Some(Stage::Route)), Level::Silent);
}

#[test]
fn an_entry_for_unrouted_paths_alone_does_not_undo_the_silence_of_others() {
    let setup = setup(&[entry("stages = [\"route\"]", "full"), entry("", "silent")].concat());
    assert_eq!(from("192.0.2.1").level(&setup, Some(Stage::Route)), Level::Silent);
    assert_eq!(from("192.0.2.1").level(&setup, Some(Stage::Waf)), Level::Silent);
}

#[test]
fn empty_lists_and_unknown_names_are_reported() {
    for keys in ["networks = []", "roles = []", "routes = []", "stages = []"] {
        assert!(setup(&entry(keys, "full")).problems.contains(&Code::BadValue), "{keys}");
    }
    for keys in ["networks = [\"home\"]", "roles = [\"root\"]", "routes = [\"api\"]"] {
        assert!(setup(&entry(keys, "full")).problems.contains(&Code::UnknownName), "{keys}");
    }
}

#[test]
fn a_contact_is_a_page_or_a_mailbox() {
    for url in [
        "https://a.test/x?y#z",
        "http://a.test",
        "mailto:a@b.test",
        "mailto:a@b.test?subject=access%20please",
    ] {
        assert!(is_link(url), "{url}");
    }
    for url in [
        "",
        "a.test",
        "javascript:alert(1)",
        "HTTPS://a.test",
        "https://",
        "https:///x",
        "mailto:",
        "data:text/html,x",
        "https://a b",
        "https://a\"b",
        "https://a<b",
        "https://a\nb",
        "https://é",
    ] {
        assert!(!is_link(url), "{url}");
    }
    assert!(setup("[contact]\nurl = \"javascript:alert(1)\"\n").problems.contains(&Code::BadValue));
}
