//! Problems in policy text, for people and for programs.
//!
//! `text` shows each with its line and a caret; the other forms list all of them as JSON, as
//! annotations of a GitHub workflow, or as SARIF. All forms count the same way ([`Summary`]).

mod excerpt;
mod github;
mod record;
mod sarif;
mod text;

pub(super) use record::Record;

use std::collections::BTreeSet;

use serde::Serialize;

use super::Common;
use super::layout::count;
use crate::config::Outcome;
use crate::policy::code::Severity;
use crate::policy::diagnostic::Diagnostic;
use crate::policy::source::Sources;

/// How many problems there are, of which kind, in how many files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    /// The configuration cannot be used.
    pub(super) errors: usize,
    /// It can be used, but `run` refuses to.
    pub(super) denied: usize,
    /// Worth a look.
    pub(super) warnings: usize,
    /// Files with at least one of these.
    pub(super) files: usize,
}

impl Summary {
    /// Counts.
    pub(super) fn new(diagnostics: &[Diagnostic]) -> Summary {
        let of = |severity| diagnostics.iter().filter(|problem| problem.severity == severity).count();
        let files: BTreeSet<_> = diagnostics.iter().filter_map(|problem| Some(problem.place?.file)).collect();
        Summary {
            errors: of(Severity::Error),
            denied: of(Severity::Deny),
            warnings: of(Severity::Warning),
            files: files.len(),
        }
    }

    /// `3 errors, 1 warning in 2 of 5 files`.
    pub(super) fn sentence(&self, sources: &Sources) -> String {
        let all = sources.policy_files().count();
        let kinds = [(self.errors, "error"), (self.denied, "denied lint"), (self.warnings, "warning")];
        let kinds = kinds.into_iter().filter(|(number, _)| *number > 0);
        let kinds: Vec<String> = kinds.map(|(number, word)| count(number, word)).collect();
        match (kinds.is_empty(), self.files) {
            (true, _) => "no problems".to_owned(),
            (false, 0) => kinds.join(", "),
            (false, files) if files < all => format!("{} in {files} of {all} files", kinds.join(", ")),
            (false, files) => format!("{} in {}", kinds.join(", "), count(files, "file")),
        }
    }
}

/// The problems of a configuration for people, as much as they want to see.
pub(super) fn text(outcome: &Outcome, common: &Common) -> String {
    list(&outcome.diagnostics, &outcome.sources, common)
}

/// The same for problems that do not come from a configuration.
pub(super) fn list(diagnostics: &[Diagnostic], sources: &Sources, common: &Common) -> String {
    let summary = Summary::new(diagnostics).sentence(sources);
    let limit = if common.verbose { usize::MAX } else { SHOWN };
    // Who wants little wants to know what is wrong all the same.
    let wanted = |problem: &&Diagnostic| !common.quiet || problem.severity > Severity::Warning;
    let shown: Vec<&Diagnostic> = diagnostics.iter().filter(wanted).collect();
    text::render(&shown, sources, limit) + &summary + "\n"
}

/// A JSON object for each problem.
pub(super) fn records<'a>(diagnostics: &'a [Diagnostic], sources: &'a Sources) -> Vec<Record<'a>> {
    diagnostics.iter().map(|problem| Record::new(problem, sources)).collect()
}

pub(super) use github::commands as github;
pub(super) use sarif::log as sarif;

/// How many problems people get to see at once; the others are counted.
const SHOWN: usize = 50;
