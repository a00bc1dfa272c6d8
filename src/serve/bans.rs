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
use crate::policy::Policy;
use crate::policy::ip::{Listed, Spared};
use crate::state::{Ban, BanBook, WIDEST};

/// Where bans are made and ended.
#[derive(Debug)]
pub(crate) struct BanDesk {
    book: Mutex<BanBook>,
    installer: Arc<Installer>,
    changed: Notify,
}

/// A ban in force, and what of it has no effect.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) ban: Ban,
    /// What `[ip] never_ban` of the policy in force keeps out of it.
    pub(crate) spared: Spared,
}

/// Why a ban was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BanError {
    /// `[ip] never_ban` has all of it.
    #[error("`[ip] never_ban` lists {0}, so a ban of `{1}` would change nothing; take it from there first")]
    Never(Listed, String),
    /// It is more than an operator bans by hand.
    #[error(
        "`{who}` is too wide for a ban: networks of /{four} and narrower can be banned, of IPv6 /{six}; \
         to refuse a wider one, write an `[[ip.rule]]` with `deny = [\"{who}\"]`",
        four = WIDEST.0,
        six = WIDEST.1
    )]
    Wide {
        /// The network.
        who: String,
    },
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

    /// Bans an address or a network, and says what of it is banned in fact.
    pub(crate) fn ban(&self, ban: Ban) -> Result<Standing, BanError> {
        let who = ban.who();
        if ban.is_too_wide() {
            return Err(BanError::Wide { who });
        }
        let made = self.standing(ban);
        if let Spared::All(listed) = made.spared {
            return Err(BanError::Never(listed, who));
        }
        let mut book = self.lock();
        book.add(made.ban.clone())?;
        self.put_in_force(&book);
        self.changed.notify_one();
        Ok(made)
    }

    /// Ends a ban; which it was.
    pub(crate) fn unban(&self, net: IpNet) -> io::Result<Option<Ban>> {
        let mut book = self.lock();
        let ended = book.remove(net)?;
        self.put_in_force(&book);
        Ok(ended)
    }

    /// The bans in force, the first that ends first.
    pub(crate) fn bans(&self) -> Vec<Standing> {
        let now = Timestamp::now();
        let bans: Vec<Ban> = self.lock().bans().iter().filter(|ban| ban.until > now).cloned().collect();
        bans.into_iter().map(|ban| self.standing(ban)).collect()
    }

    /// The bans by which an address is refused: none if `never_ban` lists it.
    pub(crate) fn of(&self, address: IpAddr) -> Vec<Ban> {
        if self.policy().ip.never_bans(address).is_some() {
            return Vec::new();
        }
        let now = Timestamp::now();
        self.lock().of(address).filter(|ban| ban.until > now).cloned().collect()
    }

    fn standing(&self, ban: Ban) -> Standing {
        let spared = self.policy().ip.spared(ban.net);
        Standing { ban, spared }
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.installer.current().load().policy)
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
