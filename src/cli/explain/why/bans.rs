//! Who banned an address that a ban refused, and until when, as far as the book of bans still says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::{Line, Recalled};
use crate::cli::policies::Past;
use crate::cli::records::Source;
use crate::decision::Builtin;
use crate::state::BanBook;

/// A ban that concerns the client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BanSeen {
    /// The address or network, as `unban` wants it.
    pub(super) address: String,
    pub(super) until: Timestamp,
    pub(super) by: String,
    pub(super) reason: String,
}

/// The bans that are in force of the client of a request that one of them refused. The first that is
/// named ends last.
pub(super) fn look(
    source: &Source,
    past: &Past,
    line: &Line<'_>,
    recalled: &Recalled,
    now: Timestamp,
) -> Vec<BanSeen> {
    let Some(ip) = recalled.ip.filter(|_| *line.rule == *Builtin::Banned.info().name) else {
        return Vec::new();
    };
    let mut found: Vec<BanSeen> = match source {
        Source::Gateway(gateway) => {
            let told = gateway.read("/api/bans").ok().filter(|answer| answer.status.is_success());
            let told: Value =
                told.and_then(|answer| serde_json::from_slice(&answer.body).ok()).unwrap_or_default();
            let bans: Vec<BanSeen> = serde_json::from_value(told["bans"].clone()).unwrap_or_default();
            let concerns = |ban: &BanSeen| {
                crate::policy::network::parse_net(&ban.address).is_ok_and(|net| net.contains(&ip))
            };
            bans.into_iter().filter(concerns).collect()
        }
        Source::Files(_) => {
            let book = past.is_kept().then(|| past.folder());
            let book = book.and_then(|folder| BanBook::read(folder).ok()).unwrap_or_default();
            let seen = book.of(ip).map(|ban| BanSeen {
                address: ban.who(),
                until: ban.until,
                by: ban.by.clone(),
                reason: ban.reason.clone(),
            });
            seen.collect()
        }
    };
    found.retain(|ban| ban.until > now);
    found.sort_by_key(|ban| std::cmp::Reverse(ban.until));
    found
}
