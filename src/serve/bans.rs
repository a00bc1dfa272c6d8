//! Temporary blocks while the gateway runs: each change is kept first, then put in force for all
//! threads, and a ban that has ended is taken out again.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::reload::Installer;
use crate::state::{Ban, BanBook};

/// Where bans are made and ended.
#[derive(Debug)]
pub(crate) struct BanDesk {
    book: Mutex<BanBook>,
    installer: Arc<Installer>,
    changed: Notify,
}

/// Why a ban was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BanError {
    /// `[ip] never_ban` has the address.
    #[error("`[ip] never_ban` lists {0}, so a ban of it would change nothing")]
    Never(String),
    /// It could not be kept.
    #[error("the ban could not be kept: {0}")]
    Io(#[from] io::Error),
}

impl BanDesk {
    /// Puts the bans of a book in force.
    pub(crate) fn open(book: BanBook, installer: Arc<Installer>) -> Arc<BanDesk> {
        let desk = BanDesk { book: Mutex::new(book), installer, changed: Notify::new() };
        let mut book = desk.lock();
        book.expire(Timestamp::now());
        desk.put_in_force(&book);
        drop(book);
        Arc::new(desk)
    }

    /// Bans an address or a network.
    pub(crate) fn ban(&self, ban: Ban) -> Result<(), BanError> {
        let policy = Arc::clone(&self.installer.current().load().policy);
        if ban.net.prefix_len() == ban.net.max_prefix_len()
            && let Some(found) = policy.ip.never_bans(ban.net.addr())
        {
            return Err(BanError::Never(found.to_string()));
        }
        let mut book = self.lock();
        book.add(ban)?;
        self.put_in_force(&book);
        self.changed.notify_one();
        Ok(())
    }

    /// Ends a ban; which it was.
    pub(crate) fn unban(&self, net: IpNet) -> io::Result<Option<Ban>> {
        let mut book = self.lock();
        let ended = book.remove(net)?;
        self.put_in_force(&book);
        Ok(ended)
    }

    /// The bans in force, the first that ends first.
    pub(crate) fn bans(&self) -> Vec<Ban> {
        let now = Timestamp::now();
        self.lock().bans().iter().filter(|ban| ban.until > now).cloned().collect()
    }

    /// The bans that concern an address.
    pub(crate) fn of(&self, address: IpAddr) -> Vec<Ban> {
        let now = Timestamp::now();
        self.lock().of(address).filter(|ban| ban.until > now).cloned().collect()
    }

    /// Takes bans out when they have ended; never returns.
    pub(crate) async fn keep(&self) {
        loop {
            let next = {
                let mut book = self.lock();
                let ended = book.expire(Timestamp::now());
                if !ended.is_empty() {
                    self.put_in_force(&book);
                }
                for ban in &ended {
                    tracing::info!(who = ban.who(), "a ban has ended");
                }
                book.bans().first().map(|ban| ban.until)
            };
            let left = |end: Timestamp| Duration::try_from(end.duration_since(Timestamp::now()));
            // A day at most: clocks are set, and timers do not hear of it.
            let wait = next.map_or(DAY, |end| left(end).unwrap_or_default().min(DAY));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn put_in_force(&self, book: &BanBook) {
        self.installer.set_bans(book.compiled().map(Arc::new));
    }

    fn lock(&self) -> MutexGuard<'_, BanBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
