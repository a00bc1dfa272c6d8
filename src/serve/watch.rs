//! Notices that a configuration file changed.
//!
//! Folders are watched, not files: editors and Kubernetes replace files, and a watch on the file
//! would be lost with the first replacement. An event only says that it is time to look; whether
//! something changed is seen on the files themselves. Where events do not come at all (network file
//! systems), the look every second finds the change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::reload::Installer;

/// A burst of events is one change; whoever writes several files gets this long for it.
const SETTLE: Duration = Duration::from_millis(50);

/// Without an event the files are looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// Reloads whenever a file changes, for ever.
pub(super) async fn watch(installer: Arc<Installer>) {
    let changed = Arc::new(Notify::new());
    let mut folders = Folders::new(Arc::clone(&changed));
    loop {
        folders.follow(installer.inputs().folders(), installer.log_file().as_deref());
        // Looked at first: a file may have changed since it was read.
        if !installer.inputs().changed() {
            let _ = timeout(LOOK, changed.notified()).await;
            continue;
        }
        sleep(SETTLE).await;
        let reloading = Arc::clone(&installer);
        // Compiling a large policy takes a while, and the admin listener shares this thread.
        let _ = tokio::task::spawn_blocking(move || reloading.reload_if_changed()).await;
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

    /// Watches these folders. The folder of the decision log is left out: every record would be an
    /// event.
    fn follow(&mut self, mut wanted: BTreeSet<PathBuf>, log: Option<&Path>) {
        let Some(watcher) = &mut self.watcher else { return };
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
