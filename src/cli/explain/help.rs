//! Why a request is refused, the likely cause first, and what would let it pass.

use jiff::Timestamp;

use super::account::{Account, need, unheld_words};
use super::beside::with_roles;
use super::exactly::Exactly;
use crate::audit::{Match, excluding};
use crate::cli::layout::{fill, fill_to, printable};
use crate::cli::reply::{STRONG, heading, styled};
use crate::cli::request::world;
use crate::cli::written_toml::quoted;
use crate::decision::{Builtin, Denial, Outcome, Reason, RuleRef, Stage, Written};
use crate::facts::{Body, Identity};
use crate::policy::Sample;
use crate::policy::route::AcceptWord;

/// The likely causes, where to look, and for how long it lasts.
pub(super) fn causes(account: &Account<'_>, denial: &Denial) -> String {
    let info = denial.reason.info();
    let mut out = heading("Likely cause first");
    for (number, cause) in (1..).zip(account.causes()) {
        out.push_str(&fill(&format!("  {number}. "), &printable(&cause)));
    }
    out.push_str(&fill("  Look: ", info.check));
    if let Some(until) = denial.until {
        let ends = if account.over { "It was to end" } else { "It ends" };
        out.push_str(&fill("  ", &format!("{ends} by itself at {until}.")));
    } else if denial.temporary() {
        out.push_str("  The same request may pass later.\n");
    }
    if let Some(end) = account.ends_in_vain() {
        out.push_str(&fill("  ", &in_vain(end)));
    }
    out
}

/// That the end of a deny does not help.
pub(super) fn in_vain(end: Timestamp) -> String {
    format!("The rule ends by itself at {end}, and the request would be refused then all the same.")
}

/// What would let it pass, by the gate that refused.
pub(super) fn remedies(account: &Account<'_>, denial: &Denial) -> String {
    let mut out = heading("What would let it pass");
    let target = &account.admitted.target;
    match denial.stage {
        Stage::Intake => {
            let text = match acceptable(denial.rule) {
                Some(word) => format!(
                    "A route that takes such requests: `accept = [\"{word}\"]`. Its service must read them the same way."
                ),
                None => "Another request: no rule of the policy lets one like this pass.".to_owned(),
            };
            out.push_str(&fill("  ", &text));
        }
        Stage::Route => {
            let (asked, key) = match denial.reason {
                Reason::Misdirected => (printable(target.host()), "host"),
                _ => (printable(target.path()), "path"),
            };
            let text = format!(
                "A `[[route]]` whose `{key}` covers {asked}, or a request for what a route serves; the steps below name the nearest."
            );
            out.push_str(&fill("  ", &text));
        }
        Stage::Fault => return String::new(),
        Stage::Authn if denial.reason == Reason::KeysUnavailable => {
            let text = "The keys of this source. They are fetched by a running gateway, not here, so the gateway may decide otherwise; `--as` and `--role` assume that the credential is valid.";
            out.push_str(&fill("  ", text));
        }
        Stage::Authn => {
            let text = "A valid credential; `--token-file` or `--key-file` tries one, `--as` and `--role` assume one.";
            out.push_str(&fill("  ", text));
        }
        Stage::Rbac if let RuleRef::Written(_) = denial.rule => {
            for exit in exits(account) {
                out.push_str(&fill("  ", &printable(&exit)));
            }
        }
        Stage::Rbac if !account.nearest.is_empty() => {
            for near in &account.nearest {
                let rule = account.policy().rules.get(near.rule);
                let unheld = account.unheld(near.rule);
                let needs: Vec<String> =
                    near.unmet.iter().map(|unmet| need(unmet, unheld, account.policy())).collect();
                let text = format!("({}) needs {}", printable(&rule.at), printable(&needs.join(", and ")));
                out.push_str(&fill_to(&format!("  {} ", styled(STRONG, &rule.name)), "    ", &text));
                for words in unheld.into_iter().flat_map(unheld_words) {
                    out.push_str(&fill("    ", &printable(&words)));
                }
            }
        }
        Stage::Rbac => {
            let text = format!(
                "No grant covers {} {} for anybody. Add one that names a role, this method and this path:",
                target.method,
                printable(target.path())
            );
            out.push_str(&fill("  ", &text));
            out.push_str(&grant(account));
        }
        Stage::Ip if account.over => {
            out.push_str(&fill("  ", "Nothing more, as far as is known: what refused it is over."));
        }
        Stage::Ip if denial.rule == Builtin::Banned.into() => {
            let text = format!(
                "Nothing but the end of the ban: `portcullis unban {}` ends one of just this address, `portcullis ban --list` shows all. `[ip] never_ban` keeps an address from being banned.",
                match account.hidden {
                    Some(_) => "ADDR".to_owned(),
                    None => account.admitted.client.ip.to_string(),
                }
            );
            out.push_str(&fill("  ", &text));
        }
        Stage::Ip => {
            for exit in exits(account) {
                out.push_str(&fill("  ", &printable(&exit)));
            }
            out.push_str("  `--what-if-ip ADDR` tries one.\n");
        }
        Stage::Waf | Stage::WafBody => match &*exclusions(account) {
            "" => return String::new(),
            tables => {
                let text = "If the value is legitimate, an exclusion for just this path and target:";
                out.push_str(&fill("  ", text));
                out.push_str(tables);
            }
        },
    }
    out
}

/// What takes a request out of the reach of a written rule that refused it, a sentence each: addresses that it
/// lets through; of a deny, roles that are exempt, and what it is not about. The page tells the same.
pub(super) fn exits(account: &Account<'_>) -> Vec<String> {
    let Some((denial, rule)) = account.denial().and_then(|denial| match denial.rule {
        RuleRef::Written(rule) => Some((denial, rule)),
        RuleRef::Builtin(_) => None,
    }) else {
        return Vec::new();
    };
    let policy = account.policy();
    match denial.stage {
        Stage::Ip => {
            let mut exits: Vec<String> = policy.ip.lets_through(rule).into_iter().collect();
            exits.extend(other_addresses(account, rule));
            exits.extend(behind_addresses(account));
            exits
        }
        Stage::Rbac => {
            let mut exits = exempt_roles(account);
            if denial.reason == Reason::ConditionError {
                exits.push("A value that its `when` looks at is absent or of another type, which counts as met: send it as the rule expects it.".to_owned());
            }
            exits.extend(policy.rbac.ways_out(rule));
            let ends = denial.until.or_else(|| account.ends_in_vain()).is_some();
            let end = if ends { "let it end sooner" } else { "let it end with `until`" };
            exits.push(format!(
                "No new grant helps, since a deny beats every grant: narrow it, {end}, or exempt a role with `except_roles`."
            ));
            exits.extend(account.ungranted());
            exits
        }
        _ => Vec::new(),
    }
}

/// Which other rules the address must come past as well, a sentence each.
fn other_addresses(account: &Account<'_>, rule: Written) -> Vec<String> {
    let policy = account.policy();
    let known = account.identity.as_ref().unwrap_or(&Identity::Nobody);
    let sample = &account.sample;
    let facts = policy.facts(&account.admitted, &sample.headers, known, &Body::Absent, sample.now);
    let others = policy.ip.others_about(rule, &facts).into_iter();
    others
        .map(|(rule, lets)| {
            let lets = lets.trim_end_matches('.').replacen("An address", "an address", 1);
            format!("{} is about this too, and lets through {lets}.", policy.rules.get(rule).name)
        })
        .collect()
}

/// What refuses the request once it has come past the rules about addresses, a sentence.
fn behind_addresses(account: &Account<'_>) -> Option<String> {
    let policy = account.policy().without_addresses();
    match policy.decide(&account.sample, &world(account.setup), None).outcome {
        Outcome::Allow(_) => None,
        Outcome::Deny(denial) => Some(format!(
            "That alone is not enough: past the rules about addresses, {} refuses the request as it stands here ({}).",
            policy.rules.name(denial.rule),
            denial.reason
        )),
    }
}

/// The roles with which a deny would not refuse, and a grant allow, a sentence each.
pub(super) fn exempt_roles(account: &Account<'_>) -> Vec<String> {
    let Some(RuleRef::Written(rule)) = account.denial().map(|denial| denial.rule) else { return Vec::new() };
    let policy = account.policy();
    let helps = |role: &str| {
        let caller = with_roles(&account.sample.caller, account.identity.as_ref(), &[role.to_owned()]);
        let sample = Sample { caller, ..account.sample.clone() };
        match policy.decide(&sample, &world(account.setup), None).outcome {
            Outcome::Allow(by) => Some(format!(
                "The role {role}: its holders are exempt, and {} allows them this.",
                account.name(by)
            )),
            Outcome::Deny(_) => None,
        }
    };
    policy.rbac.exempt(rule).take(MOST_TRIED).filter_map(helps).collect()
}

/// So many roles are tried.
const MOST_TRIED: usize = 8;

/// The word with which a route accepts what this rule refuses.
pub(super) fn acceptable(rule: RuleRef) -> Option<&'static str> {
    let word = match rule {
        RuleRef::Builtin(Builtin::EncodedSlash) => AcceptWord::EncodedSlash,
        RuleRef::Builtin(Builtin::Backslash) => AcceptWord::Backslash,
        RuleRef::Builtin(Builtin::PathParameters) => AcceptWord::PathParameters,
        RuleRef::Builtin(Builtin::HeaderName) => AcceptWord::UnderscoreHeaders,
        _ => return None,
    };
    Some(word.word())
}

/// A grant to begin with, for the request as it is.
fn grant(account: &Account<'_>) -> String {
    let target = &account.admitted.target;
    let exactly = Exactly::of(target);
    let when = exactly.when().map(|when| format!("    when = {}\n", quoted(&when))).unwrap_or_default();
    format!(
        "\n    [[rbac.grant]]\n    id = \"…\"\n    roles = [\"…\"]\n    methods = [{}]\n    path = {}\n{when}",
        quoted(target.method.as_str()),
        quoted(&exactly.pattern),
    )
}

/// The exclusions to begin with, for what matched: a table for each list of targets.
fn exclusions(account: &Account<'_>) -> String {
    let matched = account.decision.notes.waf.matched.iter().filter(|matched| !matched.shadow);
    let matched = matched.map(|matched| (account.name(matched.rule), &*matched.target));
    let refusing = matched.filter(|(rule, _)| !account.policy().waf_only_notes(rule));
    let refusing = refusing.map(|(rule, target)| Match { rule, target, score: 0, msg: "" });
    let path = quoted(&Exactly::of(&account.admitted.target).pattern);
    let list = |texts: Vec<&str>| texts.into_iter().map(quoted).collect::<Vec<_>>().join(", ");
    let tables = excluding(refusing).into_iter().map(|(targets, rules)| {
        format!(
            "\n    [[waf.exclude]]\n    id = \"…\"\n    path = {path}\n    targets = [{}]\n    rules = [{}]\n",
            list(targets),
            list(rules),
        )
    });
    tables.collect()
}
