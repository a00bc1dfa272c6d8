//! The narrowest exclusion that keeps the rules of the WAF from what they matched in one request.

use serde_json::Value as Json;

use super::edit::{Excluded, Proposal, Reach, id, scope, with_table};
use crate::audit::{Line, Match, WafRefusal, excluding};
use crate::cli::explain::account::Account;
use crate::cli::explain::exactly::Exactly;
use crate::cli::written_toml::quoted;
use crate::decision::{Builtin, RuleRef, Stage};
use crate::facts::{Body, Identity};

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
    let id = id(line);
    let tables = excluding(matched.iter().copied());
    let one = tables.len() == 1;
    let toml: Vec<String> = (1..)
        .zip(tables)
        .map(|(number, (targets, rules))| {
            let id = if one { id.clone() } else { format!("{id}-{number}") };
            let list = |texts: Vec<&str>| texts.into_iter().map(quoted).collect::<Vec<_>>().join(", ");
            format!(
                "[[waf.exclude]]\nid = {}\n{}targets = [{}]\nrules = [{}]\n",
                quoted(&id),
                scope(account),
                list(targets),
                list(rules)
            )
        })
        .collect();
    let toml = toml.join("\n");
    let target = &account.admitted.target;
    let reach = Reach::Waf(Excluded {
        method: line.method.to_string(),
        host: line.host.to_string(),
        path: line.path.to_string(),
        matched: matched.iter().map(|found| (found.rule.to_owned(), found.target.to_owned())).collect(),
    });
    let what = "An exclusion for just this request and what matched".to_owned();
    let wider = Exactly::of(target).when().map(|when| {
        format!("The path has what no pattern can say, so this is about other paths as well; it was {when}.")
    });
    let mind = wider.into_iter().chain(unreached(account)).collect();
    let untried = vec!["What the rules saw is not kept, so it could not be tried: of each only the first place where it matched is recorded, and where it matches again, it goes on refusing.".to_owned()];
    let sources = with_table(account, &toml);
    Ok(Proposal { what, toml, at: None, reach, sources, untried, mind })
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
