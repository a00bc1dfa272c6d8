//! `setvar` and `ctl`: what a match changes.

use super::lex::Word;
use super::template::template;
use super::updates::rule_set;
use super::{Report, variables};
use crate::policy::waf::ir::{Change, Control, Effect, Template};
use crate::policy::waf::memory::Kept;

/// `tx.score=+%{tx.critical}`, `!tx.x`.
pub(super) fn set(word: &Word, report: &mut Report<'_>) -> Option<Effect> {
    let (unset, start) = if word.text.starts_with('!') { (true, 1) } else { (false, 0) };
    // A macro in the name may hold a dot or a `=`.
    let equals = outside_of_macros(&word.text, '=').filter(|_| !unset);
    let name_end = equals.unwrap_or(word.text.len());
    let name = word.part(start, name_end).trimmed();
    let Some((collection, _)) = name.text.split_once(['.', ':']) else {
        report.error(word.whole(), format!("`{}` names no collection, such as `tx.`", name.text));
        return None;
    };
    let known = collection.eq_ignore_ascii_case("tx")
        || variables::STORED.iter().any(|stored| stored.eq_ignore_ascii_case(collection));
    if !known {
        report.error(word.whole(), format!("`{collection}` is no collection that rules can write"));
        return None;
    }
    let collection: Box<str> = collection.to_ascii_lowercase().into();
    let name = template(&name.part(collection.len() + 1, name.text.len()), report)?;
    let change = match equals {
        None if unset => Change::Unset,
        // A name alone is set to 1.
        None => Change::Value(Template::text("1")),
        Some(at) => {
            let value = word.part(at + 1, word.text.len());
            let amount =
                |report: &mut Report<'_>| template(&value.part(1, value.text.len()).trimmed(), report);
            match value.text.as_bytes().first() {
                Some(b'+') => Change::Add(amount(report)?),
                Some(b'-') => Change::Subtract(amount(report)?),
                _ => Change::Value(template(&value, report)?),
            }
        }
    };
    Some(Effect::Set { collection, name, change })
}

/// `ip=%{REMOTE_ADDR}`
pub(super) fn recall(word: &Word, report: &mut Report<'_>) -> Option<Effect> {
    let Some((collection, key)) = word.text.split_once('=') else {
        report
            .error(word.whole(), "`initcol` takes a collection and a key, as in `initcol:ip=%{REMOTE_ADDR}`");
        return None;
    };
    let kept = kept(collection.trim(), word, report)?;
    let start = word.text.len() - key.len();
    Some(Effect::Recall { kept, key: template(&word.part(start, word.text.len()), report)? })
}

/// `ip.counter=60`
pub(super) fn expire(word: &Word, report: &mut Report<'_>) -> Option<Effect> {
    let dot = word.text.find(['.', ':']);
    let (Some(dot), Some(equals)) = (dot, outside_of_macros(&word.text, '=')) else {
        report
            .error(word.whole(), "`expirevar` takes a variable and seconds, as in `expirevar:ip.counter=60`");
        return None;
    };
    let kept = kept(word.text.get(..dot).unwrap_or_default(), word, report)?;
    let name = template(&word.part(dot + 1, equals), report)?;
    let seconds = template(&word.part(equals + 1, word.text.len()).trimmed(), report)?;
    Some(Effect::Expire { kept, name, seconds })
}

fn kept(name: &str, word: &Word, report: &mut Report<'_>) -> Option<Kept> {
    let found = Kept::by_name(name);
    if found.is_none() {
        let known = variables::STORED.join("`, `");
        let message = format!("`{name}` is no collection that lasts; there are `{known}`");
        report.error(word.whole(), message);
    }
    found
}

fn outside_of_macros(text: &str, wanted: char) -> Option<usize> {
    let mut inside = false;
    text.char_indices().find_map(|(at, c)| {
        match c {
            '{' if text[..at].ends_with('%') => inside = true,
            '}' => inside = false,
            _ => {}
        }
        (c == wanted && !inside).then_some(at)
    })
}

/// `ruleRemoveById=1`, `requestBodyProcessor=XML`.
pub(super) fn control(word: &Word, report: &mut Report<'_>) -> Option<Control> {
    let Some((name, value)) = word.text.split_once('=') else {
        report.error(word.whole(), "`ctl` takes a setting and its value, as in `ctl:ruleEngine=Off`");
        return None;
    };
    let value_word = word.part(name.len() + 1, word.text.len());
    let lower = name.trim().to_ascii_lowercase();
    let bad = |report: &mut Report<'_>| {
        report.error(word.whole(), format!("`{value}` is no value of `ctl:{name}`"));
    };
    match lower.as_str() {
        "ruleremovebyid" | "ruleremovebytag" | "ruleremovebymsg" => {
            let Some(set) = rule_set(&lower, value) else {
                bad(report);
                return None;
            };
            Some(Control::RemoveRules(set))
        }
        "ruleremovetargetbyid" | "ruleremovetargetbytag" | "ruleremovetargetbymsg" => {
            let Some((rules, _)) = value.split_once(';') else {
                report.error(
                    word.whole(),
                    "which rules and which variable? `ctl:ruleRemoveTargetById=1;ARGS:x`",
                );
                return None;
            };
            let Some(set) = rule_set(&lower, rules) else {
                bad(report);
                return None;
            };
            let targets = value_word.part(rules.len() + 1, value_word.text.len());
            Some(Control::RemoveTarget(set, variables::inputs(&targets, report)?))
        }
        "requestbodyprocessor" => match value.to_ascii_uppercase().as_str() {
            known @ ("JSON" | "XML" | "URLENCODED" | "MULTIPART") => {
                Some(Control::BodyProcessor(known.into()))
            }
            _ => {
                bad(report);
                None
            }
        },
        "ruleengine" => match value.to_ascii_lowercase().as_str() {
            known @ ("on" | "off" | "detectiononly") => {
                Some(Control::Setting("ruleEngine".into(), known.into()))
            }
            _ => {
                bad(report);
                None
            }
        },
        "forcerequestbodyvariable" | "requestbodyaccess" | "responsebodyaccess" => {
            match value.to_ascii_lowercase().as_str() {
                known @ ("on" | "off") => Some(Control::Setting(lower.as_str().into(), known.into())),
                _ => {
                    bad(report);
                    None
                }
            }
        }
        "auditengine" | "auditlogparts" | "debugloglevel" => {
            // The record is one line a request, whatever rules say; what it holds is said in `[log]`.
            None
        }
        _ => {
            report.error(word.whole(), format!("`ctl:{name}` is not run by this version"));
            None
        }
    }
}
