//! `explain`: what would happen to a request, and why; and what the words of a refusal mean.
//!
//! The request is judged by `Policy::decide`, the code that the server runs. Everything that is
//! shown comes from its decision and its trace, gathered in an [`Account`](account::Account).

mod account;
mod asked;
mod beside;
mod causes;
mod curl;
mod exactly;
mod help;
mod hidden;
mod json;
mod pages;
mod question;
mod recorded;
mod settled;
mod suggest;
#[cfg(test)]
mod tests;
mod text;
mod what_if;
mod why;
mod written;

pub(super) use question::Verbs;
pub(super) use suggest::{Args as SuggestArgs, show as suggest_change};
pub(super) use why::{Args as WhyArgs, why};

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::PossibleValuesParser;
use jiff::Timestamp;

use super::layout::printable;
use super::reply::{Exit, Reply, WARN, styled};
use super::{Common, Format, files, policies, request};
use crate::config::Setup;
use crate::decision::{Outcome, Reason};
use crate::policy::World;
use crate::policy::code::Code;
use crate::policy::diagnostic::suggest;
use crate::policy::ip::Bans;
use crate::state::BanBook;

/// Tell what would happen to a request and why, or what a reason, lint or rule means.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis explain -X DELETE /orders/42 --ip 203.0.113.9 --as al --role reader
  portcullis explain https://api.example.com/orders --token-file token.txt
  portcullis explain /admin --ip 203.0.113.9 --what-if-ip 192.0.2.7
  portcullis explain --reason role_missing
  portcullis explain --rule waf/942100
  portcullis explain --rules builtin")]
#[command(override_usage = "portcullis explain [OPTIONS] TARGET
       portcullis explain --lint CODE | --reason CODE
       portcullis explain --rule NAME | --rules [WHICH]")]
#[command(group(clap::ArgGroup::new("question").required(true).args(["target", "lint", "reason", "rule", "rules"])))]
pub(super) struct Args {
    #[command(flatten)]
    asked: asked::RequestArgs,
    /// The time of the request [default: now], such as 2026-12-24T08:00:00Z.
    #[arg(long, value_name = "TIME", requires = "target", value_parser = moment)]
    at: Option<Timestamp>,
    /// The same request from another address, side by side; repeatable.
    #[arg(long, value_name = "ADDR", requires = "target")]
    what_if_ip: Vec<IpAddr>,
    /// The same request by somebody who also has this role, side by side; repeatable.
    #[arg(long, value_name = "ROLE", requires = "target")]
    what_if_role: Vec<String>,
    /// The same request with the bearer token of this file, side by side; repeatable.
    #[arg(long, value_name = "FILE", requires = "target")]
    what_if_token: Vec<PathBuf>,
    /// The same request at this time, side by side; repeatable.
    #[arg(long, value_name = "TIME", requires = "target", value_parser = moment)]
    what_if_at: Vec<Timestamp>,
    /// The same request by another policy, side by side: a file, or a generation of the history.
    #[arg(long, value_name = "POLICY", requires = "target", allow_hyphen_values = true)]
    what_if_policy: Vec<String>,
    /// Exit with 1 when the request is refused.
    #[arg(long, requires = "target")]
    exit_code: bool,
    /// Explain a code that `check` reports.
    #[arg(long, value_name = "CODE", value_parser = PossibleValuesParser::new(Code::ALL.iter().map(|code| code.info().name)), hide_possible_values = true)]
    lint: Option<String>,
    /// Explain a reason that refusals and the log carry.
    #[arg(long, value_name = "CODE", value_parser = PossibleValuesParser::new(Reason::ALL.iter().map(|reason| reason.info().code)), hide_possible_values = true)]
    reason: Option<String>,
    /// Show a rule of the configuration: where it stands, its text, and a WAF rule in TOML and SecLang.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// List rules: those of the configuration, or those that are built in.
    #[arg(long, value_enum, value_name = "WHICH", num_args = 0..=1, default_missing_value = "written")]
    rules: Option<WhichRules>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn moment(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map_err(|_| "write a time such as 2026-12-24T08:00:00Z")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum WhichRules {
    Written,
    Builtin,
}

/// Explains what was asked.
pub(super) fn explain(args: &Args, common: &Common) -> Reply {
    let Args { lint, reason, rules, format, .. } = args;
    if let Some(code) = lint.as_ref().and_then(|name| name.parse::<Code>().ok()) {
        return pages::lint(code, *format);
    }
    if let Some(reason) = reason.as_ref().and_then(|code| code.parse::<Reason>().ok()) {
        return pages::reason(reason, *format);
    }
    if *rules == Some(WhichRules::Builtin) {
        return pages::builtin_rules(*format);
    }
    let setup = match files::usable(common) {
        Ok(setup) => setup,
        Err(reply) => return reply,
    };
    if rules.is_some() {
        return pages::written_rules(&setup, *format);
    }
    if let Some(name) = &args.rule {
        return pages::rule(&setup, name, *format);
    }
    // Whole seconds, so that `--at` with the time that was shown gives the same answer.
    let second = || Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let now = args.at.unwrap_or_else(second);
    let mut asked = match args.asked.read() {
        Ok(asked) => asked,
        Err(why) => return Reply::failure(Exit::Usage, why),
    };
    let bans = bans(&setup).unwrap_or_else(|why| {
        asked.assumed.push(format!("nobody is banned, since the bans cannot be read: {why}"));
        None
    });
    let world = World { bans: bans.map(Arc::new), ..request::world(&setup) };
    let mut account = account::Account::judged(&setup, &world, &asked, now);
    let exit = match account.decision.outcome {
        Outcome::Deny(_) if args.exit_code => Exit::Findings,
        Outcome::Deny(_) | Outcome::Allow(_) => Exit::Fine,
    };
    let others = match others(args, &asked, common) {
        Ok(others) => others,
        Err(reply) => return reply,
    };
    let (ips, roles) = (&args.what_if_ip, &args.what_if_role);
    account.what_if = beside::compare(&account, &world, (&asked, now), ips, roles, &others);
    let reply = match format {
        Format::Text => Reply::text(exit, text::render(&account, common)),
        Format::Json => Reply::json(exit, &json::document(&account)),
    };
    let warnings = asked.warnings.iter().map(|warning| (*warning).to_owned());
    let unknown = asked.roles.iter().chain(&args.what_if_role).filter_map(|role| no_such_role(&setup, role));
    warnings.chain(unknown).fold(reply, |reply, warning| {
        reply.with_err(format_args!("{}: {warning}\n", styled(WARN, "warning")))
    })
}

/// The bans that a gateway of this configuration keeps.
fn bans(setup: &Setup) -> io::Result<Option<Bans>> {
    let folder = setup.settings.state_dir.as_deref();
    folder.map_or(Ok(None), |folder| Ok(BanBook::read(folder)?.compiled()))
}

/// The tokens, times and policies to compare with.
fn others(args: &Args, asked: &asked::Asked, common: &Common) -> Result<Vec<beside::Other>, Reply> {
    let mut others = Vec::new();
    for file in &args.what_if_token {
        let token = files::read_secret(file).map_err(|why| Reply::failure(Exit::Usage, why))?;
        let other = beside::Other::token(what_if::TokenFrom::File(file.clone()), &token, asked);
        others.push(other.map_err(|why| Reply::failure(Exit::Usage, why))?);
    }
    others.extend(args.what_if_at.iter().map(|at| beside::Other::At(*at)));
    for policy in &args.what_if_policy {
        others.push(beside::Other::Policy(Box::new(policies::find(policy, common)?)));
    }
    Ok(others)
}

/// A role that the configuration does not declare counts for nothing, which is rarely meant.
fn no_such_role(setup: &Setup, role: &str) -> Option<String> {
    let roles = &setup.policy.roles;
    if roles.get(role).is_some() {
        return None;
    }
    let near = suggest(role, roles.iter().map(|(_, name)| name));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Some(format!("there is no role `{}`{near}", printable(role)))
}
