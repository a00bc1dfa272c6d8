//! Records: what is in them, in which order, and what never is.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Uri};
use serde_json::json;
use smallvec::smallvec;

use super::*;
use crate::audit::raw::{ClientPrivacy, SubjectWord};
use crate::decision::{Builtin, Denial, Reason, ShadowHit, WafMatch, WafNotes, Written};
use crate::facts::{Body, Client, Derivation, Fields, Problem, Scheme, Target, Who};
use crate::policy::Frame;
use crate::policy::decode::{Name, Part, TableReader};
use crate::policy::diagnostic::{At, Diagnostics, FileId, Place};
use crate::policy::mode::Mode;
use crate::policy::raw::RawPolicy;
use crate::policy::rbac::Unmet;
use crate::policy::rules::RuleInfo;
use crate::policy::source::Sources;

const GRANT: Written = Written(0);
const WAF: Written = Written(1);

fn policy() -> Policy {
    let mut diagnostics = Diagnostics::default();
    let table = toml::de::DeTable::parse("").unwrap();
    let mut reader = TableReader::new(FileId(0), "a policy file", table.get_ref(), Place::default());
    let raw = RawPolicy::read(&mut reader, &mut diagnostics).unwrap();
    let frame = Frame { hash: 0x0f9a_2c1d, ..Frame::default() };
    let sources = Sources::default();
    let mut policy =
        Policy::compile(&raw, &frame, &sources, Timestamp::UNIX_EPOCH, &mut diagnostics).unwrap();
    policy.version.generation = 7;
    for (stage, id) in [(Stage::Rbac, "orders-read"), (Stage::Waf, "942100")] {
        let info = RuleInfo {
            stage,
            name: format!("{stage}/{id}").into(),
            public_name: Some(format!("{stage}/public").into()),
            at: "policy/orders.toml:41".into(),
            place: Place::default(),
            mode: Mode::Enforce,
            reason: None,
            remediation: None,
            contact: None,
        };
        let id = At { value: Name::new(id).unwrap(), place: Place::default() };
        policy.rules.add(&id, info, &mut diagnostics);
    }
    policy
}

struct Case {
    policy: Policy,
    settings: Settings,
    target: Target,
    headers: HeaderMap,
    client: Client,
    identity: Identity,
    outcome: Outcome,
    notes: Notes,
    nearest: Vec<Nearest>,
    named: Vec<Named<'static>>,
}

fn case() -> Case {
    let uri = Uri::from_static("https://api.example.com/orders/42?key=mk-query");
    let holder = Holder {
        source: "corp".into(),
        subject: "alice".into(),
        roles: vec!["orders-reader".into(), "stranger".into()],
        ignored_roles: vec!["root".into()],
        scopes: vec!["orders".into()],
        claims: serde_json::Map::from_iter([("email".into(), "mk-claim".into())]),
        issued_at: "2026-11-24T09:00:00Z".parse().ok(),
        not_before: "2026-11-24T09:00:00Z".parse().ok(),
        expires_at: "2026-11-24T11:00:00.5Z".parse().ok(),
        token_id: Some("mk-token-id".into()),
        key_id: Some("mk-key-id".into()),
        bearer: true,
    };
    let who = Who { holder: holder.into(), undeclared: vec!["stranger".into()], ..Who::default() };
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("authorization", "Bearer mk-bearer"),
        ("cookie", "session=mk-cookie"),
        ("x-api-key", "mk-key"),
        ("user-agent", "curl/8.10.1"),
        ("referer", "https://mk-referer.test"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Case {
        policy: policy(),
        settings: Settings::default(),
        target: Target::parse(&Method::GET, Scheme::Https, &uri, &HeaderMap::new()),
        headers,
        client: Client {
            ip: "203.0.113.9".parse().unwrap(),
            peer: "10.0.0.1".parse().unwrap(),
            via: Derivation::Header { name: "x-forwarded-for", trusted: smallvec![] },
            banned: None,
        },
        identity: Identity::Valid(Arc::new(who)),
        outcome: Outcome::Allow(GRANT.into()),
        notes: Notes::default(),
        nearest: Vec::new(),
        named: Vec::new(),
    }
}

impl Case {
    fn line(&self, more: impl FnOnce(&mut Record<'_>)) -> String {
        let now = "2026-11-24T10:00:00.123456789Z".parse().unwrap();
        let facts = Facts {
            now,
            target: &self.target,
            headers: &self.headers,
            fields: &Fields::default(),
            client: &self.client,
            route: None,
            identity: &self.identity,
            body: &Body::Whole("mk-body".into()),
        };
        let recorder = Recorder::new(&self.settings, &[HeaderName::from_static("x-batch-key")], b"key");
        let mut record = Record {
            policy: &self.policy,
            now,
            request_id: "0197f2c4-7e1b-7c3a-9a51-000000000001",
            decision_id: Uuid::from_u128(0x0197_f2c4_7e1b_7c3a_9a51_0d0f_5f2b_6e11),
            outcome: self.outcome,
            notes: &self.notes,
            seen: &recorder.see(&self.policy, &facts, HttpVersion::HTTP_2, &self.named),
            identity: &self.identity,
            nearest: &self.nearest,
            rule_changed: None,
            status: 200,
            grpc_status: None,
            decided_by: DecidedBy::Upstream,
            timing: Timing { policy_ns: 412, upstream_us: Some(1834) },
            bytes: Traffic { r#in: 0, out: 18_446_744_073_709_551_615 },
            trace_id: None,
        };
        more(&mut record);
        let mut out = b"before\n".to_vec();
        record.write(&mut out);
        let text = String::from_utf8(out).unwrap();
        let line = text.strip_prefix("before\n").unwrap();
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
        line.to_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.line(|_| {})).unwrap()
    }
}

/// A member a line, in their order.
fn spread(line: &str) -> String {
    line.replace(",\"", ",\n\"")
}

#[test]
fn an_allow_is_recorded_with_its_grant() {
    insta::assert_snapshot!(spread(
        &case().line(|record| record.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736"))
    ));
}

#[test]
fn a_refusal_is_recorded_whole() {
    let mut case = case();
    case.outcome =
        Outcome::Deny(Denial::builtin(Stage::WafBody, Builtin::DefaultDeny).because(Reason::WafScore));
    let found = |shadow, data: &str, msg: &str| WafMatch {
        rule: WAF.into(),
        target: "query:q".into(),
        score: 5,
        shadow,
        data: data.into(),
        msg: msg.into(),
    };
    case.notes = Notes {
        personal: false,
        shadow: smallvec![ShadowHit { rule: GRANT.into(), reason: Reason::DeniedByRule }],
        waf: WafNotes {
            score: 5,
            threshold: 5,
            body: BodyInspection::Inspected,
            matched: vec![found(false, "", ""), found(true, "1 or 1=1", "SQL injection")],
        },
    };
    case.nearest = vec![Nearest { rule: GRANT, unmet: vec![Unmet::Condition] }];
    let line = case.line(|record| {
        record.status = 200;
        record.grpc_status = Some(7);
        record.decided_by = DecidedBy::Proxy;
        record.timing.upstream_us = None;
        record.rule_changed = "2026-11-20T08:00:00.9Z".parse().ok();
    });
    insta::assert_snapshot!(spread(&line));
}

#[test]
fn the_deciding_rule_is_named_by_its_own_name_with_its_place() {
    let json = case().json();
    assert_eq!(
        (&json["rule"], &json["rule_at"]),
        (&json!("rbac/orders-read"), &json!("policy/orders.toml:41"))
    );
    assert_eq!((&json["decision"], &json["stage"]), (&json!("allow"), &json!("rbac")));
}

#[test]
fn a_fault_is_an_error() {
    let mut case = case();
    case.outcome = Outcome::Deny(Denial::builtin(Stage::Fault, Builtin::FaultConnect));
    let json = case.json();
    assert_eq!(json["decision"], "error");
    assert_eq!(
        (&json["rule"], &json["reason"]),
        (&json!("fault/upstream-connect"), &json!("upstream_connect"))
    );
    assert_eq!(json.get("rule_at"), None);
}

#[test]
fn credentials_and_bodies_are_never_in_a_record() {
    let mut case = case();
    case.named = [
        ("header.authorization", "mk-a"),
        ("header.Cookie", "mk-b"),
        ("query.access_token", "mk-c"),
        ("header.x-api-key", "mk-d"),
        ("query.password", "mk-e"),
        ("header.x-batch-key", "mk-f"),
    ]
    .map(|(name, value)| Named { name, value: NamedValue::Text(value) })
    .to_vec();
    let line = case.line(|_| {});
    assert!(!line.contains("mk-"), "{line}");
    assert!(line.contains("curl/8.10.1"), "{line}");
}

#[test]
fn values_that_conditions_name_are_recorded_and_cut() {
    let mut case = case();
    let long: &'static str = Box::leak("é".repeat(200).into_boxed_str());
    let list: &'static Value = Box::leak(Box::new(json!(["a", 1, null, {"b": true}])));
    let large: &'static Value = Box::leak(Box::new(json!((0..200).collect::<Vec<u32>>())));
    case.named = vec![
        Named { name: "claims.groups", value: NamedValue::Json(list) },
        Named { name: "claims.large", value: NamedValue::Json(large) },
        Named { name: "query.q", value: NamedValue::Text(long) },
        Named { name: "header.user-agent", value: NamedValue::Text("as the condition saw it") },
    ];
    let facts = &case.json()["facts"];
    assert_eq!(facts["claims.groups"], *list);
    assert!(facts["claims.large"].as_str().unwrap().starts_with("[0,1,2,"));
    let cut = facts["query.q"].as_str().unwrap();
    assert!(cut.len() <= 256 && cut.starts_with("éé") && cut.ends_with('…'), "{cut}");
    assert_eq!(facts["header.user-agent"], "as the condition saw it");
    assert_eq!(facts.as_object().unwrap().len(), 4);
}

#[test]
fn without_values_there_are_no_facts() {
    let mut case = case();
    case.headers.clear();
    assert_eq!(case.json().get("facts"), None);
}

#[test]
fn headers_are_recorded_as_they_are_however_odd() {
    let mut case = case();
    case.headers.insert("user-agent", HeaderValue::from_bytes(b"\"\\ \xff\t").unwrap());
    assert_eq!(case.json()["facts"]["header.user-agent"], "\"\\ \u{fffd}\t");
}

#[test]
fn nobody_and_what_is_not_believed_are_told_apart() {
    let mut case = case();
    case.identity = Identity::Nobody;
    assert_eq!(case.json()["identity"], json!({"state": "none"}));
    case.identity = Identity::Invalid(Problem::new(Builtin::Signature, "mk-note"));
    assert_eq!(case.json()["identity"], json!({"state": "forged"}));
    let claimed = Holder { source: "corp".into(), subject: "mallory".into(), ..Holder::default() };
    let problem = Problem { claimed: Some(claimed.into()), ..Problem::new(Builtin::Expired, "mk-note") };
    case.identity = Identity::Invalid(problem);
    assert_eq!(case.json()["identity"], json!({"state": "expired", "source": "corp", "subject": "mallory"}));
}

#[test]
fn personal_data_is_recorded_as_wanted() {
    let mut case = case();
    case.settings.subject = SubjectWord::None;
    case.settings.client = ClientPrivacy::Prefix { v4: 24, v6: 48 };
    case.settings.redact = vec![crate::policy::scope::PathPattern::parse("/orders/{id}").unwrap()];
    let json = case.json();
    assert_eq!(json["identity"].get("subject"), None);
    assert_eq!(json["client"]["ip"], "203.0.113.0/24");
    assert_eq!(json["client"]["peer"], "10.0.0.0/24");
    assert_eq!(json["path"], "/orders/{id}");
    case.settings.subject = SubjectWord::Hash;
    case.settings.client = ClientPrivacy::Hash;
    let line = case.line(|_| {});
    assert!(!line.contains("alice") && !line.contains("203.0.113") && !line.contains("10.0.0"), "{line}");
}

#[test]
fn a_subject_that_a_condition_reads_is_kept_as_the_subject_is() {
    let mut case = case();
    let text = |name, value| Named { name, value: NamedValue::Text(value) };
    case.named = vec![text("claims.sub", "id-7"), text("claims.email", "alice"), text("claims.team", "blue")];
    let facts = |case: &Case| case.json()["facts"].clone();
    assert_eq!(
        (&facts(&case)["claims.sub"], &facts(&case)["claims.email"]),
        (&json!("id-7"), &json!("alice"))
    );
    case.settings.subject = SubjectWord::None;
    let none = facts(&case);
    assert_eq!(
        (none.get("claims.sub"), none.get("claims.email"), &none["claims.team"]),
        (None, None, &json!("blue"))
    );
    case.settings.subject = SubjectWord::Hash;
    let json = case.json();
    assert_eq!(json["facts"]["claims.email"], json["identity"]["subject"]);
    assert!(json["facts"]["claims.sub"].as_str().is_some_and(|text| text.starts_with("hash:")));
    assert_eq!(json["facts"]["claims.team"], "blue");
    // Nor does a list that holds it say what is not to be said.
    let list = json!(["alice", {"of": ["x", "y"]}]);
    let list: &'static serde_json::Value = Box::leak(Box::new(list));
    case.named = vec![Named { name: "claims.emails", value: NamedValue::Json(list) }];
    for (subject, kept) in
        [(SubjectWord::Plain, list), (SubjectWord::Hash, &json!(null)), (SubjectWord::None, &json!(null))]
    {
        case.settings.subject = subject;
        assert_eq!(&facts(&case)["claims.emails"], kept);
    }
}

#[test]
fn an_uninspected_body_is_told_and_an_unasked_waf_is_not() {
    let mut case = case();
    assert_eq!(case.json().get("waf"), None);
    case.notes.waf.body = BodyInspection::Grpc;
    assert_eq!(case.json()["waf"]["body"], "not_inspected:grpc");
}

#[test]
fn numbers_are_written_whole() {
    let mut line = Line(Vec::new());
    for number in [0, 9, 10, 4711, u64::MAX] {
        line.number(number);
        line.push(" ");
    }
    line.hash(0x0000_00af);
    assert_eq!(String::from_utf8(line.0).unwrap(), "0 9 10 4711 18446744073709551615 000000af");
}
