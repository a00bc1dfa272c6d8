//! `replay`: recorded decisions through another policy.

mod judge;
mod known;
mod report;

pub(super) use judge::{Finding, Replayer};
pub(super) use report::{FlipKey, Report, number};

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use super::layout::{count, list, printable};
use super::policies::{self, Past};
use super::progress::Teller;
use super::records::{cannot_read, ends_early, log_files, log_path};
use super::reply::{Exit, Reply};
use super::{Common, Format};
use crate::audit::{Line, LogFile};
use crate::config::Setup;
use crate::decision::Version;

/// Put recorded requests through another policy, and tell what would be decided otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis replay decisions.jsonl --config new.toml
  portcullis replay --with new.toml
  portcullis replay decisions.jsonl.2.gz --with 7 --format json

Exit code 1 means that some decision would be another; with --strict also that
some cannot be told, because the record lacks what a rule looks at, or because
a file is torn, which is read as far as it goes. Code 78 means that a log cannot
be read or has no record; plain files, .gz, .zst and .xz are read. What did not
change is taken over from the record, for which the policy that decided is
looked up in the history; --from names it where it is not kept there.")]
pub(super) struct Args {
    /// The log, plain or compressed [default: that of the configuration, with what was put aside].
    log: Vec<PathBuf>,
    /// The policy to try: a file or a generation [default: --config].
    #[arg(long, value_name = "POLICY")]
    with: Option<String>,
    /// The policy that decided: a file or a generation [default: as the history knows].
    #[arg(long, value_name = "POLICY")]
    from: Option<String>,
    /// Exit with 1 also when something cannot be told.
    #[arg(long)]
    strict: bool,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The policies that decided, as far as they are known, and a judge for the records of each.
pub(super) struct Judges<'a> {
    new: &'a Setup,
    /// For all records, where one was named.
    from: Option<&'a Setup>,
    past: &'a Past,
    /// A policy that is known besides those of the history.
    also: Option<&'a Setup>,
    judges: HashMap<Version, Replayer<'a>>,
    /// What is wrong with the first policy that is kept and cannot be loaded.
    pub(super) broken: Option<String>,
}

/// Replays.
pub(super) fn replay(args: &Args, common: &Common) -> Reply {
    match run(args, common) {
        Ok(reply) | Err(reply) => reply,
    }
}

fn run(args: &Args, common: &Common) -> Result<Reply, Reply> {
    let new = policies::find(args.with.as_deref().unwrap_or("current"), common)?;
    let from = args.from.as_deref().map(|from| policies::find(from, common)).transpose()?;
    let past = Past::of(common).unwrap_or_default();
    let files = match args.log.is_empty() {
        true => {
            let missing = || Reply::failure(Exit::Usage, "the configuration names no log file; name one");
            let mut files = log_files(&log_path(None, common)?.ok_or_else(missing)?)?;
            files.reverse();
            files
        }
        false => args.log.iter().map(|path| open(path)).collect::<Result<Vec<_>, Reply>>()?,
    };
    let mut judges = Judges::new(&new.setup, from.as_ref().map(|from| &from.setup), &past);
    let mut report = Report::default();
    let mut teller = Teller::new(common);
    let begin = Instant::now();
    for file in &files {
        let read = file.lines(0, &mut |progress| teller.reads(progress), &mut |text| {
            judges.take(text, &mut report);
            true
        });
        report.end(read.map_err(|error| cannot_read(&file.path, &error))?);
    }
    teller.done();
    if report.read == 0 {
        // Whoever named the wrong file must not take it for a policy that changes nothing.
        let names: Vec<String> =
            files.iter().map(|file| format!("`{}`", printable(&file.path.to_string_lossy()))).collect();
        let lines = match report.records {
            0 => String::new(),
            lines => format!(" among {}", count(usize::try_from(lines).unwrap_or(usize::MAX), "line")),
        };
        let why = format!("there is no record{lines} in {}, so nothing was replayed", list(&names, " and "));
        let failure = Reply::failure(Exit::Config, why);
        return Err(report.torn.iter().fold(failure, |failure, torn| failure.with_hint(&ends_early(torn))));
    }
    let seconds = begin.elapsed().as_secs_f64();
    let untold = report.untold() > 0 || !report.torn.is_empty();
    let failed = report.flipped() > 0 || (args.strict && untold);
    let exit = if failed { Exit::Findings } else { Exit::Fine };
    Ok(match args.format {
        Format::Json => Reply::json(exit, &report.json(&new.setup.policy)),
        Format::Text => {
            let speed = if common.verbose && seconds > 0.0 {
                format!("{:.1} s, {:.0} records a second\n", seconds, report.records as f64 / seconds)
            } else {
                String::new()
            };
            Reply::text(exit, report.text(&new.setup.policy) + &speed)
        }
    })
}

fn open(path: &std::path::Path) -> Result<LogFile, Reply> {
    match LogFile::at(path) {
        Ok(Some(file)) => match file.unreadable() {
            Some(error) => Err(cannot_read(path, &error)),
            None => Ok(file),
        },
        Ok(None) => {
            let name = printable(&path.to_string_lossy()).into_owned();
            Err(Reply::failure(Exit::Config, format!("`{name}` is no file")))
        }
        Err(error) => Err(cannot_read(path, &error)),
    }
}

impl<'a> Judges<'a> {
    /// For records that are put through `new`.
    pub(super) fn new(new: &'a Setup, from: Option<&'a Setup>, past: &'a Past) -> Judges<'a> {
        Judges { new, from, past, also: None, judges: HashMap::new(), broken: None }
    }

    /// Names a policy that is known besides those of the history.
    pub(super) fn know(&mut self, setup: &'a Setup) {
        self.also = Some(setup);
    }

    /// Puts a line through.
    pub(super) fn take(&mut self, text: &[u8], report: &mut Report) {
        if text.is_empty() {
            return;
        }
        let Some(line) = Line::read(text) else { return report.unreadable() };
        let (finding, knows) = self.judge(&line);
        report.without_old += u64::from(!knows);
        report.broken = report.broken.take().or_else(|| self.broken.take());
        report.add(&line, finding, &self.new.policy);
    }

    /// Puts a record through; also whether the policy that decided it is known.
    pub(super) fn judge(&mut self, line: &Line<'_>) -> (Finding, bool) {
        let version = line.policy().filter(|_| self.from.is_none()).unwrap_or_default();
        let (new, from, past, also) = (self.new, self.from, self.past, self.also);
        let broken = &mut self.broken;
        let judge = self.judges.entry(version).or_insert_with(|| {
            if from.is_some() {
                return Replayer::new(from, new);
            }
            let same = |setup: &&Setup| setup.policy.version.hash == version.hash;
            if let Some(known) = [Some(new), also].into_iter().flatten().find(same) {
                return Replayer::new(Some(known), new);
            }
            let kept = past.version(version).map(|kept| (kept, past.compile(kept)));
            let kept = match kept {
                Some((_, Ok(setup))) => Some(setup),
                Some((kept, Err(outcome))) => {
                    let why = policies::first_error(&outcome);
                    broken.get_or_insert_with(|| {
                        format!("{} is kept, but cannot be loaded: {why}", kept.version())
                    });
                    None
                }
                None => None,
            };
            Replayer::new(kept.as_ref(), new)
        });
        (judge.judge(line), judge.knows_old())
    }
}
