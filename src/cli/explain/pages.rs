//! The pages that need no request: one function for each of the tables people look things up in.

use serde_json::{Value, json};

use super::written;
use crate::cli::Format;
use crate::cli::layout::{fill, padded, printable};
use crate::cli::reply::{Exit, FAINT, Reply, STRONG, styled};
use crate::config::Setup;
use crate::decision::{Builtin, Kind, Reason, RuleRef};
use crate::policy::code::Code;
use crate::policy::diagnostic::suggest;
use crate::policy::lint as policy_lint;
use crate::policy::mode::Mode;
use crate::policy::rules::RuleInfo;

/// A kind of problem that `check` reports.
pub(super) fn lint(code: Code, format: Format) -> Reply {
    let info = code.info();
    let page = policy_lint::page(code);
    match format {
        Format::Text => {
            let title = format!("{} ({})\n", styled(STRONG, info.name), info.severity.name());
            let mut out = title + "\n" + &fill("", info.page);
            if let Some(page) = page {
                out.push_str(&format!("\n{}\n", styled(STRONG, "Why it matters")));
                out.push_str(&fill("  ", page.why));
                out.push_str(&format!("\n{}\n", styled(STRONG, "Example")));
                for line in page.example.lines() {
                    out.push_str(if line.is_empty() { "\n" } else { "    " });
                    out.push_str(line);
                    out.push_str(if line.is_empty() { "" } else { "\n" });
                }
                out.push_str(&format!("\n{}\n", styled(STRONG, "How to mend it")));
                out.push_str(&fill("  ", page.mend));
                out.push_str("\nIf it is as it should be, say so in the file:\n");
                let allow = format!("    [[lint.allow]]\n    code = \"{}\"\n    reason = \"…\"\n", info.name);
                out.push_str(&styled(FAINT, allow));
            }
            Reply::text(Exit::Fine, out)
        }
        Format::Json => Reply::json(
            Exit::Fine,
            &json!({
                "code": info.name,
                "severity": info.severity.name(),
                "page": info.page,
                "why": page.map(|page| page.why),
                "example": page.map(|page| page.example),
                "mend": page.map(|page| page.mend),
            }),
        ),
    }
}

/// A rule of the configuration.
pub(super) fn rule(setup: &Setup, name: &str, format: Format) -> Reply {
    let rules = &setup.policy.rules;
    let written = match rules.by_name(name) {
        Some(RuleRef::Written(written)) => written,
        Some(RuleRef::Builtin(builtin)) => return builtin_rule(builtin, format),
        None => {
            let near = suggest(name, rules.iter().map(|(_, info)| &*info.name));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Reply::failure(Exit::Usage, format!("there is no rule `{}`{near}", printable(name)));
        }
    };
    let info = rules.get(written);
    let lines = written::lines(&setup.sources, info.place);
    let id = info.name.split_once('/').map_or(&*info.name, |(_, id)| id);
    let twins = setup.policy.waf.twins(written, id);
    match format {
        Format::Text => {
            let mut out = format!("{} at {}\n", styled(STRONG, &info.name), printable(&info.at));
            for text in [&info.reason, &info.remediation].into_iter().flatten() {
                out.push_str(&fill("", text));
            }
            out.push('\n');
            for (number, line) in &lines {
                out.push_str(&format!("{} {}\n", styled(FAINT, format!("{number:>5}")), printable(line)));
            }
            if let Some((toml, seclang)) = &twins {
                for (title, text) in [("In TOML", toml), ("In SecLang", seclang)] {
                    out.push_str(&format!("\n{}\n\n", styled(STRONG, title)));
                    text.lines().for_each(|line| out.push_str(&format!("    {}\n", printable(line))));
                }
            }
            Reply::text(Exit::Fine, out)
        }
        Format::Json => Reply::json(
            Exit::Fine,
            &json!({
                "rule": info.name,
                "at": info.at,
                "reason": info.reason,
                "remediation": info.remediation,
                "text": lines.iter().map(|(_, line)| line).collect::<Vec<_>>(),
                "toml": twins.as_ref().map(|(toml, _)| toml),
                "seclang": twins.as_ref().map(|(_, seclang)| seclang),
            }),
        ),
    }
}

fn builtin_rule(rule: Builtin, format: Format) -> Reply {
    let info = rule.info();
    match format {
        Format::Text => Reply::text(
            Exit::Fine,
            format!("{} (built in)\n{}", styled(STRONG, info.name), fill("", info.text)),
        ),
        Format::Json => {
            Reply::json(Exit::Fine, &json!({ "rule": info.name, "builtin": true, "text": info.text }))
        }
    }
}

/// A reason that refusals carry.
pub(super) fn reason(reason: Reason, format: Format) -> Reply {
    let info = reason.info();
    let rules = || Builtin::ALL.iter().filter(|rule| rule.info().reason == reason && gives_status(**rule));
    match format {
        Format::Text => {
            let mut out = format!("{}: {} {}\n\n", styled(STRONG, info.code), info.status, info.title);
            out.push_str(&fill("", info.detail));
            out.push_str("\nLikely cause first\n");
            for (number, cause) in (1..).zip(info.causes) {
                out.push_str(&fill(&format!("  {number}. "), cause));
            }
            out.push_str(&fill("  Look: ", info.check));
            if info.temporary {
                out.push_str("\nThe same request may pass later without anyone changing the policy.\n");
            }
            let names: Vec<&str> = rules().map(|rule| rule.info().name).collect();
            if !names.is_empty() {
                out.push('\n');
                out.push_str(&fill("Built-in rules that give it: ", &names.join(", ")));
            }
            Reply::text(Exit::Fine, out)
        }
        Format::Json => Reply::json(
            Exit::Fine,
            &json!({
                "reason": info.code,
                "status": info.status,
                "title": info.title,
                "temporary": info.temporary,
                "detail": info.detail,
                "causes": info.causes,
                "check": info.check,
                "rules": rules().map(|rule| rule.info().name).collect::<Vec<_>>(),
            }),
        ),
    }
}

/// The rules that nobody wrote.
pub(super) fn builtin_rules(format: Format) -> Reply {
    let rules = Builtin::ALL.iter().map(|rule| (rule.info(), rule.info().reason.info(), *rule));
    match format {
        Format::Text => {
            let mut out = String::new();
            for (rule, reason, builtin) in rules {
                let what = if let Some(status) = builtin.own_status() {
                    format!("{status} answered here")
                } else if gives_status(builtin) {
                    let temporary = if reason.temporary { ", temporary" } else { "" };
                    format!("{} {}{temporary}", reason.status, reason.code)
                } else {
                    "pass".to_owned()
                };
                out.push_str(&format!("{} {what}\n", padded(&styled(STRONG, rule.name), 28)));
                out.push_str(&fill("    ", rule.text));
            }
            Reply::text(Exit::Fine, out)
        }
        Format::Json => {
            let rules = rules.map(|(rule, reason, builtin)| {
                let refuses = gives_status(builtin);
                json!({
                    "rule": rule.name,
                    "kind": match rule.kind {
                        Kind::Refusal => "refusal",
                        Kind::Pass => "pass",
                        Kind::Answer => "answer",
                        Kind::Fault => "fault",
                    },
                    "status": builtin.own_status().or(refuses.then_some(reason.status)),
                    "reason": refuses.then_some(reason.code),
                    "temporary": refuses && reason.temporary,
                    "text": rule.text,
                })
            });
            Reply::json(Exit::Fine, &rules.collect::<Vec<_>>())
        }
    }
}

fn gives_status(rule: Builtin) -> bool {
    match rule.info().kind {
        Kind::Refusal | Kind::Fault => true,
        Kind::Pass | Kind::Answer => false,
    }
}

/// The rules of a configuration, in policy order.
pub(super) fn written_rules(setup: &Setup, format: Format) -> Reply {
    let rules: Vec<&RuleInfo> = setup.policy.rules.iter().map(|(_, rule)| rule).collect();
    match format {
        Format::Text => {
            let widest = |text: &dyn Fn(&RuleInfo) -> usize| rules.iter().map(|rule| text(rule)).max();
            let name = widest(&|rule| rule.name.len()).unwrap_or(0).min(40);
            let at = widest(&|rule| rule.at.chars().count()).unwrap_or(0).min(28);
            let mut out = String::new();
            for rule in rules {
                let (mode, until) = mode(rule.mode);
                let until = until.map_or(String::new(), |until| format!(" until {until}"));
                out.push_str(&format!(
                    "{} {} {mode}{until}\n",
                    padded(&styled(STRONG, &rule.name), name),
                    padded(&printable(&rule.at), at)
                ));
                if let Some(reason) = &rule.reason {
                    out.push_str(&fill("    ", &styled(FAINT, printable(reason))));
                }
            }
            Reply::text(Exit::Fine, out)
        }
        Format::Json => {
            let rules = rules.iter().map(|rule| written_rule(rule));
            Reply::json(Exit::Fine, &rules.collect::<Vec<Value>>())
        }
    }
}

/// A written rule as programs read it.
pub(super) fn written_rule(rule: &RuleInfo) -> Value {
    let (mode, until) = mode(rule.mode);
    json!({
        "rule": rule.name,
        "stage": rule.stage.name(),
        "at": rule.at,
        "mode": mode,
        "shadow_until": until,
        "public_id": rule.public_name,
        "reason": rule.reason,
        "remediation": rule.remediation,
        "contact": rule.contact,
    })
}

fn mode(mode: Mode) -> (&'static str, Option<jiff::Timestamp>) {
    match mode {
        Mode::Enforce => ("enforce", None),
        Mode::Shadow(until) => ("shadow", until),
        Mode::Off => ("off", None),
    }
}
