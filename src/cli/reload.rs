//! `reload`: make a running gateway read its configuration again.

use std::path::PathBuf;

use http::Method;
use serde_json::Value;

use super::Common;
use super::admin::{Answer, Whom};
use super::layout::{count, printable};
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
    match gateway.change(Method::POST, "/api/reload", None, args.token_file.as_deref()) {
        Ok(answer) if answer.status.is_success() => Reply::text(Exit::Fine, answer.text()),
        Ok(answer) => Reply::failure(Exit::Findings, refused(&answer)),
        Err(reply) => reply.with_hint("a running gateway takes a changed file over by itself, and at SIGHUP"),
    }
}

/// Why the gateway did not reload: its list of errors, one a line, or whatever it said.
fn refused(answer: &Answer) -> String {
    let document = serde_json::from_slice::<Value>(&answer.body).ok();
    let errors = document.as_ref().and_then(|document| document.get("errors")?.as_array());
    let errors: Vec<&str> = errors.into_iter().flatten().filter_map(Value::as_str).collect();
    if errors.is_empty() {
        return format!("not reloaded ({}): {}", answer.status, answer.text().trim_end());
    }
    let lines: String = errors.iter().map(|error| format!("\n  {}", printable(error))).collect();
    let many = count(errors.len(), "error");
    format!(
        "not reloaded, the policy before stays in force: {many}{lines}\n  help: `portcullis check` shows the lines"
    )
}
