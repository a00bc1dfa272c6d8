//! `why`: one decision that was made, from its id to what would help.
//!
//! The record says what was decided and by which rule. The trail is made anew, by the policy of then
//! where it is kept, from what the record tells of the request; where that is not enough to come to the
//! same decision, it is said.

mod bans;
mod case;
pub(super) mod change;
mod group;
pub(super) mod hour;
mod json;
mod kept;
mod retold;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use self::bans::BanSeen;
use self::hour::Hour;
use super::account::Account;
use super::recorded;
use super::settled::{Settled, unknowable};
use crate::admin::Earlier;
use crate::audit::{Line, Recalled};
use crate::cli::admin::Whom;
use crate::cli::policies::{self, Past};
use crate::cli::records::Source;
use crate::cli::reply::{Exit, Reply};
use crate::cli::request::world;
use crate::cli::{Common, Format, records};
use crate::config::Setup;
use crate::decision::{Builtin, Outcome, RuleRef, Version};
use crate::state::Accepted;
use crate::state::cause::Cause;

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
    /// Whether the steps are those that the gateway kept when it decided.
    kept: bool,
    /// The bans of the address, where one refused.
    bans: Vec<BanSeen>,
    hour: Option<Hour>,
    /// When this is told.
    now: Timestamp,
    /// The rule by which the files as they are now let the request pass, if they do.
    mended: Option<String>,
    /// What changed before that may be the cause, or since when it is refused.
    cause: Cause,
    /// The decisions before it that bear the same request id.
    alike: &'a [String],
    /// The first policy that is kept, and since when, where the rule has not changed since.
    unchanged: Option<(Version, Timestamp)>,
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

/// Nobody on the phone waits longer for what older policies say.
const PATIENCE: Duration = Duration::from_millis(700);

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
    let mut account = Account::new(&setup, &asked, recalled.now);
    let same = judged_by != JudgedBy::Other;
    let (agrees, settled) = account.held_to(&line, same);
    // A copy of a log that somebody names may be of any gateway.
    let trail = match &record.source {
        Source::Gateway(_) => record.trail.clone(),
        Source::Files(_) if args.log.is_none() => records::kept_trail(&line.decision_id, &args.whom, common),
        Source::Files(_) => None,
    };
    // Beside a decision that the files of today make, the steps of another would not be true.
    let trail = trail.filter(|_| agrees || settled.is_some());
    let steps = trail.and_then(|trail| kept::steps(&trail, account.policy()));
    let kept = steps.is_some();
    if let Some(steps) = steps {
        account.keep(steps);
    }
    let now = Timestamp::now();
    let accepted: Vec<&Accepted> = past.accepted().collect();
    let earlier = Earlier {
        accepted: &accepted,
        whole: !past.forgot_some(),
        patience: PATIENCE,
        compile: &|kept| match &*line.stage {
            "waf" => past.compile(kept).ok(),
            _ => past.compile_without_waf(kept).ok(),
        },
    };
    let world = world(&setup);
    let cause = change::look(&earlier, &world, &line, (&asked, &recalled), &account, settled.as_ref());
    let (change, times) = (cause.change.as_ref(), (recalled.now, now));
    let hour = hour::look(&record.source, &record.text, &line, account.policy(), change, times).ok();
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
    // Of a rule whose change is in no record and that decided by a policy that is kept: there was none.
    let unchanged = accepted.first().filter(|_| judged_by == JudgedBy::Kept && line.rule_changed.is_none());
    let unchanged = unchanged.map(|first| (first.version(), first.at));
    let story = Story {
        cause,
        alike: &record.alike,
        unchanged,
        now,
        mended,
        bans,
        line: &line,
        recalled: &recalled,
        agrees,
        settled,
        kept,
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

impl Story<'_> {
    /// What follows from how much else was refused; nothing, where a change accounts for it.
    fn conclusion(&self) -> Option<String> {
        let hour = self.hour.as_ref()?;
        let explained = self.cause.change.as_ref().is_some_and(|change| change.explains(hour.from));
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
        let made = if self.kept { "judged again" } else { "made anew" };
        match self.judged_by {
            JudgedBy::Kept => {
                format!("{made} by {policy}, which decided then, as it is kept in the history")
            }
            JudgedBy::Files => format!("{made} by the files, which are {policy}, which decided then"),
            JudgedBy::Other => {
                let kept = match &self.broken {
                    Some(why) => format!("is kept, but cannot be loaded: {why}"),
                    None => "is not kept".to_owned(),
                };
                format!("{made} by the files as they are now; {policy}, which decided then, {kept}")
            }
        }
    }
}
