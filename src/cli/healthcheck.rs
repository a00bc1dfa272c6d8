//! `healthcheck`: one question for containers that have no other program to ask it with.

use http::Method;

use super::Common;
use super::admin::Whom;
use super::reply::{Exit, Reply};

/// Ask a running gateway whether it is ready; the exit code is the answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: HEALTHCHECK CMD [\"portcullis\", \"healthcheck\", \"--quiet\"]")]
pub(super) struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Ask whether it lives instead of whether it is ready for requests.
    #[arg(long)]
    live: bool,
}

/// Asks and tells by the exit code.
pub(super) fn healthcheck(args: &Args, common: &Common) -> Reply {
    let gateway = match args.whom.find(false, common) {
        Ok(gateway) => gateway,
        Err(reply) => return reply,
    };
    let path = if args.live { "/livez" } else { "/readyz" };
    match gateway.ask(Method::GET, path, None) {
        Ok(answer) if answer.status.is_success() => {
            Reply::text(Exit::Fine, if common.quiet { String::new() } else { answer.text() })
        }
        Ok(answer) => Reply::failure(Exit::Findings, format!("{path}: {}", answer.status)),
        Err(why) => Reply::failure(Exit::Findings, why),
    }
}
