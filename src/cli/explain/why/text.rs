//! What there is to tell about a decision, for the person on the phone: what happened, the likely cause,
//! what would help; then everything that `explain` tells.

use std::borrow::Cow;

use super::super::help::{in_vain, remedies};
use super::super::recorded::disbelieved;
use super::super::suggest;
use super::super::text as explained;
use super::super::written;
use super::{Story, case, hour};
use crate::cli::Common;
use crate::cli::difference;
use crate::cli::layout::{count, fill, list, printable};
use crate::cli::reply::{BAD, FAINT, GOOD, STRONG, WARN, heading, styled};
use crate::decision::{Builtin, Reason, RuleRef, Stage};

/// The whole story, or with `--quiet` its beginning.
pub(super) fn render(story: &Story<'_>, common: &Common) -> String {
    let mut out = happened(story);
    // Of another decision than the recorded one everything is told, further below.
    let same = story.agrees || story.settled.is_some();
    if same {
        out.push_str(&explained::disclosed(story.account));
    }
    if let Some(rule) = &story.mended {
        let text = format!(
            "The files as they are now let the same request pass, by {}, as far as the record tells of it.",
            printable(rule)
        );
        out.push_str(&fill(&format!("{}: ", styled(GOOD, "By now")), &text));
    }
    if let [first, ..] = story.alike {
        let text = format!(
            "{} before this {} the same request id, which a client or a proxy chose. The one before was {first}: `portcullis why {first}`.",
            count(story.alike.len(), "decision"),
            if story.alike.len() == 1 { "bears" } else { "bear" },
        );
        out.push_str(&fill(&format!("{} ", styled(WARN, "Mind:")), &printable(&text)));
    }
    out.push_str(&cause(story));
    out.push_str(&around(story));
    if common.quiet {
        return out;
    }
    out.push_str(&rule(story));
    if let Some(denial) = story.account.denial().filter(|_| same) {
        out.push_str(&remedies(story.account, denial));
    }
    out.push_str(&help(story));
    out.push_str(&heading("The decision, step by step"));
    out.push_str(&fill("  ", &format!("This is {}.", story.judged())));
    if story.kept {
        let text = "The steps of the trail are those that were kept when it was decided, since somebody had asked for trails (`portcullis verbose`).";
        out.push_str(&fill("  ", text));
    }
    let recorded =
        format!("the record, which says {} by {}", told(&story.line.decision), printable(&story.line.rule));
    match (&story.settled, story.agrees) {
        (_, true) => {}
        (Some(settled), false) => {
            let text = format!(
                "{} So the decision is taken from {recorded}: what follows is what was recorded.",
                printable(&settled.why)
            );
            out.push_str(&fill(&format!("  {} ", styled(WARN, "Mind:")), &text));
        }
        (None, false) => {
            let text = format!(
                "It comes to another decision than {recorded}: the files have changed since, or the record does not tell everything that was looked at. With `[server] state_dir` the policies that decided are kept."
            );
            out.push_str(&fill(&format!("  {} ", styled(WARN, "Mind:")), &text));
        }
    }
    out.push('\n');
    out.push_str(&match same {
        true => explained::rest(story.account),
        false => explained::render(story.account, common),
    });
    out.push_str(&heading("A case for `portcullis test`"));
    match case::toml(story) {
        Ok(case) => {
            for line in case.lines() {
                out.push_str(&format!("  {}\n", printable(line)));
            }
        }
        Err(why) => out.push_str(&fill("  None: ", &printable(&why))),
    }
    out
}

/// A recorded decision in words.
fn told(decision: &str) -> Cow<'_, str> {
    match decision {
        "allow" => "allowed".into(),
        "deny" => "refused".into(),
        "error" => "failed".into(),
        other => printable(other),
    }
}

fn happened(story: &Story<'_>) -> String {
    let line = story.line;
    let word = match &*line.decision {
        "allow" => styled(GOOD, "Allowed"),
        "deny" => styled(BAD, "Refused"),
        _ => styled(BAD, "Failed"),
    };
    let identity = line.identity();
    let who = match identity.as_ref().map(|identity| (&*identity.state, &identity.subject)) {
        Some(("valid", Some(subject))) => printable(subject).into_owned(),
        // Nobody had looked, so it may be anybody.
        Some(("none", _)) | None if hour::unlooked(line) => "somebody".to_owned(),
        Some(("none", _)) | None => "nobody in particular".to_owned(),
        Some(_) => match disbelieved(line) {
            Some(what) => format!("somebody with a credential {what}"),
            None => "somebody".to_owned(),
        },
    };
    let reason = line.reason.as_ref().map(|reason| format!(" ({})", printable(reason))).unwrap_or_default();
    let at = line.rule_at.as_ref().map(|at| format!(", then at {}", printable(at))).unwrap_or_default();
    let text = format!(
        "{} {} by {who} from {} got {} by {}{reason}{at}, policy {}-{}, at {}.",
        printable(&line.method),
        printable(&line.path),
        printable(&line.client.ip),
        line.status,
        styled(STRONG, printable(&line.rule)),
        line.policy.generation,
        printable(&line.policy.hash),
        printable(&line.ts),
    );
    fill(&format!("{word}: "), &text)
}

/// The likely cause: a change shortly before, else what the reason usually comes from.
fn cause(story: &Story<'_>) -> String {
    if &*story.line.decision == "allow" {
        return String::new();
    }
    let mut out = heading("Likely cause");
    if let Some(change) = &story.cause.change {
        let who = match &change.by {
            Some(by) => format!("by {}, {}", change.trigger, printable(by)),
            None => format!("by {}", change.trigger),
        };
        let text = format!(
            "The policy changed {} before this, at {:.0}, {who}, to {}:",
            change.age, change.at, change.policy
        );
        out.push_str(&fill("  ", &text));
        out.push_str(&fill(
            "  - ",
            &match &change.before {
                Some(before) => format!("the policy before it {}", printable(before)),
                None => "what the policy before it did with such a request cannot be told".to_owned(),
            },
        ));
        for rule in &change.rules {
            let through = rule.through();
            let through = match through.is_empty() {
                true => String::new(),
                false => format!(" ({})", list(&through, " and ")),
            };
            let which = difference::which(&rule.addresses, &rule.keys);
            let (name, change) = (printable(&rule.rule), &rule.change);
            out.push_str(&fill("  - ", &format!("{name} was {change}{through}{which}")));
        }
        for line in &change.definitions {
            let which = difference::which(&line.addresses, &line.keys);
            let (name, change) = (printable(&line.name), &line.change);
            out.push_str(&fill("  - ", &format!("{name} was {change}{which}")));
        }
        for cell in &change.lost {
            out.push_str(&fill("  - ", &difference::lost(cell)));
        }
        out.push_str(&fill(
            "    ",
            &styled(FAINT, format!("`portcullis history {}` shows all of it", generation(&change.policy))),
        ));
    }
    if let Some(kept) = &story.cause.since {
        let text = match kept.since_the_first {
            true => format!(
                "No change: every policy that is kept refused this, since {} of {:.0}, the first.",
                kept.policy, kept.at
            ),
            false => format!(
                "No change that is known: the policies refused this at least since {} of {:.0}; those before were not asked.",
                kept.policy, kept.at
            ),
        };
        out.push_str(&fill("  ", &text));
    }
    let reason = story.line.reason.as_ref().and_then(|reason| reason.parse::<Reason>().ok());
    if let Some(info) = reason.map(Reason::info) {
        // The trail may know that some of them cannot be.
        let same = story.account.denial().is_some_and(|denial| denial.reason.info().code == info.code);
        let causes = if same {
            story.account.causes()
        } else {
            info.causes.iter().map(|cause| Cow::from(*cause)).collect()
        };
        if story.cause.change.is_some() {
            out.push_str("  Or:\n");
        }
        for cause in &causes {
            out.push_str(&fill("  - ", &printable(&sentence(cause))));
        }
        out.push_str(&fill("  Look: ", info.check));
    }
    out
}

fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

fn generation(policy: &str) -> &str {
    policy.split('-').next().unwrap_or(policy)
}

fn around(story: &Story<'_>) -> String {
    let Some(hour) = &story.hour else { return String::new() };
    let mut out = heading("Who else");
    let of = hour.resource.as_ref().map(|resource| format!(", of {resource},")).unwrap_or_default();
    let rule = printable(&story.line.rule);
    let from = hour.since_change.unwrap_or(hour.from);
    let text = format!("From {from:.0} to {:.0}{of} {rule} refused {}.", hour.to, hour.words());
    out.push_str(&fill("  ", &text));
    match story.conclusion() {
        Some(conclusion) => out.push_str(&fill("  ", &conclusion)),
        None => out.push_str(&fill("  ", &format!("{}.", hour.explained()))),
    }
    if let Some(elsewhere) = hour.elsewhere() {
        out.push_str(&fill("  ", &elsewhere));
    }
    if let Some(gap) = &hour.gap {
        out.push_str(&fill(&format!("  {} ", styled(WARN, "Mind:")), &format!("{}.", printable(gap))));
    }
    out
}

/// The deciding rule as it stands in the policy at hand.
fn rule(story: &Story<'_>) -> String {
    let account = story.account;
    let mut out = heading("The rule");
    match story.rule() {
        Some(RuleRef::Written(rule)) => {
            let info = account.policy().rules.get(rule);
            out.push_str(&fill("  ", &format!("{} in {}", info.name, printable(&info.at))));
            for (number, line) in written::of_rule(&account.setup.sources, info) {
                let gutter = styled(FAINT, format_args!("{number:>6} |"));
                out.push_str(format!("{gutter} {}", printable(&line)).trim_end());
                out.push('\n');
            }
            if matches!(info.stage, Stage::Waf | Stage::WafBody) {
                let text = format!("`portcullis explain --rule {}` shows it in full.", info.name);
                out.push_str(&fill("  ", &text));
            }
        }
        Some(RuleRef::Builtin(rule)) => {
            out.push_str(&fill("  ", &format!("{} is built in. {}", rule.info().name, rule.info().text)));
        }
        None => {
            let text = format!("{} is not in the policy at hand.", printable(&story.line.rule));
            out.push_str(&fill("  ", &text));
        }
    }
    let changed = match (&story.line.rule_changed, story.rule()) {
        (Some(at), Some(RuleRef::Builtin(_))) => {
            format!(
                "What it lacks a grant for was last taken from a role of the caller at {}.",
                printable(at)
            )
        }
        (Some(at), _) => format!("It last changed at {}.", printable(at)),
        (None, Some(RuleRef::Builtin(_))) => return out,
        (None, _) => match &story.unchanged {
            Some((policy, at)) => {
                format!("It is as it was in {policy} of {at:.0}, the first policy that is kept.")
            }
            None => "Nothing is known of its last change.".to_owned(),
        },
    };
    out.push_str(&fill("  ", &changed));
    out
}

/// For how long, and whom to ask.
fn help(story: &Story<'_>) -> String {
    let account = story.account;
    let Some(denial) = account.denial() else { return String::new() };
    let banned = denial.rule == Builtin::Banned.into();
    let mut out = heading("For how long, and whom to ask");
    let text = match (denial.until, denial.temporary()) {
        (Some(until), _) if until <= story.now => format!("It ended by itself at {until}."),
        (Some(until), _) if account.over => format!("It was to end by itself at {until}."),
        (Some(until), _) => format!("It ends by itself at {until}."),
        _ if story.mended.is_some() => "It is mended: the files let the same request pass now.".to_owned(),
        (None, true) if banned && account.over => "It is over.".to_owned(),
        (None, true) if banned => "It ends by itself, with the ban.".to_owned(),
        (None, true) => "The same request may pass later without a change.".to_owned(),
        (None, false) if let Some(end) = account.ends_in_vain().filter(|end| *end > story.now) => {
            in_vain(end)
        }
        (None, false) => {
            "It stays so until somebody changes the policy, the roles or the request.".to_owned()
        }
    };
    out.push_str(&fill("  ", &text));
    if banned {
        out.push_str(&ban(story));
    }
    let rule = account
        .info(denial.rule)
        .or_else(|| account.nearest.first().map(|near| account.policy().rules.get(near.rule)));
    let contact = rule.and_then(|rule| rule.contact.as_deref()).or(account.policy().contact.as_deref());
    let contact = match contact {
        Some(contact) => format!("Ask {}.", printable(contact)),
        None => "Neither the rule nor `[contact]` says whom to ask.".to_owned(),
    };
    out.push_str(&fill("  ", &contact));
    if banned {
        return out;
    }
    // Of the other stages no rule is at fault: the request is, or its credential.
    let by_policy = matches!(denial.stage, Stage::Ip | Stage::Waf | Stage::WafBody | Stage::Rbac);
    // Of these, no exclusion helps.
    let of_waf_itself = matches!(denial.rule, RuleRef::Builtin(builtin) if builtin != Builtin::WafBudget)
        && matches!(denial.stage, Stage::Waf | Stage::WafBody);
    let whole = !of_waf_itself && suggest::tells_enough(story.line, story.recalled);
    // Where a deny refused and no grant allows it besides, no one change is enough.
    let one_is_enough = account.ungranted().is_none();
    if whole && by_policy && one_is_enough && story.mended.is_none() {
        let id = printable(&story.line.request_id);
        let text = format!(
            "`portcullis suggest {id}` shows the narrowest change of the policy that would let it pass."
        );
        out.push_str(&fill("  ", &text));
    }
    out
}

/// The bans that refused, and how they are ended.
fn ban(story: &Story<'_>) -> String {
    let mut out = String::new();
    for ban in &story.bans {
        let reason = match ban.reason.is_empty() {
            true => String::new(),
            false => format!(": {}", printable(&ban.reason)),
        };
        let (who, by) = (printable(&ban.address), printable(&ban.by));
        let text = format!(
            "{who} is banned until {:.0} by {by}{reason}. `portcullis unban {who}` ends it now; it is temporary in any case.",
            ban.until
        );
        out.push_str(&fill("  ", &text));
    }
    if story.bans.is_empty() {
        let ended =
            story.account.denial().and_then(|denial| denial.until).is_some_and(|end| end <= story.now);
        let gone = match ended {
            true => "it ended",
            false => "it was lifted, or is kept elsewhere (`portcullis ban --list` asks the gateway)",
        };
        let text = format!(
            "Who banned it and why is not in the record, and the book of bans at hand has none of this address any more: {gone}."
        );
        out.push_str(&fill("  ", &text));
    }
    out
}
