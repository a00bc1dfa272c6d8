//! The narrowest change of a policy that would have let a request pass, as TOML.
//!
//! A grant or an exclusion is a table of its own, which may stand in any file. Addresses and exempt
//! roles stand in the rule that refuses, so there the rule is shown as it would be.

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp, Unit};

use super::exclusion::exclusion;
use super::proposal::{Proposal, Reach, id, scope, with_table};
use super::rewrite::{add_entry, own, rewritten, set};
use crate::audit::{Line, Recalled};
use crate::cli::explain::account::{Account, need, unheld_words};
use crate::cli::explain::exactly::Exactly;
use crate::cli::explain::help::acceptable;
use crate::cli::layout::list;
use crate::cli::written_toml::{inline, quoted};
use crate::config::{Setup, load};
use crate::decision::{Builtin, Denial, Outcome, Reason, RuleRef, Stage};
use crate::facts::Identity;
use crate::policy::rbac::Unmet;

/// The proposal for a refusal, or why there is none.
pub(super) fn propose(
    account: &Account<'_>,
    line: &Line<'_>,
    recalled: &Recalled,
) -> Result<Proposal, String> {
    let Some(denial) = account.denial() else {
        return Err("The policy as it is now lets the request pass.".to_owned());
    };
    match (denial.stage, denial.rule) {
        (Stage::Rbac, rule) if rule == Builtin::DefaultDeny.into() => {
            longer(account, denial).map_or_else(|| grant(account, line, recalled), Ok)
        }
        (Stage::Rbac, RuleRef::Written(_)) => exemption(account, denial),
        (Stage::Ip, RuleRef::Written(_)) => address(account, denial, line, recalled),
        (Stage::Ip, RuleRef::Builtin(_)) => {
            let until =
                denial.until.map(|until| format!(", which was to last until {until}")).unwrap_or_default();
            Err(format!(
                "A ban refused this{until}. A ban is no part of the policy: `portcullis unban {}` ends one of just this address, `portcullis ban --list` shows all, with who banned and why.",
                account.admitted.client.ip
            ))
        }
        (Stage::Waf | Stage::WafBody, _) => exclusion(account, line),
        (Stage::Authn, rule) if rule == Builtin::AuthnRequired.into() => Err(format!(
            "Nobody was shown, and one is demanded here (`authn`, `mode`). {}.",
            capitalised(denial.reason.info().check)
        )),
        (Stage::Authn, _) => Err(format!(
            "Whether this credential is valid is for its source in `[authn]` to say, and no grant changes that. {}.",
            capitalised(denial.reason.info().check)
        )),
        (Stage::Route, _) => Err("No route serves this; which upstream should is for you to say.".to_owned()),
        (Stage::Intake, rule) => Err(match acceptable(rule) {
            Some(word) => format!(
                "No grant helps: the request could be read in two ways. A route takes such requests with `accept = [\"{word}\"]`, where its service reads them the same way."
            ),
            None => format!("The request itself is at fault. {}.", capitalised(denial.reason.info().check)),
        }),
        (Stage::Fault | Stage::Rbac, _) => Err("No rule of the policy refused this.".to_owned()),
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn grant(account: &Account<'_>, line: &Line<'_>, recalled: &Recalled) -> Result<Proposal, String> {
    let (whom, what) = match &account.identity {
        Some(Identity::Valid(_)) if !recalled.has_subject => {
            let why = [NO_SUBJECT.to_owned()].into_iter().chain(without_change(account));
            return Err(why.collect::<Vec<_>>().join(" "));
        }
        Some(Identity::Valid(who)) => {
            let subject = &who.holder.subject;
            (format!("subjects = [{}]", quoted(subject)), format!("A grant for {subject} alone"))
        }
        _ => ("roles = [\"anyone\"]".to_owned(), "A grant for everybody, since nobody was shown".to_owned()),
    };
    let when = Exactly::of(&account.admitted.target).when();
    let when = when.map(|when| format!("when = {}\n", quoted(&when))).unwrap_or_default();
    let toml = format!("[[rbac.grant]]\nid = {}\n{whom}\n{}{when}", quoted(&id(line)), scope(account));
    let sources = with_table(account, &toml);
    let reach = Reach::Grant(format!("rbac/{}", id(line)));
    let mind = not_kept(account, recalled).into_iter().chain(without_change(account));
    let mind = mind.chain(namesakes(account)).collect();
    Ok(Proposal { what, toml, at: None, also: Vec::new(), reach, sources, untried: Vec::new(), mind })
}

/// That other sources may call somebody else by the name of the caller: a grant means each of them.
fn namesakes(account: &Account<'_>) -> Option<String> {
    let Some(Identity::Valid(who)) = &account.identity else { return None };
    let holder = &who.holder;
    let others: Vec<String> = account.policy().authn.may_call(&holder.subject);
    let others: Vec<String> =
        others.into_iter().filter(|id| **id != *holder.source).map(|id| format!("`{id}`")).collect();
    (!others.is_empty()).then(|| {
        format!(
            "`subjects` means whomever a source calls `{}`, and {} may call somebody so too. Of tokens, `when = 'claims.iss == \"…\"'` means those of one issuer.",
            holder.subject,
            list(&others, " and ")
        )
    })
}

/// Who passes by a grant that is there: often the better way.
fn without_change(account: &Account<'_>) -> Option<String> {
    let nearest = account.nearest.first()?;
    let of_caller = |unmet: &Unmet| matches!(unmet, Unmet::Roles(_) | Unmet::Scopes(_));
    let needs: Vec<String> = nearest.unmet.iter().map(|unmet| need(unmet, None, account.policy())).collect();
    nearest.unmet.iter().all(of_caller).then(|| {
        let name = account.name(nearest.rule.into());
        format!("Without a change, `{name}` allows this to a caller with {}.", needs.join(" and "))
    })
}

/// Why no grant for one subject is suggested.
const NO_SUBJECT: &str = "The record keeps the subject only as a hash, or not at all (`[log] subject`), so a grant for just this one cannot be written.";

/// What the nearest grant asks for besides a caller, and a new one for the caller would not.
fn not_kept(account: &Account<'_>, recalled: &Recalled) -> Option<String> {
    let nearest = account.nearest.first()?;
    let name = account.name(nearest.rule.into());
    let table: toml::Table = own(account, nearest.rule)?.text.parse().ok()?;
    let table = table.get("rbac")?.get("grant")?.get(0)?;
    let keys = ["when", "from", "until"].into_iter().filter_map(|key| {
        let value = table.get(key)?;
        Some(format!("`{key} = {}`", inline(value)))
    });
    let keys: Vec<String> = keys.collect();
    let (is, it) = if keys.len() == 1 { ("is", "it") } else { ("are", "they") };
    // Of an address that is not known, nothing fails that could be told.
    let unheld = account.unheld(nearest.rule).filter(|_| recalled.ip.is_some());
    let fails: Vec<String> = unheld.map(unheld_words).unwrap_or_default();
    let fails: String = fails.iter().map(|words| format!(" {words}")).collect();
    (!keys.is_empty()).then(|| {
        format!(
            "{} of the nearest grant, `{name}`, {is} not kept: what is suggested holds whatever {it} would say.{fails}",
            list(&keys, " and ")
        )
    })
}

/// A grant that was enough but for its end, with a later one.
fn longer(account: &Account<'_>, denial: &Denial) -> Option<Proposal> {
    let nearest = account.nearest.first().filter(|_| denial.reason == Reason::GrantExpired)?;
    let [Unmet::Expired(ended)] = nearest.unmet[..] else { return None };
    let name = account.name(nearest.rule.into());
    // Whole hours are read more easily.
    let later = Timestamp::now().max(account.sample.now) + A_DAY;
    let later = later.round(Unit::Hour).ok()?;
    let reach = Reach::Grant(name.to_owned());
    let found = rewritten(account, nearest.rule, reach, |own| set(own, "until", &later.to_string()))?;
    let what = format!("`{name}`, which ended at {ended}, until {later}");
    let mind = "Until when is for you to say; it is a day here. It opens again all that the grant is about."
        .to_owned();
    Some(Proposal { what, mind: vec![mind], ..found })
}

const A_DAY: SignedDuration = SignedDuration::from_hours(24);

/// A deny beats every grant, so the caller must be exempt from it.
fn exemption(account: &Account<'_>, denial: &Denial) -> Result<Proposal, String> {
    let declared = |name: &&str| account.policy().roles.get(name).is_some();
    let who = account.identity.as_ref().and_then(|identity| identity.who());
    let roles = who.iter().flat_map(|who| &who.holder.roles).map(|role| &**role);
    let roles: Vec<&str> = roles.filter(declared).collect();
    let [first, ..] = &roles[..] else {
        return Err("A deny refuses this, and the caller has no role that could be exempt from it. Narrow the rule, or let it end with `until`.".to_owned());
    };
    // Of several roles, the one that fewest share is not known; the first that lets it pass is taken.
    let exempting = |role: &str| changed(account, denial, "except_roles", role, Reach::Role(role.to_owned()));
    let tried = roles.iter().map(|role| exempting(role));
    let passes = |proposal: &Proposal| {
        let now = account.sample.now;
        load::recall(proposal.sources.clone(), now).setup.is_some_and(|setup| allows(account, &setup, now))
    };
    let found = tried.into_iter().flatten().find(passes).or_else(|| exempting(first));
    found.ok_or_else(|| {
        "The rule that refuses is not written so that it can be shown with an exemption.".to_owned()
    })
}

fn address(
    account: &Account<'_>,
    denial: &Denial,
    line: &Line<'_>,
    recalled: &Recalled,
) -> Result<Proposal, String> {
    let Some(ip) = recalled.ip else { return Err(no_address(account.name(denial.rule), line)) };
    let key = match denial.reason {
        Reason::IpDenied => "except",
        _ => "allow",
    };
    let mut found = changed(account, denial, key, &ip.to_string(), Reach::Address(ip));
    if let Some(found) = &mut found {
        found.mind.push(format!("It opens to {ip} all that the rule is about, as far as grants allow it."));
    }
    found.ok_or_else(|| {
        "The rule that refuses is not written so that it can be shown with one more address.".to_owned()
    })
}

/// Why no address is suggested.
pub(super) fn no_address(rule: &str, line: &Line<'_>) -> String {
    let kept = &line.client.ip;
    let kept = match kept.parse::<IpNet>() {
        Ok(net) => format!("keeps of it only that it is in {net}"),
        Err(_) => "does not keep it as it was".to_owned(),
    };
    format!(
        "`{rule}` looks at the client's address, and the record {kept} (`[log] client`): an entry for just this client cannot be given. Whoever asked may know the address; `explain --what-if-ip` tries one."
    )
}

/// The rule that refuses, with one more entry in a list of it.
fn changed(account: &Account<'_>, denial: &Denial, key: &str, entry: &str, reach: Reach) -> Option<Proposal> {
    let RuleRef::Written(rule) = denial.rule else { return None };
    let found = rewritten(account, rule, reach, |own| add_entry(own, key, entry))?;
    Some(Proposal { what: format!("`{}` with {entry} in `{key}`", account.name(denial.rule)), ..found })
}

/// What refuses the request of an account by another policy: nothing if it passes.
pub(super) fn refusal(account: &Account<'_>, setup: &Setup, now: Timestamp) -> Option<Denial> {
    let sample = crate::policy::Sample { now, ..account.sample.clone() };
    match setup.policy.decide(&sample, &crate::cli::request::world(setup), None).outcome {
        Outcome::Allow(_) => None,
        Outcome::Deny(denial) => Some(denial),
    }
}

/// Whether another policy lets the request of an account pass.
fn allows(account: &Account<'_>, setup: &Setup, now: Timestamp) -> bool {
    refusal(account, setup, now).is_none()
}
