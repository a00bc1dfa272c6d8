//! Policies as commands name them: a file, a generation of the history, or the one of `--config`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::layout::printable;
use super::reply::{Exit, Reply};
use super::{Common, diagnostics, files};
use crate::config::{Outcome, Setup, load};
use crate::decision::Version;
use crate::policy::code::Severity;
use crate::policy::source::Sources;
use crate::state::{self, Accepted, Entry, Kept};

/// What is kept of earlier policies.
#[derive(Debug, Default)]
pub(super) struct Past {
    folder: PathBuf,
    /// Where the configuration lies, as it was named.
    beside: String,
    pub(super) entries: Vec<Entry>,
    /// Lines of its file that are damaged.
    pub(super) damaged: Vec<usize>,
    /// Bytes of a last entry without its end.
    pub(super) torn: u64,
}

/// A policy with the words for it.
#[derive(Debug)]
pub(super) struct Named {
    /// `new.toml`, `7-3f9a2c1d`.
    pub(super) name: String,
    pub(super) setup: Setup,
}

impl Named {
    /// What it is, as part of a sentence: `the policy new.toml`, `the current files`.
    pub(super) fn phrase(&self) -> String {
        match &*self.name {
            CURRENT => CURRENT.to_owned(),
            name => format!("the policy {name}"),
        }
    }
}

/// The name of the policy of `--config`.
const CURRENT: &str = "the current files";

impl Past {
    /// The history beside the configuration; empty where none is kept.
    pub(super) fn of(common: &Common) -> Result<Past, Reply> {
        let path = files::config_path(common)?;
        let folder = load::state_dir(&path).map_err(|why| Reply::failure(Exit::Config, why))?;
        let Some(folder) = folder else { return Ok(Past::default()) };
        let Kept { entries, damaged, torn } = state::read(&folder).map_err(|error| {
            let name = printable(&folder.to_string_lossy()).into_owned();
            Reply::failure(Exit::Config, format!("the history in `{name}` cannot be read: {error}"))
        })?;
        let beside = path.parent().map(|beside| beside.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Past { folder, beside, entries, damaged, torn })
    }

    /// The folder that it is kept in.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is a place where it is kept.
    pub(super) fn is_kept(&self) -> bool {
        !self.folder.as_os_str().is_empty()
    }

    /// The policies that were in force, the oldest first.
    pub(super) fn accepted(&self) -> impl DoubleEndedIterator<Item = &Accepted> {
        self.entries.iter().filter_map(Entry::accepted)
    }

    /// Whether there were older policies, which are kept no more.
    pub(super) fn forgot_some(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Earlier { .. }))
    }

    /// The policy of a generation; with a hash, only if it is that one.
    pub(super) fn generation(&self, generation: u64, hash: Option<u32>) -> Option<&Accepted> {
        let same = |accepted: &&Accepted| {
            accepted.generation == generation && hash.is_none_or(|hash| accepted.version().hash == hash)
        };
        self.accepted().rev().find(same)
    }

    /// The policy that decisions name: by generation and hash, else by hash alone, since another
    /// process may have counted otherwise.
    pub(super) fn version(&self, version: Version) -> Option<&Accepted> {
        let hash = |accepted: &&Accepted| accepted.version().hash == version.hash;
        self.generation(version.generation, Some(version.hash)).or_else(|| self.accepted().rev().find(hash))
    }

    /// A kept policy, compiled as it was then. Keys are read as they are now.
    pub(super) fn compile(&self, accepted: &Accepted) -> Result<Setup, Box<Outcome>> {
        self.compiled(accepted, load::recall)
    }

    /// The same without the WAF, which takes most of the time.
    pub(super) fn compile_without_waf(&self, accepted: &Accepted) -> Result<Setup, Box<Outcome>> {
        self.compiled(accepted, load::recall_without_waf)
    }

    fn compiled(
        &self,
        accepted: &Accepted,
        recall: fn(Sources, Timestamp) -> Outcome,
    ) -> Result<Setup, Box<Outcome>> {
        let sources = match state::sources(&self.folder, &moved(accepted, &self.beside)) {
            Ok(sources) => sources,
            Err(error) => {
                let why = format!("generation {} is not kept whole: {error}", accepted.generation);
                return Err(Box::new(Outcome::nothing(why)));
            }
        };
        let mut outcome = recall(sources, accepted.at);
        match outcome.setup.take() {
            Some(mut setup) => {
                setup.policy.version = accepted.version();
                Ok(setup)
            }
            None => Err(Box::new(outcome)),
        }
    }
}

/// A kept policy whose files lie beside the configuration. A gateway that was given `portcullis.toml` keeps
/// names that start at the folder in which it was started, which nobody knows any more; but the main file
/// of then is the one of now, whatever it is called from here.
fn moved(accepted: &Accepted, beside: &str) -> Accepted {
    let mut moved = Accepted { difference: None, ..accepted.clone() };
    let main = accepted.files.iter().find(|file| !file.list).map_or("", |file| &*file.name);
    let from = main.rsplit_once('/').map_or("", |(folder, _)| folder);
    for file in moved.files.iter_mut().filter(|file| !file.name.starts_with('/')) {
        let rest = file.name.strip_prefix(from).filter(|_| !from.is_empty());
        let rest = rest.and_then(|rest| rest.strip_prefix('/')).unwrap_or(&file.name);
        file.name = match beside {
            "" => rest.to_owned(),
            "/" => format!("/{rest}"),
            beside => format!("{beside}/{rest}"),
        };
    }
    moved
}

/// The first of what is wrong with a policy, and where.
pub(super) fn first_error(outcome: &Outcome) -> String {
    let error = outcome.diagnostics.iter().find(|found| found.severity == Severity::Error);
    let Some(error) = error else { return "it has no policy".to_owned() };
    match error.place {
        Some(place) => format!("{} ({})", error.message, outcome.sources.show(place)),
        None => error.message.clone(),
    }
}

/// The policy that an argument means: `7`, `7-3f9a2c1d`, `-1` for the one before the last, `current` for
/// that of `--config`, or a file.
pub(super) fn find(text: &str, common: &Common) -> Result<Named, Reply> {
    if text == "current" {
        let setup = files::usable(common)?;
        return Ok(Named { name: CURRENT.to_owned(), setup });
    }
    let number = text.parse::<i64>().ok();
    let version = text.parse::<Version>().ok();
    if (number.is_none() && version.is_none()) || Path::new(text).exists() {
        return file(text, common);
    }
    let past = Past::of(common)?;
    if !past.is_kept() {
        let why = format!("there is no generation `{text}`: the configuration has no `[server] state_dir`");
        return Err(Reply::failure(Exit::Usage, why));
    }
    let kept: Vec<&Accepted> = past.accepted().collect();
    let Some(accepted) = state::named(&kept, text) else {
        let known: Vec<String> = past.accepted().map(|known| known.generation.to_string()).collect();
        let known = match (known.first(), known.last()) {
            (Some(first), Some(last)) => format!("{first} to {last} are kept"),
            _ => "none is kept yet".to_owned(),
        };
        return Err(Reply::failure(Exit::Usage, format!("there is no generation `{text}`: {known}")));
    };
    let setup = past.compile(accepted).map_err(|outcome| broken(&outcome, common))?;
    Ok(Named { name: accepted.version().to_string(), setup })
}

/// The policy of a file.
pub(super) fn file(text: &str, common: &Common) -> Result<Named, Reply> {
    let mut outcome = files::load_to_use(Path::new(text), common);
    match outcome.setup.take() {
        Some(setup) => Ok(Named { name: printable(text).into_owned(), setup }),
        None => Err(broken(&outcome, common)),
    }
}

fn broken(outcome: &Outcome, common: &Common) -> Reply {
    Reply::text(Exit::Config, "").with_err(diagnostics::text(outcome, common))
}
