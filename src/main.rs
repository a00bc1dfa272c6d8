//! The command: arguments in, exit code out. Everything else is `portcullis::cli`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request makes a few dozen small values on one thread and gives them back on the same one.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    portcullis::cli::run(std::env::args_os())
}
