//! `check`: is this configuration right, and is anything in it suspicious?

use serde::Serialize;

use super::diagnostics::{self, Record, Summary};
use super::layout::{count, fill, printable};
use super::reply::{BAD, Exit, GOOD, Reply, STRONG, styled};
use super::{Common, files};
use crate::config::{Outcome, Setup};
use crate::decision::Stage;
use crate::policy::code::Severity;
use crate::policy::lint::Allowed;
use crate::policy::source::Sources;

/// Check a configuration: errors and lints, each with its place.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: portcullis check --config portcullis.toml --deny warnings

Exit codes: 0 fine; 1 a lint of severity deny, or any finding under
`--deny warnings`; 78 errors. `portcullis explain --lint CODE` tells more.")]
pub(super) struct Args {
    /// How findings are written.
    #[arg(long, value_enum, default_value_t)]
    format: CheckFormat,
    /// Findings that make the check fail besides errors and lints of severity deny.
    #[arg(long, value_enum, value_name = "WHAT")]
    deny: Option<Deny>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum CheckFormat {
    #[default]
    Text,
    Json,
    Github,
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Deny {
    Warnings,
}

/// The document of `--format json`.
#[derive(Serialize)]
struct Document<'a> {
    /// Whether the exit code is 0.
    ok: bool,
    /// What was compiled; null when there are errors.
    policy: Option<Counts>,
    summary: Summary,
    diagnostics: Vec<Record<'a>>,
    /// The findings that `[[lint.allow]]` allows.
    allowed: Vec<AllowedRecord<'a>>,
}

/// A finding that is allowed, and why.
#[derive(Serialize)]
struct AllowedRecord<'a> {
    reason: &'a str,
    #[serde(flatten)]
    finding: Record<'a>,
}

impl<'a> AllowedRecord<'a> {
    fn new(allowed: &'a Allowed, sources: &'a Sources) -> AllowedRecord<'a> {
        AllowedRecord { reason: &allowed.reason, finding: Record::new(&allowed.finding, sources) }
    }
}

/// How large a configuration is.
#[derive(Serialize)]
struct Counts {
    /// The hash over its meaning, as in `x-portcullis-policy`.
    hash: String,
    files: usize,
    ip_rules: usize,
    waf_rules: usize,
    rbac_rules: usize,
    roles: usize,
    upstreams: usize,
    listeners: usize,
}

/// Checks the configuration.
pub(super) fn check(args: &Args, common: &Common) -> Reply {
    let outcome = match files::load(common) {
        Ok(outcome) => outcome,
        Err(reply) => return reply,
    };
    let exit = match outcome.worst() {
        Some(Severity::Error) => Exit::Config,
        Some(Severity::Deny) => Exit::Findings,
        Some(Severity::Warning) if args.deny == Some(Deny::Warnings) => Exit::Findings,
        Some(Severity::Warning) | None => Exit::Fine,
    };
    let Outcome { diagnostics, sources, setup, allowed, .. } = &outcome;
    let records = || diagnostics::records(diagnostics, sources);
    match args.format {
        CheckFormat::Text => Reply::text(exit, text(&outcome, exit, common)),
        CheckFormat::Json => Reply::json(
            exit,
            &Document {
                ok: exit == Exit::Fine,
                policy: setup.as_ref().map(Counts::new),
                summary: Summary::new(diagnostics),
                diagnostics: records(),
                allowed: allowed.iter().map(|allowed| AllowedRecord::new(allowed, sources)).collect(),
            },
        ),
        CheckFormat::Github => Reply::exact(exit, diagnostics::github(&records())),
        CheckFormat::Sarif => Reply::json(exit, &diagnostics::sarif(&records())),
    }
}

fn text(outcome: &Outcome, exit: Exit, common: &Common) -> String {
    let mut out = String::new();
    if !outcome.diagnostics.is_empty() {
        out.push_str(&diagnostics::text(outcome, common));
    }
    if outcome.setup.is_none() && !common.quiet {
        let text = "what lints find in a whole policy is looked for once there are no errors";
        out.push_str(&fill(&format!("{}: ", styled(STRONG, "note")), text));
    }
    if exit != Exit::Fine {
        return out + &styled(BAD, "failed") + "\n";
    }
    if let Some(setup) = outcome.setup.as_ref().filter(|_| !common.quiet) {
        out.push_str(&Counts::new(setup).sentence());
        if !outcome.allowed.is_empty() {
            out.push_str(&format!(
                "    {} allowed by [[lint.allow]]\n",
                count(outcome.allowed.len(), "finding")
            ));
        }
        if common.verbose {
            for (_, source) in setup.sources.policy_files() {
                out.push_str(&format!("  {}\n", printable(&source.name)));
            }
            for Allowed { finding, reason } in &outcome.allowed {
                let at = finding.place.map_or_else(String::new, |place| setup.sources.show(place));
                let text = format!("{}: {} ({})", finding.code.info().name, finding.message, reason);
                out.push_str(&fill("  allowed ", &printable(&format!("{at}: {text}"))));
            }
        }
    }
    out
}

impl Counts {
    fn new(setup: &Setup) -> Counts {
        let policy = &setup.policy;
        let rules =
            |stages: &[Stage]| policy.rules.iter().filter(|(_, rule)| stages.contains(&rule.stage)).count();
        Counts {
            hash: format!("{:08x}", policy.version.hash),
            files: setup.sources.policy_files().count(),
            ip_rules: rules(&[Stage::Ip]),
            waf_rules: rules(&[Stage::Waf, Stage::WafBody]),
            rbac_rules: rules(&[Stage::Rbac]),
            // The two reserved roles are declared by nobody.
            roles: policy.roles.iter().count().saturating_sub(2),
            upstreams: setup.settings.upstreams.len(),
            listeners: setup.settings.listeners.len(),
        }
    }

    fn sentence(&self) -> String {
        let files = count(self.files, "file");
        let parts = [
            count(self.ip_rules, "ip rule"),
            count(self.waf_rules, "waf rule"),
            count(self.rbac_rules, "rbac rule"),
            count(self.roles, "role"),
            count(self.upstreams, "upstream"),
            count(self.listeners, "listener"),
        ];
        let first = format!("{}: policy {} from {files}\n", styled(GOOD, "ok"), self.hash);
        first + &fill("    ", &parts.join(", "))
    }
}
