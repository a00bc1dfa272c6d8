//! `verbose`: keep full trails of some requests for a while.

use std::net::IpAddr;
use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};

use super::Common;
use super::admin::Whom;
use super::ban::{span, text};
use super::layout::{count, list};
use super::reply::{Exit, Reply};

/// Make a running gateway keep the full trail of matching requests for a while.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis verbose --for 10m --ip 203.0.113.9
  portcullis verbose --for 5m --route orders --subject alice
  portcullis verbose --off

The trails are kept in memory and shown with their decisions: by `why`, on the
page and by `/api/decisions/ID`. It ends by itself; without options its state is
shown.")]
pub(super) struct Args {
    /// For how long, such as 10m.
    #[arg(long = "for", id = "time", value_name = "TIME")]
    time: Option<String>,
    /// Only requests of this route; repeatable.
    #[arg(long = "route", value_name = "ID", requires = "time")]
    routes: Vec<String>,
    /// Only requests of this verified subject.
    #[arg(long, value_name = "SUBJECT", requires = "time")]
    subject: Option<String>,
    /// Only requests from this address; repeatable.
    #[arg(long = "ip", value_name = "ADDR", requires = "time")]
    ips: Vec<IpAddr>,
    /// End it now.
    #[arg(long, conflicts_with = "time")]
    off: bool,
    #[command(flatten)]
    whom: Whom,
    /// The file of the admin token [default: `[admin] token_file` of the configuration].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Begins, ends or shows it.
pub(super) fn verbose(args: &Args, common: &Common) -> Reply {
    let changes = args.off || args.time.is_some();
    let gateway = match args.whom.find(changes && args.token_file.is_none(), common) {
        Ok(gateway) => gateway,
        Err(reply) => return reply,
    };
    let (path, token_file) = ("/api/log-level", args.token_file.as_deref());
    let answer = if let Some(time) = &args.time {
        let Args { routes, subject, ips, .. } = args;
        let wanted = json!({ "for": span(time), "routes": routes, "subject": subject, "ips": ips });
        gateway.change(Method::PUT, path, Some(&wanted), token_file)
    } else if args.off {
        gateway.change(Method::DELETE, path, None, token_file)
    } else {
        gateway.read(path).map_err(|why| Reply::failure(Exit::Findings, why))
    };
    match answer {
        Ok(answer) => answer.reply(told),
        Err(reply) => reply,
    }
}

fn told(state: &Value) -> String {
    let trails = state["trails"].as_u64().unwrap_or(0);
    let trails = count(usize::try_from(trails).unwrap_or(usize::MAX), "trail");
    if state["verbose"] != true {
        return format!("no trails are being kept; {trails} in memory\n");
    }
    let names = |name: &str| -> Vec<String> {
        let items = state[name].as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(|text| super::layout::printable(text).into_owned()).collect()
    };
    let mut which = String::new();
    for (word, items) in [("of", names("routes")), ("from", names("ips"))] {
        if !items.is_empty() {
            which.push_str(&format!(" {word} {}", list(&items, " and ")));
        }
    }
    if state["subject"].is_string() {
        which.push_str(&format!(" for {}", text(state, "subject")));
    }
    let which = if which.is_empty() { " of all requests".to_owned() } else { which };
    format!("trails{which} are kept until {:.19}Z; {trails} in memory\n", text(state, "until"))
}
