//! `status`: what a running gateway says about itself.

use super::admin::Whom;
use super::reply::{Exit, Reply};
use super::{Common, Format};

/// Show the state of a running gateway.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: portcullis status --admin 127.0.0.1:9901")]
pub(super) struct Args {
    #[command(flatten)]
    whom: Whom,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Asks and shows.
pub(super) fn status(args: &Args, common: &Common) -> Reply {
    let gateway = match args.whom.find(false, common) {
        Ok(gateway) => gateway,
        Err(reply) => return reply,
    };
    match gateway.read("/api/status") {
        Ok(answer) => {
            let exit = if answer.status.is_success() { Exit::Fine } else { Exit::Findings };
            match (args.format, exit) {
                (_, Exit::Findings) => Reply::failure(exit, format!("{}: {}", answer.status, answer.text())),
                (Format::Text, _) => Reply::text(exit, answer.text()),
                (Format::Json, _) => match serde_json::from_slice::<serde_json::Value>(&answer.body) {
                    Ok(value) => Reply::json(exit, &value),
                    Err(error) => Reply::failure(Exit::Findings, format!("the answer is no JSON: {error}")),
                },
            }
        }
        Err(why) => Reply::failure(Exit::Findings, why),
    }
}
