//! The cases of the shipped pack, which are data: every rule has requests that it matches and requests
//! near them that it does not.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::facts::Body;
use crate::policy::waf::tests::{Request, compile};
use crate::policy::waf::transforms::{Transform, decode_form};

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

/// What costs most is an expression that every text has to be shown to.
#[test]
fn few_rules_of_the_pack_have_to_be_shown_ordinary_text() {
    let bench = compile("[waf]\npacks = [\"core\"]");
    let engine = bench.waf.engine.as_ref().expect("rules");
    let names = |gate: &crate::policy::waf::compile::Gate| {
        let known = gate.matcher.unfiltered().map(|(unit, prose)| {
            let link = gate.link_of(unit);
            let rule = gate.rules.iter().rev().find(|rule| rule.first <= link).expect("its rule");
            (bench.cx_rules.name(rule.written.into()).to_owned(), prose)
        });
        known.collect::<Vec<_>>()
    };
    let all: Vec<_> = names(&engine.head).into_iter().chain(names(&engine.body)).collect();
    let prose = all.iter().filter(|(_, prose)| *prose).count();
    assert!(engine.body.matcher.has_table(), "the literals are too many for a table");
    // So many stand in line in a set of units.
    let units = engine.body.matcher.units().len();
    assert!(units <= 256, "{units} units");
    assert!(
        all.len() <= 18 && prose <= 2,
        "{} without literals, {prose} of them on prose: {all:#?}",
        all.len()
    );
}

/// The rules of the pack that are one expression on form values, with plain engines for them.
fn plain_rules() -> Vec<(String, Vec<Transform>, regex::bytes::Regex)> {
    let text = include_str!("../../../config/waf/core.toml");
    let pack: ::toml::Table = text.parse().expect("the pack is TOML");
    let rules = pack["waf"]["rule"].as_array().expect("rules");
    let list = |rule: &::toml::Value, key: &str| -> Vec<String> {
        let list = rule.get(key).and_then(::toml::Value::as_array).into_iter().flatten();
        list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    rules
        .iter()
        .filter(|rule| rule.get("chain").is_none())
        .filter(|rule| list(rule, "targets").iter().any(|target| target == "args" || target == "args.values"))
        .filter_map(|rule| {
            let pattern = rule["match"].get("regex")?.as_str()?;
            let regex =
                regex::bytes::RegexBuilder::new(pattern).unicode(false).dot_matches_new_line(true).build();
            let transforms =
                list(rule, "transforms").iter().filter_map(|name| Transform::by_name(name)).collect();
            Some((format!("waf/{}", rule["id"].as_str()?), transforms, regex.expect("an expression")))
        })
        .collect()
}

/// Pieces of the requests of the cases, to be put together anew.
fn pieces() -> Vec<Vec<u8>> {
    let decode = |text: &str| {
        let mut decoded = Vec::new();
        decode_form(text.as_bytes(), &mut decoded);
        decoded
    };
    let texts = cases().into_iter().flat_map(|case| {
        let text =
            |key: &str| case.request.get(key).and_then(::toml::Value::as_str).unwrap_or_default().to_owned();
        [decode(&text("path")), decode(&text("body"))]
    });
    texts
        .flat_map(|text| {
            text.chunks(16).chain(text.split(|byte| *byte == b'=')).map(<[u8]>::to_vec).collect::<Vec<_>>()
        })
        .collect()
}

/// Prefilter, gates, tables and alternatives on the whole pack, against each expression by itself in
/// the plain engine.
#[test]
fn the_pack_finds_what_its_expressions_find_one_by_one() {
    let bench = compile("[waf]\npacks = [\"core\"]\nparanoia = 4\nthreshold = 1_000_000");
    let rules = plain_rules();
    assert!(rules.len() > 80, "only {} rules are compared", rules.len());
    let piece = prop_oneof![
        6 => prop::sample::select(pieces()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
        2 => prop::sample::select(vec![" ", "'", "\"", ";", "\n", "/", "%27", "+", "\\", "<", "(", "{{", "${", "|"]).prop_map(|text| text.as_bytes().to_vec()),
    ];
    let texts = prop::collection::vec(piece, 1..7).prop_map(|pieces| pieces.concat());
    let config = ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() };
    let found = std::cell::Cell::new(0);
    TestRunner::new(config)
        .run(&texts, |text| {
            let body: String = text.iter().map(|byte| format!("%{byte:02x}")).collect();
            let judged =
                bench.judge(&Request::post("application/x-www-form-urlencoded", &format!("q={body}")));
            let matched: HashSet<&str> =
                judged.notes.waf.matched.iter().map(|hit| bench.cx_rules.name(hit.rule)).collect();
            for (rule, transforms, regex) in &rules {
                let seen = transforms
                    .iter()
                    .fold(text.clone(), |text, transform| transform.apply(&text).unwrap_or(text));
                let want = regex.is_match(&seen);
                prop_assert_eq!(matched.contains(rule.as_str()), want, "{} on {}", rule, text.escape_ascii());
            }
            found.set(found.get() + matched.len());
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(found.get() > 100, "the texts are too tame: {} matches", found.get());
}
