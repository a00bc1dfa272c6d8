//! `version`: which portcullis this is.

use serde::Serialize;

use super::Format;
use super::reply::{Exit, Reply};

/// Print the version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: portcullis version --format json")]
pub(super) struct Args {
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The document of `--format json`.
#[derive(Serialize)]
struct Document {
    name: &'static str,
    version: &'static str,
    /// The `version` that configuration files carry.
    configuration: u32,
    os: &'static str,
    arch: &'static str,
    /// Whether it was built without optimisation.
    debug: bool,
}

/// Prints the version.
pub(super) fn version(args: &Args) -> Reply {
    let document = Document {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        configuration: 1,
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
        debug: cfg!(debug_assertions),
    };
    match args.format {
        Format::Text => Reply::text(Exit::Fine, format!("{} {}\n", document.name, document.version)),
        Format::Json => Reply::json(Exit::Fine, &document),
    }
}
