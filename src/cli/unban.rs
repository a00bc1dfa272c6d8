//! `unban`: let a banned address or network in again.

use std::path::PathBuf;

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Common;
use super::admin::Whom;
use super::ban::text;
use super::reply::Reply;

/// End the ban of an address or a network.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: portcullis unban 203.0.113.9")]
pub(super) struct Args {
    /// The address or network, as it was banned.
    address: String,
    #[command(flatten)]
    whom: Whom,
    /// The file of the admin token [default: `[admin] token_file` of the configuration].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Ends a ban.
pub(super) fn unban(args: &Args, common: &Common) -> Reply {
    let gateway = match args.whom.find(args.token_file.is_none(), common) {
        Ok(gateway) => gateway,
        Err(reply) => return reply,
    };
    let path = format!("/api/bans?address={}", utf8_percent_encode(&args.address, NON_ALPHANUMERIC));
    match gateway.change(Method::DELETE, &path, None, args.token_file.as_deref()) {
        Ok(answer) => {
            answer.reply(|told| format!("{} is not banned any more\n", text(&told["ended"], "address")))
        }
        Err(reply) => reply,
    }
}
