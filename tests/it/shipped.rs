//! The files under `config`, and those that cases are judged by: each is loaded, and the schemas that
//! stand beside them say the same of them as the command does.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis::decision::{Builtin, BuiltinInfo, Kind};

use crate::support::command::Bench;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Main files and included ones, by the schema that their first line names.
const MAIN: &str = "portcullis.schema.json";
const INCLUDED: &str = "included.schema.json";

#[test]
fn the_schemas_beside_the_files_are_what_the_command_prints() {
    for (name, arguments) in [(MAIN, &["schema"][..]), (INCLUDED, &["schema", "--included"])] {
        let kept = fs::read_to_string(Path::new(ROOT).join("config").join(name)).expect("a file");
        let command = format!("portcullis {} > config/{name}", arguments.join(" "));
        assert!(Bench::new().run(arguments).out == kept, "out of date; renew it: {command}");
    }
}

#[test]
fn every_file_names_its_schema_and_agrees_with_it() {
    let mut count = 0;
    for file in files() {
        let text = fs::read_to_string(&file).expect("a file");
        let schema = text.lines().next().and_then(|line| line.strip_prefix("#:schema "));
        let schema = schema.unwrap_or_else(|| panic!("{} names no schema", file.display()));
        let schema = file.parent().expect("a folder").join(schema);
        let schema = fs::read_to_string(&schema).unwrap_or_else(|_| panic!("there is no {schema:?}"));
        let schema = serde_json::from_str(&schema).expect("a schema");
        let problems = problems(&schema, &text);
        assert!(problems.is_empty(), "{}: {problems:#?}", file.display());
        count += 1;
    }
    assert!(count > 10, "only {count} files");
}

#[test]
fn every_file_is_loaded() {
    for file in files() {
        let bench = Bench::new();
        let text = fs::read_to_string(&file).expect("a file");
        let main =
            if text.starts_with("#:schema") && text.lines().next().is_some_and(|line| line.ends_with(MAIN)) {
                file.clone()
            } else {
                bench.write("part.toml", &text);
                bench.write("portcullis.toml", including())
            };
        let ran = bench.run(&["check", "--config", &main.display().to_string()]);
        assert!(matches!(ran.code, 0 | 1), "{}: {}", file.display(), ran.show());
    }
}

#[test]
fn the_schema_refuses_what_the_command_refuses() {
    let kept = fs::read_to_string(Path::new(ROOT).join("config").join(MAIN)).expect("a file");
    let schema = serde_json::from_str(&kept).expect("a schema");
    let good = fs::read_to_string(Path::new(ROOT).join("config/quickstart.toml")).expect("a file");
    assert!(problems(&schema, &good).is_empty());
    for (from, to) in [
        ("version = 1", "verson = 1"),
        ("version = 1", ""),
        ("[server]", "[server]\nthreats = 1"),
        ("[server]", "[sever]"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(good, bad, "{from}");
        assert!(!problems(&schema, &bad).is_empty(), "the schema lets {to} pass");
        let ran = Bench::with(&bad).run(&["check"]);
        assert_eq!(ran.code, 78, "{to}: {}", ran.show());
    }
}

fn problems(schema: &serde_json::Value, text: &str) -> Vec<String> {
    let table: toml::Value = toml::from_str(text).expect("TOML");
    let validator = jsonschema::validator_for(schema).expect("a schema");
    let value = json(table);
    validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// What an editor hands to the schema: dates are texts there.
fn json(value: toml::Value) -> serde_json::Value {
    match value {
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, json(value))).collect(),
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
    }
}

fn files() -> Vec<PathBuf> {
    let folder = |folder: &str| Path::new(ROOT).join(folder);
    let mut files = Vec::new();
    for folder in [folder("config"), folder("config/waf"), folder("tests/cases/config")] {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        files.extend(entries.filter(|file| file.extension().is_some_and(|extension| extension == "toml")));
    }
    files.sort();
    files
}

fn including() -> &'static str {
    r#"version = 1
include = ["part.toml"]
[server]
listen = ["127.0.0.1:0"]
[upstream.demo]
servers = ["builtin:echo"]
[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"
"#
}

#[test]
fn the_readme_lists_the_built_in_rules() {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).expect("a file");
    let table = readme.split("## Built-in rules").nth(1).and_then(|rest| rest.split("\n## ").next());
    let rows: Vec<&str> = table.unwrap_or("").lines().filter(|line| line.starts_with("| `")).collect();
    let row = |builtin: &Builtin| {
        let BuiltinInfo { name, reason, kind, text, .. } = builtin.info();
        match kind {
            Kind::Pass => format!("| `{name}` | | | {text} |"),
            Kind::Answer => {
                format!("| `{name}` | {} | | {text} |", builtin.own_status().expect("it answers"))
            }
            Kind::Refusal | Kind::Fault => {
                format!("| `{name}` | {} | `{}` | {text} |", reason.info().status, reason.info().code)
            }
        }
    };
    let wanted: Vec<String> = Builtin::ALL.iter().map(row).collect();
    assert_eq!(rows, wanted, "renew the table:\n{}", wanted.join("\n"));
}
