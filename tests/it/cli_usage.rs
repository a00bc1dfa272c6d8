//! What the command looks like from outside: help, exit codes, where things are written.

use std::process::Stdio;

use crate::support::command::{Bench, PLAIN, Ran};

#[test]
fn help_of_every_verb_fits_the_terminal() {
    let bench = Bench::new();
    let verbs = [
        "run",
        "check",
        "explain",
        "test",
        "diff",
        "replay",
        "why",
        "suggest",
        "history",
        "schema",
        "init",
        "hash-key",
        "status",
        "reload",
        "healthcheck",
        "ban",
        "unban",
        "verbose",
        "top",
        "version",
        "completions",
    ];
    let mut text = bench.run(&["--help"]).out;
    for verb in verbs {
        let ran = bench.run(&[verb, "--help"]);
        assert_eq!(ran.code, 0);
        text.push_str(&format!("\n===== {verb}\n\n{}", ran.out));
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80));
    insta::assert_snapshot!("help", text);
}

#[test]
fn wrong_usage_is_2_and_goes_to_stderr() {
    let bench = Bench::with(PLAIN);
    for arguments in [
        &["nonsense"][..],
        &[],
        &["check", "--format", "yaml"],
        &["explain"],
        &["explain", "/", "--reason", "role_missing"],
        &["explain", "--reason", "no_such_reason"],
        &["explain", "ftp://a/"],
        &["explain", "/", "--ip", "nowhere"],
        &["explain", "/", "--as", "a", "--token-file", "x"],
        &["explain", "/", "--token-file", "-", "--body", "-"],
        &["test"],
        &["test", "no/such/*.toml"],
        &["check", "-q", "-v"],
    ] {
        let ran = bench.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.show());
        assert!(!ran.err.is_empty());
    }
}

#[test]
fn a_missing_configuration_is_78_and_says_where_it_was_looked_for() {
    let bench = Bench::new();
    for verb in [&["check"][..], &["run"], &["explain", "/"], &["status"], &["reload"], &["healthcheck"]] {
        let ran = bench.run(verb);
        assert_eq!(ran.code, 78, "{verb:?}: {}", ran.show());
        assert!(ran.err.contains("looked for portcullis.toml, ") && ran.err.contains("/etc/portcullis/"));
    }
}

#[test]
fn the_configuration_is_found_by_argument_environment_and_place() {
    let bench = Bench::new();
    let named = bench.write("elsewhere/named.toml", PLAIN);
    assert_eq!(bench.run(&["check", "--config", "elsewhere/named.toml"]).code, 0);
    assert_eq!(bench.run(&["--config", "elsewhere/named.toml", "check"]).code, 0);
    let from_environment = Ran::of(bench.command(&["check"]).env("PORTCULLIS_CONFIG", named), b"");
    assert_eq!(from_environment.code, 0);
    bench.write(".config/portcullis/portcullis.toml", PLAIN);
    assert_eq!(bench.run(&["check"]).code, 0);
    bench.write("portcullis.toml", "broken");
    assert_eq!(bench.run(&["check"]).code, 78);
}

#[test]
fn run_does_not_serve_what_check_refuses() {
    let broken = Bench::with("version = 1\n");
    let ran = broken.run(&["run"]);
    assert_eq!(ran.code, 78, "{}", ran.show());
    assert!(ran.err.contains("nothing to listen on"));
    let dangerous =
        Bench::with(&PLAIN.replace("[server]\n", "[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n"));
    let ran = dangerous.run(&["run"]);
    assert_eq!(ran.code, 78, "{}", ran.show());
    assert!(ran.err.contains("trusts-the-world"));
}

#[test]
fn a_closed_pipe_changes_neither_exit_code_nor_stderr() {
    let bench = Bench::with("version = 1\n");
    let mut child = bench
        .command(&["check"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the command ends");
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn colours_are_for_terminals_or_where_they_are_asked_for() {
    let bench = Bench::with(PLAIN);
    assert!(!bench.run(&["check"]).out.contains('\u{1b}'));
    let forced = Ran::of(bench.command(&["check"]).env("CLICOLOR_FORCE", "1"), b"");
    assert!(forced.out.contains('\u{1b}'));
    let refused = Ran::of(bench.command(&["check"]).env("NO_COLOR", "1").env("CLICOLOR_FORCE", "0"), b"");
    assert!(!refused.out.contains('\u{1b}'));
}

#[test]
fn version_and_completions_are_for_scripts() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["version"]).out, format!("portcullis {}\n", env!("CARGO_PKG_VERSION")));
    let version = bench.run(&["version", "--format", "json"]).json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = bench.run(&["completions", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("healthcheck"), "{shell}");
    }
}
