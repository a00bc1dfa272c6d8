//! `diff`: how two policies differ, as meaning.

use jiff::Timestamp;
use serde_json::json;

use super::policies;
use super::reply::{Exit, Reply};
use super::{Common, Format, difference};
use crate::config::Setup;
use crate::policy::diff::{Difference, Version};
use crate::state::DifferenceLine;

/// Tell what changes for whom between two policies.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis diff portcullis.toml new.toml
  portcullis diff 6 7
  portcullis diff -1 current

A policy is a configuration file, `current` for the one of --config, or a
generation of the history: 7, 7-3f9a2c1d, or -1 for the one before the last.
A pattern of a path stands for what it covers and no more exact one does.
With --exit-code, 1 means that something differs.")]
pub(super) struct Args {
    /// The policy before.
    #[arg(allow_hyphen_values = true)]
    old: String,
    /// The policy after.
    #[arg(allow_hyphen_values = true)]
    new: String,
    /// Exit with 1 when something differs.
    #[arg(long)]
    exit_code: bool,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Compares.
pub(super) fn diff(args: &Args, common: &Common) -> Reply {
    let sides = policies::find(&args.old, common)
        .and_then(|old| policies::find(&args.new, common).map(|new| (old, new)));
    let (old, new) = match sides {
        Ok(sides) => sides,
        Err(reply) => return reply,
    };
    let difference = between(&old.setup, &new.setup);
    let line = DifferenceLine::new(&difference, usize::MAX);
    let exit = match args.exit_code && !difference.is_empty() {
        true => Exit::Findings,
        false => Exit::Fine,
    };
    match args.format {
        Format::Text => {
            let title = format!("From {} to {}\n", old.name, new.name);
            Reply::text(exit, title + &difference::render(&line))
        }
        Format::Json => Reply::json(exit, &json!({ "old": old.name, "new": new.name, "difference": line })),
    }
}

/// How two policies differ.
pub(super) fn between(old: &Setup, new: &Setup) -> Difference {
    fn side(setup: &Setup) -> Version<'_> {
        Version { policy: &setup.policy, sources: &setup.sources }
    }
    Difference::between(side(old), side(new), Timestamp::now())
}
