//! `ban`: keep an address or a network out for a while.

use std::path::PathBuf;

use http::Method;
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde_json::{Value, json};

use super::admin::{Gateway, Whom};
use super::layout::{count, list as words, padded, printable};
use super::reply::{Exit, FAINT, Reply, STRONG, WARN, styled};
use super::{Common, Format};

/// Ban an address or a network for a while, or list the bans.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis ban 203.0.113.9 --for 1h --reason \"scans for /admin\"
  portcullis ban 198.51.100.0/24 --for 36h
  portcullis ban --list")]
#[command(override_usage = "portcullis ban [OPTIONS] ADDRESS --for TIME
       portcullis ban [OPTIONS] --list")]
#[command(group(clap::ArgGroup::new("what").required(true).args(["address", "list"])))]
pub(super) struct Args {
    /// The address or network.
    #[arg(requires = "time")]
    address: Option<String>,
    /// For how long, such as 10m, 36h, 2d or 1w; a ban always has an end.
    #[arg(long = "for", id = "time", value_name = "TIME", requires = "address")]
    time: Option<String>,
    /// Why, for whoever looks later.
    #[arg(long, value_name = "TEXT", requires = "address", default_value = "", hide_default_value = true)]
    reason: String,
    /// List the bans in force.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    whom: Whom,
    /// The file of the admin token [default: `[admin] token_file` of the configuration].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How the list is written.
    #[arg(long, value_enum, default_value_t, requires = "list")]
    format: Format,
}

/// Bans, or lists.
pub(super) fn ban(args: &Args, common: &Common) -> Reply {
    let needs_token = !args.list && args.token_file.is_none();
    let gateway = match args.whom.find(needs_token, common) {
        Ok(gateway) => gateway,
        Err(reply) => return reply,
    };
    let Some(address) = &args.address else { return list(&gateway, args.format) };
    let wanted = json!({ "address": address, "for": args.time.as_deref().map(span), "reason": args.reason });
    // A ban takes the place of one of the same address, which is then gone.
    let before = gateway.read("/api/bans").ok().filter(|answer| answer.status.is_success());
    let before: Value = before.and_then(|told| serde_json::from_slice(&told.body).ok()).unwrap_or_default();
    match gateway.change(Method::POST, "/api/bans", Some(&wanted), args.token_file.as_deref()) {
        Ok(answer) => answer.reply(|ban| {
            let but = match spared(ban) {
                Some(listed) => format!("; `[ip] never_ban` lists {listed} of it, which passes all the same"),
                None => String::new(),
            };
            let told = format!("{} is banned until {:.19}Z{but}\n", text(ban, "address"), text(ban, "until"));
            told + &replaced(ban, &before)
        }),
        Err(reply) => reply,
    }
}

fn list(gateway: &Gateway, format: Format) -> Reply {
    let answer = match gateway.read("/api/bans") {
        Ok(answer) => answer,
        Err(why) => return Reply::failure(Exit::Findings, why),
    };
    if format == Format::Json && answer.status.is_success() {
        return Reply::exact(Exit::Fine, String::from_utf8_lossy(&answer.body));
    }
    answer.reply(|told| {
        let bans = told["bans"].as_array().map(Vec::as_slice).unwrap_or_default();
        if bans.is_empty() {
            return "nobody is banned\n".to_owned();
        }
        let width = bans.iter().map(|ban| text(ban, "address").len()).max().unwrap_or(0);
        let mut out = format!("{}\n", count(bans.len(), "ban"));
        for ban in bans {
            let reason = match text(ban, "reason") {
                reason if reason.is_empty() => String::new(),
                reason => format!(": {reason}"),
            };
            out.push_str(&format!(
                "{}  until {:.19}Z  {}\n",
                padded(&styled(STRONG, text(ban, "address")), width),
                text(ban, "until"),
                styled(FAINT, format!("by {}{reason}", text(ban, "by")))
            ));
            if let Some(listed) = spared(ban) {
                let effect = if ban["without_effect"] == true { "without effect" } else { "in part" };
                out.push_str(&format!(
                    "{:width$}  {}\n",
                    "",
                    styled(WARN, format!("{effect}: `[ip] never_ban` lists {listed}"))
                ));
            }
        }
        out
    })
}

/// That there was a ban of the same address before, and which: it may have been longer, or for a reason.
fn replaced(ban: &Value, before: &Value) -> String {
    let mut bans = before["bans"].as_array().into_iter().flatten();
    let Some(old) = bans.find(|old| old["address"] == ban["address"]) else { return String::new() };
    let until = |ban: &Value| ban["until"].as_str().and_then(|until| until.parse::<Timestamp>().ok());
    let longer = if until(old) > until(ban) { "a longer one," } else { "one" };
    let reason = match text(old, "reason") {
        reason if reason.is_empty() => String::new(),
        reason => format!(": {reason}"),
    };
    format!("it replaces {longer} until {:.19}Z by {}{reason}\n", text(old, "until"), text(old, "by"))
}

/// A time span as a gateway reads it: whoever writes days or weeks, as the configuration does, means so many
/// hours. What is none is left for the gateway to refuse.
pub(super) fn span(text: &str) -> String {
    let days = text.trim().parse::<Span>().ok();
    match days.filter(|span| span.get_days() != 0 || span.get_weeks() != 0) {
        Some(span) => match span.to_duration(SpanRelativeTo::days_are_24_hours()) {
            Ok(duration) => format!("{}s", duration.as_secs()),
            Err(_) => text.to_owned(),
        },
        None => text.to_owned(),
    }
}

/// What of a ban has no effect, in words.
fn spared(ban: &Value) -> Option<String> {
    let nets = ban["spared"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut nets: Vec<String> = nets.map(|net| printable(net).into_owned()).collect();
    if let Some(more) = ban["more_spared"].as_u64().filter(|more| *more > 0) {
        nets.push(format!("{more} more"));
    }
    (!nets.is_empty()).then(|| words(&nets, " and "))
}

/// A text of an answer, safe to print.
pub(super) fn text(value: &Value, name: &str) -> String {
    printable(value[name].as_str().unwrap_or("")).into_owned()
}
