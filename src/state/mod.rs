//! What outlives a request, and the process: kept in memory, and in files that a restart reads.

mod bans;

pub(crate) use bans::{Ban, BanBook};
