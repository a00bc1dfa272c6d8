//! The narrowest exclusion that keeps the rules of the WAF from what they matched in one request.

use serde_json::Value as Json;

use super::proposal::{Excluded, Proposal, Reach, id, scope, with_table};
use crate::audit::{Line, Match, WafRefusal, excluding};
use crate::cli::explain::account::Account;
use crate::cli::explain::exactly::Exactly;
use crate::cli::request::world;
use crate::cli::written_toml::quoted;
use crate::config::load;
use crate::decision::{Builtin, Outcome, Reason, RuleRef, Stage};
use crate::facts::{Body, Identity};
use crate::policy::source::Sources;

/// The exclusion for a refusal by the WAF, or why there is none.
pub(super) fn exclusion(account: &Account<'_>, line: &Line<'_>) -> Result<Proposal, String> {
    let rule = account.denial().map(|denial| denial.rule);
    // An expression that gave up is recorded with its rule, and what keeps the rule from the text helps.
    if let Some(RuleRef::Builtin(builtin)) = rule.filter(|rule| *rule != Builtin::WafBudget.into()) {
        return Err(format!(
            "`{}` is no rule on a text, so no exclusion helps. {}",
            builtin.info().name,
            builtin.info().text
        ));
    }
    let waf: Json = line.waf.and_then(|waf| serde_json::from_str(waf.get()).ok()).unwrap_or_default();
    let reason = line.reason.as_deref().unwrap_or_default();
    let refusal = WafRefusal { rule: &line.rule, reason, waf: &waf };
    let mut matched: Vec<Match<'_>> =
        refusal.refusing(|name| account.policy().waf_only_notes(name)).collect();
    matched.retain(|found| !found.rule.is_empty() && !found.target.is_empty());
    if matched.is_empty() {
        return Err("The record names no WAF rule that matched, so there is nothing to exclude.".to_owned());
    }
    // Rules of the second gate look at the path once more, and the path is in the record.
    let mut behind: Vec<String> = Vec::new();
    let (toml, sources) = loop {
        let on_path = behind.iter().map(|rule| Match { rule, target: PATH, score: 0, msg: "" });
        let toml = written(account, line, matched.iter().copied().chain(on_path));
        let sources = with_table(account, &toml);
        let more = on_the_path(account, &sources);
        if more.is_empty() || behind.len() + more.len() > MOST_BEHIND {
            break (toml, sources);
        }
        behind.extend(more);
    };
    let target = &account.admitted.target;
    let reach = Reach::Waf(Excluded {
        method: line.method.to_string(),
        host: line.host.to_string(),
        path: line.path.to_string(),
        matched: matched
            .iter()
            .map(|found| (found.rule.to_owned(), found.target.to_owned()))
            .chain(behind.into_iter().map(|rule| (rule, PATH.to_owned())))
            .collect(),
    });
    let what = "An exclusion for just this request and what matched".to_owned();
    let wider = Exactly::of(target).when().map(|when| {
        format!("The path has what no pattern can say, so this is about other paths as well; it was {when}.")
    });
    let open =
        "Whoever asks: these rules no longer look at these texts of such requests, whatever stands in them.";
    let mind = [open.to_owned()].into_iter().chain(wider).chain(unreached(account)).collect();
    let untried = vec!["What the rules saw is not kept, so it could not be tried: of each only the first place where it matched is recorded, and where it matches again, it goes on refusing.".to_owned()];
    Ok(Proposal { what, toml, at: None, also: Vec::new(), reach, sources, untried, mind })
}

/// The target that a record keeps as it was.
const PATH: &str = "path";

/// More rules are not kept from the path than so many: whoever needs that has another problem.
const MOST_BEHIND: usize = 16;

/// The exclusions: a table for each list of targets.
fn written<'r>(account: &Account<'_>, line: &Line<'_>, matched: impl Iterator<Item = Match<'r>>) -> String {
    let id = id(line);
    let tables = excluding(matched);
    let one = tables.len() == 1;
    let list = |texts: Vec<&str>| texts.into_iter().map(quoted).collect::<Vec<_>>().join(", ");
    let table = |(number, (targets, rules)): (usize, (Vec<&str>, Vec<&str>))| {
        let id = if one { id.clone() } else { format!("{id}-{number}") };
        format!(
            "[[waf.exclude]]\nid = {}\n{}targets = [{}]\nrules = [{}]\n",
            quoted(&id),
            scope(account),
            list(targets),
            list(rules)
        )
    };
    (1..).zip(tables).map(table).collect::<Vec<_>>().join("\n")
}

/// The rules that refuse the request then, if all that matches is the path.
fn on_the_path(account: &Account<'_>, sources: &Sources) -> Vec<String> {
    let sample = &account.sample;
    let Some(changed) = load::recall(sources.clone(), sample.now).setup else { return Vec::new() };
    let decision = changed.policy.decide(sample, &world(&changed), None);
    let by_waf = matches!(decision.outcome, Outcome::Deny(denial) if matches!(denial.reason, Reason::WafMatch | Reason::WafScore));
    let matched = decision.notes.waf.matched.iter().filter(|found| !found.shadow);
    let rules: Option<Vec<String>> = matched
        .filter(|found| !changed.policy.waf_only_notes(changed.policy.rules.name(found.rule)))
        // Of a text that is not kept, such as a field that every client sends, its lack may be what matches.
        .map(|found| (found.target == PATH).then(|| changed.policy.rules.name(found.rule).to_owned()))
        .collect();
    rules.filter(|_| by_waf).unwrap_or_default()
}

/// That rules of the second gate may come to refuse what the first one did.
fn unreached(account: &Account<'_>) -> Option<String> {
    let policy = account.policy();
    let Account { admitted, sample, .. } = account;
    let facts = policy.facts(admitted, &sample.headers, &Identity::Nobody, &Body::Absent, sample.now);
    let at_head = account.denial().is_some_and(|denial| denial.stage == Stage::Waf);
    (at_head && policy.waf.concerns(&facts).body).then(|| {
        "The rules of the head refused this, so those of the gate behind, which look at the body and at some texts once more, were not reached: they may refuse the same request, and then its next record names them.".to_owned()
    })
}
