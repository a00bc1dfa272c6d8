//! The policies that were in force, who put them there, and how each differs from the one before.
//!
//! Without a folder the history is kept in memory and begins with the process. With one, a policy that
//! is put in force is on the disk before any request is judged by it, so that what a decision says of
//! its policy can be looked up whatever happens next. A folder that cannot be written keeps no policy
//! from being used: the gateway says so, and goes on in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::entry::{Accepted, ChangeLine, DifferenceLine, Entry, Jump, MAX_CELLS, Refused, StoredFile};
use super::lock::Lock;
use super::log::{self, Log};
use super::log_path;
use super::texts::{Texts, name_of};
use crate::decision::{Change, Version};
use crate::policy::diff::{Difference, Kind};
use crate::policy::rules::Rules;
use crate::policy::source::Sources;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Policies.
    pub keep: usize,
    /// Bytes of their texts on the disk.
    pub size: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { keep: 100, size: 64 << 20 }
    }
}

/// Who asked for a policy, and how.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// When.
    pub at: Timestamp,
    /// What: `start`, `file`, `signal`, `api`.
    pub trigger: &'a str,
    /// Who, where that is known.
    pub by: Option<&'a str>,
}

/// A policy that is to be put in force.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Its hash.
    pub hash: u32,
    /// Its texts. Those of secret files are not kept.
    pub sources: &'a Sources,
    /// How it differs from the one in force; none if nothing is known of that.
    pub difference: Option<&'a Difference>,
}

/// The history.
#[derive(Debug, Default)]
pub struct History {
    store: Option<Store>,
    folder: Option<PathBuf>,
    limits: Limits,
    entries: Vec<Entry>,
    /// The policy that was put in force last.
    current: Option<Version>,
    /// The last change of each rule that is known.
    changes: HashMap<Box<str>, Change>,
    /// The texts that were kept ahead of their entry, by name, and whether they are on the disk since then.
    ahead: Vec<(String, bool)>,
}

#[derive(Debug)]
struct Store {
    log: Log,
    texts: Texts,
    /// Held as long as this process writes.
    _lock: Lock,
}

impl History {
    /// A history in memory alone.
    pub fn in_memory(limits: Limits) -> History {
        History { limits, ..History::default() }
    }

    /// The history in a folder, made if there is none.
    pub fn open(folder: &Path, limits: Limits) -> io::Result<History> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = Lock::take(folder)?;
        let texts = Texts::at(folder);
        texts.make()?;
        let found = log::read(&log_path(folder))?;
        if !found.bad.is_empty() || found.whole < found.length {
            let (bad, cut) = (found.bad.len(), found.length - found.whole);
            tracing::warn!(folder = %folder.display(), bad, cut, "the history has entries that cannot be read");
        }
        let log = Log::open(&log_path(folder), &found)?;
        let mut history = History {
            store: Some(Store { log, texts, _lock: lock }),
            folder: Some(folder.to_owned()),
            limits,
            ..History::default()
        };
        for entry in found.entries {
            history.take(entry);
        }
        Ok(history)
    }

    /// The folder, if it is kept in one.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The entries, the oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The policy that was put in force last.
    pub fn last(&self) -> Option<&Accepted> {
        self.entries.iter().rev().find_map(Entry::accepted)
    }

    /// The texts of the policy that was put in force last, where they are kept.
    pub fn last_sources(&self) -> Option<io::Result<Sources>> {
        let (store, last) = (self.store.as_ref()?, self.last()?);
        Some(store.texts.sources(&last.files))
    }

    /// Keeps the policy files of a policy that may be accepted, so that whoever accepts it need not wait for
    /// that. If it is refused, they are given up again. Of lists it is not known yet which are secret.
    pub fn keep_ahead(&mut self, sources: &Sources) {
        self.give_up_ahead();
        let Some(store) = &self.store else { return };
        for (_, source) in sources.policy_files() {
            let name = name_of(&source.text);
            let fresh = !store.texts.has(&name);
            // What cannot be kept is said when the policy is accepted.
            if store.texts.keep(&source.text).is_ok() {
                self.ahead.push((name, fresh));
            }
        }
    }

    /// Takes down that a policy is put in force, unless it is in force already. Which one it is.
    pub fn accept(&mut self, attempt: &Attempt<'_>, origin: Origin<'_>) -> Version {
        let version = self.put_in_force(attempt, origin);
        self.give_up_ahead();
        version
    }

    fn put_in_force(&mut self, attempt: &Attempt<'_>, origin: Origin<'_>) -> Version {
        if let Some(current) = self.current.filter(|current| current.hash == attempt.hash) {
            self.mend(attempt.sources);
            return current;
        }
        let generation = self.current.map_or(1, |current| current.generation + 1);
        let entry = Entry::Accepted(Box::new(Accepted {
            at: origin.at,
            generation,
            hash: format!("{:08x}", attempt.hash),
            trigger: origin.trigger.to_owned(),
            by: origin.by.map(str::to_owned),
            files: self.keep(attempt),
            difference: attempt.difference.map(|found| DifferenceLine::new(found, MAX_CELLS)),
        }));
        self.add(entry);
        Version { generation, hash: attempt.hash }
    }

    /// Takes down that a policy was refused. Said again with the same words, it is not written again.
    pub fn refuse(&mut self, errors: &[String], origin: Origin<'_>) {
        self.give_up_ahead();
        let cut = |error: &String| error.chars().take(LONGEST_ERROR).collect();
        let refused = Refused {
            at: origin.at,
            trigger: origin.trigger.to_owned(),
            by: origin.by.map(str::to_owned),
            errors: errors.iter().take(MOST_ERRORS).map(cut).collect(),
            more: errors.len().saturating_sub(MOST_ERRORS),
        };
        if !matches!(self.entries.last(), Some(Entry::Refused(last)) if last.errors == refused.errors) {
            self.add(Entry::Refused(refused));
        }
    }

    /// Takes down that a rule refuses much more since a policy is in force.
    pub fn jump(&mut self, jump: Jump) {
        self.add(Entry::Jump(jump));
    }

    /// The last change of each rule of a policy, in its order, as far as it is known.
    pub fn changes(&self, rules: &Rules) -> Arc<[Option<Change>]> {
        rules.iter().map(|(_, info)| self.changes.get(&info.name).copied()).collect()
    }

    /// The texts, by which they can be found again.
    fn keep(&self, attempt: &Attempt<'_>) -> Vec<StoredFile> {
        let Attempt { sources, .. } = attempt;
        let name = |text: &str| {
            let name = name_of(text);
            let Some(store) =
                self.store.as_ref().filter(|_| !self.ahead.iter().any(|(ahead, _)| *ahead == name))
            else {
                return name;
            };
            store.texts.keep(text).unwrap_or_else(|error| {
                tracing::error!(%error, "a text of the policy is not kept in the history");
                name
            })
        };
        let policy = sources.policy_files().map(|(_, source)| StoredFile {
            name: source.name.clone(),
            list: false,
            text: name(&source.text),
        });
        let lists = sources.lists().filter(|(path, _)| !sources.is_secret(path));
        let lists =
            lists.map(|(path, text)| StoredFile { name: path.to_owned(), list: true, text: name(text) });
        policy.chain(lists).collect()
    }

    /// Keeps those of these texts again that the policy in force is made of, where the disk has damaged
    /// them. Others are no part of its entry: texts that differ can mean the same.
    fn mend(&self, sources: &Sources) {
        let (Some(store), Some(last)) = (&self.store, self.last()) else { return };
        let policy = sources.policy_files().map(|(_, source)| &*source.text);
        for text in policy.chain(sources.lists().map(|(_, text)| text)) {
            let name = name_of(text);
            if last.files.iter().any(|file| file.text == name)
                && let Err(error) = store.texts.keep(text)
            {
                tracing::error!(%error, "a text of the policy is not kept in the history");
            }
        }
    }

    /// Gives up what was kept ahead for a policy that was not accepted.
    fn give_up_ahead(&mut self) {
        let ahead = std::mem::take(&mut self.ahead);
        let used = self.last().map(|last| &*last.files).unwrap_or_default();
        let unused =
            ahead.iter().filter(|(name, fresh)| *fresh && used.iter().all(|file| file.text != *name));
        for (name, _) in unused {
            if let Some(store) = &self.store
                && let Err(error) = store.texts.remove(name)
            {
                tracing::error!(%error, "the text of a refused policy is not given up");
            }
        }
    }

    fn add(&mut self, entry: Entry) {
        if let Some(store) = &mut self.store
            && let Err(error) = store.log.append(&entry)
        {
            tracing::error!(%error, "the history cannot be written");
        }
        self.take(entry);
        self.give_up();
    }

    /// Takes an entry into account.
    fn take(&mut self, entry: Entry) {
        match &entry {
            Entry::Earlier { changes, last } => {
                self.current = last.as_ref().and_then(|last| last.parse().ok());
                let known = changes.iter().filter_map(|(rule, line)| Some((rule.clone(), line.change()?)));
                self.changes.extend(known);
            }
            Entry::Accepted(accepted) => {
                let to = accepted.version();
                let from = self.current.replace(to);
                let rules = accepted.difference.iter().flat_map(|difference| &difference.rules);
                for line in rules {
                    match from {
                        Some(from) if line.change != Kind::Removed.name() => {
                            self.changes.insert(line.rule.clone(), Change { at: accepted.at, from, to });
                        }
                        _ => drop(self.changes.remove(&line.rule)),
                    }
                }
            }
            Entry::Refused(_) | Entry::Jump(_) => {}
        }
        self.entries.push(entry);
    }

    /// Gives up the oldest entries where there are too many. Not one at a time: each time costs as much
    /// as all that is kept.
    fn give_up(&mut self) {
        let accepted = self.entries.iter().filter(|entry| entry.accepted().is_some()).count();
        let limit = self.limits.keep + self.limits.keep / 4;
        let many = accepted > limit || self.entries.len() > MOST_OTHERS + limit;
        let sizes = self.store.as_ref().and_then(|store| store.texts.sizes().ok()).unwrap_or_default();
        if !many && sizes.values().sum::<u64>() <= self.limits.size {
            return;
        }
        let keep = self.kept(&sizes);
        let mut earlier: BTreeMap<Box<str>, ChangeLine> = BTreeMap::new();
        let gone = self.entries.drain(..self.entries.len() - keep).collect::<Vec<_>>();
        let mut before = History::in_memory(self.limits);
        gone.into_iter().for_each(|entry| before.take(entry));
        earlier.extend(before.changes.into_iter().map(|(rule, change)| (rule, change.into())));
        let last = before.current.map(|version| version.to_string());
        self.entries.insert(0, Entry::Earlier { changes: earlier, last });
        let Some(store) = &mut self.store else { return };
        let files = self.entries.iter().filter_map(Entry::accepted).flat_map(|accepted| &accepted.files);
        // What is kept ahead has no entry yet.
        let ahead = self.ahead.iter().map(|(name, _)| name.as_str());
        let wanted: BTreeSet<&str> = files.map(|file| file.text.as_str()).chain(ahead).collect();
        // Entries first: a text without an entry does no harm.
        let done = store.log.rewrite(self.entries.iter()).and_then(|()| store.texts.retain(&wanted));
        if let Err(error) = done {
            tracing::error!(%error, "the history cannot be shortened");
        }
    }

    /// How many of the newest entries are kept: the policies that fit, and what happened between them.
    fn kept(&self, sizes: &BTreeMap<String, u64>) -> usize {
        let (mut policies, mut others, mut bytes, mut kept) = (0, 0, 0, 0);
        let mut texts: BTreeSet<&str> = BTreeSet::new();
        for (count, entry) in self.entries.iter().rev().enumerate() {
            let Some(accepted) = entry.accepted() else {
                others += 1;
                if others > MOST_OTHERS / 2 && policies > 0 {
                    break;
                }
                continue;
            };
            policies += 1;
            let fresh = accepted.files.iter().filter(|file| texts.insert(&file.text));
            bytes += fresh.filter_map(|file| sizes.get(&file.text)).sum::<u64>();
            // The one in force is kept whatever it takes.
            if policies > 1 && (policies > self.limits.keep || bytes > self.limits.size) {
                break;
            }
            kept = count + 1;
        }
        kept.max(1).min(self.entries.len())
    }
}

/// How much of a refusal is kept.
const MOST_ERRORS: usize = 50;
const LONGEST_ERROR: usize = 500;

/// Entries that are no policies.
const MOST_OTHERS: usize = 1_000;
