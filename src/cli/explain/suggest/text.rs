//! A suggestion in words.

use jiff::Timestamp;

use super::Args;
use super::others::Opened;
use super::proposal::Proposal;
use crate::cli::layout::{count, fill, printable};
use crate::cli::records::ends_early;
use crate::cli::replay::number;
use crate::cli::reply::{STRONG, WARN, styled};
use crate::policy::Policy;

/// For people.
pub(super) fn text(
    args: &Args,
    proposal: &Proposal,
    until: Option<Timestamp>,
    opened: &Opened,
    changed: &Policy,
    gains: &str,
) -> String {
    let report = &opened.report;
    let mut out = fill("", &format!("{}, for review; nothing is applied:", printable(&proposal.what)));
    out.push_str(&change(&proposal.toml, proposal.at.as_deref()));
    for part in &proposal.also {
        out.push_str(&format!(
            "\n{}",
            fill("", &format!("That is not enough. Also {}:", printable(&part.what)))
        ));
        out.push_str(&change(&part.toml, part.at.as_deref()));
    }
    for mind in &proposal.mind {
        out.push_str(&fill(&format!("{} ", styled(WARN, "Mind:")), &printable(mind)));
    }
    for untried in &proposal.untried {
        out.push_str(&fill("", &printable(untried)));
    }
    if let Some(until) = until {
        out.push_str(&fill("", &format!("Without a change, this refusal ends by itself at {until}.")));
    }
    out.push_str(&format!("\n{}", others(args, opened, changed)));
    for torn in &report.torn {
        out.push_str(&fill(&format!("{} ", styled(WARN, "Mind:")), &format!("{}.", ends_early(torn))));
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

/// What is to be written, and where.
fn change(toml: &str, at: Option<&str>) -> String {
    let mut out = String::from("\n");
    for line in toml.lines() {
        out.push_str(format!("    {}", printable(line)).trim_end());
        out.push('\n');
    }
    out.push('\n');
    out.push_str(&match at {
        Some(at) => fill("", &format!("It replaces the rule at {}.", printable(at))),
        None => fill("", "It may stand in any file of the policy."),
    });
    out
}

/// What else it would let pass, and what it may.
fn others(args: &Args, Opened { report, allowed_then }: &Opened, changed: &Policy) -> String {
    let sized = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (opens, may) = (report.flipped(), report.untold());
    let hours = count(sized(u64::from(args.hours)), "hour");
    let others = count(sized(report.records), "other request");
    let of = format!("{} Of {others} of the last {hours}, it", styled(WARN, "Mind:"));
    let then = match *allowed_then {
        0 => String::new(),
        1 if opens == 1 => ", and that was allowed when it was made".to_owned(),
        1 => "; 1 of them was allowed when it was made".to_owned(),
        then => format!("; {then} of them were allowed when they were made"),
    };
    let opened = format!("{} that the policy as it is now refuses", count(sized(opens), "request"));
    let text = match (report.records, opens, may) {
        (0, ..) => {
            format!(
                "The log has no other record of the last {hours}, so what else it would open is not known."
            )
        }
        (_, 0, 0) => format!("Of {others} of the last {hours}, it would open none."),
        (_, _, 0) => format!("{of} would also open {opened}{then}:"),
        (all, 0, _) => {
            let others = if all > may { "; the others it would not" } else { "" };
            format!("{of} may open {}{others}.", number(may))
        }
        (..) => format!("{of} would surely open {opened}{then}, and may open {} more:", number(may)),
    };
    let mut out = fill("", &text);
    out.push_str(&report.flips("with it", "now"));
    out.push_str(&report.doubts("Perhaps", changed));
    out
}
