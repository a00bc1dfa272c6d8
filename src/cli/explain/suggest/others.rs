//! What else a change would let pass, of what was asked lately: what it surely would, and what it may, of
//! which the records do not tell enough. What it cannot concern counts for neither.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use super::Args;
use super::proposal::{Excluded, Reach};
use crate::audit::{Line, Match, Recalled, WafRefusal};
use crate::cli::Common;
use crate::cli::policies::Past;
use crate::cli::progress::Teller;
use crate::cli::records::{self, Source};
use crate::cli::replay::{Finding, FlipKey, Judges, Report};
use crate::cli::reply::{Exit, Reply};
use crate::config::Setup;
use crate::decision::{Builtin, RuleRef};
use crate::facts::{Body, Identity};
use crate::policy::rbac::Blind;
use crate::policy::{Admitted, Policy};

/// What else a change would open.
pub(super) struct Opened {
    /// Against the policy as it is now, not the one that decided. What cannot be told is what may pass.
    pub(super) report: Report,
    /// Of what it surely would open, how many were allowed when they were made.
    pub(super) allowed_then: u64,
}

/// The change that is looked at.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) setup: &'a Setup,
    pub(super) changed: &'a Setup,
    pub(super) reach: &'a Reach,
    /// The rule that refuses the request that it is for.
    pub(super) refuses: &'a str,
}

/// Looks for it.
pub(super) fn opened(
    args: &Args,
    source: &Source,
    change: Change<'_>,
    line: &Line<'_>,
    common: &Common,
) -> Result<Opened, Reply> {
    let Change { setup, changed, .. } = change;
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
        let same = Finding::Same { rule: true, by: None };
        let before = change.before(&read, &mut now);
        if !change.concerns(&read, &before) {
            return report.add(&read, same, &changed.policy);
        }
        let passed = &*read.decision != "deny";
        let name = |rule: Option<RuleRef>| {
            rule.map_or_else(|| read.rule.to_string(), |rule| changed.policy.rules.name(rule).to_owned())
        };
        let by = match (judges.judge(&read).0, before) {
            (Finding::Allowed(rule), Before::Refused(before)) => Ok((name(Some(rule)), before)),
            (Finding::Same { by, .. }, Before::Refused(before)) if passed => Ok((name(by), before)),
            (Finding::Unknown(gap), _) => Err(Finding::Unknown(gap)),
            // It passes, and perhaps it passes now as well.
            (Finding::Allowed(_), Before::Unknown(gap)) => Err(gap),
            (Finding::Same { .. }, Before::Unknown(gap)) if passed => Err(gap),
            _ => Err(same),
        };
        match by {
            Ok((rule, before)) => {
                allowed_then += u64::from(passed);
                report.flip(&read, FlipKey { to: "allow", rule, before });
            }
            Err(finding) => report.add(&read, finding, &changed.policy),
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

/// What the policy as it is now does with a recorded request.
enum Before {
    Passes,
    /// It is refused by the rule of this name.
    Refused(String),
    Unknown(Finding),
}

impl Change<'_> {
    /// What the policy as it is now does. A record of this very policy tells it, whatever facts it lacks.
    fn before(self, line: &Line<'_>, now: &mut Judges<'_>) -> Before {
        let refused = &*line.decision == "deny";
        let policy = &self.setup.policy;
        if line.policy().is_some_and(|version| version.hash == policy.version.hash) {
            return if refused { Before::Refused(line.rule.to_string()) } else { Before::Passes };
        }
        let name = |rule: RuleRef| policy.rules.name(rule).to_owned();
        match now.judge(line).0 {
            Finding::Refused(rule) => Before::Refused(name(rule)),
            Finding::Same { by, .. } if refused => {
                Before::Refused(by.map_or_else(|| line.rule.to_string(), name))
            }
            Finding::Same { .. } | Finding::Allowed(_) => Before::Passes,
            Finding::Unknown(gap) => Before::Unknown(Finding::Unknown(gap)),
        }
    }

    /// Whether the change may make a difference to a request: it does none to what another rule refuses,
    /// and to what its own rule is not about.
    fn concerns(self, line: &Line<'_>, before: &Before) -> bool {
        let by = match before {
            Before::Passes => return false,
            Before::Refused(by) => Some(by),
            Before::Unknown(_) => None,
        };
        match self.reach {
            Reach::Several => true,
            Reach::Waf(excluded) => excluded.concerns(line, by.is_some()),
            _ if by.is_some_and(|by| by != self.refuses) => false,
            Reach::Address(ip) => may_come_from(line, *ip),
            Reach::Role(role) => {
                let policy = &self.setup.policy;
                let has_role = |caller: Caller| match (&caller.who, policy.roles.get(role)) {
                    (Identity::Valid(who), Some(role)) => who.roles.contains(role),
                    _ => false,
                };
                is_about(line, policy, self.refuses) && caller(line, policy).is_none_or(has_role)
            }
            Reach::Grant(name) => {
                let policy = &self.changed.policy;
                is_about(line, policy, name)
                    && caller(line, policy).is_none_or(|caller| caller.may_be_granted(policy, name))
            }
        }
    }
}

impl Excluded {
    /// Whether it may make a difference to a request; `refused`: the WAF or another gate surely refuses it.
    fn concerns(&self, line: &Line<'_>, refused: bool) -> bool {
        if (&*line.method, &*line.host) != (&*self.method, &*self.host) || *line.path != *self.path {
            return false;
        }
        if (&*line.decision, &*line.stage) != ("deny", "waf") {
            // It was let pass by rules that may refuse it now, or was never shown to them.
            return !refused;
        }
        let waf: serde_json::Value =
            line.waf.and_then(|waf| serde_json::from_str(waf.get()).ok()).unwrap_or_default();
        let reason = line.reason.as_deref().unwrap_or_default();
        let refusal = WafRefusal { rule: &line.rule, reason, waf: &waf };
        let excluded = |found: &Match<'_>| {
            self.matched.iter().any(|(rule, target)| (&**rule, &**target) == (found.rule, found.target))
        };
        // Of an expression that gave up, the record names the rule and the text.
        let gave_up = *line.rule == *Builtin::WafBudget.info().name;
        refusal.passes_without(excluded) || (gave_up && refusal.matched().any(|found| excluded(&found)))
    }
}

/// Whether a request may come from an address: also where only a part of its own is kept.
fn may_come_from(line: &Line<'_>, ip: IpAddr) -> bool {
    let kept = &line.client.ip;
    match (kept.parse::<IpAddr>(), kept.parse::<IpNet>()) {
        (Ok(own), _) => own == ip,
        (_, Ok(net)) => net.contains(&ip),
        _ => true,
    }
}

/// Whether a grant or deny may be about what was asked for, whoever asked.
fn is_about(line: &Line<'_>, policy: &Policy, rule: &str) -> bool {
    let Some(RuleRef::Written(rule)) = policy.rules.by_name(rule) else { return true };
    let Some(recalled) = line.recall(None, &line.values()).filter(|recalled| recalled.has_path) else {
        return true;
    };
    let admitted = admitted(&recalled, policy);
    let mut scopes = policy.rbac.each_scope().filter(|(own, _)| *own == rule);
    scopes.any(|(_, scope)| scope.matches(&admitted.target, admitted.route))
}

fn admitted(recalled: &Recalled, policy: &Policy) -> Admitted {
    let Recalled { method, scheme, version, uri, headers, ip, peer, .. } = recalled;
    let address = ip.or(*peer).unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
    policy.admit(method, *scheme, uri, *version, headers, address)
}

/// Who asked for what, as far as a record tells.
struct Caller {
    recalled: Recalled,
    who: Identity,
}

/// Who asked. None where nobody had looked.
fn caller(line: &Line<'_>, policy: &Policy) -> Option<Caller> {
    let identity = line.identity()?;
    let recalled = line.recall(Some(&identity), &line.values())?;
    let looked = matches!(&*line.stage, "authn" | "rbac") || &*line.decision != "deny";
    let who = match &recalled.holder {
        Some(holder) => Identity::Valid(Arc::new(policy.roles.who(holder.clone()))),
        None if looked => Identity::Nobody,
        None => return None,
    };
    Some(Caller { recalled, who })
}

impl Caller {
    /// Whether a grant may allow the request: whatever of it the record does not tell holds.
    fn may_be_granted(&self, policy: &Policy, grant: &str) -> bool {
        let Some(RuleRef::Written(grant)) = policy.rules.by_name(grant) else { return true };
        let Recalled { now, headers, .. } = &self.recalled;
        if !self.recalled.has_path {
            return true;
        }
        let admitted = admitted(&self.recalled, policy);
        let facts = policy.facts(&admitted, headers, &self.who, &Body::Absent, *now);
        let blind =
            Blind { client: true, holder: !self.recalled.has_subject, conditions: true, ..Blind::NOT };
        let outlook = policy.rbac.outlook(&facts, blind);
        outlook.grants.contains(&grant) || outlook.possible_grants.contains(&grant)
    }
}
