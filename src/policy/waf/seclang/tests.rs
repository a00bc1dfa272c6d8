//! Programs by example: what they refuse and record, how they compare with TOML's rules, and what is
//! said about those that cannot be run.

use crate::policy::waf::tests::{Bench, Request, check, compile_with, lowered};

/// Compiles a program that has no problems.
#[track_caller]
fn program(text: &str) -> Bench {
    program_with("", text)
}

#[track_caller]
fn program_with(toml: &str, text: &str) -> Bench {
    let bench = compile_with(&format!("[waf]\nseclang = [\"*.conf\"]\n{toml}"), &[("a.conf", text)]);
    assert_eq!(bench.problems, [""; 0]);
    bench
}

#[track_caller]
fn problems(text: &str, want: &[&str]) {
    let bench = compile_with("[waf]\nseclang = [\"*.conf\"]", &[("a.conf", text)]);
    assert_eq!(bench.problems, want);
}

fn form(body: &str) -> Request<'_> {
    Request::post("application/x-www-form-urlencoded", body)
}

// === rules ===

#[test]
fn a_rule_refuses_by_its_number() {
    let bench = program("SecRule ARGS \"@rx (?i)union\\s+select\" \"id:1,phase:2,deny,msg:'no',tag:'x'\"");
    check(&bench, Request::get("/?q=union+SELECT"), "waf (body): 1 waf_match", &["1 ARGS:q 0"]);
    check(&bench, form("q=union%20select"), "waf (body): 1 waf_match", &["1 ARGS:q 0"]);
    check(&bench, Request::get("/union?q=1"), "clean", &[]);
}

#[test]
fn an_attack_is_looked_for_in_every_line_and_a_demand_is_for_the_whole_text() {
    let attack = program("SecRule ARGS \"@rx ^b+$\" \"id:1,phase:2,deny\"");
    for text in ["/?q=b", "/?q=a%0Abb", "/?q=b%0Aa"] {
        check(&attack, Request::get(text), "waf (body): 1 waf_match", &["1 ARGS:q 0"]);
    }
    check(&attack, Request::get("/?q=ab"), "clean", &[]);
    let demand = program("SecRule ARGS \"!@rx ^[0-9]+$\" \"id:1,phase:2,deny\"");
    check(&demand, Request::get("/?q=12"), "clean", &[]);
    check(&demand, Request::get("/?q=12%0Ax"), "waf (body): 1 waf_match", &["1 ARGS:q 0"]);
}

#[test]
fn the_default_phase_is_the_second_and_the_first_comes_first() {
    let bench = program("SecRule ARGS \"b\" \"id:2,deny\"\nSecRule ARGS \"a\" \"id:1,phase:1,deny\"");
    check(&bench, Request::get("/?q=ab"), "waf: 1 waf_match", &["1 ARGS:q 0"]);
    check(&bench, form("q=ab"), "waf (body): 2 waf_match", &["2 ARGS:q 0"]);
}

#[test]
fn what_a_rule_does_by_default_is_said_for_each_phase() {
    let text = "SecDefaultAction \"phase:1,nolog,deny\"\nSecRule ARGS \"a\" \"id:1,phase:1,block\"\n\
                SecRule ARGS \"b\" \"id:2,phase:2,block\"";
    check(&program(text), Request::get("/?q=a"), "waf: 1 waf_match", &[]);
    check(&program(text), Request::get("/?q=b"), "clean", &["2 ARGS:q 0"]);
}

const SCORES: &str = r#"
SecAction "id:900,phase:1,nolog,pass,setvar:tx.critical=5,setvar:'tx.inbound_anomaly_score_threshold=8'"
SecRule ARGS "@contains one" "id:1,phase:2,block,capture,msg:'one',logdata:'%{TX.0} in %{MATCHED_VAR_NAME}',\
  setvar:'tx.anomaly_score_pl1=+%{tx.critical}'"
SecRule ARGS|REQUEST_HEADERS:User-Agent "@contains two" \
  "id:2,phase:2,block,msg:'two',setvar:'tx.anomaly_score_pl1=+%{tx.critical}'"
SecRule TX:ANOMALY_SCORE_PL1 "@ge %{tx.inbound_anomaly_score_threshold}" \
  "id:9,phase:2,deny,msg:'too much: %{tx.anomaly_score_pl1}'"
"#;

#[test]
fn the_rule_at_which_the_sum_reached_the_threshold_is_named() {
    let bench = program(SCORES);
    check(&bench, Request::get("/?q=one"), "clean", &["1 ARGS:q 5"]);
    check(
        &bench,
        Request::get("/?q=one+two"),
        "waf (body): 2 waf_score",
        &["1 ARGS:q 5", "2 ARGS:q 5", "9 TX:anomaly_score_pl1 0"],
    );
    // Every text that matches counts.
    check(
        &bench,
        Request::get("/?q=one&r=one"),
        "waf (body): 1 waf_score",
        &["1 ARGS:q 10", "9 TX:anomaly_score_pl1 0"],
    );
    let mut bench = bench;
    bench.waf.data_limit = 100;
    let judged = bench.judge(&Request::get("/?q=one&q=two"));
    let told: Vec<_> =
        judged.notes.waf.matched.iter().map(|one| format!("{}|{}", one.msg, one.data)).collect();
    assert_eq!(told, ["one|one in ARGS:q", "two|", "too much: 10|"]);
    assert_eq!((judged.notes.waf.score, judged.notes.waf.threshold), (10, 8));
}

#[test]
fn a_program_that_only_detects_refuses_nothing() {
    for (toml, text) in [
        ("", format!("SecRuleEngine DetectionOnly\n{SCORES}")),
        ("mode = \"shadow\"\nshadow_until = 2999-01-01T00:00:00Z", SCORES.to_owned()),
        ("", format!("SecAction \"id:5,phase:1,nolog,pass,ctl:ruleEngine=DetectionOnly\"\n{SCORES}")),
    ] {
        let bench = program_with(toml, &text);
        let shadow = toml.contains("shadow");
        let judged = bench.judge(&Request { shadow, ..Request::get("/?q=one+two") });
        assert_eq!(judged.verdict, "clean");
        assert_eq!(bench.shadow(&judged), ["2 waf_score"]);
        assert_eq!(bench.matched(&judged)[1], "~2 ARGS:q 5");
        assert_eq!(judged.notes.waf.score, 0);
    }
    let off =
        compile_with("[waf]\nseclang = [\"*.conf\"]", &[("a.conf", &format!("SecRuleEngine Off\n{SCORES}"))]);
    check(&off, Request::get("/?q=one+two"), "clean", &[]);
}

// === variables ===

/// Whether a rule with these variables and this test matches.
#[track_caller]
fn matches(rule: &str, request: Request<'_>, want: bool) {
    let bench = program(&format!("SecRule {rule}"));
    let judged = bench.judge(&request);
    assert_eq!(judged.verdict != "clean", want, "{rule}: {:?}", bench.matched(&judged));
}

#[test]
fn variables_name_texts_of_the_request() {
    for (variables, request, want) in [
        ("ARGS_NAMES", Request::get("/?zz=1"), true),
        ("ARGS_NAMES", Request::get("/?a=zz"), false),
        ("ARGS:A", Request::get("/?a=zz"), true),
        ("ARGS|!ARGS:A", Request::get("/?a=zz"), false),
        ("ARGS|!ARGS:/^a/", Request::get("/?ab=zz&c=1"), false),
        ("ARGS_GET", form("a=zz"), false),
        ("ARGS_POST:a", form("a=zz"), true),
        ("REQUEST_BODY", form("a=z%7a&zz"), true),
        ("REQUEST_HEADERS:x-a", Request::get("/").with("X-A", "zz"), true),
        ("REQUEST_HEADERS|!REQUEST_HEADERS:X-A", Request::get("/").with("X-A", "zz"), false),
        ("REQUEST_HEADERS_NAMES", Request::get("/").with("x-zz", "1"), true),
        ("REQUEST_COOKIES:/^s/", Request::get("/").with("cookie", "a=1; sid=zz"), true),
        ("REQUEST_COOKIES|!REQUEST_COOKIES:/^s/", Request::get("/").with("cookie", "a=1; sid=zz"), false),
        ("REQUEST_URI", Request::get("/%7az?x"), true),
        ("REQUEST_URI_RAW", Request::get("/%7az?x"), false),
        ("REQUEST_FILENAME", Request::get("/%7az?x"), true),
        ("REQUEST_BASENAME", Request::get("/zz/x"), false),
        ("QUERY_STRING", Request::get("/?zz"), true),
        ("REQUEST_LINE", Request::get("/zz"), true),
    ] {
        matches(&format!("{variables} \"zz\" \"id:1,deny\""), request, want);
    }
    matches("REQUEST_METHOD \"@streq GET\" \"id:1,phase:1,deny\"", Request::get("/"), true);
    matches("REQUEST_PROTOCOL \"@streq HTTP/1.1\" \"id:1,phase:1,deny\"", Request::get("/"), true);
    matches("REMOTE_ADDR \"@ipMatch 192.0.2.0/24,::1\" \"id:1,phase:1,deny\"", Request::get("/"), true);
    matches("REMOTE_ADDR \"!@ipMatch 192.0.2.1\" \"id:1,phase:1,deny\"", Request::get("/"), false);
    matches("REQUEST_LINE \"^GET /a\\?b HTTP/1\\.1$\" \"id:1,phase:1,deny\"", Request::get("/a?b"), true);
}

#[test]
fn counts_are_of_all_that_a_name_stands_for() {
    matches("&ARGS \"@eq 3\" \"id:1,deny\"", Request { uri: "/?a=1&b=2", ..form("c=3") }, true);
    matches("&ARGS:a \"@eq 2\" \"id:1,deny\"", Request::get("/?a=1&A=2&b"), true);
    matches("&REQUEST_HEADERS:Host \"@eq 0\" \"id:1,deny\"", Request::get("/"), false);
    matches("&TX:x \"@eq 0\" \"id:1,deny\"", Request::get("/"), true);
    matches("ARGS \"@gt 3\" \"id:1,deny,t:length\"", Request::get("/?a=1234"), true);
    matches("ARGS \"@gt 3\" \"id:1,deny,t:none,t:length\"", Request::get("/?a=123"), false);
}

#[test]
fn json_is_named_by_its_paths_and_xml_is_one_text() {
    let json = || Request::post("application/json", r#"{"a":{"b":["zz",2.50]}}"#);
    matches("ARGS:json.a.b.array_0 \"zz\" \"id:1,deny\"", json(), true);
    matches("ARGS \"@streq 2.50\" \"id:1,deny\"", json(), true);
    matches("ARGS_NAMES \"@streq json.a.b.array_1\" \"id:1,deny\"", json(), true);
    matches("REQUEST_BODY \"zz\" \"id:1,deny\"", json(), false);
    let xml = || Request::post("text/xml", "<a b='yy'>z<c>z</c></a>");
    matches("XML:/* \"@streq zz\" \"id:1,deny\"", xml(), true);
    matches("XML://@* \"@streq yy\" \"id:1,deny\"", xml(), true);
    matches("XML:/* \"yy\" \"id:1,deny\"", xml(), false);
    matches("REQBODY_PROCESSOR \"@streq XML\" \"id:1,phase:1,deny\"", xml(), true);
}

#[test]
fn a_rule_chooses_the_parser_of_the_body() {
    let text = "SecRule REQUEST_HEADERS:Content-Type \"^text/odd\" \
                \"id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON\"\nSecRule ARGS \"zz\" \"id:2,deny\"";
    check(
        &program(text),
        Request::post("text/odd", r#"{"a":"zz"}"#),
        "waf (body): 2 waf_match",
        &["2 ARGS:json.a 0"],
    );
}

#[test]
fn a_broken_body_is_judged_by_the_rule_that_asks_and_else_refused() {
    let asks = "SecRule REQBODY_ERROR \"!@eq 0\" \"id:1,phase:2,deny,logdata:'%{reqbody_error_msg}'\"";
    let broken = || Request::post("application/json", "{\"a\":");
    check(&program(asks), broken(), "waf (body): 1 waf_match", &["1 REQBODY_ERROR 0"]);
    check(
        &program("SecRule ARGS a \"id:1,deny\""),
        broken(),
        "waf (body): body-malformed body_malformed",
        &[],
    );
    let odd = "SecRule MULTIPART_STRICT_ERROR \"@eq 1\" \"id:1,phase:2,deny\"";
    let body = "--b\r\nContent-Disposition: form-data; name='a'\r\n\r\nx\r\n--b--\r\n";
    let multipart = |body: &str| Request::post("multipart/form-data; boundary=b", body);
    check(&program(odd), multipart(body), "waf (body): 1 waf_match", &["1 MULTIPART_STRICT_ERROR 0"]);
    check(&program(odd), multipart(&body.replace('\'', "\"")), "clean", &[]);
}

#[test]
fn multipart_gives_fields_files_and_the_lines_of_parts() {
    let body = "--Boundary\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nzz\r\n--Boundary\r\n\
                Content-Disposition: form-data; name=\"f\"; filename=\"x.php\"\r\nContent-Type: text/zz\r\n\r\n\
                content\r\n--Boundary--\r\n";
    let request = || Request::post("multipart/form-data; boundary=Boundary", body);
    for (rule, want) in [
        ("ARGS:a \"@streq zz\"", true),
        ("ARGS \"content\"", false),
        ("FILES \"@streq x.php\"", true),
        ("FILES_NAMES \"@streq f\"", true),
        ("MULTIPART_PART_HEADERS:f \"^Content-Type: text/zz$\"", true),
        ("MULTIPART_PART_HEADERS:a \"Content-Type\"", false),
        ("FILES_COMBINED_SIZE \"@eq 7\"", true),
        ("REQBODY_ERROR|MULTIPART_STRICT_ERROR|MULTIPART_UNMATCHED_BOUNDARY \"!@eq 0\"", false),
    ] {
        matches(&format!("{rule} \"id:1,deny\""), request(), want);
    }
}

// === flow ===

#[test]
fn a_chain_matches_as_a_whole_and_sees_what_its_links_found() {
    let text = r#"SecRule ARGS "@rx ^(\d+)-(\d+)$" "id:1,phase:2,deny,capture,msg:'%{tx.1}',chain"
                    SecRule TX:2 "@lt %{tx.1}" "chain"
                    SecRule MATCHED_VAR_NAME|REQUEST_URI "TX:2""#;
    check(&program(text), Request::get("/?r=5-3"), "waf (body): 1 waf_match", &["1 ARGS:r 0"]);
    check(&program(text), Request::get("/?r=3-5"), "clean", &[]);
}

#[test]
fn every_match_does_what_its_link_says() {
    let text = r#"SecRule ARGS_NAMES "@rx ." "id:1,phase:2,pass,nolog,setvar:'TX.count_%{MATCHED_VAR_NAME}=+1'"
                  SecRule TX:/count_.*/ "@gt 1" "id:2,phase:2,deny,chain"
                    SecRule MATCHED_VARS_NAMES "@contains args_names:a""#;
    check(
        &program(text),
        Request::get("/?a=1&b=2&a=3"),
        "waf (body): 2 waf_match",
        &["2 TX:count_args_names:a 0"],
    );
    check(&program(text), Request::get("/?a=1&b=2"), "clean", &[]);
}

#[test]
fn jumps_go_to_their_marker_within_their_phase() {
    let text = r#"SecRule ARGS:skip "@streq 1" "id:1,phase:1,pass,nolog,skipAfter:END"
                  SecRule ARGS "zz" "id:2,phase:1,deny"
                  SecRule ARGS "zz" "id:3,phase:2,pass"
                  SecMarker "END"
                  SecRule ARGS "zz" "id:4,phase:1,pass""#;
    check(&program(text), Request::get("/?skip=1&a=zz"), "clean", &["4 ARGS:a 0", "3 ARGS:a 0"]);
    check(&program(text), Request::get("/?a=zz"), "waf: 2 waf_match", &["2 ARGS:a 0"]);
}

#[test]
fn rules_of_levels_that_do_not_run_are_run_once_a_request_reaches_them() {
    // Nothing is set without a request, so the second rule seems out of reach when it is compiled.
    let text = r#"SecRule TX:level "!@eq 2" "id:1,phase:1,pass,nolog,skipAfter:END"
                  SecRule REQUEST_URI "zz" "id:2,phase:1,deny"
                  SecMarker END"#;
    let set = "SecRule REQUEST_HEADERS:X-Level \"@rx ^\\d$\" \"id:3,phase:1,pass,nolog,capture,setvar:tx.level=%{tx.0}\"\n\
               SecAction \"id:4,phase:1,pass,nolog,setvar:tx.other=1\"\n";
    let text = format!("{set}{}", text.replace("TX:level", "&TX:level|TX:level"));
    let text = text.replace("&TX:level|TX:level \"!@eq 2\"", "&TX:level \"@eq 0\"");
    let bench = program(&text);
    check(&bench, Request::get("/zz").with("x-level", "2"), "waf: 2 waf_match", &["2 REQUEST_URI 0"]);
    check(&bench, Request::get("/zz"), "clean", &[]);
}

#[test]
fn allow_ends_a_phase_the_request_or_all() {
    for (allow, want) in
        [("allow:phase", "waf (body): 3 waf_match"), ("allow:request", "clean"), ("allow", "clean")]
    {
        let text = format!(
            "SecRule ARGS:ok \"@streq 1\" \"id:1,phase:1,nolog,{allow}\"\n\
             SecRule ARGS \"zz\" \"id:2,phase:1,deny\"\nSecRule ARGS \"zz\" \"id:3,phase:2,deny\""
        );
        let judged = program(&text).judge(&Request::get("/?ok=1&a=zz"));
        assert_eq!(judged.verdict, want, "{allow}");
    }
}

#[test]
fn multi_match_looks_at_every_step_of_the_way() {
    let rule = "ARGS \"zz%\" \"id:1,deny,t:none,t:urlDecodeUni,t:removeWhitespace";
    matches(&format!("{rule}\""), Request::get("/?a=zz%2525+2"), true);
    matches(&format!("{rule}\""), Request::get("/?a=zz%2541"), false);
    matches(&format!("{rule},multiMatch\""), Request::get("/?a=zz%2541"), true);
}

// === changes ===

const XY: &str = "SecRule ARGS \"x\" \"id:1,phase:2,pass,tag:'t/x',msg:'about x'\"\n\
                  SecRule ARGS \"y\" \"id:2,phase:2,pass,tag:'t/y'\"\n";

#[test]
fn rules_are_changed_from_outside() {
    for (change, want) in [
        ("", &["1 ARGS:a 0", "2 ARGS:a 0"][..]),
        ("SecRuleRemoveById 1", &["2 ARGS:a 0"]),
        ("SecRuleRemoveById 5 2-9", &["1 ARGS:a 0"]),
        ("SecRuleRemoveByTag t/", &[]),
        ("SecRuleRemoveByMsg \"about x\"", &["2 ARGS:a 0"]),
        ("SecRuleUpdateTargetById 1 \"!ARGS:a\"", &["2 ARGS:a 0"]),
        ("SecRuleUpdateTargetByTag t/y !ARGS:/A/", &["1 ARGS:a 0"]),
        ("SecRuleUpdateTargetByTag t/y REQUEST_URI", &["1 ARGS:a 0", "2 REQUEST_URI 0"]),
    ] {
        check(&program(&format!("{XY}{change}")), Request::get("/?a=xy"), "clean", want);
    }
}

#[test]
fn rules_are_changed_for_a_request() {
    for (control, want) in [
        ("ruleRemoveById=1", &["2 ARGS:a 0"][..]),
        ("ruleRemoveById=1-5", &[]),
        ("ruleRemoveByTag=t/y", &["1 ARGS:a 0"]),
        ("ruleRemoveTargetById=1;ARGS:a", &["2 ARGS:a 0"]),
        ("ruleRemoveTargetByTag=t/;ARGS", &[]),
        ("ruleEngine=Off", &[]),
    ] {
        let text = format!("SecRule REQUEST_URI \"^/free\" \"id:9,phase:1,pass,nolog,ctl:{control}\"\n{XY}");
        check(&program(&text), Request::get("/free?a=xy"), "clean", want);
        check(&program(&text), Request::get("/?a=xy"), "clean", &["1 ARGS:a 0", "2 ARGS:a 0"]);
    }
}

#[test]
fn exclusions_of_toml_count_for_programs_too() {
    let exclude = |keys: &str| format!("[[waf.exclude]]\nid = \"e\"\npath = \"/free/{{*rest}}\"\n{keys}");
    let texts = program_with(&exclude("targets = [\"query:a\", \"json:b.0\"]\nrules = [\"waf/1\"]"), XY);
    check(&texts, Request::get("/free/?a=xy"), "clean", &["2 ARGS:a 0"]);
    check(&texts, Request::get("/?a=xy"), "clean", &["1 ARGS:a 0", "2 ARGS:a 0"]);
    let json = || Request { uri: "/free/", ..Request::post("application/json", r#"{"b":["xy"]}"#) };
    check(&texts, json(), "clean", &["2 ARGS:json.b.array_0 0"]);
    let whole = program_with(&exclude("rules = [\"waf/1\"]"), XY);
    check(&whole, Request::get("/free/?a=xy"), "clean", &["2 ARGS:a 0"]);
}

/// A rule that does not look at a text, or is removed, or from which it is kept, does not refuse on it.
#[test]
fn an_expression_that_gives_up_counts_only_where_its_rule_asks() {
    const HARD: &str = "SecRule ARGS:n|ARGS:m|!ARGS:/^x/ \"@rx ^(a+)+\\1=b$\" \"id:1,deny\"";
    let hostile = format!("{}%3Dc%3Db", "a".repeat(200));
    let refused = ("waf (body): budget waf_budget", ["1 ARGS:n 0"].as_slice());
    let passed = ("clean", [].as_slice());
    let exclude = "[[waf.exclude]]\nid = \"e\"\nrules = [\"waf/1\"]\ntargets = [\"query:n\"]";
    let after = |what: &str| format!("SecAction \"id:9,phase:1,pass,nolog,{what}\"\n{HARD}\nSecMarker X");
    for (toml, text, name, (verdict, matched)) in [
        ("", HARD.to_owned(), "n", refused),
        ("", HARD.to_owned(), "other", passed),
        ("", after("ctl:ruleRemoveById=1"), "n", passed),
        ("", after("ctl:ruleRemoveTargetById=1;ARGS:n"), "n", passed),
        ("", after("ctl:ruleRemoveTargetById=1;ARGS:m"), "n", refused),
        ("", format!("SecAction \"id:9,pass,nolog,skipAfter:X\"\n{HARD}\nSecMarker X"), "n", passed),
        (exclude, HARD.to_owned(), "n", passed),
        // The same expression behind another rule is that rule's.
        ("", format!("SecRule ARGS:x \"@rx ^(a+)+\\1=b$\" \"id:2,deny\"\n{HARD}"), "n", refused),
    ] {
        let bench = program_with(toml, &text);
        check(&bench, Request::get(&format!("/?{name}={hostile}")), verdict, matched);
    }
    let rule = "[[waf.rule]]\nid = \"1\"\naction = \"deny\"\ntargets = [\"query.values:n\"]\n\
                match = { regex = '''^(a+)+\\1=b$''' }";
    let bench = compile_with(rule, &[]);
    check(&bench, Request::get(&format!("/?n={hostile}")), "waf: budget waf_budget", &["1 query:n 0"]);
    check(&bench, Request::get(&format!("/?other={hostile}")), "clean", &[]);
}

#[test]
fn work_beyond_the_budget_is_refused() {
    let bench = program_with("budget = 3000", "SecRule ARGS \"a.*b.*c.*d\" \"id:1,deny\"");
    check(&bench, Request::get("/?q=1"), "clean", &[]);
    let long = format!("q={}", "abc".repeat(3000));
    check(&bench, form(&long), "waf (body): budget waf_budget", &[]);
}

#[test]
fn records_hide_what_may_be_secret() {
    let text = "SecRule REQUEST_COOKIES|ARGS \"zz\" \"id:1,deny,capture,msg:'%{MATCHED_VAR}',logdata:'%{TX.0} in %{MATCHED_VAR_NAME}'\"";
    let mut bench = program(text);
    let told = |bench: &Bench, request: Request<'_>| {
        let judged = bench.judge(&request);
        judged.notes.waf.matched.iter().map(|one| format!("{}|{}", one.msg, one.data)).collect::<Vec<_>>()
    };
    assert_eq!(told(&bench, Request::get("/?a=zz")), ["…|"]);
    bench.waf.data_limit = 4;
    assert_eq!(told(&bench, Request::get("/?a=zzzzzz")), ["zzzz|zz in ARGS:a"]);
    assert_eq!(
        told(&bench, Request::get("/").with("cookie", "s=zz")),
        ["(not shown)|(not shown) in REQUEST_COOKIES:s"]
    );
}

// === twins ===

/// Rules that mean the same in both languages.
const TWINS: &[(&str, &str)] = &[
    (
        "targets = [\"query.values\", \"form.values\", \"json.values\"]\ntransforms = [\"url_decode_uni\", \"lowercase\"]\n\
         match = { regex = '''\\bunion\\s+select''' }\nmsg = \"no\"\ntags = [\"sqli\"]",
        "SecRule ARGS \"@rx \\bunion\\s+select\" \"id:1,phase:2,deny,t:none,t:urlDecodeUni,t:lowercase,msg:'no',tag:'sqli'\"",
    ),
    (
        "targets = [\"header.values:user-agent\"]\nmatch = { contains_any_nocase = [\"sqlmap\", \"nikto\"] }",
        "SecRule REQUEST_HEADERS:User-Agent \"@pm sqlmap nikto\" \"id:1,phase:1,deny,t:none\"",
    ),
    (
        "targets = [\"cookie.values\", \"!cookie.values:/(?i)^a/\"]\nmatch = { starts_with = \"O:\", not = true }",
        "SecRule REQUEST_COOKIES|!REQUEST_COOKIES:/^a/ \"!@beginsWith O:\" \"id:1,phase:1,deny\"",
    ),
    (
        "targets = [\"client\"]\nmatch = { ip_match = [\"192.0.2.0/24\"] }",
        "SecRule REMOTE_ADDR \"@ipMatch 192.0.2.0/24\" \"id:1,phase:1,deny\"",
    ),
    (
        "targets = [\"query.names\", \"form.names\", \"json.names\"]\nmatch = { bytes_outside = [\"32-126\"] }\n\
         chain = [{ targets = [\"path\"], match = { contains = \"/api\" } }]",
        "SecRule ARGS_NAMES \"@validateByteRange 32-126\" \"id:1,phase:2,deny,chain\"\n\
         SecRule REQUEST_FILENAME \"@contains /api\"",
    ),
    (
        "targets = [\"query.values\", \"form.values\", \"json.values\"]\n\
         match = { regex = '''\\b(\\w+)\\b\\s*+=\\s*+(?!x)\\1\\b''' }",
        "SecRule ARGS \"@rx \\b(\\w+)\\b\\s*+=\\s*+(?!x)\\1\\b\" \"id:1,phase:2,deny\"",
    ),
];

#[test]
fn a_rule_and_its_twin_lower_to_the_same() {
    for (toml, seclang) in TWINS {
        let rule =
            format!("[waf]\nseclang = [\"*.conf\"]\n[[waf.rule]]\nid = \"a\"\naction = \"deny\"\n{toml}");
        let (mine, theirs) = lowered(&rule, seclang);
        assert_eq!(mine, theirs, "{seclang}");
    }
}

#[test]
fn a_rule_and_its_twin_match_the_same_requests() {
    let requests = || {
        [
            Request::get("/?q=1+union+select"),
            Request::get("/?q=1%2520UNION%2520%2520SELECT"),
            form("q=union%0aselect"),
            Request::post("application/json", r#"{"a":["union select"]}"#),
            Request::get("/").with("user-agent", "SqlMap/1"),
            Request::get("/").with("cookie", "a=O:1; b=O:2"),
            Request::get("/").with("cookie", "b=1"),
            Request::get("/?q=or+11%20=+11"),
            Request::get("/?q=11=1&r=x=x"),
            Request::get("/api?%01=1"),
            Request::get("/?%01=1"),
            Request { peer: [10, 0, 0, 1], ..Request::get("/") },
        ]
    };
    for (toml, seclang) in TWINS {
        let mine = compile_with(&format!("[[waf.rule]]\nid = \"1\"\naction = \"deny\"\n{toml}"), &[]);
        let theirs = program(seclang);
        for (mine_request, theirs_request) in requests().iter().zip(&requests()) {
            let (mine, theirs) = (mine.judge(mine_request).verdict, theirs.judge(theirs_request).verdict);
            assert_eq!(mine, theirs, "{seclang} on {}", mine_request.uri);
        }
    }
}

// === problems ===

#[test]
fn a_rule_that_cannot_run_may_be_taken_out_behind_it() {
    let text =
        "SecRule ARGS \"a(?<=b+)\" \"id:8,deny\"\nSecRuleRemoveById 8\nSecRule ARGS \"b\" \"id:9,deny\"";
    check(&program(text), Request::get("/?q=ab"), "waf (body): 9 waf_match", &["9 ARGS:q 0"]);
    // Whatever it is that cannot run.
    for broken in [
        "SecRule ARGS \"a(?R)\" \"id:8,deny\"",
        "SecRule ARGS \"@rx %{tx.a}\" \"id:8,deny\"",
        "SecRule ARGS \"a\" \"id:8,deny,exec:/bin/x\"",
        "SecRule GEO \"a\" \"id:8,deny\"",
        "SecRule ARGS \"a\" \"id:8,deny,chain\"\nSecRule ARGS \"@rbl x\" \"t:none\"",
        "SecRule ARGS \"a\" \"id:8,deny,chain\"",
    ] {
        let text = format!("{broken}\nSecMarker X\nSecRuleRemoveById 8\nSecRule ARGS \"b\" \"id:9,deny\"");
        check(&program(&text), Request::get("/?q=ab"), "waf (body): 9 waf_match", &["9 ARGS:q 0"]);
    }
}

/// What stands in a program and would not be done is an error, however small the slip.
#[test]
fn nothing_is_passed_over_in_silence() {
    problems(
        "SecRule ARGS \"a\" \"id:1,msg:'oops,deny,t:none\"\nSecRule ARGS \"a\" \"id:2,allow:all\"\n\
         SecDefaultAction \"phase:2,deny,setvar:tx.a=1,multiMatch,tag:x\"\nSecRuleEngine On Off\n\
         SecRule !ARGS:x \"a\" \"id:5,deny\"\nSecRule ARGS \"@ipMatch\" \"id:6,deny\"\n\
         SecRule ARGS \"@eq %{tx.x\" \"id:7,deny\"\nSecRule ARGS \"a(?:b|(?R))\" \"id:8,deny\"\n\
         SecRule ARGS:/a(?=b)/ \"a\" \"id:9,deny\"\nSecRule TX:/a(?1)/ \"a\" \"id:10,deny\"\n\
         SecRule ARGS 'a b \"id:11,deny\"",
        &[
            "a.conf:1 seclang: the quote that opens here is never closed",
            "a.conf:2 seclang: `allow:all` is neither `allow:phase` nor `allow:request`",
            "a.conf:3 seclang: `multiMatch` is not for `SecDefaultAction`, but for a rule",
            "a.conf:3 seclang: a change of variables or of the engine is not for `SecDefaultAction`, but for a rule",
            "a.conf:3 seclang-ignored: tags, texts and severities stand on rules, and not in `SecDefaultAction`",
            "a.conf:4 seclang: `On Off` is no value of `SecRuleEngine` that this version can do",
            "a.conf:5 seclang: this rule looks at nothing: its variables are all left out by `!`",
            "a.conf:6 seclang: the list is empty, so no address would match",
            "a.conf:7 seclang: the macro that opens here is never closed",
            "a.conf:8 seclang: this is not a regular expression that is run here: recursion is not run",
            "a.conf:9 seclang: an expression that chooses by name has no look-around, back-references, atomic groups or possessive repetition",
            "a.conf:10 seclang: this is not a regular expression that is run here: recursion is not run",
            "a.conf:11 seclang: the quote that opens here is never closed",
        ],
    );
}

#[test]
fn words_stand_between_quotes_of_either_kind() {
    let bench = program("SecRule ARGS '@rx a \"b' 'id:1,phase:2,deny'");
    check(&bench, Request::get("/?q=a%20%22b"), "waf (body): 1 waf_match", &["1 ARGS:q 0"]);
}

#[test]
fn what_cannot_be_run_is_told_with_its_place() {
    problems(
        "SecRule ARGS \"a\" \"id:1\"\nSecRool ARGS\nSecRule ARGZ \"a\" \"id:2\"\nSecRule ARGS \"@rxx a\" \"id:3\"\n\
         SecRule ARGS \"a\" \"id:4,t:lowercas\"\nSecRule ARGS \"a\" \"id:5,denny\"\n\
         SecRule ARGS \"a\" \\\n  \"id:6,\\\n  skipAfter:NOWHERE\"\nSecRule ARGS \"(a\" \"id:7\"\n\
         SecRule ARGS \"a\" \"phase:1\"\nSecRule ARGS \"a(?<=b+)\" \"id:8\"\nSecRule ARGS \"a\" \"id:1\"\n\
         SecRule ARGS \"@rx ^%{tx.a}$\" \"id:10\"\nSecRule ARGS \"a\" \"id:9,chain\"",
        &[
            "a.conf:2 seclang: `SecRool` is no directive that this version knows",
            "a.conf:3 seclang: `ARGZ` is no variable that this version knows; did you mean `ARGS`?",
            "a.conf:4 seclang: `@rxx` is no operator that this version runs",
            "a.conf:5 seclang: `t:lowercas` is no transformation that this version runs",
            "a.conf:6 seclang: `denny` is no action that this version runs",
            "a.conf:7 seclang: no `SecMarker NOWHERE` stands behind this rule",
            "a.conf:10 seclang: this is not a regular expression: unclosed group, at byte 0",
            "a.conf:11 seclang: this rule has no `id`",
            "a.conf:12 seclang: a look-behind of this expression looks back by more than 255 bytes",
            "a.conf:13 duplicate-id: the id `1` is taken",
            "a.conf:14 seclang: the argument of `@rx` cannot be a macro",
            "a.conf:15 seclang: the chain of this rule has no end",
        ],
    );
}

#[test]
fn settings_of_another_engine_are_told_once() {
    problems(
        "SecComponentSignature \"x/1\"\nSecAuditLog /dev/null\nSecRequestBodyLimit 1000\nSecPcreMatchLimit 1\n\
         SecRule ARGS a \"id:1,status:500\"\nSecRule ARGS b \"id:2,status:501\"\nSecRuleEngine Maybe\n\
         SecRuleRemoveById 77",
        &[
            "a.conf:2 seclang-ignored: `SecAuditLog` has no effect: what is recorded is said in `[log]`",
            "a.conf:3 seclang-ignored: `SecRequestBodyLimit` has no effect: the largest body that is read is `waf.body.limit`",
            "a.conf:4 seclang-ignored: `SecPcreMatchLimit` has no effect: how many steps an expression may take is fixed, and the limit of all work is `waf.budget`",
            "a.conf:5 seclang-ignored: `status:500`: a refusal's status follows from its reason, and is 403 here",
            "a.conf:7 seclang: `Maybe` is no value of `SecRuleEngine` that this version can do",
            "a.conf:8 seclang-ignored: `SecRuleRemoveById` is about no rule that stands before it",
        ],
    );
}

#[test]
fn collections_that_last_are_told_from_others() {
    problems(
        "SecCollectionTimeout 0\nSecAction \"id:1,initcol:ip\"\nSecAction \"id:2,initcol:tx=a\"\n\
         SecAction \"id:3,expirevar:ip.a\"\nSecAction \"id:4,deprecatevar:ip.a=1/2\"\n\
         SecAction \"id:5,pass,setuid:%{ARGS.user},setsid:%{REQUEST_COOKIES.sid},setrsc:x,initcol:ip=%{REMOTE_ADDR},\
         expirevar:session.a=%{tx.b},setvar:user.a=+1,nolog\"\nSecCollectionTimeout 60",
        &[
            "a.conf:1 seclang: `0` is no value of `SecCollectionTimeout` that this version can do",
            "a.conf:2 seclang: `initcol` takes a collection and a key, as in `initcol:ip=%{REMOTE_ADDR}`",
            "a.conf:3 seclang: `tx` is no collection that lasts; there are `GLOBAL`, `IP`, `RESOURCE`, `SESSION`, `USER`",
            "a.conf:4 seclang: `expirevar` takes a variable and seconds, as in `expirevar:ip.counter=60`",
            "a.conf:5 seclang-ignored: `deprecatevar`: counters do not fade; `expirevar` lets go of them",
        ],
    );
}
