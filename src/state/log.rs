//! The file of the history: a line for each entry, with a checksum before it.
//!
//! A line is `<CRC-32 in eight hexadecimal digits> <JSON>`. Lines are only appended, and each is on the
//! disk before anything depends on it. A process that is killed while it writes leaves a beginning
//! without an end, which the next one cuts off; a line whose checksum is wrong is passed over. When
//! entries are given up, the file is written anew beside itself and put in its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::entry::Entry;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The entries, the oldest first.
    pub(super) entries: Vec<Entry>,
    /// Up to where the file is made of whole lines.
    pub(super) whole: u64,
    /// How long it is.
    pub(super) length: u64,
    /// Whole lines that cannot be read, by their numbers, counted from one.
    pub(super) bad: Vec<usize>,
}

/// Reads the entries of a file; none if there is no file.
pub(super) fn read(path: &Path) -> io::Result<Found> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::default()),
        other => other?,
    };
    let mut found = Found { length: bytes.len() as u64, ..Found::default() };
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let Some(text) = line.strip_suffix(b"\n") else { break };
        found.whole += line.len() as u64;
        match entry(text) {
            Some(entry) => found.entries.push(entry),
            None => found.bad.push(number),
        }
    }
    Ok(found)
}

fn entry(line: &[u8]) -> Option<Entry> {
    let (sum, json) = (line.get(..8)?, line.get(9..)?);
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (crc32fast::hash(json) == sum).then(|| serde_json::from_slice(json).ok()).flatten()
}

fn line(entry: &Entry) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(entry)?;
    let mut line = format!("{:08x} ", crc32fast::hash(&json)).into_bytes();
    line.extend(json);
    line.push(b'\n');
    Ok(line)
}

/// The file, open for appending.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Log {
    /// Opens the file behind its last whole line, and cuts off what is behind that.
    pub(super) fn open(path: &Path, found: &Found) -> io::Result<Log> {
        let file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
        if found.length > found.whole {
            file.set_len(found.whole)?;
            file.sync_all()?;
        }
        if let Some(folder) = path.parent() {
            sync_folder(folder)?;
        }
        Ok(Log { path: path.to_owned(), file, length: found.whole })
    }

    /// Appends an entry; when this returns, it is on the disk.
    pub(super) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let line = line(entry)?;
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.length += line.len() as u64,
            // What was begun must not be taken for a part of the next line.
            Err(_) => self.file.set_len(self.length)?,
        }
        written
    }

    /// Replaces all entries.
    pub(super) fn rewrite<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.extend(line(entry)?);
        }
        replace(&self.path, &bytes)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.length = bytes.len() as u64;
        Ok(())
    }
}

/// Puts a file with these bytes in the place of another: whoever looks sees the old one or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes what was made or renamed in a folder last.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Only the owner reads how the gateway is configured.
const MODE: u32 = 0o600;
