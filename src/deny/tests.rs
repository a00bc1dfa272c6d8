//! Answers by level, format and reason; above all, that nothing above the level is told.

use std::sync::Arc;

use http::Uri;
use jiff::Timestamp;
use smallvec::smallvec;
use toml::de::DeTable;

use super::*;
use crate::decision::{Builtin, Reason, RuleRef, ShadowHit, Version, WafMatch, WafNotes, Written};
use crate::facts::{Body, Client, Derivation, Fields, Holder, Problem, Scheme, Target};
use crate::policy::Frame;
use crate::policy::decode::{Name, Part, TableReader};
use crate::policy::diagnostic::{At, Diagnostics, FileId, Place};
use crate::policy::mode::Mode;
use crate::policy::raw::RawPolicy;
use crate::policy::rbac::Unmet;
use crate::policy::rules::RuleInfo;
use crate::policy::source::Sources;

const POLICY: &str = r#"
[contact]
url = "https://mk-contact.test/access"
[rbac.role.orders-admin]
[rbac.role.orders-reader]
[rbac.role.mk-role-a]
[rbac.role.mk-role-b]
"#;

/// The rules of the test policy, by their places in its table.
const DENY: Written = Written(0);
const GRANT: Written = Written(1);
const SHADOW: Written = Written(2);
const WAF: Written = Written(3);
const PLAIN: Written = Written(4);

fn policy() -> Policy {
    let sources = Sources::single("t.toml", POLICY);
    let mut diagnostics = Diagnostics::default();
    let table = DeTable::parse(POLICY).unwrap();
    let mut reader = TableReader::new(FileId(0), "a policy file", table.get_ref(), Place::default());
    let raw = RawPolicy::read(&mut reader, &mut diagnostics).unwrap();
    let frame = Frame { hash: 0x3f9a_2c1d, ..Frame::default() };
    let mut policy =
        Policy::compile(&raw, &frame, &sources, Timestamp::UNIX_EPOCH, &mut diagnostics).unwrap();
    policy.version.generation = 7;
    let mut add = |stage: Stage, id: &str, info: fn(&mut RuleInfo)| {
        let mut rule = RuleInfo {
            stage,
            name: format!("{stage}/{id}").into(),
            public_name: None,
            at: "mk-file.toml:41".into(),
            place: Place::default(),
            mode: Mode::Enforce,
            reason: None,
            remediation: None,
            contact: None,
        };
        info(&mut rule);
        let id = At { value: Name::new(id).unwrap(), place: Place::default() };
        policy.rules.add(&id, rule, &mut diagnostics)
    };
    let added = [
        add(Stage::Rbac, "mk-deny", |rule| {
            rule.public_name = Some("rbac/mk-public".into());
            rule.reason = Some("mk-author".into());
            rule.remediation = Some("mk-remedy".into());
            rule.contact = Some("mk-desk".into());
        }),
        add(Stage::Rbac, "mk-grant", |_| {}),
        add(Stage::Ip, "mk-shadow", |rule| rule.public_name = Some("ip/mk-other".into())),
        add(Stage::Waf, "mk-waf", |rule| rule.public_name = Some("waf/mk-else".into())),
        add(Stage::Rbac, "plain", |_| {}),
    ];
    assert_eq!(added, [DENY, GRANT, SHADOW, WAF, PLAIN]);
    policy
}

/// One refused request, with something to be found in every fact.
struct Case {
    policy: Policy,
    target: Target,
    headers: HeaderMap,
    client: Client,
    identity: Identity,
    notes: Notes,
    nearest: Vec<Nearest>,
    denial: Denial,
    challenges: Challenges<'static>,
    shown: ResponseHeaders,
    change: Option<Change>,
    upstream: Option<HeaderMap>,
}

fn case(rule: impl Into<RuleRef>, stage: Stage, reason: Reason) -> Case {
    let mut policy = policy();
    policy.intake.extension_methods.push(Method::from_bytes(b"MK-METHOD").unwrap());
    let uri = Uri::from_static("http://mk-host.test/mk-path?q=mk-query");
    let role = |name| policy.roles.get(name).unwrap();
    let nearest = Nearest {
        rule: GRANT,
        unmet: vec![
            Unmet::Roles(vec![role("mk-role-a"), role("mk-role-b")]),
            Unmet::Scopes(vec!["mk-scope-a".into(), "mk-scope-b".into()]),
            Unmet::Subject,
            Unmet::Condition,
            Unmet::NotYet("2031-01-01T00:00:00Z".parse().unwrap()),
        ],
    };
    let found = WafMatch {
        rule: WAF.into(),
        target: "query:mk-target".into(),
        score: 4711,
        shadow: false,
        data: "mk-data".into(),
        msg: "mk-msg".into(),
    };
    let old = Version { generation: 6, hash: 0x0bad_cafe };
    let change = Change { at: "2026-11-24T09:12:03Z".parse().unwrap(), from: old, to: policy.version };
    Case {
        target: Target::parse(&Method::GET, Scheme::Http, &uri, &HeaderMap::new()),
        headers: HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static("mk-agent"))]),
        client: Client {
            ip: "203.0.113.77".parse().unwrap(),
            peer: "198.51.100.88".parse().unwrap(),
            via: Derivation::Header {
                name: "x-forwarded-for",
                trusted: smallvec!["192.0.2.99".parse().unwrap()],
            },
            banned: None,
        },
        identity: Identity::Nobody,
        notes: Notes {
            personal: false,
            shadow: smallvec![ShadowHit { rule: SHADOW.into(), reason: Reason::IpDenied }],
            waf: WafNotes { score: 4711, threshold: 815, matched: vec![found], ..WafNotes::default() },
        },
        nearest: vec![nearest],
        denial: Denial { stage, rule: rule.into(), reason, until: None },
        challenges: Challenges::default(),
        shown: ResponseHeaders::default(),
        change: Some(change),
        upstream: None,
        policy,
    }
}

fn builtin(rule: Builtin) -> Case {
    case(rule, rule.info().stage, rule.info().reason)
}

impl Case {
    fn known(mut self) -> Case {
        let holder = Holder {
            source: "mk-source".into(),
            subject: "mk-subject".into(),
            roles: vec!["orders-reader".into()],
            scopes: vec!["mk-scope-own".into()],
            bearer: true,
            ..Holder::default()
        };
        self.identity = Identity::Valid(Arc::new(self.policy.roles.who(Arc::new(holder))));
        self
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Case {
        self.headers.append(name, HeaderValue::from_static(value));
        self
    }

    fn method(mut self, method: Method) -> Case {
        self.target.method = method;
        self
    }

    fn answer(&self, level: Level) -> Response<Bytes> {
        let facts = Facts {
            now: "2026-11-24T10:00:00.123456Z".parse().unwrap(),
            target: &self.target,
            headers: &self.headers,
            fields: &Fields::default(),
            client: &self.client,
            route: None,
            identity: &self.identity,
            body: &Body::Absent,
        };
        answer(&Refusal {
            policy: &self.policy,
            facts: &facts,
            denial: &self.denial,
            notes: &self.notes,
            level,
            request_id: &HeaderValue::from_static("0197f2c4-7e1b-7c3a-9a51-000000000001"),
            decision_id: Uuid::from_u128(0x0197_f2c4_7e1b_7c3a_9a51_0d0f_5f2b_6e11),
            nearest: &self.nearest,
            challenges: self.challenges,
            headers: self.shown,
            change: self.change,
            page: None,
            upstream: self.upstream.as_ref(),
        })
    }

    fn json(&self, level: Level) -> serde_json::Value {
        serde_json::from_slice(self.answer(level).body()).unwrap()
    }
}

/// Everything that goes over the wire, as one text.
fn wire(response: &Response<Bytes>) -> String {
    let mut wire = format!("{}\n", response.status().as_u16());
    for (name, value) in response.headers() {
        wire.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    wire.push('\n');
    wire.push_str(std::str::from_utf8(response.body()).unwrap());
    wire
}

fn values<'a>(response: &'a Response<Bytes>, name: &str) -> Vec<&'a str> {
    response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

// === the example of the contract ===

#[test]
fn the_problem_document_reads_as_documented() {
    let mut case = case(Builtin::DefaultDeny, Stage::Rbac, Reason::RoleMissing).known();
    let role = case.policy.roles.get("orders-admin").unwrap();
    case.nearest = vec![Nearest { rule: PLAIN, unmet: vec![Unmet::Roles(vec![role])] }];
    let response = case.answer(Level::Rule);
    assert_eq!(response.status(), 403);
    let body = std::str::from_utf8(response.body()).unwrap();
    // One line on the wire, one member a line here.
    insta::assert_snapshot!(body.replace(",\"", ",\n\""), @r#"
    {"type":"urn:portcullis:reason:role_missing",
    "title":"Forbidden",
    "status":403,
    "detail":"No grant allows this; the nearest one needs the role orders-admin.",
    "instance":"urn:uuid:0197f2c4-7e1b-7c3a-9a51-0d0f5f2b6e11",
    "decision":"deny",
    "stage":"rbac",
    "rule":"rbac/default-deny",
    "reason":"role_missing",
    "policy":"7-3f9a2c1d",
    "temporary":false,
    "needs":{"roles":["orders-admin"]},
    "hints":["Ask for the role orders-admin."],
    "contact":"https://mk-contact.test/access"}
    "#);
}

#[test]
fn everything_is_told_at_full() {
    let case = case(DENY, Stage::Rbac, Reason::DeniedByRule).known();
    insta::assert_snapshot!(wire(&case.answer(Level::Full)));
    insta::assert_snapshot!(wire(&case.header("accept", "text/plain").answer(Level::Full)));
}

#[test]
fn the_text_reads_well() {
    let case = builtin(Builtin::Expired).header("accept", "text/plain");
    insta::assert_snapshot!(wire(&case.answer(Level::Rule)));
    insta::assert_snapshot!(wire(&case.answer(Level::Id)));
}

#[test]
fn the_page_is_whole() {
    let case = case(Builtin::DefaultDeny, Stage::Rbac, Reason::RoleMissing).known();
    insta::assert_snapshot!(wire(&case.header("accept", "text/html").answer(Level::Rule)));
}

// === levels ===

/// What must not be told below a level, and nobody below `full` without a valid identity.
const MARKS: &[(&str, Level)] = &[
    ("rbac/mk-deny", Level::Full),
    ("mk-grant", Level::Full),
    ("mk-shadow", Level::Full),
    ("mk-waf", Level::Full),
    ("mk-target", Level::Full),
    ("mk-data", Level::Full),
    ("mk-msg", Level::Full),
    ("4711", Level::Full),
    ("815", Level::Full),
    ("mk-file", Level::Full),
    ("203.0.113.77", Level::Full),
    ("198.51.100.88", Level::Full),
    ("x-forwarded-for", Level::Full),
    ("orders-reader", Level::Full),
    ("mk-scope-own", Level::Full),
    ("6-0badcafe", Level::Full),
    ("2026-11-24T09:12:03Z", Level::Full),
    ("2031-01-01", Level::Full),
    ("mk-public", Level::Rule),
    ("mk-author", Level::Rule),
    ("mk-remedy", Level::Rule),
    ("mk-desk", Level::Rule),
    ("mk-contact", Level::Rule),
    ("7-3f9a2c1d", Level::Rule),
    ("2030-06-01T00:00:00Z", Level::Rule),
    ("mk-role-a", Level::Rule),
    ("mk-role-b", Level::Rule),
    ("mk-scope-a", Level::Rule),
    ("mk-scope-b", Level::Rule),
    ("MK-METHOD", Level::Rule),
];

/// What no answer ever holds.
const NEVER: &[&str] = &[
    "mk-subject",
    "mk-source",
    "mk-agent",
    "mk-query",
    "mk-host",
    "192.0.2.99",
    "mk-other",
    "mk-else",
    "mk-claimed",
];

#[test]
fn no_reason_tells_more_than_its_level_in_any_format() {
    let formats = [
        ("accept", "*/*"),
        ("accept", "text/html"),
        ("accept", "text/plain"),
        ("content-type", "application/grpc"),
    ];
    let mut seen = Vec::new();
    for reason in Reason::ALL {
        let (name, value) = formats[0];
        for (name, value) in formats.iter().skip(1).chain([&(name, value)]) {
            for (rule, stage) in [
                (RuleRef::Written(DENY), Stage::Rbac),
                (Builtin::DefaultDeny.into(), Stage::Rbac),
                (Builtin::FaultConnect.into(), Stage::Fault),
            ] {
                for known in [false, true] {
                    let mut case = case(rule, stage, *reason).header(name, value);
                    case.denial.until = Some("2030-06-01T00:00:00Z".parse().unwrap());
                    if known {
                        case = case.known();
                    } else {
                        let claimed = Holder { subject: "mk-claimed".into(), ..Holder::default() };
                        let problem = Problem::new(Builtin::Expired, "mk-claimed");
                        case.identity =
                            Identity::Invalid(Problem { claimed: Some(Arc::new(claimed)), ..problem });
                    }
                    for level in [Level::Silent, Level::Id, Level::Rule, Level::Full] {
                        let wire = wire(&case.answer(level));
                        check_marks(&wire, *reason, level, known, &mut seen);
                    }
                }
            }
        }
    }
    // The test can fail: every mark is told to somebody.
    for (mark, _) in MARKS {
        assert!(seen.contains(mark), "{mark} is never told");
    }
}

fn check_marks(wire: &str, reason: Reason, level: Level, known: bool, seen: &mut Vec<&'static str>) {
    for (mark, least) in MARKS {
        let found = wire.contains(mark);
        assert!(level >= *least || !found, "{reason} at {level:?} tells {mark}:\n{wire}");
        let needs = mark.starts_with("mk-role-") || mark.starts_with("mk-scope-");
        assert!(
            known || level == Level::Full || !needs || !found,
            "{reason} tells a stranger {mark}:\n{wire}"
        );
        if found && !seen.contains(mark) {
            seen.push(mark);
        }
    }
    for mark in NEVER {
        assert!(!wire.contains(mark), "{reason} at {level:?} tells {mark}:\n{wire}");
    }
    if level < Level::Rule {
        let info = reason.info();
        for text in [info.code, info.detail].into_iter().chain(words::advice(reason)) {
            assert!(!wire.contains(text), "{reason} at {level:?} tells its reason:\n{wire}");
        }
        for rule in ["default-deny", "upstream-connect"] {
            assert!(!wire.contains(rule), "{reason} at {level:?} tells its rule:\n{wire}");
        }
    }
}

#[test]
fn a_title_says_no_more_than_the_status() {
    let titles = |status| {
        let mut titles: Vec<&str> = Reason::ALL
            .iter()
            .filter(|reason| reason.info().status == status)
            .map(|reason| reason.info().title)
            .collect();
        titles.dedup();
        titles
    };
    for reason in Reason::ALL {
        assert_eq!(titles(reason.info().status).len(), 1, "{reason}");
    }
}

#[test]
fn silent_is_the_answer_of_an_unrouted_path() {
    let unrouted = wire(&builtin(Builtin::NoRoute).answer(Level::Silent));
    assert_eq!(
        unrouted,
        "404\nx-request-id: 0197f2c4-7e1b-7c3a-9a51-000000000001\ncache-control: no-store\n\n"
    );
    for rule in Builtin::ALL.iter().filter(|rule| rule.info().stage != Stage::Fault) {
        for (name, value) in [("accept", "text/html"), ("content-type", "application/grpc")] {
            let mut case = builtin(*rule).header(name, value).known();
            case.challenges.bearer = true;
            assert_eq!(wire(&case.answer(Level::Silent)), unrouted, "{rule:?}");
        }
    }
}

#[test]
fn a_silent_fault_keeps_its_status() {
    let response = builtin(Builtin::FaultTimeout).answer(Level::Silent);
    assert_eq!((response.status().as_u16(), response.headers().len(), response.body().len()), (504, 2, 0));
}

#[test]
fn a_public_name_stands_for_the_rule_below_full() {
    let case = case(DENY, Stage::Rbac, Reason::DeniedByRule);
    assert_eq!(values(&case.answer(Level::Rule), "x-portcullis-rule"), ["rbac/mk-public"]);
    assert_eq!(case.json(Level::Rule)["rule"], "rbac/mk-public");
    assert_eq!(values(&case.answer(Level::Full), "x-portcullis-rule"), ["rbac/mk-deny"]);
    assert_eq!(case.json(Level::Full)["rule"], "rbac/mk-deny");
}

#[test]
fn the_author_s_words_come_before_ours() {
    let json = case(DENY, Stage::Rbac, Reason::DeniedByRule).json(Level::Rule);
    assert_eq!(
        (&json["detail"], &json["hints"][0], &json["contact"]),
        (&"mk-author".into(), &"mk-remedy".into(), &"mk-desk".into())
    );
}

#[test]
fn the_words_of_the_policy_are_escaped_in_json() {
    let mut case = builtin(Builtin::NoRoute);
    for contact in ["a\"b", "\\", "\n\u{1}", "é \u{202e}", ""] {
        case.policy.contact = Some(contact.into());
        assert_eq!(case.json(Level::Rule)["contact"], contact);
    }
}

#[test]
fn what_is_unknown_at_full_is_null() {
    let mut case = builtin(Builtin::DefaultDeny);
    case.change = None;
    let json = case.json(Level::Full);
    for member in ["rule_at", "rule_changed", "changed_in"] {
        assert_eq!(json.get(member), Some(&serde_json::Value::Null), "{member}");
    }
}

#[test]
fn nearest_grants_are_wanted_only_where_they_are_told() {
    let case = case(Builtin::DefaultDeny, Stage::Rbac, Reason::RoleMissing);
    let wants = |case: &Case, level| wants_nearest(&case.denial, &case.identity, level);
    assert!(!wants(&case, Level::Rule) && wants(&case, Level::Full));
    let case = case.known();
    assert!(!wants(&case, Level::Id) && wants(&case, Level::Rule));
    let ip = builtin(Builtin::NoRoute).known();
    assert!(!wants(&ip, Level::Rule) && !wants(&ip, Level::Full));
    let deny = self::case(DENY, Stage::Rbac, Reason::DeniedByRule).known();
    assert!(!wants(&deny, Level::Rule) && !wants(&deny, Level::Full));
}

#[test]
fn the_author_of_the_nearest_grant_advises_those_who_are_known() {
    let advised = |case: Case| {
        let json = case.json(Level::Rule);
        (json["hints"].to_string().contains("mk-remedy"), json["contact"] == "mk-desk")
    };
    let near = |mut case: Case| {
        case.nearest = vec![Nearest { rule: DENY, unmet: vec![Unmet::Condition] }];
        case
    };
    assert_eq!(advised(near(builtin(Builtin::DefaultDeny).known())), (true, true));
    assert_eq!(advised(near(builtin(Builtin::DefaultDeny))), (false, false));
    // Another rule refused, and it has no such words.
    assert_eq!(advised(near(case(PLAIN, Stage::Rbac, Reason::DeniedByRule).known())), (false, false));
}

// === headers ===

#[test]
fn a_refusal_names_its_rule_in_headers() {
    let response = builtin(Builtin::DefaultDeny).answer(Level::Rule);
    insta::assert_snapshot!(wire(&response).split("\n\n").next().unwrap(), @r#"
    403
    content-type: application/problem+json
    cache-control: no-store
    vary: authorization, cookie, accept
    x-content-type-options: nosniff
    referrer-policy: no-referrer
    x-request-id: 0197f2c4-7e1b-7c3a-9a51-000000000001
    x-portcullis-decision: deny
    x-portcullis-rule: rbac/default-deny
    x-portcullis-reason: no_matching_grant
    x-portcullis-policy: 7-3f9a2c1d
    proxy-status: portcullis; error=http_request_denied; details="rbac/default-deny"
    "#);
}

#[test]
fn each_header_can_be_switched_off() {
    let mut case = case(DENY, Stage::Rbac, Reason::DeniedByRule);
    let all = case.answer(Level::Full);
    let off = ResponseHeaders::default();
    for (name, shown) in [
        ("x-portcullis-decision", ResponseHeaders { decision: false, ..off }),
        ("x-portcullis-rule", ResponseHeaders { rule: false, ..off }),
        ("x-portcullis-reason", ResponseHeaders { reason: false, ..off }),
        ("x-portcullis-policy", ResponseHeaders { policy: false, ..off }),
        ("x-portcullis-shadow", ResponseHeaders { shadow: false, ..off }),
        ("proxy-status", ResponseHeaders { proxy_status: false, ..off }),
    ] {
        case.shown = shown;
        let mut without = all.headers().clone();
        assert!(without.remove(name).is_some(), "{name}");
        assert_eq!(*case.answer(Level::Full).headers(), without, "{name}");
    }
}

#[test]
fn a_fault_is_an_error_of_its_own_type_behind_what_the_upstream_said() {
    let mut case = builtin(Builtin::FaultReset);
    case.upstream = Some(HeaderMap::from_iter([(
        http::HeaderName::from_static("proxy-status"),
        HeaderValue::from_static("origin-cache; fwd=miss"),
    )]));
    let response = case.answer(Level::Rule);
    assert_eq!(response.status(), 502);
    assert_eq!(values(&response, "x-portcullis-decision"), ["error"]);
    let ours = "portcullis; error=connection_terminated; details=\"fault/upstream-reset\"";
    assert_eq!(values(&response, "proxy-status"), ["origin-cache; fwd=miss", ours]);
}

#[test]
fn a_page_brings_its_policy_with_the_hash_of_its_style() {
    let response = builtin(Builtin::NoRoute).header("accept", "text/html").answer(Level::Rule);
    let body = std::str::from_utf8(response.body()).unwrap();
    let style = body.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>")).unwrap().0;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    let hash = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
    let policy = values(&response, "content-security-policy")[0];
    assert!(policy.starts_with(&format!("default-src 'none'; style-src 'sha256-{hash}'")), "{policy}");
    assert!(!body.contains("style=") && !body.contains("<script") && !body.contains("<img"), "{body}");
}

#[test]
fn the_path_on_a_page_cannot_be_markup() {
    let mut case = builtin(Builtin::NoRoute).header("accept", "text/html");
    let uri: Uri = "http://a.test/x'&quot;\"{x}/%3Cscript%3E".parse().unwrap();
    case.target = Target::parse(&Method::GET, Scheme::Http, &uri, &HeaderMap::new());
    let response = case.answer(Level::Rule);
    let body = std::str::from_utf8(response.body()).unwrap();
    assert!(body.contains("%27%26quot;%22%7Bx%7D&#x2f;%3Cscript%3E"), "{body}");
}

#[test]
fn the_words_of_the_policy_are_escaped_on_a_page_and_in_text() {
    let mut case = builtin(Builtin::NoRoute).header("accept", "text/html");
    case.policy.contact = Some("<b>\u{202e}javascript:alert(1)".into());
    let response = case.answer(Level::Rule);
    let body = std::str::from_utf8(response.body()).unwrap();
    assert!(!body.contains("<b>") && !body.contains("href"), "{body}");
    case.headers.insert(header::ACCEPT, HeaderValue::from_static("text/plain"));
    let response = case.answer(Level::Rule);
    assert!(std::str::from_utf8(response.body()).unwrap().contains("\\u{202e}"));
}

#[test]
fn head_has_the_fields_of_get_and_no_content() {
    for accept in ["*/*", "text/html", "text/plain"] {
        let case = builtin(Builtin::NoRoute).header("accept", accept);
        let get = case.answer(Level::Rule);
        let head = case.method(Method::HEAD).answer(Level::Rule);
        let mut headers = get.headers().clone();
        headers.insert(header::CONTENT_LENGTH, get.body().len().into());
        assert_eq!((head.headers(), head.body().len()), (&headers, 0));
    }
}

#[test]
fn grpc_gets_a_status_without_content() {
    let case = case(Builtin::DefaultDeny, Stage::Rbac, Reason::RoleMissing).known();
    let response = case.header("content-type", "application/grpc+proto").answer(Level::Rule);
    assert_eq!((response.status().as_u16(), response.body().len()), (200, 0));
    assert_eq!(values(&response, "content-type"), ["application/grpc"]);
    assert_eq!(values(&response, "grpc-status"), ["7"]);
    let message = "No grant allows this; the nearest one needs one of the roles mk-role-a, mk-role-b. (rbac/default-deny)";
    assert_eq!(values(&response, "grpc-message"), [message]);
    assert_eq!(values(&response, "x-portcullis-rule"), ["rbac/default-deny"]);
}

// === challenges ===

fn challenges(mut case: Case, challenges: Challenges<'static>) -> Vec<String> {
    case.challenges = challenges;
    let response = case.answer(Level::Id);
    values(&response, "www-authenticate").into_iter().map(str::to_owned).collect()
}

const NONE: Challenges<'static> = Challenges { bearer: false, api_key_header: None, basic_realm: None };

#[test]
fn nothing_shown_is_challenged_without_an_error() {
    let all =
        Challenges { bearer: true, api_key_header: Some("x-api-key"), basic_realm: Some("orders \"desk\"") };
    assert_eq!(
        challenges(builtin(Builtin::AuthnRequired), all),
        [
            "Bearer realm=\"portcullis\"",
            "ApiKey realm=\"portcullis\", header=\"x-api-key\"",
            "Basic realm=\"orders desk\", charset=\"UTF-8\"",
        ]
    );
}

#[test]
fn something_shown_is_an_invalid_token() {
    let mut case = builtin(Builtin::Expired);
    case.identity = Identity::Invalid(Problem::new(Builtin::Expired, ""));
    let bearer = Challenges { bearer: true, ..NONE };
    assert_eq!(challenges(case, bearer), ["Bearer realm=\"portcullis\", error=\"invalid_token\""]);
}

#[test]
fn scripts_are_not_asked_for_a_password_in_a_window() {
    let basic = Challenges { basic_realm: Some("r"), ..NONE };
    let ask = |name, value| challenges(builtin(Builtin::AuthnRequired).header(name, value), basic);
    assert_eq!(ask("sec-fetch-mode", "navigate"), ["Basic realm=\"r\", charset=\"UTF-8\""]);
    assert_eq!(ask("sec-fetch-mode", "cors"), ["xBasic realm=\"r\", charset=\"UTF-8\""]);
    assert_eq!(ask("x-requested-with", "XMLHttpRequest"), ["xBasic realm=\"r\", charset=\"UTF-8\""]);
}

#[test]
fn a_401_always_has_a_challenge_and_nothing_else_has_one() {
    for reason in Reason::ALL {
        for level in [Level::Id, Level::Rule, Level::Full] {
            let response = case(PLAIN, Stage::Authn, *reason).answer(level);
            let count = response.headers().get_all("www-authenticate").iter().count();
            assert_eq!(count, usize::from(response.status() == 401), "{reason}");
        }
    }
}

#[test]
fn a_missing_scope_of_a_bearer_token_is_challenged_with_the_scope() {
    let case = case(Builtin::DefaultDeny, Stage::Rbac, Reason::ScopeMissing).known();
    let response = case.answer(Level::Rule);
    assert_eq!(response.status(), 403);
    let want = "Bearer error=\"insufficient_scope\", scope=\"mk-scope-a mk-scope-b\"";
    assert_eq!(values(&response, "www-authenticate"), [want]);
    assert!(values(&case.answer(Level::Id), "www-authenticate").is_empty());
    assert_eq!(case.json(Level::Rule)["needs"], serde_json::json!({"scopes": ["mk-scope-a", "mk-scope-b"]}));
}

// === time ===

#[test]
fn a_refusal_that_ends_says_when() {
    let mut case = case(DENY, Stage::Rbac, Reason::DeniedByRule);
    case.denial.until = Some("2026-11-24T10:00:30Z".parse().unwrap());
    let (response, json) = (case.answer(Level::Rule), case.json(Level::Rule));
    assert_eq!(values(&response, "retry-after"), ["30"]);
    assert_eq!((&json["retry_after"], &json["temporary"]), (&30.into(), &true.into()));
    assert_eq!(json["hints"][1], "Try again after 2026-11-24T10:00:30Z.");
    case.denial.until = Some("2020-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(values(&case.answer(Level::Rule), "retry-after"), ["1"]);
}

#[test]
fn every_503_says_when_to_come_back_and_lasting_refusals_do_not() {
    for reason in Reason::ALL {
        let response = case(PLAIN, Stage::Rbac, *reason).answer(Level::Rule);
        let says = response.headers().contains_key("retry-after");
        assert_eq!(says, response.status() == 503, "{reason}");
    }
}

#[test]
fn a_refused_method_learns_the_others() {
    let case = builtin(Builtin::MethodRefused);
    let standard = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    assert_eq!(values(&case.answer(Level::Id), "allow"), [standard]);
    assert_eq!(values(&case.answer(Level::Rule), "allow"), [format!("{standard}, MK-METHOD")]);
}

// === allows ===

fn marked(level: Level, personal: bool, upstream: &[(&'static str, &'static str)]) -> String {
    let policy = policy();
    let shadow = smallvec![ShadowHit { rule: SHADOW.into(), reason: Reason::IpDenied }];
    let mut headers = HeaderMap::new();
    for (name, value) in upstream {
        headers.append(*name, HeaderValue::from_static(value));
    }
    mark(
        &mut headers,
        &Allowance {
            policy: &policy,
            rule: DENY.into(),
            notes: &Notes { shadow, ..Notes::default() },
            level,
            request_id: &HeaderValue::from_static("id-12345"),
            headers: ResponseHeaders::default(),
            personal,
        },
    );
    let lines = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn an_allow_is_marked_as_far_as_the_level_goes() {
    assert_eq!(marked(Level::Silent, false, &[]), "x-request-id: id-12345");
    assert_eq!(marked(Level::Id, false, &[]), "x-request-id: id-12345\nx-portcullis-decision: allow");
    insta::assert_snapshot!(marked(Level::Rule, false, &[("proxy-status", "cache; hit")]), @r"
    proxy-status: cache; hit
    x-request-id: id-12345
    x-portcullis-decision: allow
    x-portcullis-rule: rbac/mk-public
    x-portcullis-policy: 7-3f9a2c1d
    ");
    insta::assert_snapshot!(marked(Level::Full, false, &[]), @r"
    x-request-id: id-12345
    x-portcullis-decision: allow
    x-portcullis-rule: rbac/mk-deny
    x-portcullis-policy: 7-3f9a2c1d
    x-portcullis-shadow: ip/mk-shadow
    ");
}

#[test]
fn an_allow_that_is_one_caller_s_is_private_unless_the_upstream_said_more() {
    for level in [Level::Silent, Level::Rule] {
        assert!(marked(level, true, &[]).contains("cache-control: private"));
        let own = marked(level, true, &[("cache-control", "public, max-age=60")]);
        assert!(own.contains("public, max-age=60") && !own.contains("private"));
        assert!(!marked(level, false, &[]).contains("cache-control"));
    }
}
