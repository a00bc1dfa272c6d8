//! The book of temporary blocks: who is banned, until when, by whom and why.
//!
//! The file is replaced as a whole, by a rename, before a change counts: a process that is killed
//! leaves the book before the change or the one after it. A book that cannot be read keeps the
//! gateway from starting, since without it somebody who is banned would pass.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::policy::ip::Bans;

/// One temporary block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ban {
    /// An address or a network.
    pub(crate) net: IpNet,
    /// When it ends by itself.
    pub(crate) until: Timestamp,
    /// Since when.
    pub(crate) since: Timestamp,
    /// Why, in the words of whoever banned.
    pub(crate) reason: String,
    /// Who banned.
    pub(crate) by: String,
}

/// All bans, the first that ends first.
#[derive(Debug, Default)]
pub(crate) struct BanBook {
    path: Option<PathBuf>,
    bans: Vec<Ban>,
}

/// More would be a list, which belongs into `[network]`.
const MAX_BANS: usize = 10_000;

/// The shortest prefixes that can be banned, of IPv4 and IPv6. They are those of MediaWiki
/// (`$wgBlockCIDRLimit`), whose range blocks are by hand and for a time as bans are. With them a full
/// book has less than a sixth of either family's addresses: whatever is banned, the internet is not.
pub(crate) const WIDEST: (u8, u8) = (16, 19);

impl Ban {
    /// Whether it bans more addresses than one ban may. A book of an earlier release can have such a ban,
    /// which lasts until it ends.
    pub(crate) fn is_too_wide(&self) -> bool {
        let (four, six) = WIDEST;
        self.net.prefix_len() < if self.net.addr().is_ipv4() { four } else { six }
    }

    /// The address, or the network, as people write it.
    pub(crate) fn who(&self) -> String {
        written(self.net)
    }
}

/// An address without its `/32`, a network with its prefix.
fn written(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

impl BanBook {
    /// The book in a folder; both are made when they are absent. Without a folder it lives as long as
    /// the process.
    pub(crate) fn open(folder: Option<&Path>) -> io::Result<BanBook> {
        let Some(folder) = folder else { return Ok(BanBook::default()) };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", folder.display())))?;
        BanBook::read(folder)
    }

    /// The book in a folder, which may not be there, for whoever only looks.
    pub(crate) fn read(folder: &Path) -> io::Result<BanBook> {
        let path = &folder.join("bans.json");
        let named = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
        let bans = match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| named(io::Error::other(format!("{error}; mend or remove the file"))))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(named(error)),
        };
        let mut book = BanBook { path: Some(path.to_owned()), bans };
        book.sort();
        Ok(book)
    }

    /// The bans, the first that ends first.
    pub(crate) fn bans(&self) -> &[Ban] {
        &self.bans
    }

    /// The bans that concern an address.
    pub(crate) fn of(&self, address: IpAddr) -> impl Iterator<Item = &Ban> {
        let address = address.to_canonical();
        self.bans.iter().filter(move |ban| ban.net.contains(&address))
    }

    /// What requests are judged by.
    pub(crate) fn compiled(&self) -> Option<Bans> {
        Bans::new(self.bans.iter().map(|ban| (ban.net, ban.until)))
    }

    /// Adds a ban; one for the same network is replaced.
    pub(crate) fn add(&mut self, ban: Ban) -> io::Result<()> {
        let mut bans: Vec<Ban> = self.bans.iter().filter(|other| other.net != ban.net).cloned().collect();
        if bans.len() >= MAX_BANS {
            return Err(io::Error::other(format!(
                "there are {MAX_BANS} bans already; list addresses in a [network]"
            )));
        }
        bans.push(ban);
        self.replace(bans)
    }

    /// Ends the ban of a network; which it was.
    pub(crate) fn remove(&mut self, net: IpNet) -> io::Result<Option<Ban>> {
        let Some(found) = self.bans.iter().find(|ban| ban.net == net).cloned() else { return Ok(None) };
        let bans = self.bans.iter().filter(|ban| ban.net != net).cloned().collect();
        self.replace(bans)?;
        Ok(Some(found))
    }

    /// Forgets the bans that have ended, and says which.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Ban> {
        let (ended, left): (Vec<Ban>, Vec<Ban>) = self.bans.drain(..).partition(|ban| ban.until <= now);
        self.bans = left;
        // The file still has them, which does no harm: they have ended.
        ended
    }

    fn replace(&mut self, bans: Vec<Ban>) -> io::Result<()> {
        if let Some(path) = &self.path {
            let text = serde_json::to_vec_pretty(&bans).map_err(io::Error::other)?;
            write_whole(path, &text)
                .map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))?;
        }
        self.bans = bans;
        self.sort();
        Ok(())
    }

    fn sort(&mut self) {
        self.bans.sort_by(|a, b| a.until.cmp(&b.until).then(a.net.cmp(&b.net)));
    }
}

/// Replaces a file so that at every time it is either as before or as after.
fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(net: &str, until: i64) -> Ban {
        Ban {
            net: net.parse().unwrap(),
            until: Timestamp::from_second(until).unwrap(),
            since: Timestamp::UNIX_EPOCH,
            reason: "scans".to_owned(),
            by: "root".to_owned(),
        }
    }

    #[test]
    fn a_book_is_read_again_as_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/when absent");
        let mut book = BanBook::open(Some(&path)).unwrap();
        for (net, until) in [("192.0.2.0/24", 9), ("203.0.113.9/32", 5), ("192.0.2.0/24", 7)] {
            book.add(ban(net, until)).unwrap();
        }
        let again = BanBook::open(Some(&path)).unwrap();
        let seen: Vec<_> = again.bans().iter().map(|ban| (ban.who(), ban.until.as_second())).collect();
        assert_eq!(seen, [("203.0.113.9".to_owned(), 5), ("192.0.2.0/24".to_owned(), 7)]);
        assert_eq!(again.of("192.0.2.3".parse().unwrap()).count(), 1);
        assert!(book.remove("203.0.113.9/32".parse().unwrap()).unwrap().is_some());
        assert!(book.remove("203.0.113.9/32".parse().unwrap()).unwrap().is_none());
        assert_eq!(BanBook::open(Some(&path)).unwrap().bans().len(), 1);
    }

    #[test]
    fn no_book_bans_a_sixth_of_the_internet() {
        for (net, wide) in [
            ("0.0.0.0/1", true),
            ("10.0.0.0/8", true),
            ("10.0.0.0/15", true),
            ("10.0.0.0/16", false),
            ("10.0.0.1/32", false),
            ("8000::/1", true),
            ("2000::/18", true),
            ("2000::/19", false),
            ("2001:db8::/32", false),
        ] {
            assert_eq!(ban(net, 5).is_too_wide(), wide, "{net}");
        }
        let (four, six) = WIDEST;
        // Of IPv6 no more than 2000::/3 is in use.
        for networks in [1usize << four, 1 << (six - 3)] {
            assert!(MAX_BANS * 6 < networks, "{networks}");
        }
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let mut book = BanBook::default();
        book.add(ban("192.0.2.1/32", 5)).unwrap();
        book.add(ban("192.0.2.2/32", 6)).unwrap();
        let ended = book.expire(Timestamp::from_second(5).unwrap());
        assert_eq!((ended.len(), book.bans().len()), (1, 1));
        book.expire(Timestamp::from_second(6).unwrap());
        assert!(book.compiled().is_none());
    }

    #[test]
    fn a_book_that_cannot_be_read_is_not_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bans.json");
        fs::write(&path, "[{\"net\": \"192.0.2.0/24\"").unwrap();
        let error = BanBook::open(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("bans.json") && error.contains("mend or remove"), "{error}");
    }

    #[test]
    fn a_change_that_cannot_be_kept_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let mut book = BanBook::open(Some(&state)).unwrap();
        fs::remove_dir(&state).unwrap();
        assert!(book.add(ban("192.0.2.1/32", 5)).is_err());
        assert!(book.bans().is_empty());
    }
}
