//! `test`: requests with the decisions they must get, checked by the code that the server runs.
//!
//! ```toml
//! config = "../../config/quickstart.toml"   # relative to this file; else --config
//! now = 2026-11-24T12:00:00Z                # the time of cases that have none
//!
//! [[case]]
//! name = "a reader may read"
//! request = { path = "/orders/7", host = "api.example.com", ip = "192.0.2.7", headers = { accept = "a/b" } }
//! identity = { subject = "alice", roles = ["orders-reader"] }   # absent: from the header fields
//! expect = { outcome = "allow", rule = "rbac/orders-read" }
//! not_rules = ["waf/sqli-tautology"]        # must neither decide, nor match, nor be hit in shadow
//! ```
//!
//! What `expect` does not mention is not compared. Unknown keys and names are errors, so that a
//! misspelt expectation cannot pass. [`cases`] and [`judge`] are open to other tests, which run
//! the same files against a server.

pub mod cases;
pub mod judge;
pub mod raw;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;

use self::cases::CaseFile;
use self::report::{Ran, Results};
use super::layout::printable;
use super::reply::{Exit, Reply};
use super::{Common, diagnostics, files, request};
use crate::config::{Outcome, load};
use crate::policy::diagnostic::Diagnostics;
use crate::policy::source::Sources;

/// Run policy unit tests: requests with the decisions they must get.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: portcullis test tests/cases

A case file:
  config = \"portcullis.toml\"

  [[case]]
  name = \"strangers may not delete\"
  request = { method = \"DELETE\", path = \"/orders/7\" }
  identity = { subject = \"mallory\", roles = [] }
  expect = { outcome = \"deny\", rule = \"rbac/default-deny\" }

`status` in `expect` is the status of the refusal as it was judged, whatever
`[[disclosure]]` lets the caller see of it; `sent_status` is what the caller sees.

Exit codes: 0 all passed; 1 cases failed; 78 a file is wrong.")]
pub(super) struct Args {
    /// Case files, globs, or folders (their *.toml files with cases).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Run only cases whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// How results are written.
    #[arg(long, value_enum, default_value_t)]
    format: TestFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum TestFormat {
    #[default]
    Text,
    Json,
    Junit,
}

/// Runs the cases.
pub(super) fn test(args: &Args, common: &Common) -> Reply {
    let mut others = Vec::new();
    let files = match find(&args.files, &mut others) {
        Ok(files) => files,
        Err(why) => return Reply::failure(Exit::Usage, why),
    };
    let reply = ran(args, common, &files);
    // A misspelt `[[case]]` must not go unnoticed.
    others.iter().filter(|_| !common.quiet).fold(reply, |reply, path| {
        let name = path.to_string_lossy();
        reply.with_err(format_args!("note: `{}` has no `[[case]]` and is left out\n", printable(&name)))
    })
}

/// Runs the cases of these files.
fn ran(args: &Args, common: &Common, files: &[PathBuf]) -> Reply {
    let mut configurations = Configurations { common, loaded: BTreeMap::new() };
    let mut results = Results { files: files.len(), ..Results::default() };
    let now = Timestamp::now();
    // What is wrong with any file is told of all of them; two may name the same broken configuration.
    let mut wrong: Vec<String> = Vec::new();
    for file in files {
        match run(file, args, now, &mut configurations, &mut results) {
            Err(reply) if !wrong.contains(&reply.err) => wrong.push(reply.err),
            Ok(()) | Err(_) => {}
        }
    }
    if !wrong.is_empty() {
        return unread(args.format, &wrong);
    }
    if results.ran.is_empty() {
        let why = match results.skipped {
            0 => "there is no case to run".to_owned(),
            skipped => format!("no case matches the filter, of {skipped}"),
        };
        return Reply::failure(Exit::Usage, why);
    }
    let exit = if results.failed() == 0 { Exit::Fine } else { Exit::Findings };
    match args.format {
        TestFormat::Text => Reply::text(exit, results.text(common)),
        TestFormat::Json => Reply::json(exit, &results.document()),
        TestFormat::Junit => match results.junit() {
            Ok(xml) => Reply::exact(exit, xml),
            Err(error) => Reply::failure(Exit::Internal, error),
        },
    }
}

/// What is wrong with files, of which no case was run: for people always, and in the form that was asked for.
fn unread(format: TestFormat, wrong: &[String]) -> Reply {
    let plain: Vec<String> =
        wrong.iter().map(|text| anstream::adapter::strip_str(text.trim_end()).to_string()).collect();
    let reply = match format {
        TestFormat::Text => Reply::text(Exit::Config, ""),
        TestFormat::Json => Reply::json(Exit::Config, &json!({ "ok": false, "errors": plain })),
        TestFormat::Junit => match report::unread_junit(&plain) {
            Ok(xml) => Reply::exact(Exit::Config, xml),
            Err(error) => Reply::failure(Exit::Internal, error),
        },
    };
    reply.with_err(wrong.join("\n"))
}

/// Runs the cases of one file.
fn run(
    path: &Path,
    args: &Args,
    now: Timestamp,
    configurations: &mut Configurations<'_>,
    results: &mut Results,
) -> Result<(), Reply> {
    let name = path.to_string_lossy().into_owned();
    let bytes = files::read(path).map_err(|why| Reply::failure(Exit::Usage, why))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Reply::failure(Exit::Config, format!("`{}` is not UTF-8", printable(&name))))?;
    let sources = Sources::single(name.as_str(), text);
    let mut problems = Diagnostics::default();
    let file = CaseFile::read(&sources, &mut problems);
    let common = configurations.common;
    let wrong = |problems: Diagnostics| {
        let text = diagnostics::list(&problems.into_sorted(), &sources, common);
        Reply::text(Exit::Config, "").with_err(text)
    };
    let Some(file) = file.filter(|_| !problems.has_errors()) else { return Err(wrong(problems)) };
    let setup = match &configurations.get(file.config.as_deref())?.setup {
        Some(setup) => setup,
        None => return Err(Reply::failure(Exit::Internal, "a configuration without errors was not made")),
    };
    file.cases.iter().for_each(|case| case.check_names(&setup.policy, &mut problems));
    if problems.has_errors() {
        return Err(wrong(problems));
    }
    let world = request::world(setup);
    for case in &file.cases {
        if args.filter.as_ref().is_some_and(|filter| !case.name.contains(filter.as_str())) {
            results.skipped += 1;
            continue;
        }
        results.ran.push(Ran {
            file: name.clone(),
            line: sources.line_column(case.place).line,
            name: case.name.clone(),
            judged: judge::judge(case, &setup.policy, &world, now),
        });
    }
    Ok(())
}

/// Configurations by their path, each loaded once.
#[derive(Debug)]
struct Configurations<'a> {
    common: &'a Common,
    loaded: BTreeMap<PathBuf, Outcome>,
}

impl Configurations<'_> {
    /// The configuration that a case file names, or that of the command line. One with errors is
    /// told about, and ends the run.
    fn get(&mut self, named: Option<&Path>) -> Result<&Outcome, Reply> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => files::config_path(self.common)?,
        };
        let key = path.canonicalize().unwrap_or_else(|_| path.clone());
        let outcome = self.loaded.entry(key).or_insert_with(|| load::load(&path, Timestamp::now()).0);
        match outcome.setup {
            Some(_) => Ok(outcome),
            None => Err(Reply::text(Exit::Config, "").with_err(diagnostics::text(outcome, self.common))),
        }
    }
}

/// Whether a file that was not named itself is one of cases. What cannot be read is reported later.
fn may_have_cases(path: &Path) -> bool {
    let Some(text) = files::read(path).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return true;
    };
    let (table, _) = toml::de::DeTable::parse_recoverable(&text);
    table.get_ref().contains_key("case") || text.contains("[[case]]")
}

/// The files that are meant, in order, each once. `others`: those of folders that hold no cases.
fn find(arguments: &[PathBuf], others: &mut Vec<PathBuf>) -> Result<Vec<PathBuf>, String> {
    let mut found: Vec<PathBuf> = Vec::new();
    for argument in arguments {
        let name = argument.to_string_lossy();
        let mut files: Vec<PathBuf> = if argument.is_dir() {
            let pattern = format!("{}/*.toml", glob::Pattern::escape(&name));
            let all = glob::glob(&pattern).map_err(|error| error.to_string())?.flatten();
            let (cases, rest) = all.partition(|path| may_have_cases(path));
            others.extend::<Vec<PathBuf>>(rest);
            cases
        } else if argument.exists() {
            vec![argument.clone()]
        } else {
            let files =
                glob::glob(&name).map_err(|error| format!("`{}`: {}", printable(&name), error.msg))?;
            files.flatten().filter(|path| path.is_file()).collect()
        };
        if files.is_empty() {
            let what = if argument.is_dir() { "has no file with a `[[case]]`" } else { "matches no file" };
            return Err(format!("`{}` {what}", printable(&name)));
        }
        files.sort();
        found.extend(files);
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|path| seen.insert(path.clone()));
    Ok(found)
}
