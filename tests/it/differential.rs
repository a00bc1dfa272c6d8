//! The server and `Policy::decide`, which `explain` and `test` use, must agree on every case of every
//! table: the same verdict, rule, reason, route, client, WAF matches and shadow hits.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderValue, Version, header};
use jiff::Timestamp;
use jsonwebtoken::{EncodingKey, Header};
use portcullis::cli::test::cases::Case;
use portcullis::decision::{Decision, Outcome};
use portcullis::policy::{Caller, Policy, Sample, World};
use serde_json::{Value, json};

use crate::support::tables::{Table, folder, setup, tables};
use crate::support::{Gateway, exchange};

const SECRET: &str = "a-secret-of-this-test-that-signs-identities-which-cases-take-as-given";

/// The configuration of a table, changed so that a test on loopback can speak for any client and anybody.
fn configuration(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("readable");
    let parsed: toml::Table = text.parse().expect("TOML");
    let roles = parsed.get("rbac").and_then(|rbac| rbac.get("role")).and_then(toml::Value::as_table);
    let roles: Vec<&String> = roles.into_iter().flat_map(|roles| roles.keys()).collect();
    let mut text = text.replace("listen = [\"127.0.0.1:8080\"]", "listen = [\"127.0.0.1:0\"]");
    text = if text.contains("trusted_proxies = [") {
        text.replace("trusted_proxies = [", "trusted_proxies = [\"127.0.0.1\", ")
    } else {
        let trusting = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\nclient_address = \"x-forwarded-for\"";
        text.replace("[server]", trusting)
    };
    text + &format!(
        "\n[[authn.jwt]]\nid = \"assumed\"\nissuer = \"https://assumed.test\"\naudience = [\"test\"]\n\
         algorithms = [\"HS256\"]\nsecret_file = \"assumed.txt\"\nroles = \"roles\"\nroles_allowed = {roles:?}\n"
    )
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).expect("made");
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("copied");
        }
    }
}

/// The request as it can be sent from here: by way of us as a proxy, and with a token for whom a case
/// takes as given.
fn sendable(mut sample: Sample) -> Sample {
    let xff = header::HeaderName::from_static("x-forwarded-for");
    sample.headers.append(xff, HeaderValue::from_str(&sample.peer.to_string()).expect("an address"));
    sample.peer = IpAddr::from([127, 0, 0, 1]);
    sample.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Caller::Assumed(holder) = &sample.caller {
        let now = Timestamp::now().as_second();
        let mut claims = json!({ "iss": "https://assumed.test", "aud": "test", "exp": now + 3600,
                                 "roles": holder.roles, "scope": holder.scopes.join(" ") });
        for (name, value) in &holder.claims {
            claims[name] = value.clone();
        }
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key).expect("a token");
        let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a value");
        sample.headers.append(header::AUTHORIZATION, value);
        sample.caller = Caller::FromHeaders;
    }
    sample
}

fn bytes(sample: &Sample) -> Vec<u8> {
    let version = if sample.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let fragment = if sample.fragment { "#fragment" } else { "" };
    let mut bytes = format!("{} {}{fragment} {version}\r\n", sample.method, sample.uri).into_bytes();
    for (name, value) in &sample.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&sample.body);
    bytes
}

/// What `decide` says, in the words of the record.
fn decided(policy: &Policy, sample: &Sample) -> Value {
    let decision: Decision = policy.decide(sample, &World::default(), None);
    let admitted = policy.admit_sample(sample);
    let (outcome, reason, status) = match &decision.outcome {
        Outcome::Allow(_) => ("allow", Value::Null, decision.own_status().unwrap_or(200)),
        Outcome::Deny(denial) => ("deny", denial.reason.to_string().into(), denial.status()),
    };
    let names = |rules: Vec<&str>| Value::from(rules);
    json!({
        "decision": outcome,
        "rule": policy.rules.name(decision.rule()),
        "reason": reason,
        "status": status,
        "route": policy.route(admitted.route).map(|route| &*route.name),
        "client": admitted.client.ip.to_string(),
        "shadow": names(decision.notes.shadow.iter().map(|hit| policy.rules.name(hit.rule)).collect()),
        "matched": names(decision.notes.waf.matched.iter().map(|hit| policy.rules.name(hit.rule)).collect()),
    })
}

/// The same of a record.
fn recorded(record: &Value) -> Value {
    let rules = |list: &Value| -> Value {
        list.as_array().into_iter().flatten().map(|hit| hit["rule"].clone()).collect::<Vec<_>>().into()
    };
    json!({
        "decision": record["decision"],
        "rule": record["rule"],
        "reason": record["reason"],
        "status": record["status"],
        "route": record["route"],
        "client": record["client"]["ip"],
        "shadow": rules(&record["shadow"]),
        "matched": rules(&record["waf"]["matched"]),
    })
}

/// Cases that hyper refuses itself, before there is a request to judge: with the same status, and
/// recorded by a rule that may be of less precision.
const BEFORE_ANY_SERVICE: &[&str] = &["a transfer coding in HTTP/1.0", "more fields than the limit"];

fn compare(table: &Table) -> usize {
    let scratch = tempfile::tempdir().expect("a folder");
    copy(&folder().join("config"), scratch.path());
    fs::write(scratch.path().join("assumed.txt"), SECRET).expect("written");
    let gateway = Gateway::start_in(scratch, &configuration(&table.config), &[]);
    let policy = setup(&gateway.folder().join("portcullis.toml")).policy;
    // A certificate is shown by a connection, and here all are in clear text.
    let in_clear = |case: &&Case| case.sample(&policy, Timestamp::now()).certificate.is_none();
    for (number, case) in table.cases.iter().filter(in_clear).enumerate() {
        let sample = sendable(case.sample(&policy, Timestamp::now()));
        let sample = Sample { now: Timestamp::now(), body: Bytes::clone(&sample.body), ..sample };
        let want = decided(&policy, &sample);
        let response = exchange(gateway.address, &bytes(&sample)).unwrap_or_else(|| panic!("{}", case.name));
        let got = recorded(&gateway.records(number + 1)[number]);
        if BEFORE_ANY_SERVICE.contains(&&*case.name) {
            assert_eq!(
                (&got["decision"], &got["status"]),
                (&want["decision"], &want["status"]),
                "{}",
                case.name
            );
            continue;
        }
        assert_eq!(got, want, "{}: {}", table.config.display(), case.name);
        assert_eq!(want["status"], response.status, "{}", case.name);
        assert_eq!(want["rule"], response.rule(), "{}", case.name);
        assert_eq!(
            want["decision"],
            *response.header("x-portcullis-decision").unwrap_or("-"),
            "{}",
            case.name
        );
        assert_eq!(want["reason"].as_str(), response.header("x-portcullis-reason"), "{}", case.name);
    }
    table.cases.len()
}

#[test]
fn the_server_and_the_commands_agree_on_every_case() {
    let compared: usize = tables().iter().map(compare).sum();
    assert!(compared > 500, "only {compared}");
}
