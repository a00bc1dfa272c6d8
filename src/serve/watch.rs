//! Notices that a configuration file changed.
//!
//! Folders are watched, not files: editors and Kubernetes replace files, and a watch on the file
//! would be lost with the first replacement. An event only says that it is time to look; whether
//! something changed is seen on the files themselves, through links. Where events do not come at
//! all (network file systems), the look every second finds the change.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::reload::{Installer, Trigger};
use crate::config::load::inputs;

/// A burst of events is one change; whoever writes several files gets this long for it.
const SETTLE: Duration = Duration::from_millis(50);

/// Without an event the files are looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// Reloads whenever a file changes, for ever.
pub(super) async fn watch(installer: Arc<Installer>) {
    let changed = Arc::new(Notify::new());
    let mut folders = Folders::new(Arc::clone(&changed));
    let mut seen = Seen::now(&installer);
    loop {
        folders.follow(&seen, installer.log_file().as_deref());
        let _ = timeout(LOOK, changed.notified()).await;
        if Seen::now(&installer) == seen {
            continue;
        }
        sleep(SETTLE).await;
        // Looked at before the files are read: what changes while they are read is found next time.
        seen = Seen::now(&installer);
        let reloading = Arc::clone(&installer);
        // Compiling a large policy takes a while, and the admin listener shares this thread.
        let _ = tokio::task::spawn_blocking(move || reloading.reload(Trigger::File)).await;
    }
}

/// What can be seen of the files without reading them.
#[derive(Debug, PartialEq, Eq)]
struct Seen(Vec<(PathBuf, Option<Look>)>);

#[derive(Debug, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seen {
    fn now(installer: &Installer) -> Seen {
        let files = inputs(&installer.sources(), installer.path());
        Seen(files.into_iter().map(|path| (look(&path), path)).map(|(look, path)| (path, look)).collect())
    }

    fn folders(&self) -> BTreeSet<PathBuf> {
        let folder = |path: &PathBuf| match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        self.0.iter().map(|(path, _)| folder(path)).collect()
    }
}

fn look(path: &Path) -> Option<Look> {
    let meta = fs::metadata(path).ok()?;
    Some(Look {
        device: meta.dev(),
        inode: meta.ino(),
        length: meta.len(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    })
}

/// The watched folders.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    fn new(changed: Arc<Notify>) -> Folders {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Looking at the files makes events of its own, which would go on for ever.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                changed.notify_one();
            }
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, "file events are not available; changes are found by looking");
        }
        Folders { watcher: watcher.ok(), watched: BTreeSet::new() }
    }

    /// Watches the folders of these files. The folder of the decision log is left out: every record
    /// would be an event.
    fn follow(&mut self, seen: &Seen, log: Option<&Path>) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut wanted = seen.folders();
        if let Some(busy) = log.and_then(Path::parent).and_then(|folder| folder.canonicalize().ok()) {
            wanted.retain(|folder| folder.canonicalize().is_ok_and(|folder| folder != busy));
        }
        for gone in self.watched.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        let mut watched: BTreeSet<PathBuf> = self.watched.intersection(&wanted).cloned().collect();
        for new in wanted.difference(&self.watched) {
            match watcher.watch(new, RecursiveMode::NonRecursive) {
                Ok(()) => drop(watched.insert(new.clone())),
                Err(error) => tracing::debug!(folder = %new.display(), %error, "a folder is not watched"),
            }
        }
        self.watched = watched;
    }
}
