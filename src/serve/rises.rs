//! Notices when a new policy makes a rule refuse much more than before.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use super::reload::Installer;
use crate::metrics::Metrics;
use crate::state::{Counts, Watch};

/// Looks every second, for ever.
pub(super) async fn watch(installer: Arc<Installer>, metrics: Arc<Metrics>) {
    let mut watch = Watch::default();
    loop {
        let version = installer.current().load().policy.version;
        let (total, refused) = metrics.refusals();
        for rise in watch.look(Timestamp::now(), version, Counts { total, refused }, || installer.counted()) {
            tracing::warn!(
                policy = rise.policy,
                rule = rise.rule,
                before = rise.before,
                after = rise.after,
                "a rule refuses much more since this policy is in force"
            );
            let installer = Arc::clone(&installer);
            // It is written to the disk.
            let _ = tokio::task::spawn_blocking(move || installer.chronicle().jump(rise)).await;
        }
        sleep(Duration::from_secs(1)).await;
    }
}
