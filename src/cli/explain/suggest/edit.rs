//! The narrowest change of a policy that would have let a request pass, as TOML.
//!
//! A grant or an exclusion is a table of its own, which may stand in any file. Addresses and exempt
//! roles stand in the rule that refuses, so there the rule is shown as it would be.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp, Unit};

use super::exclusion::exclusion;
use crate::audit::{Line, Recalled};
use crate::cli::explain::account::{Account, need, unheld_words};
use crate::cli::explain::exactly::Exactly;
use crate::cli::explain::help::acceptable;
use crate::cli::explain::written;
use crate::cli::layout::list;
use crate::cli::written_toml::{inline, quoted};
use crate::config::{Setup, load};
use crate::decision::{Builtin, Denial, Outcome, Reason, RuleRef, Stage, Written};
use crate::facts::Identity;
use crate::policy::rbac::Unmet;
use crate::policy::source::Sources;

/// A change that is proposed.
pub(super) struct Proposal {
    /// What it is, in words.
    pub(super) what: String,
    /// What is to be written.
    pub(super) toml: String,
    /// Where: nothing for a table that may stand anywhere, else the place of the rule.
    pub(super) at: Option<String>,
    /// What it can make a difference to.
    pub(super) reach: Reach,
    /// The texts with the change.
    pub(super) sources: Sources,
    /// Why it cannot be tried here that the request passes then, where it cannot.
    pub(super) untried: Vec<String>,
    /// What must be known of it before it is used.
    pub(super) mind: Vec<String>,
}

/// What a change can make a difference to, of requests that its rule is about.
#[derive(Clone, Debug)]
pub(super) enum Reach {
    /// Whatever the grant of this name is about, and no other allows.
    Grant(String),
    /// Of what the deny refuses, what has this role.
    Role(String),
    /// Of what the rule refuses, what comes from this address.
    Address(IpAddr),
    /// What the WAF refuses of this request for these rules on these targets.
    Waf(Excluded),
}

/// The rules that an exclusion keeps from targets, each with its target, and of which requests.
#[derive(Clone, Debug)]
pub(super) struct Excluded {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) matched: Vec<(String, String)>,
}

impl Proposal {
    /// What must be known of it, in one text.
    pub(super) fn minds(&self) -> Option<String> {
        (!self.mind.is_empty()).then(|| self.mind.join(" "))
    }
}

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
            let until = denial.until.map(|until| format!(" until {until}")).unwrap_or_default();
            Err(format!(
                "A ban refused this{until}, and a ban is no part of the policy: `portcullis unban {}` ends one of just this address, `portcullis ban --list` shows all, with who banned and why.",
                account.admitted.client.ip
            ))
        }
        (Stage::Waf | Stage::WafBody, _) => exclusion(account, line),
        (Stage::Authn, rule) if rule == Builtin::AuthnRequired.into() => Err(format!(
            "Nobody was shown, and one is demanded here (`authn`, `mode`). {}.",
            capitalised(denial.reason.info().check)
        )),
        (Stage::Authn, _) => Err(format!(
            "No entry of the policy makes this credential valid. {}.",
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

/// An id that says where it comes from.
pub(super) fn id(line: &Line<'_>) -> String {
    let tail: String = line.decision_id.chars().rev().filter(char::is_ascii_hexdigit).take(8).collect();
    format!("for-{}", tail.chars().rev().collect::<String>().to_ascii_lowercase())
}

/// The scope of just this request.
pub(super) fn scope(account: &Account<'_>) -> String {
    let target = &account.admitted.target;
    format!(
        "methods = [{}]\nhost = {}\npath = {}\n",
        quoted(target.method.as_str()),
        quoted(target.host()),
        quoted(&Exactly::of(target).pattern)
    )
}

/// The texts with one more file.
pub(super) fn with_table(account: &Account<'_>, table: &str) -> Sources {
    let mut sources = account.setup.sources.clone();
    sources.add_policy("suggestion.toml", table);
    sources
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
    let mind = not_kept(account, recalled).into_iter().chain(without_change(account)).collect();
    Ok(Proposal { what, toml, at: None, reach, sources, untried: Vec::new(), mind })
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
    let found = changed(account, denial, key, &ip.to_string(), Reach::Address(ip));
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

/// A rule as its author wrote it, with what stands around it in its file.
struct Own {
    before: String,
    text: String,
    behind: String,
}

fn own(account: &Account<'_>, rule: Written) -> Option<Own> {
    let info = account.policy().rules.get(rule);
    let source = account.setup.sources.get(info.place.file)?;
    let lines = written::lines(&account.setup.sources, info.place);
    let (first, last) = (lines.first()?.0 as usize, lines.last()?.0 as usize);
    let all: Vec<&str> = source.text.split_inclusive('\n').collect();
    Some(Own {
        before: all.get(..first - 1)?.concat(),
        text: all.get(first - 1..last)?.concat(),
        behind: all.get(last..)?.concat(),
    })
}

/// A rule written otherwise.
fn rewritten(
    account: &Account<'_>,
    rule: Written,
    reach: Reach,
    write: impl FnOnce(&str) -> Option<String>,
) -> Option<Proposal> {
    let info = account.policy().rules.get(rule);
    let Own { before, text, behind } = own(account, rule)?;
    let fresh = write(&text)?;
    let mut sources = account.setup.sources.clone();
    sources.replace(info.place.file, [before, fresh.clone(), behind].concat());
    Some(Proposal {
        what: String::new(),
        toml: fresh,
        at: Some(info.at.to_string()),
        reach,
        sources,
        untried: Vec::new(),
        mind: Vec::new(),
    })
}

/// A table in which a key has another value.
fn set(table: &str, key: &str, value: &str) -> Option<String> {
    let mut out = String::new();
    for line in table.split_inclusive('\n') {
        let is_key =
            line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
        match is_key {
            true => out.push_str(&format!("{key} = {value}\n")),
            false => out.push_str(line),
        }
    }
    let fresh = out.parse::<toml::Table>().ok()?;
    (Some(fresh) != table.parse().ok()).then_some(out)
}

/// A table with one more entry in a list, or with a list of it.
fn add_entry(table: &str, key: &str, entry: &str) -> Option<String> {
    let is_key = |line: &&str| {
        line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut out = String::new();
    let mut done = false;
    for line in table.split_inclusive('\n') {
        match line.find('[').filter(|_| !done && is_key(&line)) {
            Some(at) => {
                done = true;
                let (before, behind) = line.split_at(at + 1);
                let own_lines = behind.trim_start().is_empty() || behind.trim_start().starts_with('#');
                let comma = if behind.trim_start().starts_with(']') { "" } else { ", " };
                out.push_str(&match own_lines {
                    // A list of one entry a line stays one.
                    true => format!("{before}{behind}{}{},\n", indent(table, line), quoted(entry)),
                    false => format!("{before}{}{comma}{behind}", quoted(entry)),
                });
            }
            None if !done && is_key(&line) => return None,
            None => out.push_str(line),
        }
    }
    if !done {
        if !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&format!("{key} = [{}]\n", quoted(entry)));
    }
    // Only what is still one table of one rule.
    out.parse::<toml::Table>().ok().map(|_| out)
}

/// How the line behind this one of a table is indented.
fn indent<'t>(table: &'t str, line: &str) -> &'t str {
    let next = table.split_inclusive('\n').skip_while(|own| *own != line).nth(1).unwrap_or_default();
    let text = next.trim_start();
    if text.starts_with(']') { "    " } else { &next[..next.len() - text.len()] }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_put_into_the_list_or_a_list_is_made() {
        let rule = "[[ip.rule]]\nid = \"a\"\nallow = [\"office\"]\n";
        assert_eq!(
            add_entry(rule, "allow", "192.0.2.7").as_deref(),
            Some("[[ip.rule]]\nid = \"a\"\nallow = [\"192.0.2.7\", \"office\"]\n")
        );
        assert_eq!(
            add_entry(rule, "except", "192.0.2.7").as_deref(),
            Some("[[ip.rule]]\nid = \"a\"\nallow = [\"office\"]\nexcept = [\"192.0.2.7\"]\n")
        );
        let lines = "[[ip.rule]]\nid = \"a\"\nallow = [\n  \"office\",\n]";
        let want = "[[ip.rule]]\nid = \"a\"\nallow = [\n  \"x\",\n  \"office\",\n]";
        assert_eq!(add_entry(lines, "allow", "x").as_deref(), Some(want));
        let none = "[[ip.rule]]\nallow = [ # nobody\n]\n";
        let want = "[[ip.rule]]\nallow = [ # nobody\n    \"x\",\n]\n";
        assert_eq!(add_entry(none, "allow", "x").as_deref(), Some(want));
        assert_eq!(add_entry("a = { allow = [] }\nallow = \"b\"\n", "allow", "x"), None);
    }

    #[test]
    fn a_value_is_replaced_where_it_stands_and_never_made() {
        let rule = "[[rbac.grant]]\nuntil = 2026-11-01T00:00:00Z # soon\nid = \"a\"\n";
        assert_eq!(
            set(rule, "until", "2026-12-01T00:00:00Z").as_deref(),
            Some("[[rbac.grant]]\nuntil = 2026-12-01T00:00:00Z\nid = \"a\"\n")
        );
        assert_eq!(set("[[rbac.grant]]\nid = \"a\"\n", "until", "2026-12-01T00:00:00Z"), None);
    }
}
