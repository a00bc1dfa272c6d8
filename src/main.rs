//! The command: arguments in, exit code out. Everything else is `portcullis::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis::cli::run(std::env::args_os())
}
