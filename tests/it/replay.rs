//! Replay against brute force: a day of mixed traffic is recorded under one policy and put through
//! another; what `replay` says of the records must be what judging the original requests says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use jiff::{SignedDuration, Timestamp};
use portcullis::audit::{DecidedBy, Named, NamedValue, Record, Recorder, Settings, Timing, Traffic};
use portcullis::config;
use portcullis::decision::{Outcome, RuleRef, Stage};
use portcullis::facts::{Body, Holder, Identity, Scheme};
use portcullis::policy::condition::Seen;
use portcullis::policy::source::Sources;
use portcullis::policy::{Caller, Policy, Sample, World};
use serde_json::json;
use uuid::Uuid;

use crate::support::command::Bench;

const OLD: &str = r#"version = 1
[server]
listen = ["127.0.0.1:8080"]
[upstream.app]
servers = ["builtin:echo"]
[[route]]
id = "api"
host = "api.test"
path = "/{*rest}"
upstream = "app"
[[route]]
id = "public"
path = "/public/{*rest}"
upstream = "app"
authn = "off"
[[route]]
id = "rest"
path = "/shop/{*rest}"
upstream = "app"
[network]
office = ["192.0.2.0/25"]
[[ip.rule]]
id = "admin-from-office"
path = "/shop/admin/{*rest}"
allow = ["office"]
[authn]
mode = "optional"
[[authn.api_key]]
id = "corp"
header = "x-api-key"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
roles = ["reader", "writer", "admin"]
[rbac.role.reader]
[rbac.role.writer]
inherits = ["reader"]
[rbac.role.admin]
[[rbac.grant]]
id = "read"
roles = ["reader"]
methods = ["GET", "HEAD"]
path = "/shop/{*rest}"
[[rbac.grant]]
id = "write"
roles = ["writer"]
methods = ["PUT", "POST"]
path = "/shop/orders/{id}"
[[rbac.grant]]
id = "own"
roles = ["authenticated"]
path = "/users/{name}"
when = "claims.sub == path.name"
[[rbac.grant]]
id = "level"
roles = ["authenticated"]
path = "/levels/{n}"
when = "claims.level >= 3 or header.x-tenant == 'blue'"
[[rbac.grant]]
id = "api-all"
roles = ["authenticated"]
host = "api.test"
path = "/v1/{*rest}"
[[rbac.grant]]
id = "open"
roles = ["anyone"]
paths = ["/public/{*rest}", "/shop/help"]
[[rbac.deny]]
id = "no-deletes"
methods = ["DELETE"]
until = 2026-11-24T12:00:00Z
[[rbac.grant]]
id = "admin-all"
roles = ["admin"]
path = "/shop/{*rest}"
"#;

/// Rules on texts, of which the record keeps nothing but what came of them.
const WAF: &str = r#"
[waf]
threshold = 5
[[waf.rule]]
id = "ab"
action = "deny"
targets = ["query"]
match = { contains = "a b" }
[[waf.rule]]
id = "one"
score = 3
targets = ["query"]
match = { equals = "1" }
[[waf.rule]]
id = "two"
score = 2
path = "/shop/{*rest}"
targets = ["query"]
match = { present = true }
[[waf.rule]]
id = "shop-q"
action = "deny"
path = "/shop/orders/{id}"
targets = ["query:q"]
match = { equals = "" }
[[waf.rule]]
id = "watched"
action = "deny"
mode = "shadow"
targets = ["query:r"]
match = { present = true }
"#;

const EXCLUDE: &str = r#"
[[waf.exclude]]
id = "help"
path = "/shop/help"
targets = ["query:q"]
rules = ["waf/ab"]
"#;

fn policy(text: &str) -> Policy {
    let outcome = config::compile(Sources::single("p.toml", text), Timestamp::UNIX_EPOCH);
    outcome.setup.unwrap_or_else(|| panic!("{:?}", outcome.diagnostics)).policy
}

/// A stream of numbers that is the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

/// The request of a moment.
fn sample(dice: &mut Dice, now: Timestamp) -> Sample {
    let paths = [
        "/shop",
        "/shop/",
        "/shop/help",
        "/shop/orders/7",
        "/shop/orders/8",
        "/shop/admin",
        "/shop/admin/x",
        "/public/a",
        "/public",
        "/users/u1",
        "/users/u2",
        "/levels/1",
        "/v1/a",
        "/v1/a/b",
        "/nothing",
        "/",
        "/shop/a%20b",
        "/shop//orders/./7",
    ];
    let mut path = dice.pick(&paths).to_owned();
    if dice.roll(4) == 0 {
        path.push_str(dice.pick(&["?q=1", "?q=a%20b&r=2", "?", "?q=&r=1", "?r=2"]));
    }
    let method = dice.pick(&["GET", "GET", "GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"]);
    let mut headers = HeaderMap::new();
    headers
        .insert(header::HOST, HeaderValue::from_static(dice.pick(&["app.test", "api.test", "API.test:80"])));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("generator/1"));
    if dice.roll(3) == 0 {
        let tenant = HeaderName::from_static("x-tenant");
        headers.append(tenant.clone(), HeaderValue::from_static(dice.pick(&["blue", "red"])));
        if dice.roll(5) == 0 {
            headers.append(tenant, HeaderValue::from_static("blue"));
        }
    }
    let caller = match dice.roll(5) {
        0 => Caller::FromHeaders,
        _ => {
            let subject = dice.pick(&["u1", "u2", "u3"]);
            let roles: Vec<Box<str>> = ["reader", "writer", "admin", "auditor"]
                .iter()
                .filter(|_| dice.roll(3) == 0)
                .map(|role| (*role).into())
                .collect();
            let mut claims = serde_json::Map::new();
            claims.insert("sub".into(), subject.into());
            if dice.roll(2) == 0 {
                claims.insert("level".into(), json!(dice.roll(6)));
            }
            if dice.roll(4) == 0 {
                claims.insert("team".into(), json!(["a", "b"]));
            }
            Caller::Assumed(Arc::new(Holder {
                source: "corp".into(),
                subject: subject.into(),
                roles,
                claims,
                bearer: true,
                ..Holder::default()
            }))
        }
    };
    Sample {
        now,
        scheme: Scheme::Http,
        method: Method::from_bytes(method.as_bytes()).expect("a method"),
        uri: path.parse::<Uri>().expect("a target"),
        fragment: false,
        version: Version::HTTP_11,
        headers,
        body: Default::default(),
        peer: IpAddr::from([192, 0, 2, dice.roll(256) as u8]),
        certificate: None,
        caller,
    }
}

/// The record that the gateway would write.
fn record(policy: &Policy, sample: &Sample, id: Uuid, out: &mut Vec<u8>) {
    let decision = policy.decide(sample, &World::default(), None);
    let admitted = policy.admit_sample(sample);
    let early = match decision.outcome {
        Outcome::Deny(denial) => {
            matches!(denial.stage, Stage::Intake | Stage::Ip | Stage::Route | Stage::Waf)
        }
        Outcome::Allow(_) => false,
    };
    let identity = match early {
        true => Identity::Nobody,
        false => policy.identify_sample(admitted.route, sample, &World::default()),
    };
    let facts = policy.facts(&admitted, &sample.headers, &identity, &Body::Absent, sample.now);
    let recorded = policy.rbac.condition_facts().iter();
    let values: Vec<_> = recorded.filter_map(|fact| Some((fact.to_string(), fact.seen(&facts)?))).collect();
    let named: Vec<_> = values
        .iter()
        .map(|(name, value)| Named {
            name,
            value: match value {
                Seen::Text(text) => NamedValue::Text(text),
                Seen::Claim(claim) => NamedValue::Json(claim),
                Seen::Unclear => NamedValue::Unclear,
            },
        })
        .collect();
    let recorder = Recorder::new(&Settings::default(), &[], b"key");
    let seen = recorder.see(policy, &facts, sample.version, &named);
    Record {
        policy,
        now: sample.now,
        request_id: &id.to_string(),
        decision_id: id,
        outcome: decision.outcome,
        notes: &decision.notes,
        seen: &seen,
        identity: &identity,
        nearest: &[],
        rule_changed: None,
        status: decision.own_status().unwrap_or(200),
        grpc_status: None,
        decided_by: DecidedBy::Proxy,
        timing: Timing::default(),
        bytes: Traffic::default(),
        trace_id: None,
    }
    .write(out);
}

/// What of a day's requests is decided otherwise: by direction and rules, how many and which.
type Flips = BTreeMap<(String, String, String), (u64, BTreeSet<String>)>;

struct Day {
    samples: Vec<Sample>,
    log: Vec<u8>,
}

fn day(old: &Policy, requests: i64) -> Day {
    let begin: Timestamp = "2026-11-24T00:00:00Z".parse().expect("a time");
    let mut dice = Dice(7);
    let (mut samples, mut log) = (Vec::new(), Vec::new());
    for number in 0..requests {
        let now = begin + SignedDuration::from_millis(86_400_000 / requests * number);
        let sample = sample(&mut dice, now);
        record(old, &sample, Uuid::from_u128(number as u128 + 1), &mut log);
        samples.push(sample);
    }
    Day { samples, log }
}

fn brute_force(day: &Day, old: &Policy, new: &Policy) -> Flips {
    let mut flips = Flips::new();
    for sample in &day.samples {
        let (was, is) =
            (old.decide(sample, &World::default(), None), new.decide(sample, &World::default(), None));
        let allows = |outcome: &Outcome| matches!(outcome, Outcome::Allow(_));
        if allows(&was.outcome) == allows(&is.outcome) {
            continue;
        }
        let name = |policy: &Policy, rule: RuleRef| policy.rules.name(rule).to_owned();
        let to = if allows(&is.outcome) { "allow" } else { "deny" };
        let entry = flips.entry((to.to_owned(), name(new, is.rule()), name(old, was.rule()))).or_default();
        entry.0 += 1;
        let path = old.admit_sample(sample).target.path().to_owned();
        entry.1.insert(format!("{} {path}", sample.method));
    }
    flips
}

struct Replayed {
    flips: Flips,
    unknown: u64,
    same: u64,
    code: i32,
}

fn replayed(day: &Day, old: Option<&str>, new: &str) -> Replayed {
    let bench = Bench::with(new);
    bench.write("day.jsonl", &day.log);
    let mut arguments = vec!["replay", "day.jsonl", "--config", "portcullis.toml", "--format", "json"];
    if let Some(old) = old {
        bench.write("old.toml", old);
        arguments.extend(["--from", "old.toml"]);
    }
    let ran = bench.run(&arguments);
    let body = ran.json();
    assert_eq!(body["records"], day.samples.len(), "{}", ran.show());
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let flips = body["flips_by_rule"].as_array().expect("a list").iter().map(|flip| {
        let requests = flip["requests"].as_array().expect("a list").iter().map(text).collect();
        (
            (text(&flip["to"]), text(&flip["rule"]), text(&flip["before"])),
            (flip["count"].as_u64().expect("a number"), requests),
        )
    });
    let number = |key: &str| body[key].as_u64().expect("a number");
    Replayed { flips: flips.collect(), unknown: number("cannot_tell"), same: number("same"), code: ran.code }
}

fn changed(from: &str, to: &str) -> String {
    let new = OLD.replacen(from, to, 1);
    assert_ne!(new, OLD, "{from}");
    new
}

#[test]
fn a_changed_rule_flips_exactly_what_brute_force_says() {
    let old = policy(OLD);
    let day = day(&old, 6_000);
    let freeze = "[[rbac.deny]]\nid = \"freeze\"\npath = \"/shop/orders/{id}\"\nexcept_roles = [\"admin\"]\n[[rbac.grant]]\nid = \"admin-all\"";
    for new in [
        changed("methods = [\"GET\", \"HEAD\"]", "methods = [\"GET\"]"),
        changed("methods = [\"PUT\", \"POST\"]", "methods = [\"PUT\", \"POST\", \"DELETE\"]"),
        changed("[[rbac.grant]]\nid = \"admin-all\"", freeze),
        changed("office = [\"192.0.2.0/25\"]", "office = [\"192.0.2.0/26\"]"),
        changed("inherits = [\"reader\"]", "inherits = []"),
        changed("until = 2026-11-24T12:00:00Z", "until = 2026-11-24T06:00:00Z"),
        changed("claims.level >= 3", "claims.level >= 5"),
        changed("header.x-tenant == 'blue'", "has header.x-tenant"),
        changed("roles = [\"anyone\"]", "roles = [\"authenticated\"]"),
        // Who must be shown something is a matter of routes, and of no source.
        changed("mode = \"optional\"", "mode = \"required\""),
        changed(
            "path = \"/shop/{*rest}\"\nupstream = \"app\"",
            "path = \"/shop/{*rest}\"\nupstream = \"app\"\nauthn = \"off\"",
        ),
        changed("id = \"rest\"\n", "id = \"rest\"\nhost = \"other.test\"\n"),
    ] {
        let want = brute_force(&day, &old, &policy(&new));
        let got = replayed(&day, Some(OLD), &new);
        assert_eq!(got.unknown, 0, "{new}");
        assert_eq!(got.flips, want, "{new}");
        assert!(!want.is_empty(), "{new}");
        assert_eq!(got.code, 1);
    }
    let same = replayed(&day, Some(OLD), OLD);
    assert_eq!((same.unknown, same.flips.len(), same.same, same.code), (0, 0, 6_000, 0));
}

/// Where what passes is sent, and what is done to it on the way, decides nothing.
#[test]
fn edits_of_routes_that_decide_nothing_are_no_reason_not_to_tell() {
    let old = policy(OLD);
    let day = day(&old, 3_000);
    let edited = [
        "request_headers = { set = { x-seen = \"yes\" } }\nauthn = \"off\"",
        "response_headers = { remove = [\"server\"] }\nhsts = { max_age = \"60s\" }\nauthn = \"off\"",
        "timeouts = { total = \"9s\" }\npreserve_host = false\nauthn = \"off\"",
    ];
    for edit in edited {
        let new = changed("authn = \"off\"", edit);
        let got = replayed(&day, Some(OLD), &new);
        assert_eq!((got.unknown, got.flips.len(), got.same, got.code), (0, 0, 3_000, 0), "{new}");
    }
    // How long a body may take does decide.
    let slow = changed("authn = \"off\"", "timeouts = { body_idle = \"9s\" }\nauthn = \"off\"");
    assert!(replayed(&day, Some(OLD), &slow).unknown > 0);
}

/// Who is behind a proxy is who was, as long as the same proxies are trusted, whatever other networks say.
#[test]
fn clients_behind_proxies_are_told_while_the_proxies_are_the_same() {
    let behind = |text: &str, proxies: &str| {
        let listen = "listen = [\"127.0.0.1:8080\"]";
        let server =
            format!("{listen}\ntrusted_proxies = [\"{proxies}\"]\nclient_address = \"x-forwarded-for\"");
        text.replacen(listen, &server, 1)
    };
    let old_text = behind(OLD, "198.51.100.0/24");
    let old = policy(&old_text);
    let day = day(&old, 3_000);
    let network = changed("office = [\"192.0.2.0/25\"]", "office = [\"192.0.2.0/26\"]");
    let new = behind(&network, "198.51.100.0/24");
    let want = brute_force(&day, &old, &policy(&new));
    let got = replayed(&day, Some(&old_text), &new);
    assert_eq!((got.unknown, got.flips, got.code), (0, want.clone(), 1));
    assert!(!want.is_empty());
    assert!(replayed(&day, Some(&old_text), &behind(&network, "198.51.100.0/25")).unknown > 0);
}

/// Where WAF rules stayed as they were, what is recorded of them holds for another policy too: for all
/// requests if none changed, else for those that the changed ones are not about.
#[test]
fn waf_rules_that_did_not_change_are_no_reason_not_to_tell() {
    let old_text = format!("{OLD}{WAF}");
    let old = policy(&old_text);
    let day = day(&old, 6_000);
    let refused = String::from_utf8_lossy(&day.log).matches("\"stage\":\"waf\"").count();
    assert!(refused > 300, "{refused} refused by WAF rules");
    let with = |from: &str, to: &str| {
        let new = old_text.replacen(from, to, 1);
        assert_ne!(new, old_text, "{from}");
        new
    };
    // Another rule changed, and less passes: all of it is told.
    for new in [
        with("methods = [\"GET\", \"HEAD\"]", "methods = [\"GET\"]"),
        with("until = 2026-11-24T12:00:00Z", "until = 2026-11-24T18:00:00Z"),
        with("office = [\"192.0.2.0/25\"]", "office = [\"192.0.2.0/26\"]"),
        with("claims.level >= 3", "claims.level >= 5"),
    ] {
        let want = brute_force(&day, &old, &policy(&new));
        let got = replayed(&day, Some(&old_text), &new);
        assert_eq!((got.unknown, got.flips), (0, want.clone()), "{new}");
        assert!(!want.is_empty(), "{new}");
    }
    // More passes: the rules had been asked before roles were.
    let new = with("methods = [\"PUT\", \"POST\"]", "methods = [\"PUT\", \"POST\", \"DELETE\"]");
    let got = replayed(&day, Some(&old_text), &new);
    assert_eq!((got.unknown, got.flips), (0, brute_force(&day, &old, &policy(&new))));
    // WAF rules changed. Nothing false is said, and there is much that they are not about.
    let all = day.samples.len() as u64;
    for (new, most) in [
        // It is about one path in eighteen.
        (
            with(
                "targets = [\"query:q\"]\nmatch = { equals = \"\" }",
                "targets = [\"query\"]\nmatch = { equals = \"\" }",
            ),
            all / 9,
        ),
        // A rule less, which refused by itself: what passed passes, what others refused is refused.
        (with("id = \"ab\"\naction = \"deny\"", "id = \"ab\"\nmode = \"off\"\naction = \"deny\""), all / 4),
        // A rule more: what was refused is refused.
        (
            with(
                "id = \"watched\"\naction = \"deny\"\nmode = \"shadow\"",
                "id = \"watched\"\naction = \"deny\"",
            ),
            all - 1,
        ),
        // It only watches, before and after.
        (with("targets = [\"query:r\"]", "targets = [\"query:s\"]"), 0),
        (with("score = 3", "score = 4"), all - 1),
        // What is kept from a rule for one path: only who was refused there may pass.
        (format!("{old_text}{EXCLUDE}"), all / 18),
    ] {
        let want = brute_force(&day, &old, &policy(&new));
        let got = replayed(&day, Some(&old_text), &new);
        assert!(got.unknown <= most, "{} of {all} are not told: {new}", got.unknown);
        true_of(&got, &want, &day, &new);
    }
}

#[test]
fn what_cannot_be_known_is_not_said() {
    let old = policy(OLD);
    let day = day(&old, 3_000);
    let waf = "[[waf.rule]]\nid = \"w\"\naction = \"deny\"\ntargets = [\"query\"]\nmatch = { contains = \"a b\" }\n";
    for (old_text, new, unknown) in [
        // A claim that no condition looked at before.
        (Some(OLD), changed("claims.level >= 3", "'a' in claims.team"), true),
        // WAF rules for texts that are not kept.
        (Some(OLD), format!("{OLD}{waf}"), true),
        // Who asks was not looked at where the address was refused, nor where the route reads nobody.
        (Some(OLD), changed("allow = [\"office\"]", "allow = [\"0.0.0.0/0\", \"::/0\"]"), true),
        (Some(OLD), changed("authn = \"off\"\n", ""), true),
        // A role that did not count.
        (
            Some(OLD),
            changed("[rbac.role.admin]", "[rbac.role.auditor]\n[rbac.role.admin]").replacen(
                "roles = [\"admin\"]",
                "roles = [\"admin\", \"auditor\"]",
                1,
            ),
            true,
        ),
        // The policy that decided is not known.
        (None, changed("methods = [\"GET\", \"HEAD\"]", "methods = [\"GET\"]"), true),
    ] {
        let want = brute_force(&day, &old, &policy(&new));
        let got = replayed(&day, old_text, &new);
        assert_eq!(got.unknown > 0, unknown, "{new}");
        true_of(&got, &want, &day, &new);
    }
}

/// What is said is true: no more flips than there are, and no request the same that flips.
fn true_of(got: &Replayed, want: &Flips, day: &Day, new: &str) {
    for (key, (count, requests)) in &got.flips {
        let (real, known) = want.get(key).unwrap_or_else(|| panic!("{key:?} in {new}"));
        assert!(count <= real && requests.is_subset(known), "{key:?} in {new}");
    }
    let flips: u64 = want.values().map(|(count, _)| count).sum();
    assert!(got.same <= day.samples.len() as u64 - flips, "{new}");
    let told: u64 = got.flips.values().map(|(count, _)| count).sum();
    assert_eq!(told + got.same + got.unknown, day.samples.len() as u64);
}

#[test]
fn lines_that_are_no_records_are_counted_and_compressed_logs_are_read() {
    let old = policy(OLD);
    let mut day = day(&old, 50);
    day.log.extend_from_slice(b"{\"torn\":\n");
    let bench = Bench::with(OLD);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &day.log).expect("in memory");
    bench.write("day.jsonl.1.gz", encoder.finish().expect("in memory"));
    let ran = bench.run(&["replay", "day.jsonl.1.gz", "--from", "portcullis.toml"]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    assert!(ran.out.contains("51 records") && ran.out.contains("the line is no record"), "{}", ran.show());
    let strict = bench.run(&["replay", "day.jsonl.1.gz", "--from", "portcullis.toml", "--strict"]);
    assert_eq!(strict.code, 1, "{}", strict.show());
    let missing = bench.run(&["replay", "nothing.jsonl"]);
    assert_eq!(missing.code, 78, "{}", missing.show());
}
