//! The history of the running gateway: what is put in force or refused, and how it differs.
//!
//! The installer calls it, one reload at a time. What differs is found here, since the policy before
//! may have to be compiled from its kept texts: after a restart nobody has it any more.

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::config::load::{self, News};
use crate::config::{Settings, Setup};
use crate::decision::{Change, Version};
use crate::layers::Taken;
use crate::policy::Policy;
use crate::policy::diff::{Difference, Draft, Meaning, Side};
use crate::policy::rules::Rules;
use crate::policy::source::Sources;
use crate::state::{Attempt, Entry, History, Jump, Origin};

/// The history, and what the policy in force means.
#[derive(Debug)]
pub(crate) struct Chronicle {
    /// Never held while something is compiled.
    history: Mutex<History>,
    meaning: Mutex<Meaning>,
}

/// What a policy that is put in force is told about itself.
#[derive(Debug)]
pub(super) struct Chapter {
    /// Which one it is.
    pub(super) version: Version,
    /// The last change of each of its rules.
    pub(super) changes: Arc<[Option<Change>]>,
    /// What roles lost so far.
    pub(super) taken: Arc<Taken>,
}

/// What is known of a policy that was loaded.
#[derive(Debug)]
pub(super) struct Followed {
    meaning: Meaning,
    /// How it differs from the one in force; none if it is the same.
    difference: Option<Difference>,
}

/// A reload does not wait for larger texts, in bytes, to be parsed once more; `portcullis diff` tells of any.
const MOST_PARSED: usize = 256 << 10;

impl Chronicle {
    /// Opens the history of these settings.
    pub(super) fn open(settings: &Settings) -> io::Result<Chronicle> {
        let history = match &settings.state_dir {
            Some(folder) => History::open(folder, settings.history)
                .map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", folder.display())))?,
            None => History::in_memory(settings.history),
        };
        Ok(Chronicle { history: Mutex::new(history), meaning: Mutex::default() })
    }

    /// Takes down the policy that the process starts with.
    pub(super) fn begin(&self, setup: &Setup, origin: Origin<'_>) -> Chapter {
        let meaning = Meaning::of(&setup.sources, &setup.policy.rules);
        let hash = setup.policy.version.hash;
        let before = {
            let history = self.history();
            history.last().filter(|last| last.version().hash != hash).and_then(|_| history.last_sources())
        };
        let difference = before.and_then(|sources| match sources {
            Ok(sources) => {
                let outcome = load::recall(sources, origin.at);
                let Some(before) = outcome.setup else {
                    // A key that it needs is gone. What its rules said is known all the same.
                    let was = Meaning::of(&outcome.sources, &Rules::default());
                    let is = Meaning::of(&setup.sources, &Rules::default());
                    let rules = Difference::rules(&was, &is);
                    let definitions = Difference::definitions(&was, &is);
                    return Some(Difference { rules, definitions, ..Difference::default() });
                };
                let was = Meaning::of(&before.sources, &before.policy.rules);
                let old = Side { policy: &before.policy, sources: &before.sources, meaning: &was };
                let new = Side { policy: &setup.policy, sources: &setup.sources, meaning: &meaning };
                Some(Difference::of(old, new, origin.at, MOST_PARSED))
            }
            Err(error) => {
                tracing::warn!(%error, "the policy before this one cannot be read, so nothing is known of the difference");
                None
            }
        });
        self.accept(setup, meaning, difference.as_ref(), origin)
    }

    /// Follows the load of a policy that may replace another: what it means, and how it differs from the
    /// one in force.
    pub(super) fn follow(
        &self,
        old: (&Policy, &Sources),
        news: &Receiver<News<'_>>,
        now: Timestamp,
    ) -> Option<Followed> {
        let mut draft = Draft::default();
        loop {
            match news.recv().ok()? {
                News::File(file, table) => draft.read(file, table),
                News::All(sources) => {
                    draft.complete(&sources);
                    // While it is compiled.
                    self.history().keep_ahead(&sources);
                }
                News::Compiled(policy, sources) => {
                    let meaning = draft.finish(sources, &policy.rules);
                    return Some(self.compare(old, (policy, sources), meaning, now));
                }
            }
        }
    }

    fn compare(
        &self,
        (old, was_from): (&Policy, &Sources),
        (new, is_from): (&Policy, &Sources),
        meaning: Meaning,
        now: Timestamp,
    ) -> Followed {
        let difference = (old.version.hash != new.version.hash).then(|| {
            let was = self.meaning.lock().unwrap_or_else(PoisonError::into_inner);
            let old = Side { policy: old, sources: was_from, meaning: &was };
            let new = Side { policy: new, sources: is_from, meaning: &meaning };
            Difference::of(old, new, now, MOST_PARSED)
        });
        Followed { meaning, difference }
    }

    /// Takes down a policy that replaces another.
    pub(super) fn replace(
        &self,
        old: (&Policy, &Sources),
        setup: &Setup,
        followed: Option<Followed>,
        origin: Origin<'_>,
    ) -> Chapter {
        let followed = followed.unwrap_or_else(|| {
            let meaning = Meaning::of(&setup.sources, &setup.policy.rules);
            self.compare(old, (&setup.policy, &setup.sources), meaning, origin.at)
        });
        self.accept(setup, followed.meaning, followed.difference.as_ref(), origin)
    }

    fn accept(
        &self,
        setup: &Setup,
        meaning: Meaning,
        difference: Option<&Difference>,
        origin: Origin<'_>,
    ) -> Chapter {
        let Setup { policy, sources, .. } = setup;
        *self.meaning.lock().unwrap_or_else(PoisonError::into_inner) = meaning;
        let mut history = self.history();
        let attempt = Attempt { hash: policy.version.hash, sources, difference };
        let version = history.accept(&attempt, origin);
        let taken = Arc::new(Taken::of(history.entries(), policy));
        Chapter { version, changes: history.changes(&policy.rules), taken }
    }

    /// Takes down a policy that is not put in force.
    pub(super) fn refuse(&self, errors: &[String], origin: Origin<'_>) {
        self.history().refuse(errors, origin);
    }

    /// Takes down that a rule refuses much more since a policy is in force.
    pub(super) fn jump(&self, jump: Jump) {
        self.history().jump(jump);
    }

    /// Looks at the entries, the oldest first.
    pub(crate) fn entries<T>(&self, look: impl FnOnce(&[Entry]) -> T) -> T {
        look(self.history().entries())
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
