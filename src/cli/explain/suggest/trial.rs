//! A recorded request through the changed policy: whether it passes, and what of that cannot be told.

use super::edit::refusal;
use crate::audit::{Line, Recalled};
use crate::cli::explain::account::Account;
use crate::cli::layout::list;
use crate::config::Setup;
use crate::decision::{Stage, Written};
use crate::facts::{Body, Facts, Identity};
use crate::policy::rbac::{Access, Blind, Outlook};

/// What becomes of it.
pub(super) enum Trial {
    Passes,
    /// Why that cannot be told.
    Unknown(String),
    /// It is refused by this, as before.
    Refused(String),
}

/// Tries it. Of the WAF's rules nothing is found out, since what they look at is not kept.
pub(super) fn tried(account: &Account<'_>, changed: &Setup, recalled: &Recalled) -> Trial {
    let Some(denial) = refusal(account, changed, recalled.now) else { return Trial::Passes };
    let name = changed.policy.rules.name(denial.rule);
    let by = format!("`{name}` ({})", denial.reason);
    let unseen = match account.denial().map(|denial| denial.stage) {
        Some(Stage::Ip) => Some("addresses are judged first"),
        Some(Stage::Waf) => Some("the head of a request is judged first"),
        _ => None,
    };
    if let Some(why) = unseen.filter(|_| denial.stage.looks_at_caller() && recalled.holder.is_none()) {
        return Trial::Unknown(format!(
            "Who asked is not in the record, since {why}: without a credential it would then be refused by {by}."
        ));
    }
    if matches!(denial.stage, Stage::Waf | Stage::WafBody) {
        return Trial::Unknown(format!(
            "What {by} looks at is not kept, so it could not be tried whether it refuses the request."
        ));
    }
    let no_address = denial.stage == Stage::Rbac && recalled.ip.is_none();
    if no_address && without_address(account, changed).access() == Access::Sometimes {
        return Trial::Unknown(format!(
            "Whether {by} refuses it then depends on the client's address, which is not kept."
        ));
    }
    Trial::Refused(by)
}

/// What may refuse the request all the same, of which the record does not tell enough. `same`: the policy as
/// it is now decided it.
pub(super) fn not_asked(
    account: &Account<'_>,
    changed: &Setup,
    line: &Line<'_>,
    recalled: &Recalled,
    same: bool,
) -> Vec<String> {
    let policy = &changed.policy;
    let facts = facts(account, changed);
    let mut out = Vec::new();
    let stage = account.denial().map(|denial| denial.stage);
    if recalled.ip.is_none() && stage != Some(Stage::Ip) {
        let mut asked: Vec<String> = Vec::new();
        if !same && policy.ip.concerns(&facts) {
            // What this very policy refused at a later gate came past them.
            asked.push("the rules about addresses (`ip`)".to_owned());
        }
        let quoted = |rule: &Written| format!("`{}`", policy.rules.get(*rule).name);
        asked.extend(without_address(account, changed).possible_denies.iter().map(quoted));
        if !asked.is_empty() {
            out.push(format!(
                "Of the client's address the record keeps only {} (`[log] client`), so it is not known whether {} would refuse the request.",
                &*line.client.ip,
                list(&asked, " or ")
            ));
        }
    }
    let concerns = policy.waf.concerns(&facts);
    let behind = match stage {
        Some(Stage::Ip) => concerns.head || concerns.body,
        Some(Stage::Rbac) => concerns.body,
        _ => false,
    };
    if behind && policy.waf_enforces(&facts) {
        out.push(
            "WAF rules behind this gate look at text that no record keeps: they may still refuse the request."
                .to_owned(),
        );
    }
    out
}

/// What grants and denies say where the client's address is not known.
fn without_address(account: &Account<'_>, changed: &Setup) -> Outlook {
    changed.policy.rbac.outlook(&facts(account, changed), Blind { client: true, ..Blind::NOT })
}

fn facts<'f>(account: &'f Account<'_>, changed: &'f Setup) -> Facts<'f> {
    let Account { admitted, sample, identity, .. } = account;
    let known = identity.as_ref().unwrap_or(&Identity::Nobody);
    changed.policy.facts(admitted, &sample.headers, known, &Body::Absent, sample.now)
}
