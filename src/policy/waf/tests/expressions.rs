//! Expressions with look-around and back-references in rules of both languages, and what becomes of a
//! request on which one gives up.

use super::{Bench, Request, check, compile_with};

/// On this, `(a+)+\1;` and what is like it tries more ways than there are atoms.
const HOSTILE: &str = "/?q=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaax;";

#[track_caller]
fn bench(toml: &str, program: &str) -> Bench {
    let bench = compile_with(&format!("[waf]\nseclang = [\"*.conf\"]\n{toml}"), &[("a.conf", program)]);
    assert_eq!(bench.problems, [""; 0]);
    bench
}

#[test]
fn a_rule_may_look_around() {
    let tautology = bench("", r#"SecRule ARGS "@rx (?i)\b(\w+)\b\s*=\s*\1\b" "id:1,deny""#);
    check(&tautology, Request::get("/?q=1+or+Ab=aB"), "waf (body): 1 waf_match", &["1 ARGS:q 0"]);
    check(&tautology, Request::get("/?q=1+or+ab=abc"), "clean", &[]);
    let entity = bench("", r#"SecRule ARGS "@rx (?<!&(?:amp|apos));" "id:1,deny""#);
    check(&entity, Request::get("/?q=a%26amp;b"), "clean", &[]);
    check(&entity, Request::get("/?q=a%26amp;b;c"), "waf (body): 1 waf_match", &["1 ARGS:q 0"]);
    // In each line for an attack, in the whole text for a demand; also where only what is looked at
    // around says so.
    let attack = bench("", r#"SecRule ARGS "@rx b(?=c$)" "id:1,deny""#);
    check(&attack, Request::get("/?q=bc%0Ax"), "waf (body): 1 waf_match", &["1 ARGS:q 0"]);
    let demand = bench("", r#"SecRule ARGS "!@rx ^(?!0)\d++$" "id:1,deny""#);
    check(&demand, Request::get("/?q=10"), "clean", &[]);
    for text in ["/?q=01", "/?q=10%0Ax", "/?q=x"] {
        check(&demand, Request::get(text), "waf (body): 1 waf_match", &["1 ARGS:q 0"]);
    }
}

#[test]
fn what_a_group_found_can_be_kept() {
    let mut kept = bench(
        "",
        r#"SecRule ARGS "@rx (\w)(\w)\1(?!\2)" "id:1,deny,capture,msg:'%{TX.0} %{TX.1}%{TX.2}',logdata:'%{TX.0}'""#,
    );
    kept.waf.data_limit = 100;
    let judged = kept.judge(&Request::get("/?q=-abab-"));
    let [matched] = judged.notes.waf.matched.as_slice() else { panic!("one match") };
    assert_eq!((&*matched.msg, &*matched.data), ("bab ba", "bab"));
    // In TOML the record has the part that matched.
    let mut toml = bench(
        "[[waf.rule]]\nid = \"a\"\naction = \"deny\"\ntargets = [\"query.values\"]\n\
         match = { regex = '''(\\w)\\w\\1(?!b)''' }",
        "",
    );
    toml.waf.data_limit = 100;
    let judged = toml.judge(&Request::get("/?q=-abab-"));
    assert_eq!(judged.notes.waf.matched.first().map(|matched| &*matched.data), Some("bab"));
}

/// It is not known whether it matches: neither what it matches nor what it does not passes.
#[test]
fn a_request_on_which_an_expression_gives_up_is_refused() {
    for program in [
        r#"SecRule ARGS "@rx ^(a+)+\1;$" "id:1,deny""#,
        r#"SecRule ARGS "!@rx ^(a+)+\1;$" "id:1,deny""#,
        r#"SecRule ARGS "@rx ^(a+)+\1;$" "id:1,pass,nolog""#,
        "SecRule ARGS \"a\" \"id:1,deny,chain\"\nSecRule ARGS \"@rx (a+)+\\1;$\"",
        "SecRule ARGS \"a\" \"id:1,deny,chain\"\nSecRule MATCHED_VAR \"!@rx (a+)+\\1;$\" \"multiMatch,t:lowercase\"",
    ] {
        let bench = bench("", program);
        let judged = bench.judge(&Request::get(HOSTILE));
        assert_eq!(judged.verdict, "waf (body): budget waf_budget", "{program}");
        let told = judged.notes.waf.matched.last().expect("the rule");
        assert_eq!(bench.cx_rules.name(told.rule), "waf/1", "{program}");
        assert_eq!((told.score, &*told.target), (0, "ARGS:q"), "{program}");
        assert_eq!(told.msg, "the expression took more steps than one text may take");
        // The next request begins anew.
        let next = bench.judge(&Request::get("/?q=xy"));
        assert_ne!(next.verdict, judged.verdict, "{program}");
    }
    for more in ["", "not = true", "shadow"] {
        let (mode, not) = match more {
            "shadow" => ("mode = \"shadow\"\nshadow_until = 2999-01-01T00:00:00Z\n", ""),
            not => ("", not),
        };
        let comma = if not.is_empty() { "" } else { ", " };
        let rule = format!(
            "[[waf.rule]]\nid = \"a\"\nscore = 1\n{mode}targets = [\"query.values\"]\n\
             match = {{ regex = '''^(a+)+\\1;$'''{comma}{not} }}"
        );
        let bench = bench(&rule, "");
        let judged = bench.judge(&Request::get(HOSTILE));
        assert_eq!(judged.verdict, "waf: budget waf_budget", "{rule}");
        let told = judged.notes.waf.matched.last().expect("the rule");
        assert_eq!((told.score, &*told.target, told.shadow), (0, "query:q", more == "shadow"));
    }
}

#[test]
fn where_nothing_is_refused_giving_up_is_recorded() {
    let rule = r#"SecRule ARGS "@rx ^(a+)+\1;$" "id:1,deny""#;
    let judged = |bench: &Bench, shadow| {
        let judged = bench.judge(&Request { shadow, ..Request::get(HOSTILE) });
        (judged.verdict.clone(), bench.shadow(&judged))
    };
    let would = ("clean".to_owned(), vec!["budget waf_budget".to_owned()]);
    assert_eq!(judged(&bench("", &format!("SecRuleEngine DetectionOnly\n{rule}")), false), would);
    assert_eq!(judged(&bench("", rule), true), would);
}
