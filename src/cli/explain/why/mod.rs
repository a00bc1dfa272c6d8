//! `why`: one decision that was made, from its id to what would help.
//!
//! The record says what was decided and by which rule. The trail is made anew, by the policy of then
//! where it is kept, from what the record tells of the request; where that is not enough to come to the
//! same decision, it is said.

mod bans;
mod case;
mod change;
pub(super) mod hour;
mod json;
mod text;

use std::path::PathBuf;

use jiff::Timestamp;

use self::bans::BanSeen;
use self::change::{ChangeFound, Kept, Says, Since};
use self::hour::Hour;
use super::account::Account;
use super::asked::Asked;
use super::recorded;
use super::settled::{Settled, unknowable};
use crate::audit::{Line, Recalled};
use crate::cli::admin::Whom;
use crate::cli::policies::{self, Past};
use crate::cli::reply::{Exit, Reply};
use crate::cli::request::world;
use crate::cli::{Common, Format, records};
use crate::config::Setup;
use crate::decision::{Builtin, Outcome, RuleRef, Stage, Version};
use crate::facts::Identity;

/// Tell why a request was decided as it was, and what would help.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis why 0197f2c4-7e1b-7c3a-9a51-0d0f5f2b6e11
  portcullis why 0197f2c4-7e1b-7c3a-9a51-0d0f5f2b6e11 --log decisions.jsonl.3.gz

The id is the one of x-request-id, or of the refusal's `instance`. Where the
log is no file, or not on this machine, a running gateway is asked.")]
pub(in crate::cli) struct Args {
    /// The id of the request or of the decision.
    id: String,
    /// The decision log [default: that of the configuration, with what was put aside].
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    whom: Whom,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A decision, and everything that is known about it.
struct Story<'a> {
    line: &'a Line<'a>,
    recalled: &'a Recalled,
    account: &'a Account<'a>,
    /// By which policy the trail was made: the one of then, or another.
    judged_by: JudgedBy,
    /// Why the policy of then cannot be loaded, though it is kept.
    broken: Option<String>,
    /// Whether the trail comes to the recorded decision by itself.
    agrees: bool,
    /// What was taken from the record, where it does not.
    settled: Option<Settled>,
    /// The bans of the address, where one refused.
    bans: Vec<BanSeen>,
    hour: Option<Hour>,
    /// When this is told.
    now: Timestamp,
    /// The rule by which the files as they are now let the request pass, if they do.
    mended: Option<String>,
    change: Option<ChangeFound>,
    /// Since when it is refused, where no change that is kept is the cause: and whether it ever was.
    since: Option<(Kept, bool)>,
}

/// The policy that a trail was made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JudgedBy {
    /// The one that decided, from the history.
    Kept,
    /// The files are as they were then.
    Files,
    /// The files as they are now, since the policy of then is not kept.
    Other,
}

/// Tells.
pub(in crate::cli) fn why(args: &Args, common: &Common) -> Reply {
    match story(args, common) {
        Ok(reply) | Err(reply) => reply,
    }
}

fn story(args: &Args, common: &Common) -> Result<Reply, Reply> {
    let id = args.id.trim().trim_start_matches("urn:uuid:");
    let record = records::find(id, args.log.as_deref(), &args.whom, common)?;
    let line = record.read()?;
    let past = Past::of(common).unwrap_or_default();
    let (setup, judged_by, broken) = policy(line.policy(), &past, common)?;
    let (asked, recalled) =
        recorded::asked(&line, &setup.policy).ok_or_else(|| record.strange("it tells of no request"))?;
    let mut account = Account::new(&setup, &asked, recalled.now, &[], &[]);
    let same = judged_by != JudgedBy::Other;
    let (agrees, settled) = account.held_to(&line, same);
    let now = Timestamp::now();
    let hour = hour::look(&record.source, &record.text, &line, account.policy(), recalled.now, now).ok();
    let (change, since) = changed(&past, &line, &account, &asked, &recalled);
    let bans = bans::look(&record.source, &past, &line, &recalled, now);
    let denial = account.denial();
    let banned = denial.is_some_and(|denial| denial.rule == Builtin::Banned.into());
    let ended = denial.and_then(|denial| denial.until).is_some_and(|until| until <= now);
    let over = ended || (banned && bans.is_empty());
    // Where it cannot be found out anew what was decided, neither can be what would be.
    let asks = &*line.decision == "deny" && unknowable(&line).is_none() && settled.is_none();
    let current = match judged_by {
        JudgedBy::Kept if asks => policies::find("current", common).ok().map(|found| found.setup),
        JudgedBy::Kept | JudgedBy::Files | JudgedBy::Other => None,
    };
    let files = if judged_by == JudgedBy::Kept { current.as_ref() } else { Some(&setup) };
    let mended = files.filter(|_| asks).and_then(|files| mended(files, &line, now));
    account.over = over;
    let story = Story {
        change,
        since,
        now,
        mended,
        bans,
        line: &line,
        recalled: &recalled,
        agrees,
        settled,
        account: &account,
        judged_by,
        broken,
        hour: hour.filter(|_| &*line.decision != "allow"),
    };
    Ok(match args.format {
        Format::Text => Reply::text(Exit::Fine, text::render(&story, common)),
        Format::Json => Reply::json(Exit::Fine, &json::document(&story)),
    })
}

/// The rule by which a policy lets a recorded request pass at this time, if it does and all that it is
/// judged by was recorded.
fn mended(setup: &Setup, line: &Line<'_>, now: Timestamp) -> Option<String> {
    let (asked, recalled) = recorded::asked(line, &setup.policy)?;
    if !recalled.has_path || recalled.ip.is_none() || !recalled.has_subject {
        return None;
    }
    let sample = asked.request.sample(&setup.policy, now, asked.caller);
    match setup.policy.decide(&sample, &world(setup), None).outcome {
        Outcome::Allow(rule) => Some(setup.policy.rules.name(rule).to_owned()),
        Outcome::Deny(_) => None,
    }
}

/// The policy that decided, as far as it is to be had, and why it cannot be loaded where it is kept.
fn policy(
    version: Option<Version>,
    past: &Past,
    common: &Common,
) -> Result<(Setup, JudgedBy, Option<String>), Reply> {
    let kept = version.and_then(|version| past.version(version)).map(|kept| past.compile(kept));
    let broken = match kept {
        Some(Ok(setup)) => return Ok((setup, JudgedBy::Kept, None)),
        Some(Err(outcome)) => Some(policies::first_error(&outcome)),
        None => None,
    };
    let setup = policies::find("current", common)?.setup;
    let same = version.is_some_and(|version| version.hash == setup.policy.version.hash);
    Ok((setup, if same { JudgedBy::Files } else { JudgedBy::Other }, broken))
}

fn changed(
    past: &Past,
    line: &Line<'_>,
    account: &Account<'_>,
    asked: &Asked,
    recalled: &Recalled,
) -> (Option<ChangeFound>, Option<(Kept, bool)>) {
    let mut roles: Vec<&str> = asked.roles.iter().map(String::as_str).collect();
    if let Some(Identity::Valid(who)) = &account.identity {
        let policy = account.policy();
        roles = who.roles.iter().map(|role| policy.roles.name(role)).collect();
    }
    roles.push("anyone");
    let segments: Vec<&str> = account.admitted.target.segments().collect();
    let (method, at) = (recalled.method.as_str(), recalled.now);
    // A rule that is built in has no text that could change, so the policies themselves are asked. Of what
    // no record holds, they would know no better.
    let ask = &*line.decision == "deny" && Builtin::by_name(&line.rule).is_some();
    if ask
        && unknowable(line).is_none()
        && let Some(decided) = line.policy()
    {
        let place = |stage: Stage| Stage::ALL.iter().position(|other| *other == stage);
        let refused = account.denial().map(|denial| denial.stage);
        let says = |setup: &Setup| {
            let sample = asked.request.clone().sample(&setup.policy, at, asked.caller.clone());
            let decision = setup.policy.decide(&sample, &world(setup), None);
            let rule = setup.policy.rules.name(decision.rule()).to_owned();
            match decision.outcome {
                Outcome::Allow(_) => Says::Allowed(rule),
                Outcome::Deny(denial) if place(denial.stage) > refused.and_then(place) => Says::Further(rule),
                Outcome::Deny(_) => Says::Refused,
            }
        };
        let kind = match refused {
            Some(Stage::Route) => "route ",
            Some(Stage::Authn) => "authn",
            _ => "",
        };
        return match change::ask(past, decided, at, method, &segments, &roles, kind, says) {
            Some(Since::Change(change)) => (Some(*change), None),
            Some(Since::Ever(kept)) => (None, Some((kept, true))),
            Some(Since::AtLeast(kept)) => (None, Some((kept, false))),
            None => (None, None),
        };
    }
    // What was taken from a role is the cause of a refusal for want of a grant, and of no other.
    let roles = if line.rule.starts_with("rbac/") { roles } else { Vec::new() };
    (change::look(past, &line.rule, method, &segments, &roles, at), None)
}

impl Story<'_> {
    /// What follows from how much else was refused; nothing, where a change accounts for it.
    fn conclusion(&self) -> Option<&'static str> {
        let hour = self.hour.as_ref()?;
        let explained = self.change.as_ref().is_some_and(|change| change.explains(hour.from));
        (!explained).then(|| hour.conclusion())
    }

    /// The lines of the rule that decided, from the policy at hand: none if it has no such rule.
    fn rule(&self) -> Option<RuleRef> {
        self.account.policy().rules.by_name(&self.line.rule)
    }

    /// How the trail was made.
    fn judged(&self) -> String {
        let policy = match self.line.policy() {
            Some(version) => version.to_string(),
            None => "an unknown policy".to_owned(),
        };
        match self.judged_by {
            JudgedBy::Kept => {
                format!("made anew by {policy}, which decided then, as it is kept in the history")
            }
            JudgedBy::Files => format!("made anew by the files, which are {policy}, which decided then"),
            JudgedBy::Other => {
                let kept = match &self.broken {
                    Some(why) => format!("is kept, but cannot be loaded: {why}"),
                    None => "is not kept".to_owned(),
                };
                format!("made anew by the files as they are now; {policy}, which decided then, {kept}")
            }
        }
    }
}
