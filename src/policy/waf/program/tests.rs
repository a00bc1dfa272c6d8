//! Programs at random, run with all that makes them fast and then without: each rule asked in its order
//! about each text. What comes of them must be the same.

use std::sync::Arc;

use proptest::prelude::*;

use super::Program;
use crate::policy::waf::tests::{Bench, Request, compile_with};

impl Program {
    /// Forgets all that was found out before requests come: no matcher, nothing settled.
    fn plod(&mut self) {
        self.initial = Arc::default();
        for phase in &mut self.phases {
            phase.matcher = None;
            phase.always = (0..phase.rules.len()).collect();
        }
    }
}

/// A rule's condition and what it does, but for its number, phase and jump.
fn rule() -> impl Strategy<Value = (String, String)> {
    let name = || prop::sample::select(vec!["a", "b", "c", "word_x", "word_one"]);
    let number = || 0..4i32;
    let word = || prop::sample::select(vec!["one", "x", "two", "ne t", "on", "or"]);
    let chain = || {
        prop::sample::select(vec![
            "t:none",
            "t:lowercase",
            "t:urlDecodeUni,t:lowercase",
            "t:urlDecodeUni,t:removeWhitespace",
            "t:cmdLine",
            "t:base64Decode,t:urlDecodeUni",
            "t:urlDecodeUni,t:removeNulls,t:replaceComments,multiMatch",
            "t:urlDecodeUni,t:lowercase,t:removeWhitespace,multiMatch",
        ])
    };
    let targets = || {
        prop::sample::select(vec![
            "ARGS",
            "ARGS|!ARGS:q",
            "ARGS:q",
            "ARGS_NAMES|REQUEST_HEADERS:User-Agent",
            "REQUEST_URI_RAW|TX:a",
            "REQUEST_HEADERS|!REQUEST_HEADERS:Host",
            "TX:/^wor/",
        ])
    };
    let operator = || {
        prop_oneof![
            word().prop_map(|word| format!("@contains {word}")),
            word().prop_map(|word| format!("!@contains {word}")),
            word().prop_map(|word| format!("@rx (?i){word}\\b")),
            (word(), word()).prop_map(|(one, other)| format!("@pm {one} {other}")),
            name().prop_map(|name| format!("@streq %{{tx.{name}}}")),
        ]
    };
    let compare = prop::sample::select(vec!["@eq", "@lt", "@ge"]);
    let text = || {
        prop_oneof![
            number().prop_map(|number| number.to_string()),
            name().prop_map(|name| format!("%{{tx.{name}}}")),
        ]
    };
    let effect = || {
        prop_oneof![
            2 => Just("nolog,pass".to_owned()),
            2 => Just("log,pass".to_owned()),
            1 => Just("deny".to_owned()),
            1 => Just("nolog,allow:phase".to_owned()),
            3 => (name(), text()).prop_map(|(name, text)| format!("nolog,pass,setvar:'tx.{name}={text}'")),
            2 => (name(), text()).prop_map(|(name, text)| format!("log,pass,setvar:'tx.{name}=+{text}'")),
            1 => name().prop_map(|name| format!("nolog,pass,setvar:'!tx.{name}'")),
            1 => Just("nolog,pass,capture,setvar:'tx.word_%{tx.0}=1'".to_owned()),
            1 => (1..20u32).prop_map(|id| format!("nolog,pass,ctl:ruleRemoveById={id}")),
            1 => Just("nolog,pass,ctl:ruleRemoveByTag=few".to_owned()),
            1 => (1..20u32).prop_map(|id| format!("nolog,pass,ctl:ruleRemoveTargetById={id};ARGS:q")),
            1 => (1..20u32).prop_map(|id| format!("nolog,pass,ctl:ruleRemoveTargetById={id};TX:a")),
        ]
    };
    prop_oneof![
        3 => effect().prop_map(|effect| ("SecAction".to_owned(), effect)),
        3 => (name(), number(), effect()).prop_map(|(name, number, effect)| {
            (format!("SecRule &TX:{name} \"@eq {}\"", number % 2), effect)
        }),
        4 => (name(), compare, text(), effect()).prop_map(|(name, compare, text, effect)| {
            (format!("SecRule TX:{name} \"{compare} {text}\""), effect)
        }),
        6 => (targets(), operator(), chain(), effect()).prop_map(|(targets, operator, chain, effect)| {
            (format!("SecRule {targets} \"{operator}\""), format!("{effect},{chain}"))
        }),
        1 => (word(), effect()).prop_map(|(word, effect)| {
            (format!("SecRule MATCHED_VAR \"@contains {word}\""), effect)
        }),
    ]
}

/// A program: a marker behind every few rules, jumps to one that comes later.
fn program() -> impl Strategy<Value = String> {
    let line = (rule(), prop::option::weighted(0.3, 0..3usize), 1..3u8, any::<bool>());
    let lines = prop::collection::vec(line, 1..24);
    lines.prop_map(|lines| {
        let last = lines.len() / EVERY;
        let mut text = String::new();
        for (at, ((condition, effect), jump, phase, few)) in lines.into_iter().enumerate() {
            let tag = if few { ",tag:'few'" } else { "" };
            let jump = jump.map(|jump| format!(",skipAfter:M{}", (at / EVERY + jump).min(last)));
            let jump = jump.unwrap_or_default();
            text += &format!("{condition} \"id:{},phase:{phase},{effect}{tag}{jump}\"\n", at + 1);
            if at % EVERY == EVERY - 1 {
                text += &format!("SecMarker M{}\n", at / EVERY);
            }
        }
        text + &format!("SecMarker M{last}\n")
    })
}

const EVERY: usize = 4;

/// What came of a request, and what was recorded of it.
fn outcome(bench: &Bench, request: &Request<'_>) -> (String, Vec<String>) {
    let judged = bench.judge(request);
    let matched = bench.matched(&judged);
    (judged.verdict, matched)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_program_does_what_its_rules_do_one_by_one(
        text in program(),
        excluded in prop::option::weighted(0.3, (1..12u32, any::<bool>())),
        words in prop::collection::vec(prop::sample::select(vec![
            "one", "ONE", "two", "x", "%20", "+", "b25l", "o%256ee", "/**/", "%00", "&r=", "&one=", "a",
        ]), 0..8),
    ) {
        let excluded = excluded.map(|(id, path)| {
            let path = if path { "path = \"/elsewhere\"" } else { "" };
            format!("[[waf.exclude]]\nid = \"e\"\nrules = [\"waf/{id}\"]\n{path}\n")
        });
        let toml = format!("[waf]\nseclang = [\"*.conf\"]\n{}", excluded.unwrap_or_default());
        let uri = format!("/p?q={}", words.concat());
        let requests = || [
            Request::get(&uri).with("user-agent", "one two"),
            Request::post("application/x-www-form-urlencoded", &uri[5..]),
        ];
        let fast = compile_with(&toml, &[("a.conf", &text)]);
        let mut slow = compile_with(&toml, &[("a.conf", &text)]);
        if let Some(program) = slow.waf.program.as_mut() {
            Arc::get_mut(program).expect("its only owner").plod();
        }
        for request in requests() {
            prop_assert_eq!(outcome(&fast, &request), outcome(&slow, &request), "{}\n{}\n{:?}", toml, text, fast.problems);
        }
    }
}
