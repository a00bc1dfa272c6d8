//! The account of a decision for the person who got paged: the verdict first, then the likely
//! cause, what would help, and after that the whole trail.

use super::account::{Account, Passage};
use super::help::{causes, remedies};
use super::what_if::Said;
use crate::cli::Common;
use crate::cli::layout::{WIDTH, fill, fill_to, padded, printable, visible_width};
use crate::cli::reply::{BAD, FAINT, GOOD, STRONG, WARN, heading, styled};
use crate::decision::{Outcome, RuleRef, Stage, Step, StepOutcome};
use crate::policy::disclosure::Level;

/// Tells everything, or with `--quiet` only the verdict, and what was asked to be compared with it.
pub(super) fn render(account: &Account<'_>, common: &Common) -> String {
    let mut out = verdict(account);
    if common.quiet {
        out.push_str(&what_if(account));
        return out;
    }
    out.push_str(&disclosed(account));
    out.push_str(&rule_text(account));
    if let Some(denial) = account.denial() {
        out.push_str(&causes(account, denial));
        out.push_str(&remedies(account, denial));
    }
    out.push_str(&what_if(account));
    out.push_str(&heading("Trail"));
    out.push_str(&trail(account));
    out.push_str(&beside(account));
    out
}

/// What the trail came from, and how it is come to again.
fn beside(account: &Account<'_>) -> String {
    [matches(account), facts(account), shadow(account), reproduce(account)].concat()
}

/// What of it a reader who knows the verdict, the rule and the causes has not been told.
pub(super) fn rest(account: &Account<'_>) -> String {
    trail(account) + &beside(account)
}

// === the verdict ===

fn verdict(account: &Account<'_>) -> String {
    let target = &account.admitted.target;
    let path = match &target.error {
        Some(error) => error.shown.to_string(),
        None => target.path().to_owned(),
    };
    let request = format!("{} {}", target.method, printable(&path));
    let (who, ip) = (account.who(), account.origin());
    let rule = account.decision.rule();
    let name = styled(STRONG, account.name(rule));
    let place = match account.info(rule) {
        Some(info) => format!("written in {}", printable(&info.at)),
        None => "which is built in".to_owned(),
    };
    match account.denial() {
        None => {
            let text = match account.decision.own_status() {
                None => format!("{request} by {who} from {ip} may pass: {name} allows it, {place}."),
                Some(status) => {
                    format!(
                        "{request} by {who} from {ip} is answered here with {status}: {name} says so, {place}."
                    )
                }
            };
            fill(&format!("{} ", styled(GOOD, "Allowed:")), &text)
        }
        Some(denial) => {
            let (status, reason) = (denial.status(), denial.reason.info());
            let text = format!(
                "{request} by {who} from {ip} gets {status} {} by {name} ({}), {place}.",
                reason.title, reason.code
            );
            fill(&format!("{} ", styled(BAD, "Refused:")), &text)
        }
    }
}

/// How much of it the caller is told, where that is not the default.
pub(super) fn disclosed(account: &Account<'_>) -> String {
    let (level, Some(at)) = account.level else { return String::new() };
    let by = format!("disclosure `{}` ({})", level.name(), printable(at));
    let first = " ".repeat(visible_width("Refused: "));
    match (account.denial(), account.sent_status()) {
        (Some(denial), Some(sent)) if sent != denial.status() => {
            let status = http::StatusCode::from_u16(sent).ok();
            let title = status.and_then(|status| status.canonical_reason()).unwrap_or_default();
            fill(&first, &format!("The caller sees {sent} {title}: {by}."))
        }
        _ if level == Level::default() => String::new(),
        _ => fill(&first, &format!("How much the caller is told: {by}.")),
    }
}

fn rule_text(account: &Account<'_>) -> String {
    let rule = account.decision.rule();
    let mut out = String::from("\n");
    if let Some(info) = account.info(rule) {
        // A rule of a pack is shown by the place that names the pack.
        let shown = account.setup.sources.show(info.place);
        if shown != *info.at {
            out.push_str(&fill("  ", &format!("Through {}:", printable(&shown))));
        }
    }
    for (number, line) in account.rule_text(rule) {
        match number {
            Some(number) => {
                let gutter = styled(FAINT, format_args!("{number:>6} |"));
                out.push_str(format!("{gutter} {}", printable(&line)).trim_end());
                out.push('\n');
            }
            None => out.push_str(&fill("  ", &line)),
        }
    }
    let Some(info) = account.info(rule) else { return out };
    let words =
        [("Its reason: ", &info.reason), ("What to do: ", &info.remediation), ("Ask: ", &info.contact)];
    let words = words.iter().filter_map(|(label, text)| Some((label, text.as_deref()?)));
    let words: String = words.map(|(label, text)| fill(&format!("  {label}"), &printable(text))).collect();
    if words.is_empty() { out } else { out + "\n" + &words }
}

/// The request as it was asked about and as it was changed, side by side, and what follows.
fn what_if(account: &Account<'_>) -> String {
    if account.what_if.is_empty() {
        return String::new();
    }
    let widths = account.what_if.iter().map(|variation| variation.change.short().chars().count());
    let width = widths.max().unwrap_or(0).clamp(8, 40);
    let row = |words: &str, said: &Said| {
        let verdict = match said.refused {
            None => styled(GOOD, "allowed"),
            Some(_) => styled(BAD, "refused"),
        };
        let status = said.status.map(|status| status.to_string()).unwrap_or_default();
        let words = padded(&shortened(&printable(words), width), width);
        let rule = printable(&said.rule);
        format!("  {words} {} {} {rule}\n", padded(&verdict, 8), padded(&status, 4))
    };
    let mut out = heading("What if");
    let asked = Said::new(account.policy(), &account.decision, account.identity.as_ref());
    out.push_str(&row("as asked", &asked));
    for variation in &account.what_if {
        out.push_str(&row(&variation.change.short(), &variation.said));
    }
    out.push('\n');
    for variation in &account.what_if {
        out.push_str(&fill_to("  ", "    ", &printable(&variation.conclusion)));
    }
    out
}

/// A text of no more characters than this: its beginning and, since names of files differ there, its end.
fn shortened(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let first = width / 2;
    let begin: String = text.chars().take(first).collect();
    let end: String = text.chars().skip(count + first + 1 - width).collect();
    format!("{begin}…{end}")
}

// === the trail ===

fn trail(account: &Account<'_>) -> String {
    let mut out = String::new();
    if account.hidden.is_some() {
        let text =
            format!("{} stands for the client's address, which is not kept.", account.admitted.client.ip);
        out.push_str(&fill("  ", &text));
    }
    for stage in Stage::ALL {
        let (mark, words) = match account.passage(stage) {
            Passage::Passed => (styled(GOOD, "pass"), passed(account, stage)),
            Passage::Refused => (styled(BAD, "REFUSED"), refused(account, stage)),
            Passage::NotReached => (styled(FAINT, "not reached"), String::new()),
        };
        let first = format!("  {} {} ", padded(stage.gate(), 10), padded(&mark, 12));
        out.push_str(&fill(&first, &printable(&words)));
        for step in account.steps(stage) {
            out.push_str(&step_lines(account, step));
        }
    }
    out
}

/// The refusal of a gate, unless its steps name it.
fn refused(account: &Account<'_>, stage: Stage) -> String {
    let named = |step: &Step| step.rule == Some(account.decision.rule());
    match account.denial() {
        Some(denial) if !account.steps(stage).any(named) => {
            format!("{} ({})", account.name(denial.rule), denial.reason)
        }
        _ => String::new(),
    }
}

/// What a gate found when it let the request pass.
fn passed(account: &Account<'_>, stage: Stage) -> String {
    let waf = &account.decision.notes.waf;
    match stage {
        Stage::Intake => {
            let target = &account.admitted.target;
            let asked = account.sample.uri.path_and_query().map_or("", |target| target.as_str());
            let (judged, forwarded) = (target.path_and_query().as_str(), target.forwarded().as_str());
            match (asked == judged, judged == forwarded) {
                (true, true) => String::new(),
                (false, true) => format!("judged and forwarded as {judged}"),
                (true, false) => format!("forwarded as {forwarded}"),
                (false, false) => format!("judged as {judged}, forwarded as {forwarded}"),
            }
        }
        Stage::Route => match account.policy().route(account.admitted.route) {
            Some(route) => {
                if let (Outcome::Allow(rule), Some(status)) =
                    (account.decision.outcome, account.decision.own_status())
                {
                    return format!(
                        "route {}; answered here with {status}, by {}",
                        route.name,
                        account.name(rule)
                    );
                }
                let upstreams = &account.setup.settings.upstreams;
                let names = route.upstream.all().filter_map(|at| upstreams.get(at));
                let names: Vec<&str> = names.map(|upstream| upstream.name.as_str()).collect();
                format!("route {} to upstream {}", route.name, names.join(" or "))
            }
            None => String::new(),
        },
        Stage::Waf if waf.threshold > 0 => format!("score {} of {}", head_score(account), waf.threshold),
        // Steps say it better.
        Stage::Authn | Stage::Rbac if account.steps(stage).next().is_some() => String::new(),
        Stage::Authn => account.identity_words(),
        Stage::Rbac => match account.decision.outcome {
            Outcome::Allow(rule) => format!("by {}", account.name(rule)),
            Outcome::Deny(_) => String::new(),
        },
        Stage::WafBody if waf.threshold > 0 && waf.score > head_score(account) => {
            format!("score {} of {}, body: {}", waf.score, waf.threshold, waf.body.name().replace('_', " "))
        }
        Stage::WafBody => format!("body: {}", waf.body.name().replace('_', " ")),
        Stage::Ip | Stage::Waf | Stage::Fault => String::new(),
    }
}

/// The score that the request had when it left the head gate.
fn head_score(account: &Account<'_>) -> u32 {
    let waf = &account.decision.notes.waf;
    // A rule runs at one gate only, so its steps tell at which.
    let at = |stage, rule| account.steps(stage).any(|step| step.rule == Some(rule));
    if !waf.matched.iter().any(|matched| at(Stage::WafBody, matched.rule)) {
        return waf.score;
    }
    let head = waf.matched.iter().filter(|matched| !matched.shadow && at(Stage::Waf, matched.rule));
    head.fold(0, |sum: u32, matched| sum.saturating_add(matched.score)).min(waf.score)
}

fn step_lines(account: &Account<'_>, step: &Step) -> String {
    let (mark, reason) = match step.outcome {
        StepOutcome::Note => (String::new(), None),
        StepOutcome::Pass => (styled(GOOD, "hit, pass"), None),
        StepOutcome::Deny(reason) => (styled(BAD, "hit, refuse"), Some(reason)),
        StepOutcome::ShadowDeny(reason) => (styled(WARN, "would refuse"), Some(reason)),
        StepOutcome::Unmet => (styled(FAINT, "miss"), None),
        StepOutcome::Score(score) => (styled(WARN, format_args!("hit, +{score}")), None),
        StepOutcome::AlsoMatched => (styled(FAINT, "also hit"), None),
    };
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let rule = step.rule.map(|rule| located(account, rule, &reason));
    let note = printable(&step.note);
    let first = format!("  {} {} ", padded("", 10), padded(&mark, 12));
    match rule {
        Some(rule) if note.is_empty() => fill(&first, &rule),
        Some(rule) => fill(&first, &rule) + &fill(&" ".repeat(28), &note),
        None => fill(&first, &note),
    }
}

/// The name of a rule with words behind it, and where it stands.
fn located(account: &Account<'_>, rule: RuleRef, words: &str) -> String {
    match account.info(rule) {
        Some(info) => format!("{}{words} {}", info.name, styled(FAINT, printable(&info.at))),
        None => format!("{}{words}", account.name(rule)),
    }
}

fn matches(account: &Account<'_>) -> String {
    let waf = &account.decision.notes.waf;
    if waf.matched.is_empty() {
        return String::new();
    }
    let mut out = heading(&format!("WAF matches (score {} of {})", waf.score, waf.threshold));
    for matched in &waf.matched {
        let shadow = if matched.shadow { " in shadow" } else { "" };
        let score = if matched.score > 0 { format!(" +{}", matched.score) } else { String::new() };
        let mut text = format!("on {}{score}{shadow}", matched.target);
        for more in [&matched.msg, &matched.data] {
            if !more.is_empty() {
                text.push_str(&format!(": {more}"));
            }
        }
        out.push_str(&fill(&format!("  {} ", account.name(matched.rule)), &printable(&text)));
    }
    out
}

// === facts ===

fn facts(account: &Account<'_>) -> String {
    let mut out = heading("Facts");
    let target = &account.admitted.target;
    if target.error.is_none() {
        let url = format!("{}://{}{}", target.scheme.as_str(), target.host(), target.path_and_query());
        out.push_str(&fill("  target   ", &printable(&url)));
    }
    out.push_str(&fill("  client   ", &printable(&account.client_words())));
    out.push_str(&fill("  caller   ", &printable(&account.identity_words())));
    out.push_str(&fill("  time     ", &account.sample.now.to_string()));
    out.push_str(&fill("  policy   ", &format!("{:08x}", account.decision.policy.hash)));
    for assumed in account.assumed {
        out.push_str(&fill("  assumed  ", assumed));
    }
    out
}

fn shadow(account: &Account<'_>) -> String {
    let hits = &account.decision.notes.shadow;
    if hits.is_empty() {
        return String::new();
    }
    let mut out = heading("In shadow, these would have refused");
    for hit in hits {
        out.push_str(&fill("  ", &located(account, hit.rule, &format!(" ({})", hit.reason))));
    }
    out
}

fn reproduce(account: &Account<'_>) -> String {
    let mut out = heading("Reproduce");
    let lines = account.curl.lines(WIDTH - 4);
    for (index, line) in lines.iter().enumerate() {
        let indent = if index == 0 { "  " } else { "    " };
        let more = if index + 1 < lines.len() { " \\" } else { "" };
        out.push_str(&format!("{indent}{}{more}\n", printable(line)));
    }
    for note in &account.curl.notes {
        // Each line of a comment is one, since the whole is pasted into a shell.
        out.push_str(&fill_to("  # ", "  # ", &printable(note)));
    }
    out
}
