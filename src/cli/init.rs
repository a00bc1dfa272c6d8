//! `init`: a configuration to begin with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use super::files;
use super::layout::printable;
use super::reply::{Exit, Reply};

/// Write a commented configuration to begin with.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: portcullis init && portcullis run")]
pub(super) struct Args {
    /// The file to write; `-` prints it.
    #[arg(default_value = "portcullis.toml", value_name = "FILE")]
    file: PathBuf,
    /// Overwrite a file that exists.
    #[arg(long)]
    force: bool,
    /// Print it instead of writing a file.
    #[arg(long, conflicts_with_all = ["file", "force"])]
    stdout: bool,
}

/// The configuration that is written.
const STARTER: &str = include_str!("starter.toml");

/// Writes the configuration.
pub(super) fn init(args: &Args) -> Reply {
    // Elsewhere `-` is standard input, so nobody means a file by it.
    if args.stdout || files::is_stdin(&args.file) {
        return Reply::exact(Exit::Fine, STARTER);
    }
    let name = printable(&args.file.to_string_lossy()).into_owned();
    let mut options = OpenOptions::new();
    match args.force {
        true => options.write(true).create(true).truncate(true),
        // One step, so that no file that appears in between is lost.
        false => options.write(true).create_new(true),
    };
    let written = options.open(&args.file).and_then(|mut file| file.write_all(STARTER.as_bytes()));
    match written {
        Ok(()) => Reply::text(
            Exit::Fine,
            format!(
                "wrote {name}
next: portcullis check --config {name}
      portcullis run --config {name}
"
            ),
        ),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Reply::failure(Exit::Findings, format!("`{name}` exists; `--force` overwrites it"))
        }
        Err(error) => Reply::failure(Exit::Findings, format!("`{name}` cannot be written: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::config;
    use crate::policy::diagnostic::Diagnostic;
    use crate::policy::source::Sources;

    #[test]
    fn the_starter_has_no_findings() {
        let outcome = config::compile(Sources::single("portcullis.toml", STARTER), Timestamp::UNIX_EPOCH);
        let findings = outcome.diagnostics.iter();
        assert_eq!(findings.collect::<Vec<_>>(), [] as [&Diagnostic; 0]);
        assert!(outcome.setup.is_some());
    }

    #[test]
    fn the_starter_names_its_schema_first() {
        assert!(STARTER.starts_with("#:schema ./portcullis.schema.json\n"));
    }

    /// What stands there as a comment is meant to be uncommented; it must at least be TOML.
    #[test]
    fn what_is_commented_out_is_toml() {
        let setting = |line: &str| line.strip_prefix('#').is_some_and(|rest| !rest.starts_with([' ', ':']));
        let lines = STARTER.lines().map(|line| if setting(line) { &line[1..] } else { line });
        let text = lines.collect::<Vec<_>>().join("\n");
        text.parse::<toml::Table>().unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}
