//! Judging by address, route, identity and roles takes no memory from the heap, whether it allows
//! or refuses. A counting allocator is the witness.

use std::sync::Arc;

use allocation_counter::measure;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use jiff::Timestamp;
use portcullis::decision::{Stage, Verdict};
use portcullis::facts::{Body, Holder, Identity, Scheme};
use portcullis::policy::decode::{Part, TableReader};
use portcullis::policy::diagnostic::{Diagnostics, FileId, Place};
use portcullis::policy::raw::RawPolicy;
use portcullis::policy::source::Sources;
use portcullis::policy::{Frame, Policy, Progress};
use toml::de::DeTable;

const GATES: [Stage; 4] = [Stage::Ip, Stage::Route, Stage::Authn, Stage::Rbac];

/// Rules of every kind on one path, and enough of them at one place that these are looked up.
fn policy() -> Policy {
    let mut text = String::from(
        r#"
        [network]
        office = ["192.0.2.0/24", "2001:db8::/32"]
        [[ip.rule]]
        id = "office"
        allow = ["office"]
        except = ["203.0.113.9"]
        [[route]]
        id = "all"
        host = "*.test"
        path = "/{*rest}"
        upstream = "up"
        [[route]]
        id = "blue-read"
        host = "*.test"
        path = "/orders/{*rest}"
        methods = ["GET"]
        headers = { x-tenant = "blue", x-old = false }
        upstream = "up"
        [[route]]
        id = "written"
        host = "*.test"
        path = "/orders/{*rest}"
        methods = ["PUT"]
        upstream = "up"
        cors = { origins = ["https://app.test"] }
        [rbac.role.reader]
        [[rbac.grant]]
        id = "read"
        roles = ["reader"]
        path = "/orders/{id}"
        methods = ["GET"]
        [[rbac.grant]]
        id = "own"
        subjects = ["alice"]
        scopes = ["write"]
        path = "/users/{id}"
        when = "path.id in ['alice', 'bob'] and client.ip in office and header.x-tenant == 'blue'"
        [[rbac.deny]]
        id = "freeze"
        methods = ["DELETE"]
        when = "query.force != 'yes'"
        until = 2027-01-01T00:00:00Z
        "#,
    );
    for number in 0..100 {
        text.push_str(&format!(
            "[rbac.role.r{number}]\n[[rbac.grant]]\nid = \"g{number}\"\nroles = [\"r{number}\"]\npath = \"/crowd\"\n"
        ));
    }
    let sources = Sources::single("t.toml", text.as_str());
    let mut diagnostics = Diagnostics::default();
    let table = DeTable::parse(&text).expect("the text is TOML");
    let mut reader = TableReader::new(FileId(0), "a policy file", table.get_ref(), Place::default());
    let raw = RawPolicy::read(&mut reader, &mut diagnostics).expect("the tables are right");
    let frame = Frame { upstreams: vec!["up".into()], ..Frame::default() };
    let policy = Policy::compile(&raw, &frame, &sources, now(), &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    policy.expect("there are no errors")
}

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().expect("a time")
}

/// Judges a request and counts; the verdict of the last gate asked as text.
fn judge(policy: &Policy, method: &str, path: &str, ip: &str, roles: Option<&[&str]>) -> String {
    let headers = HeaderMap::from_iter([
        (header::HOST, HeaderValue::from_static("api.test")),
        (header::HeaderName::from_static("x-tenant"), HeaderValue::from_static("blue")),
    ]);
    let method: Method = method.parse().expect("a method");
    let uri: Uri = path.parse().expect("a target");
    let ip = ip.parse().expect("an address");
    let admitted = policy.admit(&method, Scheme::Http, &uri, Version::HTTP_11, &headers, ip);
    let identity = roles.map_or(Identity::Nobody, |roles| {
        let roles = roles.iter().map(|role| (*role).into()).collect();
        let scopes = vec!["write".into()];
        let holder = Holder { subject: "alice".into(), roles, scopes, ..Holder::default() };
        Identity::Valid(Arc::new(policy.roles.who(Arc::new(holder))))
    });
    let facts = policy.facts(&admitted, &headers, &identity, &Body::Absent, now());
    let mut last = None;
    let counted = measure(|| {
        let mut progress = Progress::default();
        assert_eq!(policy.routes.find(facts.target, facts.headers), Ok(facts.route));
        for stage in GATES {
            let verdict = policy.check(stage, &facts, &mut progress, None);
            let refused = !matches!(verdict, Verdict::Pass(_));
            last = Some(verdict);
            if refused {
                break;
            }
        }
    });
    assert_eq!(counted.count_total, 0, "{method} {path} from {ip} took memory");
    match last {
        Some(Verdict::Pass(rule)) => format!("pass {}", policy.rules.name(rule)),
        Some(Verdict::Answer(rule)) => format!("answer {}", rule.info().name),
        Some(Verdict::Deny(denial)) => format!("deny {} {}", policy.rules.name(denial.rule), denial.reason),
        None => "nothing".to_owned(),
    }
}

#[test]
fn no_verdict_takes_memory() {
    let policy = policy();
    let office = "192.0.2.7";
    for (method, path, ip, roles, want) in [
        ("GET", "/orders/7", office, Some(&["reader"][..]), "pass rbac/read"),
        ("GET", "/orders/7", "2001:db8::1", Some(&["reader"]), "pass rbac/read"),
        ("GET", "/orders/7", office, None, "deny rbac/default-deny no_matching_grant"),
        ("GET", "/orders/7", office, Some(&[]), "deny rbac/default-deny role_missing"),
        ("GET", "/orders/7", "198.51.100.1", None, "deny ip/office ip_not_allowed"),
        ("GET", "/users/bob", office, Some(&[]), "pass rbac/own"),
        ("GET", "/users/eve", office, Some(&[]), "deny rbac/default-deny condition_unmet"),
        ("DELETE", "/orders/7?force=no", office, Some(&["reader"]), "deny rbac/freeze denied_by_rule"),
        ("DELETE", "/orders/7", office, Some(&["reader"]), "deny rbac/freeze condition_error"),
        ("GET", "/crowd", office, Some(&["r77", "r3"]), "pass rbac/g3"),
        ("GET", "/crowd", office, Some(&["reader"]), "deny rbac/default-deny role_missing"),
        ("GET", "/nowhere/at/all", office, Some(&["reader"]), "deny rbac/default-deny no_matching_grant"),
    ] {
        assert_eq!(judge(&policy, method, path, ip, roles), want, "{method} {path} from {ip}");
    }
}

#[test]
fn the_counter_counts() {
    assert!(measure(|| drop(std::hint::black_box(vec![1u8]))).count_total > 0);
}
