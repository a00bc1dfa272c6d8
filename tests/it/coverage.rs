//! The tables of the code against the tables of the tests: whatever has a name occurs in a case that
//! fails without it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use jiff::Timestamp;
use portcullis::cli::test::raw::OutcomeWord;
use portcullis::decision::{Builtin, Kind, Reason, RuleRef, Stage, Verdict};
use portcullis::facts::Body;
use portcullis::policy::{Progress, World};

use crate::support::command::Bench;
use crate::support::tables::{Table, folder, setup, tables};

/// What no sample can show, because it happens on a socket: the test file that expects it.
const ON_SOCKETS: &[(&str, &str)] = &[
    ("intake/malformed", include_str!("intake.rs")),
    ("intake/head-too-large", include_str!("intake.rs")),
    ("ip/banned", include_str!("admin_api.rs")),
    ("fault/upstream-connect", include_str!("forwarding.rs")),
    ("fault/upstream-timeout", include_str!("forwarding.rs")),
    ("fault/upstream-reset", include_str!("forwarding.rs")),
    ("fault/upstream-protocol", include_str!("forwarding.rs")),
    ("fault/overload", include_str!("limits.rs")),
    ("fault/log", include_str!("decision_log.rs")),
    ("fault/internal", include_str!("../../src/layers/audit.rs")),
];

/// Reasons that such a rule gives besides the one of its table.
const REASONS_ON_SOCKETS: &[(Reason, &str)] = &[
    (Reason::UpstreamDns, include_str!("upstreams.rs")),
    (Reason::UpstreamRefused, include_str!("upstreams.rs")),
    (Reason::UpstreamConnectTimeout, include_str!("http2_upstreams.rs")),
    (Reason::UpstreamTls, include_str!("http2_upstreams.rs")),
    (Reason::UpstreamCertificate, include_str!("http2_upstreams.rs")),
    (Reason::UpstreamUnavailable, include_str!("upstreams.rs")),
    (Reason::UpstreamOverloaded, include_str!("upstreams.rs")),
];

/// The names that cases expect.
#[derive(Default)]
struct Expected {
    rules: BTreeSet<String>,
    allowed: BTreeSet<String>,
    reasons: BTreeSet<String>,
    statuses: BTreeSet<u16>,
    refused: BTreeSet<(String, String)>,
    shadow: BTreeSet<(String, String)>,
    silent: BTreeSet<(String, String)>,
    matched: BTreeSet<(String, String)>,
    not_matched: BTreeSet<(String, String)>,
}

impl Expected {
    fn of(tables: &[Table]) -> Expected {
        let mut all = Expected::default();
        for table in tables {
            let config = table.config.to_string_lossy().into_owned();
            for case in &table.cases {
                let expect = &case.expect;
                if let Some(rule) = expect.rule.as_ref().filter(|_| refuses(expect.outcome.as_deref())) {
                    all.rules.insert(rule.to_string());
                    all.refused.insert((config.clone(), rule.to_string()));
                }
                let allowed = matches!(expect.outcome.as_deref(), Some(OutcomeWord::Allow));
                all.allowed.extend(expect.rule.iter().filter(|_| allowed).map(|rule| rule.value.clone()));
                all.reasons.extend(expect.reason.iter().map(|reason| reason.value.clone()));
                all.statuses.extend(expect.status.iter().map(|status| status.value));
                let pairs = |rules: &[_]| -> Vec<(String, String)> {
                    let name = |rule: &portcullis::policy::diagnostic::At<String>| rule.to_string();
                    rules.iter().map(|rule| (config.clone(), name(rule))).collect()
                };
                all.shadow.extend(pairs(&expect.shadow));
                all.matched.extend(pairs(&expect.matched));
                all.not_matched.extend(pairs(&expect.not_matched));
                all.silent.extend(pairs(&case.not_rules));
            }
        }
        all
    }
}

fn refuses(outcome: Option<&OutcomeWord>) -> bool {
    matches!(outcome, Some(OutcomeWord::Deny))
}

#[test]
fn every_built_in_refusal_is_expected_by_a_case() {
    let expected = Expected::of(&tables());
    for builtin in Builtin::ALL.iter().map(|builtin| builtin.info()) {
        let on_socket = ON_SOCKETS.iter().find(|(name, _)| *name == builtin.name);
        match (builtin.kind, on_socket) {
            (Kind::Pass, _) => {}
            (Kind::Answer, _) => {
                assert!(expected.allowed.contains(builtin.name), "no case expects {}", builtin.name)
            }
            (_, Some((name, text))) => {
                assert!(text.contains(&format!("\"{name}\"")), "{name} is not expected where it should be");
            }
            (_, None) => assert!(expected.rules.contains(builtin.name), "no case expects {}", builtin.name),
        }
    }
}

#[test]
fn every_built_in_pass_is_the_verdict_of_a_gate_in_some_case() {
    let mut seen = BTreeSet::new();
    for table in tables() {
        let policy = setup(&table.config).policy;
        for case in &table.cases {
            let sample = case.sample(&policy, Timestamp::now());
            let admitted = policy.admit_sample(&sample);
            let identity = policy.identify_sample(admitted.route, &sample, &World::default());
            let facts = policy.facts(&admitted, &sample.headers, &identity, &Body::Absent, sample.now);
            let mut progress = Progress::default();
            for stage in Stage::ALL {
                match policy.check(stage, &facts, &mut progress, None) {
                    Verdict::Pass(rule) => seen.insert(rule),
                    Verdict::Deny(_) | Verdict::Answer(_) => break,
                };
            }
        }
    }
    for builtin in Builtin::ALL.iter().filter(|builtin| builtin.info().kind == Kind::Pass) {
        assert!(seen.contains(&RuleRef::Builtin(*builtin)), "no gate passes by {}", builtin.info().name);
    }
}

#[test]
fn every_reason_and_every_status_is_expected_by_a_case() {
    let expected = Expected::of(&tables());
    let mut on_sockets: BTreeSet<Reason> = Builtin::ALL
        .iter()
        .map(|builtin| builtin.info())
        .filter(|builtin| ON_SOCKETS.iter().any(|(name, _)| *name == builtin.name))
        .map(|builtin| builtin.reason)
        .collect();
    for (reason, text) in REASONS_ON_SOCKETS {
        assert!(text.contains(&format!("\"{reason}\"")), "{reason} is not expected where it should be");
        on_sockets.insert(*reason);
    }
    for reason in Reason::ALL.iter().filter(|reason| !on_sockets.contains(reason)) {
        assert!(expected.reasons.contains(reason.info().code), "no case expects {}", reason.info().code);
    }
    let statuses: BTreeSet<u16> = Reason::ALL
        .iter()
        .filter(|reason| !on_sockets.contains(reason))
        .map(|reason| reason.info().status)
        .collect();
    assert_eq!(statuses.difference(&expected.statuses).collect::<Vec<_>>(), Vec::<&u16>::new());
}

/// The rules of every configuration for tables: file, name, table.
fn written() -> Vec<(String, String, toml::Table)> {
    let mut rules = Vec::new();
    for entry in fs::read_dir(folder().join("config")).expect("the configurations") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("readable");
        let file: toml::Table = text.parse().expect("TOML");
        for (stage, list) in [("ip", "rule"), ("waf", "rule"), ("rbac", "deny")] {
            let list = file.get(stage).and_then(|stage| stage.get(list)).and_then(toml::Value::as_array);
            for rule in list.into_iter().flatten().filter_map(toml::Value::as_table) {
                let name = format!("{stage}/{}", rule["id"].as_str().expect("an id"));
                rules.push((path.to_string_lossy().into_owned(), name, rule.clone()));
            }
        }
    }
    rules
}

#[test]
fn every_stage_with_modes_has_cases_in_each_mode() {
    let expected = Expected::of(&tables());
    let mut seen: BTreeMap<(String, String), bool> = BTreeMap::new();
    for (config, name, rule) in written() {
        let mode = rule.get("mode").and_then(toml::Value::as_str).unwrap_or("enforce");
        let key = (config, name);
        let expects = match mode {
            "enforce" => expected.refused.contains(&key),
            "shadow" => expected.shadow.contains(&key),
            _ => expected.silent.contains(&key),
        };
        let stage = key.1.split('/').next().unwrap_or_default().to_owned();
        *seen.entry((stage, mode.to_owned())).or_default() |= expects;
    }
    for stage in ["ip", "waf", "rbac"] {
        for mode in ["enforce", "shadow", "off"] {
            assert_eq!(seen.get(&(stage.into(), mode.into())), Some(&true), "{stage} in mode {mode}");
        }
    }
}

/// The words that the schema lets a WAF rule use.
fn vocabulary() -> (BTreeSet<String>, BTreeSet<String>) {
    let schema = Bench::new().run(&["schema"]).json();
    let condition = schema["$defs"]["policy.waf.Condition"]["properties"].as_object().expect("operators");
    let operators = condition.keys().filter(|key| *key != "not").cloned().collect();
    let rule = schema["$defs"]
        .as_object()
        .expect("definitions")
        .values()
        .find(|value| value["properties"]["transforms"].is_object())
        .expect("a rule with transformations");
    let transforms = rule["properties"]["transforms"]["items"]["enum"].as_array().expect("transformations");
    (operators, transforms.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
}

#[test]
fn every_operator_and_transformation_matches_in_a_case_and_stays_silent_in_another() {
    let expected = Expected::of(&tables());
    let (operators, transforms) = vocabulary();
    assert!(operators.len() >= 15 && transforms.len() >= 15, "{operators:?} {transforms:?}");
    let (mut matched, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for (config, name, rule) in written() {
        let mut words: Vec<&str> = Vec::new();
        let list = rule.get("transforms").and_then(toml::Value::as_array);
        words.extend(list.into_iter().flatten().filter_map(toml::Value::as_str));
        if let Some(conditions) = rule.get("match").and_then(toml::Value::as_table) {
            words.extend(conditions.keys().map(String::as_str));
        }
        let key = (config, name);
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        if expected.matched.contains(&key) {
            matched.extend(words.clone());
        }
        if expected.not_matched.contains(&key) {
            silent.extend(words);
        }
    }
    for word in operators.iter().chain(&transforms) {
        assert!(matched.contains(word), "no case expects a match through {word}");
        assert!(silent.contains(word), "no case expects silence beside {word}");
    }
}
