//! `test`: case files that pass, fail, or are wrong themselves.

use crate::support::command::{Bench, PLAIN};

/// Cases about the intake, which judges the same whatever the policy says. The second one fails.
const CASES: &str = "\
[[case]]
name = \"an encoded slash is refused\"
request = { path = \"/a%2fb\" }
expect = { outcome = \"deny\", rule = \"intake/encoded-slash\", status = 400, reason = \"bad_target\", stage = \"intake\" }
not_rules = [\"intake/backslash\"]

[[case]]
name = \"a backslash is <fine>\"
request = { path = \"/a\\\\b\", headers = { accept = [\"a/b\", \"c/d\"] }, body = \"x\" }
identity = { subject = \"alice\", roles = [\"reader\"], claims = { level = 3 } }
at = 2026-11-24T12:00:00Z
expect = { outcome = \"allow\", status = 200, matched = [\"rbac/default-deny\"] }
not_rules = [\"intake/backslash\"]
";

fn bench(cases: &str) -> Bench {
    let bench = Bench::with(PLAIN);
    bench.write("cases/a.toml", cases);
    bench
}

#[test]
fn failures_show_what_was_expected_and_what_came() {
    let bench = bench(CASES);
    let ran = bench.run(&["test", "cases"]);
    insta::assert_snapshot!("failed", ran.show());
    let passed = bench.run(&["test", "cases/*.toml", "--filter", "slash is refused"]);
    assert_eq!((passed.code, passed.out.as_str()), (0, "ok: 1 passed, 0 failed, 1 skipped in 1 file\n"));
    let verbose = bench.run(&["test", "-v", "cases/a.toml"]);
    assert!(verbose.out.contains("an encoded slash is refused cases/a.toml:1"), "{}", verbose.show());
}

#[test]
fn results_are_also_for_programs() {
    let bench = bench(CASES);
    let ran = bench.run(&["test", "cases", "--format", "json"]);
    assert_eq!(ran.code, 1);
    let results = ran.json();
    assert_eq!((&results["passed"], &results["failed"]), (&1.into(), &1.into()));
    assert_eq!(results["cases"][1]["problems"].as_array().map(Vec::len), Some(4), "{}", ran.show());
    let junit = bench.run(&["test", "cases", "--format", "junit"]);
    assert_eq!(junit.code, 1);
    insta::assert_snapshot!("junit", junit.out);
}

#[test]
fn the_configuration_is_named_by_the_file_or_the_command() {
    let bench = Bench::new();
    bench.write("policy/p.toml", PLAIN);
    bench.write("cases/named.toml", format!("config = \"../policy/p.toml\"\n{CASES}"));
    bench.write("cases/unnamed.toml", CASES);
    assert_eq!(bench.run(&["test", "cases/named.toml"]).code, 1);
    assert_eq!(bench.run(&["test", "cases/unnamed.toml"]).code, 78);
    assert_eq!(bench.run(&["test", "cases/unnamed.toml", "-c", "policy/p.toml"]).code, 1);
}

#[test]
fn a_case_that_cannot_be_understood_never_passes() {
    let check = |change: (&str, &str), want: &str| {
        assert!(CASES.contains(change.0), "{change:?}");
        let ran = bench(&CASES.replace(change.0, change.1)).run(&["test", "cases"]);
        assert_eq!((ran.code, ran.out.as_str()), (78, ""), "{}", ran.show());
        assert!(ran.err.contains(want), "{change:?}: {}", ran.show());
    };
    check(("status = 400", "statos = 400"), "did you mean `status`?");
    check(("not_rules", "not_rulez"), "did you mean `not_rules`?");
    check(("\"intake/backslash\"", "\"intake/backlash\""), "did you mean `intake/backslash`?");
    check(("reason = \"bad_target\"", "reason = \"bad_traget\""), "there is no reason");
    check(("outcome = \"deny\"", "outcome = \"denied\""), "is not one of `allow`, `deny`");
    check(("path = \"/a%2fb\"", "path = \"/a b\""), "is not a request target");
    check(("body = \"x\"", "body = \"x\", body_base64 = \"eA==\""), "exclude each other");
    check(("body = \"x\"", "body_base64 = \"?\""), "this is not Base64");
    check(("body = \"x\"", "ip = \"10.0.0.0/8\""), "is not an address");
    check(("body = \"x\"", "method = \"GE T\""), "is not a method");
    check(("body = \"x\"", "version = \"3\""), "is not one of");
    check(("body = \"x\"", "host = \"a\\nb\""), "control characters");
    let last = CASES.find("expect = { outcome = \"allow\"").unwrap_or_default();
    let idle = format!("{}expect = {{}}\n", &CASES[..last]);
    let ran = bench(&idle).run(&["test", "cases"]);
    assert!(ran.code == 78 && ran.err.contains("it cannot fail"), "{}", ran.show());
    for empty in ["", "case = []\n"] {
        assert_eq!(bench(empty).run(&["test", "cases/a.toml"]).code, 78);
    }
    assert_eq!(bench("").run(&["test", "cases"]).code, 2);
}

#[test]
fn all_wrong_files_are_told_in_one_run() {
    let bench = bench("x = 1\n[[case]]\n");
    bench.write("cases/b.toml", "y = 1\n[[case]]\n");
    let ran = bench.run(&["test", "cases"]);
    assert!(ran.err.contains("cases/a.toml:1:1") && ran.err.contains("cases/b.toml:1:1"), "{}", ran.show());
}

#[test]
fn wrong_files_are_told_in_the_form_that_was_asked_for() {
    let bench =
        bench("[[case]]\nname = \"a\"\nrequest = { path = \"/\" }\nexpect = { outcme = \"allow\" }\n");
    let ran = bench.run(&["test", "cases", "--format", "json"]);
    let told = ran.json();
    assert_eq!((ran.code, &told["ok"]), (78, &false.into()), "{}", ran.show());
    assert!(told["errors"][0].as_str().is_some_and(|text| text.contains("outcme")), "{told}");
    let ran = bench.run(&["test", "cases", "--format", "junit"]);
    assert_eq!(ran.code, 78, "{}", ran.show());
    assert!(ran.out.contains("errors=\"1\"") && ran.out.contains("outcme"), "{}", ran.show());
}

#[test]
fn other_files_of_a_folder_are_left_out_and_named() {
    let bench = bench(&CASES[..CASES.rfind("[[case]]").unwrap_or_default()]);
    bench.write("cases/portcullis.toml", PLAIN);
    let ran = bench.run(&["test", "cases"]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    assert!(ran.err.contains("`cases/portcullis.toml` has no `[[case]]`"), "{}", ran.show());
    // A file that is named is meant.
    assert_eq!(bench.run(&["test", "cases/portcullis.toml"]).code, 78);
}

#[test]
fn the_status_that_is_sent_may_differ_from_the_one_that_is_judged() {
    let silent = format!("{PLAIN}\n[[disclosure]]\nlevel = \"silent\"\n");
    let check = |config: &str, expect: &str, code| {
        let bench = Bench::with(config);
        let case =
            format!("[[case]]\nname = \"x\"\nrequest = {{ path = \"/a%2fb\" }}\nexpect = {{ {expect} }}\n");
        bench.write("a.toml", case);
        let ran = bench.run(&["test", "a.toml"]);
        assert_eq!(ran.code, code, "{}", ran.show());
    };
    check(PLAIN, "status = 400, sent_status = 400", 0);
    check(&silent, "status = 400, sent_status = 404", 0);
    check(&silent, "status = 400, sent_status = 400", 1);
}

#[test]
fn a_case_that_cannot_be_read_is_told_once() {
    for (case, want) in [
        ("request = { path = 7 }\nexpect = { outcome = \"deny\" }", "expected a string"),
        ("request = { path = \"/\" }\nexpect = { status = \"x\" }", "expected an integer"),
    ] {
        let ran = bench(&format!("[[case]]\nname = \"x\"\n{case}\n")).run(&["test", "cases"]);
        assert!(ran.err.contains(want) && ran.err.contains("1 error in"), "{}", ran.show());
    }
}
