//! The cases of the shipped pack, which are data: every rule has requests that it matches and requests
//! near them that it does not.

use std::collections::{BTreeMap, HashSet};

use crate::facts::Body;
use crate::policy::waf::tests::{Request, compile};

const CASES: &str = include_str!("../../../tests/cases/waf-core.toml");

/// A case as written.
struct Case {
    name: String,
    request: ::toml::Table,
    outcome: String,
    matched: Vec<String>,
    not_matched: Vec<String>,
}

fn cases() -> Vec<Case> {
    let file: ::toml::Table = CASES.parse().expect("the cases are TOML");
    let cases = file["case"].as_array().expect("[[case]]");
    let text = |value: &::toml::Value| value.as_str().expect("a string").to_owned();
    cases
        .iter()
        .map(|case| {
            let expect = case["expect"].as_table().expect("what to expect");
            let rules = |key: &str| {
                let list = expect.get(key).and_then(::toml::Value::as_array);
                list.into_iter().flatten().map(text).collect::<Vec<_>>()
            };
            Case {
                name: text(&case["name"]),
                request: case["request"].as_table().expect("a request").clone(),
                outcome: text(&expect["outcome"]),
                matched: rules("matched"),
                not_matched: rules("not_matched"),
            }
        })
        .collect()
}

impl Case {
    fn request(&self) -> Request<'_> {
        let text = |key: &str| self.request.get(key).and_then(::toml::Value::as_str).unwrap_or_default();
        let mut headers: Vec<(String, String)> = self
            .request
            .get("headers")
            .and_then(::toml::Value::as_table)
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        if !text("content_type").is_empty() {
            headers.push(("content-type".to_owned(), text("content_type").to_owned()));
        }
        let body = match text("body") {
            "" => Body::Absent,
            body => Body::Whole(body.to_owned().into()),
        };
        let host = if text("host").is_empty() { "app.test" } else { text("host") };
        Request { method: text("method"), uri: text("path"), host, headers, body, ..Request::default() }
    }
}

#[test]
fn the_pack_does_what_its_cases_say() {
    let bench = compile("[waf]\npacks = [\"core\"]\nparanoia = 4");
    assert_eq!(bench.problems, [""; 0]);
    let mut wrong = Vec::new();
    for case in cases() {
        let judged = bench.judge(&case.request());
        let matched: HashSet<&str> =
            judged.notes.waf.matched.iter().map(|hit| bench.cx_rules.name(hit.rule)).collect();
        let outcome = if judged.verdict == "clean" { "allow" } else { "deny" };
        let all = case.matched.iter().all(|rule| matched.contains(rule.as_str()));
        let none = !case.not_matched.iter().any(|rule| matched.contains(rule.as_str()));
        if outcome != case.outcome || !all || !none {
            wrong.push(format!("{}: {}, matched {matched:?}", case.name, judged.verdict));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_of_the_pack_has_a_case_that_it_matches_and_one_that_it_does_not() {
    let bench = compile("[waf]\npacks = [\"core\"]\nparanoia = 4");
    let mut counts: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    bench.cx_rules.iter().for_each(|(_, info)| {
        counts.insert(info.name.to_string(), (0, 0));
    });
    assert!(counts.len() > 100, "the pack has only {} rules", counts.len());
    for case in cases() {
        case.matched.iter().for_each(|rule| counts.entry(rule.clone()).or_default().0 += 1);
        case.not_matched.iter().for_each(|rule| counts.entry(rule.clone()).or_default().1 += 1);
    }
    let bare: Vec<_> = counts.iter().filter(|(_, (yes, no))| *yes == 0 || *no == 0).collect();
    assert!(bare.is_empty(), "{bare:?}");
    let known: HashSet<&str> = bench.cx_rules.iter().map(|(_, info)| &*info.name).collect();
    assert!(
        counts.keys().all(|rule| known.contains(rule.as_str())),
        "a case names a rule that does not exist"
    );
}
