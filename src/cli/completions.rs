//! `completions`: scripts that complete this command in a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use super::reply::{Exit, Reply};

/// Print the completion script of a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: portcullis completions bash > /etc/bash_completion.d/portcullis")]
pub(super) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints a completion script.
pub(super) fn completions(args: &Args) -> Reply {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "portcullis", &mut script);
    match String::from_utf8(script) {
        Ok(script) => Reply::exact(Exit::Fine, script),
        Err(error) => Reply::failure(Exit::Internal, error),
    }
}
