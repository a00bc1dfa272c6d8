//! The command line: one file a verb.
//!
//! [`run()`] is all that `main` calls. A verb is a function from its arguments to a `Reply`: text
//! and an exit code, written in one place. So no verb prints, a closed pipe changes no exit code,
//! and a test can ask a verb without starting a process.

mod admin;
mod ban;
mod check;
mod completions;
mod diagnostics;
mod diff;
mod difference;
mod explain;
mod files;
mod hash_key;
mod healthcheck;
mod history;
mod init;
mod layout;
mod policies;
mod progress;
mod records;
mod reload;
mod replay;
mod reply;
mod request;
mod run;
mod schema;
mod status;
pub mod test;
mod top;
mod unban;
mod verbose;
mod version;
mod written_toml;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::reply::Exit;

/// Runs the command with these arguments; the first is the name of the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(arguments) {
        // The panic itself was told by the default hook; scripts are told by the exit code.
        Ok(cli) => catch_unwind(AssertUnwindSafe(|| cli.run())).unwrap_or(Exit::Internal.into()),
        Err(error) => {
            // Nothing useful can be done when the message about the usage cannot be written.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage.into() } else { Exit::Fine.into() }
        }
    }
}

/// A reverse proxy that decides who may pass, and always says why.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, max_term_width = 80, disable_help_subcommand = true)]
#[command(after_help = "Example: portcullis run --config portcullis.toml

Exit codes: 0 fine; 1 findings, failed cases, or a refusal under
`explain --exit-code`; 2 wrong usage; 70 internal error; 78 bad configuration.")]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb understands.
#[derive(Debug, Default, clap::Args)]
struct Common {
    /// Configuration file [default: ./portcullis.toml, then XDG, then /etc/portcullis].
    #[arg(short, long, global = true, value_name = "FILE", env = "PORTCULLIS_CONFIG")]
    #[arg(hide_env_values = true, help_heading = "Global options")]
    config: Option<PathBuf>,
    /// Say less.
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    quiet: bool,
    /// Say more.
    #[arg(short, long, global = true, help_heading = "Global options")]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Args),
    Check(check::Args),
    Explain(Box<explain::Args>),
    Test(test::Args),
    Diff(diff::Args),
    Replay(replay::Args),
    Why(explain::WhyArgs),
    Suggest(explain::SuggestArgs),
    History(history::Args),
    Schema(schema::Args),
    Init(init::Args),
    HashKey(hash_key::Args),
    Status(status::Args),
    Reload(reload::Args),
    Healthcheck(healthcheck::Args),
    Ban(ban::Args),
    Unban(unban::Args),
    Verbose(verbose::Args),
    Top(top::Args),
    Version(version::Args),
    Completions(completions::Args),
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

impl Cli {
    fn run(self) -> ExitCode {
        let Cli { common, verb } = self;
        let reply = match verb {
            Verb::Run(args) => return run::run(&args, &common),
            Verb::Check(args) => check::check(&args, &common),
            Verb::Explain(args) => explain::explain(&args, &common),
            Verb::Test(args) => test::test(&args, &common),
            Verb::Diff(args) => diff::diff(&args, &common),
            Verb::Replay(args) => replay::replay(&args, &common),
            Verb::Why(args) => explain::why(&args, &common),
            Verb::Suggest(args) => explain::suggest_change(&args, &common),
            Verb::History(args) => history::history(&args, &common),
            Verb::Schema(args) => schema::schema(&args),
            Verb::Init(args) => init::init(&args),
            Verb::HashKey(args) => hash_key::hash_key(&args),
            Verb::Status(args) => status::status(&args, &common),
            Verb::Reload(args) => reload::reload(&args, &common),
            Verb::Healthcheck(args) => healthcheck::healthcheck(&args, &common),
            Verb::Ban(args) => ban::ban(&args, &common),
            Verb::Unban(args) => unban::unban(&args, &common),
            Verb::Verbose(args) => verbose::verbose(&args, &common),
            Verb::Top(args) => return top::top(&args, &common),
            Verb::Version(args) => version::version(&args),
            Verb::Completions(args) => completions::completions(&args),
        };
        reply.write()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example() {
        for verb in Cli::command().get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "`{}` has none", verb.get_name());
        }
    }
}
