//! `reload`: make a running gateway read its configuration again.

use std::path::PathBuf;

use http::Method;

use super::Common;
use super::admin::Whom;
use super::reply::{Exit, Reply};

/// Make a running gateway load its configuration again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: portcullis reload --config portcullis.toml

A bad configuration is refused by the gateway, which goes on with the last good
one; then the exit code is 1, and `portcullis check` tells what is wrong.")]
pub(super) struct Args {
    #[command(flatten)]
    whom: Whom,
    /// The file of the admin token [default: `[admin] token_file` of the configuration].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Asks for a reload.
pub(super) fn reload(args: &Args, common: &Common) -> Reply {
    let gateway = match args.whom.find(args.token_file.is_none(), common) {
        Ok(gateway) => gateway,
        Err(reply) => return reply,
    };
    let token = match gateway.token(args.token_file.as_deref()) {
        Ok(token) => token,
        Err(why) => return Reply::failure(Exit::Config, why),
    };
    match gateway.ask(Method::POST, "/api/reload", Some(&token)) {
        Ok(answer) if answer.status.is_success() => Reply::text(Exit::Fine, answer.text()),
        Ok(answer) => {
            Reply::failure(Exit::Findings, format!("not reloaded ({}): {}", answer.status, answer.text()))
        }
        Err(why) => Reply::failure(Exit::Findings, why),
    }
}
