//! Notices that a configuration file changed.
//!
//! Folders are watched, not files: editors and Kubernetes replace files, and a watch on the file
//! would be lost with the first replacement. What kind of event comes is not looked at; a reload
//! compares contents. Where events do not come at all (network file systems), a look at the files
//! every few seconds finds the change.

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
use crate::config::load::watched;

/// A burst of events is one change: this long nothing more must have happened.
const SETTLE: Duration = Duration::from_millis(50);

/// Where no event comes, the files are looked at this often.
const LOOK: Duration = Duration::from_secs(2);

/// Reloads whenever a file changes, for ever.
pub(super) async fn watch(installer: Arc<Installer>) {
    let changed = Arc::new(Notify::new());
    let mut folders = Folders::new(Arc::clone(&changed));
    loop {
        let sources = installer.sources();
        folders.follow(&watched(&sources, installer.path()));
        let files = || files(&installer);
        let before = fingerprint(&files());
        loop {
            let event = timeout(LOOK, changed.notified()).await.is_ok();
            if event {
                while timeout(SETTLE, changed.notified()).await.is_ok() {}
                break;
            }
            if fingerprint(&files()) != before {
                sleep(SETTLE).await;
                break;
            }
        }
        let installer = Arc::clone(&installer);
        // Compiling a large policy takes a while, and the admin listener shares this thread.
        let _ = tokio::task::spawn_blocking(move || installer.reload(Trigger::File)).await;
    }
}

/// The watched folders.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    fn new(changed: Arc<Notify>) -> Folders {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the files makes events of its own, which would go on for ever.
            if event.is_ok_and(|event| event.kind.is_access()) {
                return;
            }
            changed.notify_one();
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, "file events are not available; changes are found by looking");
        }
        Folders { watcher: watcher.ok(), watched: BTreeSet::new() }
    }

    fn follow(&mut self, folders: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeSet<PathBuf> = folders.iter().cloned().collect();
        for gone in self.watched.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.watched) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::debug!(folder = %new.display(), %error, "a folder is not watched");
            }
        }
        self.watched = wanted;
    }
}

fn files(installer: &Installer) -> Vec<PathBuf> {
    let sources = installer.sources();
    let mut files = vec![installer.path().to_owned()];
    files.extend(sources.policy_files().map(|(_, source)| PathBuf::from(&source.name)));
    files.extend(sources.attached_paths().map(PathBuf::from));
    files
}

/// What can be seen of files without reading them.
fn fingerprint(files: &[PathBuf]) -> Vec<Option<(u64, u64, i64, i64)>> {
    let look = |path: &PathBuf| {
        let meta = fs::metadata(Path::new(path)).ok()?;
        Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
    };
    files.iter().map(look).collect()
}
