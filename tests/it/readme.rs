//! The commands that the README's sections for people give: each is run as it stands there.

use std::fs;
use std::path::Path;

use crate::support::command::{Bench, Ran};

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a file")
}

/// The lines of a section, without those of the sections in it.
fn section<'r>(readme: &'r str, title: &str) -> &'r str {
    let text =
        readme.split(&format!("\n## {title}\n")).nth(1).unwrap_or_else(|| panic!("no section {title}"));
    text.split("\n## ").next().unwrap_or(text)
}

/// A folder with what the commands name: a policy, a changed one, cases, and the log with the record that
/// the README shows.
fn bench() -> Bench {
    let quickstart = file("config/quickstart.toml");
    let bench = Bench::with(&quickstart);
    bench.write("config/quickstart.toml", &quickstart);
    bench.write(
        "new.toml",
        quickstart
            .replace("methods = [\"POST\", \"PUT\", \"PATCH\", \"DELETE\"]", "methods = [\"POST\", \"PUT\"]"),
    );
    bench.write(
        "tests/policy/orders.toml",
        "config = \"../../new.toml\"\n[[case]]\nname = \"readers read\"\nrequest = { path = \"/orders/1\" }\n\
         identity = { subject = \"al\", roles = [\"orders-reader\"] }\nexpect = { outcome = \"allow\", rule = \"rbac/orders-read\" }\n",
    );
    let readme = file("README.md");
    let record = readme.lines().find(|line| line.starts_with("{\"ts\":")).expect("the README shows a record");
    bench.write("decisions.jsonl", format!("{record}\n"));
    bench
}

/// Runs every command of a section.
fn commands(title: &str) -> Vec<(String, Ran)> {
    let readme = file("README.md");
    let bench = bench();
    let lines = section(&readme, title).lines().filter_map(|line| line.trim().strip_prefix("$ portcullis "));
    lines
        .map(|line| {
            let arguments: Vec<&str> = line.split(' ').collect();
            (line.to_owned(), bench.run(&arguments))
        })
        .collect()
}

#[track_caller]
fn check(ran: &(String, Ran), command: &str, code: i32, says: &str) {
    let (line, ran) = ran;
    assert!(line.starts_with(command), "{line} is not {command}");
    assert_eq!(ran.code, code, "{line}: {}", ran.show());
    assert!(ran.out.contains(says), "{line}: {}", ran.show());
}

#[test]
fn you_have_a_403() {
    let ran = commands("You have a 403");
    assert_eq!(ran.len(), 3);
    check(&ran[0], "why", 0, "rbac/default-deny");
    check(&ran[1], "explain", 0, "orders-admin");
    check(&ran[2], "suggest", 0, "[[rbac.grant]]");
}

#[test]
fn roll_out_a_rule_safely() {
    let ran = commands("Roll out a rule safely");
    assert_eq!(ran.len(), 1);
    check(&ran[0], "replay", 0, "1");
}

#[test]
fn review_a_policy_change_in_ci() {
    let ran = commands("Review a policy change in CI");
    assert_eq!(ran.len(), 4);
    check(&ran[0], "check", 0, "");
    check(&ran[1], "test", 0, "<testsuite");
    check(&ran[2], "diff", 0, "orders-admin");
    check(&ran[3], "replay", 0, "1");
}

/// The reasons that the table names are reasons.
#[test]
fn the_table_of_reasons_names_reasons() {
    let readme = file("README.md");
    let table = section(&readme, "You have a 403").lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut count = 0;
    for cell in table.filter_map(|line| line.split('|').nth(1)) {
        for word in cell.split('`').skip(1).step_by(2).filter(|word| word.contains('_')) {
            let known = portcullis::decision::Reason::ALL.iter().any(|reason| reason.info().code == word);
            assert!(known, "there is no reason {word}");
            count += 1;
        }
    }
    assert!(count >= 9, "{count}");
}
