//! `suggest`: the narrowest change that would have let a recorded request pass, for review, with what
//! else it would open. Nothing is applied.

mod edit;

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use self::edit::Proposal;
use super::account::Account;
use super::{help, recorded, settled};
use crate::audit::{Line, Recalled};
use crate::cli::admin::Whom;
use crate::cli::layout::{count, fill, printable};
use crate::cli::policies::{self, Past};
use crate::cli::progress::Teller;
use crate::cli::records::Source;
use crate::cli::replay::{Finding, FlipKey, Gap, Judges, Report};
use crate::cli::reply::{Exit, Reply, STRONG, WARN, styled};
use crate::cli::{Common, Format, diagnostics, diff, difference, records};
use crate::config::{Setup, load};
use crate::decision::{RuleRef, Stage};
use crate::policy::Policy;
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
    if !tells_enough(&line, &recalled) {
        let why = "the record keeps path, address or subject only in part (`[log]`), so nothing narrow can be suggested";
        return Err(Reply::failure(Exit::Findings, why));
    }
    let mut account = Account::new(&setup, &asked, recalled.now);
    let _ = account
        .held_to(&line, line.policy().is_some_and(|version| version.hash == setup.policy.version.hash));
    let proposal = edit::propose(&account, &line).map_err(|why| {
        let why: Vec<String> = [why].into_iter().chain(account.ungranted()).collect();
        nothing(args, &why.join(" "))
    })?;
    let mut outcome = load::recall(proposal.sources.clone(), Timestamp::now());
    let Some(changed) = outcome.setup.take() else {
        let text = diagnostics::text(&outcome, common);
        let why = "what would let it pass cannot be written as a rule of this policy";
        return Err(Reply::failure(Exit::Findings, why).with_err(text));
    };
    let mut proposal = proposal;
    let denial = edit::refusal(&account, &changed, recalled.now).filter(|_| proposal.untried.is_none());
    if let Some(denial) = denial {
        let by = format!("`{}` ({})", changed.policy.rules.name(denial.rule), denial.reason);
        // Address rules come before anybody is identified.
        let unknown = &*line.stage == "ip" && matches!(denial.stage, Stage::Authn | Stage::Rbac);
        if !unknown {
            let mut why = format!("{} would not be enough: {by} refuses the request as well.", proposal.what);
            for more in help::exempt_roles(&account).into_iter().chain(account.ungranted()) {
                why.push_str(&format!(" {more}"));
            }
            return Err(nothing(args, &why));
        }
        proposal.untried = Some(format!(
            "Who asked is not in the record, since addresses are judged first: without a credential it would then be refused by {by}."
        ));
    }
    let until = account.denial().and_then(|denial| denial.until);
    let opened = opened(args, &record.source, &setup, &changed, &line, common)?;
    let gains = DifferenceLine::new(&diff::between(&setup, &changed), usize::MAX);
    Ok(match args.format {
        Format::Json => Reply::json(
            Exit::Fine,
            &json!({
                "what": proposal.what,
                "toml": proposal.toml,
                "at": proposal.at,
                "tried": proposal.untried.is_none(),
                "mind": proposal.minds(),
                "ends_by_itself": until,
                "hours": args.hours,
                "opens": opened.report.flipped(),
                "allowed_then": opened.allowed_then,
                "gains": gains.cells.iter().filter(|cell| cell.change == "gained").collect::<Vec<_>>(),
                "replay": opened.report.json(&changed.policy),
            }),
        ),
        Format::Text => {
            Reply::text(Exit::Fine, text(args, &proposal, until, &opened, &difference::gains(&gains)))
        }
    })
}

/// Whether a record tells enough of its request to say what would let just that one pass.
pub(super) fn tells_enough(line: &Line<'_>, recalled: &Recalled) -> bool {
    let whole = recalled.has_path && recalled.ip.is_some() && recalled.has_subject;
    // Of what refused without looking at any of that, it can be said all the same what ends it.
    whole || (&*line.stage != "waf" && settled::unknowable(line).is_some())
}

fn nothing(args: &Args, why: &str) -> Reply {
    match args.format {
        Format::Json => Reply::json(Exit::Findings, &json!({ "toml": null, "why": why })),
        Format::Text => Reply::text(Exit::Findings, fill("", &printable(why))),
    }
}

/// What else a change would open, of what was asked lately.
struct Opened {
    /// Against the policy as it is now, not the one that decided.
    report: Report,
    /// Of what it would open, how many were allowed when they were made.
    allowed_then: u64,
}

/// Looks for it.
fn opened(
    args: &Args,
    source: &Source,
    setup: &Setup,
    changed: &Setup,
    line: &Line<'_>,
    common: &Common,
) -> Result<Opened, Reply> {
    let mut allowed_then = 0;
    let mut report = Report::default();
    let since = Timestamp::now() - SignedDuration::from_hours(i64::from(args.hours));
    // Records of other policies say less; those of the one that is changed are taken as they are.
    let past = Past::of(common).unwrap_or_default();
    let mut judges = Judges::new(changed, None, &past);
    judges.know(setup);
    let mut now = Judges::new(setup, None, &past);
    let mut ends = Vec::new();
    let mut take = |text: &[u8]| {
        let Some(read) = Line::read(text) else { return };
        // This very request is what it is for.
        if read.at().is_none_or(|at| at < since) || *read.decision_id == *line.decision_id {
            return;
        }
        let (without, with) = (now.judge(&read).0, judges.judge(&read).0);
        match opens(without, with, &read, &setup.policy, &changed.policy) {
            Ok(Some(key)) => {
                allowed_then += u64::from(&*read.decision != "deny");
                report.flip(&read, key);
            }
            Ok(None) => report.add(&read, Finding::Same { rule: true, by: None }, &changed.policy),
            Err(gap) => report.add(&read, Finding::Unknown(gap), &changed.policy),
        }
    };
    match source {
        Source::Files(path) => {
            let mut teller = Teller::new(common);
            for file in records::log_files(path)?.iter().rev() {
                let read = file.lines_since(since, &mut |progress| teller.reads(progress), &mut |text| {
                    take(text);
                    true
                });
                let end = read.map_err(|error| records::cannot_read(&file.path, &error))?;
                ends.push(end);
            }
        }
        Source::Gateway(gateway) => {
            let remembered = Source::remembered(gateway, None, since, &mut take);
            remembered.map_err(|why| Reply::failure(Exit::Findings, why))?;
        }
    }
    ends.into_iter().for_each(|end| report.end(end));
    Ok(Opened { report, allowed_then })
}

/// What the change itself does to a recorded request: whether the policy as it is now refuses it and the
/// changed one lets it pass, and by which rules. What was decided then, by another policy perhaps, counts only
/// where that is taken over.
fn opens(
    without: Finding,
    with: Finding,
    line: &Line<'_>,
    now: &Policy,
    changed: &Policy,
) -> Result<Option<FlipKey>, Gap> {
    let passed = &*line.decision != "deny";
    let name = |policy: &Policy, rule: Option<RuleRef>| {
        rule.map_or_else(|| line.rule.to_string(), |rule| policy.rules.name(rule).to_owned())
    };
    let before = match without {
        Finding::Refused(rule) => name(now, Some(rule)),
        Finding::Same { by, .. } if !passed => name(now, by),
        Finding::Unknown(_) if !passed => name(now, None),
        // Perhaps it passes now as it did.
        Finding::Unknown(gap) if !matches!(with, Finding::Refused(_)) => return Err(gap),
        _ => return Ok(None),
    };
    let rule = match with {
        Finding::Allowed(rule) => name(changed, Some(rule)),
        Finding::Same { by, .. } if passed => name(changed, by),
        Finding::Unknown(gap) => return Err(gap),
        _ => return Ok(None),
    };
    Ok(Some(FlipKey { to: "allow", rule, before }))
}

fn text(
    args: &Args,
    proposal: &Proposal,
    until: Option<Timestamp>,
    Opened { report, allowed_then }: &Opened,
    gains: &str,
) -> String {
    let mut out = fill("", &format!("{}, for review; nothing is applied:", printable(&proposal.what)));
    out.push('\n');
    for line in proposal.toml.lines() {
        out.push_str(&format!("    {}\n", printable(line)));
    }
    out.push('\n');
    out.push_str(&match &proposal.at {
        Some(at) => fill("", &format!("It replaces the rule at {}.", printable(at))),
        None => fill("", "It may stand in any file of the policy."),
    });
    for mind in &proposal.mind {
        out.push_str(&fill(&format!("{} ", styled(WARN, "Mind:")), &printable(mind)));
    }
    if let Some(untried) = &proposal.untried {
        out.push_str(&fill("", &printable(untried)));
    }
    if let Some(until) = until {
        out.push_str(&fill("", &format!("Without a change, this refusal ends by itself at {until}.")));
    }
    let more = report.flipped();
    let number = usize::try_from(more).unwrap_or(usize::MAX);
    let hours = count(usize::try_from(args.hours).unwrap_or(0), "hour");
    let others = count(usize::try_from(report.records).unwrap_or(usize::MAX), "other request");
    let text = match (report.records, more) {
        (0, _) => {
            format!(
                "The log has no other record of the last {hours}, so what else it would open is not known."
            )
        }
        (_, 0) => format!("Of {others} of the last {hours}, it would open none."),
        (_, _) => format!(
            "{} Of {others} of the last {hours}, it would also open {} that the policy as it is now refuses{}:",
            styled(WARN, "Mind:"),
            count(number, "request"),
            match *allowed_then {
                0 => String::new(),
                1 if more == 1 => ", and that was allowed when it was made".to_owned(),
                1 => "; 1 of them was allowed when it was made".to_owned(),
                then => format!("; {then} of them were allowed when they were made"),
            }
        ),
    };
    out.push_str(&format!("\n{}", fill("", &text)));
    out.push_str(&report.flips("with it", "now"));
    let untold = report.untold();
    if untold > 0 {
        let text = format!("Of {untold} it cannot be told, since their records lack what rules look at.");
        out.push_str(&fill("", &text));
    }
    for torn in &report.torn {
        out.push_str(&fill(
            &format!("{} ", styled(WARN, "Mind:")),
            &format!("{}.", records::ends_early(torn)),
        ));
    }
    if !gains.is_empty() {
        let text = "Beyond what the log has, it opens, by the policy itself:";
        out.push_str(&format!("\n{}{gains}", fill("", text)));
    }
    out.push_str(&format!(
        "\n{}\n",
        styled(STRONG, "Try it: `portcullis replay --with FILE` with the changed file.")
    ));
    out
}
