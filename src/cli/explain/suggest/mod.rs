//! `suggest`: the narrowest change that would have let a recorded request pass, for review, with what
//! else it would open. Nothing is applied.

mod edit;
mod exclusion;
mod others;
mod proposal;
mod rewrite;
mod text;
mod trial;

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::json;

use self::others::Change;
use self::proposal::Proposal;
use self::trial::Trial;
use super::account::Account;
use super::asked::Asked;
use super::{help, recorded, settled};
use crate::audit::{Line, Recalled};
use crate::cli::admin::Whom;
use crate::cli::layout::{fill, printable};
use crate::cli::policies;
use crate::cli::reply::{Exit, Reply};
use crate::cli::{Common, Format, diagnostics, diff, difference, records};
use crate::config::{Setup, load};
use crate::decision::{Builtin, RuleRef};
use crate::state::DifferenceLine;

/// Show the narrowest change of the policy that would let a recorded request pass.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: portcullis suggest 0197f2c4-7e1b-7c3a-9a51-0d0f5f2b6e11

It is printed for review and never applied. What else it would open is found by
replaying the log of the last day (--hours) through the changed policy.")]
pub(in crate::cli) struct Args {
    /// The id of the request or of the decision.
    id: String,
    /// The decision log [default: that of the configuration, with what was put aside].
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How many hours of the log are replayed.
    #[arg(long, value_name = "N", default_value_t = 24)]
    hours: u32,
    #[command(flatten)]
    whom: Whom,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Suggests.
pub(in crate::cli) fn show(args: &Args, common: &Common) -> Reply {
    match run(args, common) {
        Ok(reply) | Err(reply) => reply,
    }
}

fn run(args: &Args, common: &Common) -> Result<Reply, Reply> {
    let id = args.id.trim().trim_start_matches("urn:uuid:");
    let record = records::find(id, args.log.as_deref(), &args.whom, common)?;
    let line = record.read()?;
    let setup = policies::find("current", common)?.setup;
    let (asked, recalled) =
        recorded::asked(&line, &setup.policy).ok_or_else(|| record.strange("it tells of no request"))?;
    if let Some(why) = lacks(&line, &recalled) {
        return Err(nothing(args, &why));
    }
    // An address that is not known must not decide anything: the rules about addresses are left out.
    let addressless = (recalled.ip.is_none() && &*line.stage != "ip").then(|| without_addresses(&setup));
    let judging = addressless.as_ref().unwrap_or(&setup);
    let mut account = Account::new(judging, &asked, recalled.now);
    let same = line.policy().is_some_and(|version| version.hash == setup.policy.version.hash);
    let _ = account.held_to(&line, same);
    let mut proposal = edit::propose(&account, &line, &recalled).map_err(|why| {
        let why: Vec<String> = [why].into_iter().chain(account.ungranted()).collect();
        nothing(args, &why.join(" "))
    })?;
    let mut changed = compiled(&proposal, common)?;
    loop {
        let addressless = addressless.is_some().then(|| without_addresses(&changed));
        let tried = addressless.as_ref().unwrap_or(&changed);
        match trial::tried(&account, tried, &recalled) {
            Trial::Passes => break,
            Trial::Unknown(why) => {
                proposal.untried.push(why);
                break;
            }
            Trial::Refused(by) => {
                let few = proposal.also.len() + 1 < MOST_CHANGES;
                let more = few.then(|| another(tried, &setup, &asked, (&line, &recalled))).flatten();
                // What the caller could have instead.
                let better = help::exempt_roles(&account).into_iter().chain(account.ungranted());
                let Some(more) = more else {
                    let why =
                        format!("{} would not be enough: {by} refuses the request as well.", proposal.what);
                    let why: Vec<String> = [why].into_iter().chain(better).collect();
                    return Err(nothing(args, &why.join(" ")));
                };
                if proposal.also.is_empty() {
                    proposal.mind.extend(better);
                }
                proposal = proposal.and(more);
                changed = compiled(&proposal, common)?;
            }
        }
    }
    proposal.mind.extend(trial::not_asked(&account, &changed, &line, &recalled, same));
    let until = account.denial().and_then(|denial| denial.until);
    let refuses = account.denial().map_or("", |denial| account.name(denial.rule));
    let change = Change { setup: &setup, changed: &changed, reach: &proposal.reach, refuses };
    let opened = others::opened(args, &record.source, change, &line, common)?;
    let gains = DifferenceLine::new(&diff::between(&setup, &changed), usize::MAX);
    Ok(match args.format {
        Format::Json => Reply::json(
            Exit::Fine,
            &json!({
                "what": proposal.what,
                "toml": proposal.toml,
                "at": proposal.at,
                "also": proposal.also,
                "tried": proposal.untried.is_empty(),
                "mind": proposal.minds(),
                "ends_by_itself": until,
                "hours": args.hours,
                "opens": opened.report.flipped(),
                "may_open": opened.report.untold(),
                "allowed_then": opened.allowed_then,
                "gains": gains.cells.iter().filter(|cell| cell.change == "gained").collect::<Vec<_>>(),
                "replay": opened.report.json(&changed.policy),
            }),
        ),
        Format::Text => {
            let gains = difference::gains(&gains);
            Reply::text(Exit::Fine, text::text(args, &proposal, until, &opened, &changed.policy, &gains))
        }
    })
}

/// Whether a record tells enough of its request to say what would let just that one pass.
pub(super) fn tells_enough(line: &Line<'_>, recalled: &Recalled) -> bool {
    // A deny is ended for a role, and roles are kept.
    let subject = &*line.stage != "rbac" || *line.rule != *Builtin::DefaultDeny.info().name;
    lacks(line, recalled).is_none() && (recalled.has_subject || subject)
}

/// What a record lacks of what a suggestion would name, as a sentence.
fn lacks(line: &Line<'_>, recalled: &Recalled) -> Option<String> {
    // Of what refused without looking at any of that, it can be said all the same what ends it.
    if &*line.stage != "waf" && settled::unknowable(line).is_some() {
        return None;
    }
    match &*line.stage {
        _ if !recalled.has_path => Some(
            "The record keeps the path only in part (`[[log.redact]]`), so nothing that is about just this path can be suggested."
                .to_owned(),
        ),
        "ip" if recalled.ip.is_none() => Some(edit::no_address(&line.rule, line)),
        _ => None,
    }
}

/// No request needs more changes than this.
const MOST_CHANGES: usize = 4;

/// The policy with a proposal.
fn compiled(proposal: &Proposal, common: &Common) -> Result<Setup, Reply> {
    let mut outcome = load::recall(proposal.sources.clone(), Timestamp::now());
    outcome.setup.take().ok_or_else(|| {
        let why = "what would let it pass cannot be written as a rule of this policy";
        Reply::failure(Exit::Findings, why).with_err(diagnostics::text(&outcome, common))
    })
}

/// What is needed besides, where a changed policy refuses the request as well. Places are those of the files as
/// they are.
fn another(
    changed: &Setup,
    setup: &Setup,
    asked: &Asked,
    (line, recalled): (&Line<'_>, &Recalled),
) -> Option<Proposal> {
    let account = Account::new(changed, asked, recalled.now);
    let mut found = edit::propose(&account, line, recalled).ok()?;
    if found.at.is_some() {
        let rule = account.denial().map(|denial| account.name(denial.rule))?;
        let RuleRef::Written(rule) = setup.policy.rules.by_name(rule)? else { return None };
        found.at = Some(setup.policy.rules.get(rule).at.to_string());
    }
    Some(found)
}

/// The same policy without its rules about addresses.
fn without_addresses(setup: &Setup) -> Setup {
    Setup { policy: setup.policy.without_addresses(), ..setup.clone() }
}

fn nothing(args: &Args, why: &str) -> Reply {
    match args.format {
        Format::Json => Reply::json(Exit::Findings, &json!({ "toml": null, "why": why })),
        Format::Text => Reply::text(Exit::Findings, fill("", &printable(why))),
    }
}
